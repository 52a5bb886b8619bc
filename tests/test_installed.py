"""The console command ``emt``: what it says, what hides its packages, and the main job from a wheel."""

import os
import re
import shlex
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import zipfile
from importlib.machinery import PathFinder
from pathlib import Path

import pytest

import emt
import emt_workbench
from emt.commands.main import STAGES
from emt.commands.script import SCRIPTS, program, shell_command
from emt.errors import install_hint

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
GUIDES = (ROOT / "ANALYSIS_GUIDE.md", ROOT / "CONTRIBUTING.md")


def run_emt(*words, before=(), cwd=None):
    """Run the command with these folders before the checkout on Python's path, and the current one not on it."""
    path = os.pathsep.join(map(str, [*before, ROOT]))
    return subprocess.run(
        [sys.executable, "-P", "-m", "emt_workbench", *words],
        env={**os.environ, "PYTHONPATH": path},
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def make_package(folder, name, text=""):
    (folder / name).mkdir(parents=True)
    (folder / name / "__init__.py").write_text(text)
    return folder


def test_the_name_on_the_index_is_written_once():
    assert PROJECT["name"] == emt.DISTRIBUTION == emt_workbench.DISTRIBUTION
    assert all(
        install_hint(extra) == f'pip install "{PROJECT["name"]}[{extra}]"' for extra in ("cluster", "track")
    )


def test_documents_name_extras_that_exist():
    texts = [
        path.read_text(encoding="utf-8")
        for path in (ROOT / "README.md", *ROOT.glob("*/*/README.md"), *GUIDES)
    ]
    named = {match for text in texts for match in re.findall(r"[\"']([\w.-]+)\[([\w,]+)\][\"']", text)}
    assert {name for name, _ in named} - {PROJECT["name"]} == {"."}, (
        "the index has another project called emt"
    )
    assert {extra for _, extras in named for extra in extras.split(",")} <= set(
        PROJECT["optional-dependencies"]
    )


def test_help_lists_the_commands_and_the_version():
    done = run_emt("--help")
    assert (done.returncode, done.stderr) == (0, "")
    for stage, text in STAGES.items():
        assert f"  {stage:9} {text}\n" in done.stdout
    assert run_emt("--version").stdout == f"emt {emt.__version__}\n"


def test_an_unknown_command_is_refused_in_one_line():
    done = run_emt("trian")
    assert (done.returncode, done.stdout) == (2, "")
    stages = ", ".join(STAGES)
    assert done.stderr == f"emt: no such command: 'trian'; there are {stages}; did you mean train?\n"


def test_the_module_is_the_command():
    done = subprocess.run(
        [sys.executable, "-m", "emt", "--version"], cwd=ROOT, capture_output=True, text=True
    )
    assert done.stdout == f"emt {emt.__version__}\n"


def test_a_folder_called_analysis_is_named(tmp_path):
    folder = make_package(tmp_path, "analysis")
    found = folder / "analysis" / "__init__.py"
    line = f"expected the package analysis of emt-workbench; found {found}, which hides it"
    done = run_emt("analyze", "eigenvalue", "--summary_file", "x", before=[folder])
    assert (done.returncode, done.stdout, done.stderr) == (2, "", f"emt: {line}: rename that folder\n")
    done = run_emt("train", "--help", before=[folder])
    assert (done.returncode, done.stderr) == (0, f"emt: warning: {line}: rename that folder\n")


def test_a_folder_without_init_hides_an_editable_installation_only(tmp_path, monkeypatch):
    (tmp_path / "analysis").mkdir()
    done = run_emt("--version", before=[tmp_path])
    assert (done.returncode, done.stderr) == (0, "")
    # The finder of an editable installation is asked after the folders of the path, where any folder is a package.
    spec = PathFinder.find_spec("analysis", [str(tmp_path)])
    monkeypatch.setattr("importlib.util.find_spec", lambda name: spec)
    assert emt_workbench.place_of_other("analysis") == f"{tmp_path / 'analysis'}/"


def test_a_folder_called_experiments_is_named(tmp_path):
    folder = make_package(tmp_path, "experiments")
    done = run_emt("sweep", "--help", before=[folder])
    assert (done.returncode, done.stdout) == (2, "")
    assert f"the package experiments of emt-workbench; found {folder}" in done.stderr
    assert run_emt("analyze", "--help", before=[folder]).returncode == 0


def test_another_package_called_emt_is_named(tmp_path):
    folder = make_package(tmp_path, "emt")
    done = run_emt("--help", before=[folder])
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert (
        f"found {folder / 'emt' / '__init__.py'}, another project's: uninstall that (pip uninstall emt)"
        in done.stderr
    )


@pytest.mark.parametrize("text", ["__version__ = '0.1.0a1'", "import a_missing_module"])
def test_another_emt_in_the_same_folder_is_noticed(tmp_path, text):
    """Two distributions installed one over the other: the folder is ours, its first file is not."""
    folder = make_package(tmp_path, "emt", text)
    (folder / "emt_workbench.py").write_bytes((ROOT / "emt_workbench.py").read_bytes())
    done = run_emt("train", "--help", before=[folder])
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert done.stderr.startswith("emt: expected the package emt of emt-workbench; found ")


@pytest.mark.parametrize(
    ("started", "prog", "following"),
    [
        ("/usr/bin/emt", "emt train", "emt evaluate"),
        ("/site/emt/__main__.py", "emt train", "python -m emt evaluate"),
        ("train_multiple.py", "train_multiple.py", "python evaluate_multiple.py"),
        ("./train_multiple.py", "train_multiple.py", "python evaluate_multiple.py"),
        ("/a b/train_multiple.py", "train_multiple.py", "python '/a b/evaluate_multiple.py'"),
    ],
)
def test_messages_name_commands_as_the_user_typed_them(monkeypatch, started, prog, following):
    monkeypatch.setattr(sys, "argv", [started])
    assert (program("train"), shell_command("evaluate")) == (prog, following)
    assert (program("sweep"), shell_command("sweep")[-9:]) == ("emt sweep", "emt sweep")


def test_every_script_stands_for_a_stage():
    assert {path.name for path in ROOT.glob("*.py")} == {*SCRIPTS.values(), "emt_workbench.py"}
    assert set(SCRIPTS) <= set(STAGES)


@pytest.fixture(scope="session")
def distributions(tmp_path_factory):
    """Return a source distribution of the checkout, and a wheel built from that in another folder."""
    folder = tmp_path_factory.mktemp("dist")
    copy = folder / "checkout"
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    for name in filter(None, listed.stdout.decode().split("\0")):
        if (ROOT / name).is_file():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            (copy / name).write_bytes((ROOT / name).read_bytes())
    hook = "import sys; from setuptools import build_meta; print(build_meta.build_{}(sys.argv[1]))"

    def build(kind, source):
        words = [sys.executable, "-c", hook.format(kind), str(folder)]
        done = subprocess.run(words, cwd=source, capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == 0, done.stderr
        return folder / done.stdout.splitlines()[-1]

    sdist = build("sdist", copy)
    with tarfile.open(sdist) as archive:
        archive.extractall(folder / "unpacked", filter="data")
    return sdist, build("wheel", next((folder / "unpacked").iterdir()))


@pytest.mark.slow
def test_distributions_are_whole(distributions):
    sdist, wheel = distributions
    stem = f"emt_workbench-{emt.__version__}"
    assert (sdist.name, wheel.name) == (f"{stem}.tar.gz", f"{stem}-py3-none-any.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    sources = {
        path.relative_to(ROOT).as_posix()
        for package in ("emt", "analysis", "experiments")
        for path in (ROOT / package).rglob("*.py")
    }
    assert sources | {"emt_workbench.py"} == {name for name in names if name.endswith(".py")}
    assert {f"{package}/py.typed" for package in ("emt", "analysis", "experiments")} <= names
    assert {
        "analysis/report/report.css",
        "analysis/report/report.js",
        "experiments/catbabi/README.md",
    } <= names
    with tarfile.open(sdist) as archive:
        inside = {name.partition("/")[2] for name in archive.getnames()}
    assert {
        *SCRIPTS.values(),
        "README.md",
        "Makefile",
        "constraints.txt",
        "tests/test_installed.py",
    } <= inside


@pytest.mark.slow
def test_the_main_job_from_a_wheel(distributions, tmp_path):
    """An empty environment that borrows the dependencies, but not this checkout, from the environment of the test."""
    environment, elsewhere = tmp_path / "environment", tmp_path / "elsewhere"
    elsewhere.mkdir()
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", environment], check=True, timeout=120)
    python = environment / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-deps", "--no-index"]
    subprocess.run([*pip, distributions[1]], check=True, timeout=120)
    site = Path(sysconfig.get_path("purelib", vars={"base": str(environment)}))
    # A line of a .pth file is a folder whose own .pth files, such as an editable installation's, are not read.
    borrowed = dict.fromkeys(sysconfig.get_path(kind) for kind in ("purelib", "platlib"))
    (site / "borrowed.pth").write_text("\n".join(borrowed) + "\n")
    clean = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "EXPERIMENT_OUTPUT_DIR")}

    def succeed(line):
        words = shlex.split(line)
        done = subprocess.run(
            words, cwd=elsewhere, env=clean, capture_output=True, text=True, timeout=600, check=False
        )
        assert (done.returncode, done.stderr) == (0, ""), done.stderr
        return done.stdout

    bin_emt = shlex.quote(str(environment / "bin" / "emt"))
    assert succeed(f"{bin_emt} --version") == f"emt {emt.__version__}\n"
    where = succeed(
        f"{shlex.quote(str(python))} -c 'import emt, analysis; print(emt.__file__); print(analysis.__file__)'"
    )
    assert all(line.startswith(str(environment)) for line in where.splitlines())
    small = "--seq_length 3 --input_dim 4 --hidden_dim 13 --num_models 2 --epochs 1 --epoch_batches 4"
    small += " --curriculum_horizons 4 --validation_batches 1 --batch_size 5"
    said = succeed(f"{bin_emt} train --experiment_name copy {small}")
    assert said.splitlines()[-1] == "Next: emt evaluate --models_dir copy"
    said = succeed(f"{bin_emt} evaluate --models_dir copy --test_horizon 9 --no_figures")
    assert said.splitlines()[-1] == "Next: emt analyze eigenvalue --summary_file copy/evaluation_summary.json"
    succeed(f"{bin_emt} analyze eigenvalue --summary_file copy/evaluation_summary.json")
    assert (elsewhere / "copy" / "eigenvalue_analysis" / "eigenvalue_statistics.csv").exists()
    succeed(f"{bin_emt} analyze report --summary_file copy/evaluation_summary.json")
    page = (elsewhere / "copy" / "report.html").read_text(encoding="utf-8")
    assert (ROOT / "analysis" / "report" / "report.css").read_text(encoding="utf-8").splitlines()[0] in page
    assert "repeat_copy" in succeed(f"{bin_emt} sweep --help")

"""Plug-ins: names and flags from their source alone, worker processes that know them, and a run's identity."""

import os
import sys

import pytest

from emt import engine
from emt.config import RunConfig, code_of_run, recorded_code
from emt.engine.base import WithPlugins, with_plugins
from emt.errors import RegistrationError, UserError
from emt.identity import changes, packages_of, source_hash
from emt.models import MODELS
from emt.options import load, options_of, plugins, signatures, summary_of, target_of
from emt.tasks import TASKS
from emt.training.sweep import read_run

SOURCE = '''"""A module that leaves a mark where it is imported."""
import os
from emt.models.irnn import IRNN

MODELS = {"lab_rnn": "lab_networks:LabRNN"}
TASKS: dict[str, str] = {"lab_task": "lab_networks:LabTask"}
os.environ["LAB_IMPORTED"] = "yes"


class LabRNN(IRNN):
    """A network of the lab."""


class LabTask:
    """A task of the lab.

    Parameters
    ----------
    steps
        how many.
    """

    def __init__(self, *, steps: int = 3):
        self.steps = steps
'''


@pytest.fixture(autouse=True)
def lab(tmp_path, monkeypatch):
    """Return a folder, the working one, with a module of plug-ins; forget them afterwards."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(plugins, "_GIVEN", {})
    monkeypatch.setenv("LAB_IMPORTED", "")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "lab_networks.py").write_text(SOURCE)
    clear()
    yield tmp_path
    clear()
    for name in [name for name in sys.modules if name.startswith("lab_")]:
        del sys.modules[name]


def clear():
    for cached in (signatures._tree, plugins._installed, source_hash):
        cached.cache_clear()


def install(folder, group, *points):
    """Lay a distribution beside its package, as an installer does."""
    about = folder / "lab-1.0.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: lab\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(f"[{group}]\n" + "\n".join(points))
    sys.path.append(str(folder))
    clear()


def imported():
    return os.environ["LAB_IMPORTED"] == "yes"


def test_names_flags_and_help_come_from_the_source_alone():
    plugins.use(["lab_networks"])
    assert list(plugins.names(MODELS, "model_type")) == [*MODELS, "lab_rnn"]
    assert target_of(TASKS, "lab_task", "task") == "lab_networks:LabTask"
    assert [(o.name, o.default, o.help) for o in options_of("lab_networks:LabTask")] == [
        ("steps", 3, "how many.")
    ]
    # Options that it inherits from a model of ours come along.
    assert {o.name for o in options_of("lab_networks:LabRNN")} == {o.name for o in options_of(MODELS["irnn"])}
    assert summary_of("lab_networks:LabRNN") == "A network of the lab."
    assert not imported()
    assert load(TASKS, "lab_task", "task")(steps=4).steps == 4
    assert imported()


def test_what_is_not_named_does_not_count():
    plugins.use(["lab_networks"])
    plugins.use([])
    with pytest.raises(UserError, match=r"model_type: must be one of rnn, .*; got 'lab_rnn'"):
        target_of(MODELS, "lab_rnn", "model_type")
    assert with_plugins("some:function") == "some:function"


def test_an_installed_package_is_known_by_its_entry_points(lab):
    package = lab / "site" / "lab_package"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("import os\nos.environ['LAB_IMPORTED'] = 'yes'\n")
    (package / "networks.py").write_text(SOURCE.replace("lab_networks", "lab_package.networks"))
    assert "lab_rnn" not in plugins.names(MODELS, "model_type")
    install(lab / "site", "emt.models", "lab_rnn = lab_package.networks:LabRNN")
    target = target_of(MODELS, "lab_rnn", "model_type")
    assert summary_of(target) == "A network of the lab."
    assert "hidden_dim" in {o.name for o in options_of(target)}
    assert not imported()
    assert code_of_run(run("lab_rnn")).keys() - code_of_run(run("rnn")).keys() == {"lab_package_source"}
    assert "plugins" not in recorded_code(run("lab_rnn"))
    assert not imported()


def run(model="lab_rnn", task="variable_binding", **metadata):
    return RunConfig(task={"name": task}, model={"type": model}, metadata=metadata)


@pytest.mark.parametrize("name", ["rnn", "lab_rnn"])
def test_two_of_one_name_are_refused(name, lab):
    plugins.use(["lab_networks"])
    assert target_of(MODELS, "lab_rnn", "model_type")
    install(lab / "site", "emt.models", f"{name} = lab_other:Other")
    first = MODELS.get(name, "lab_other:Other")
    second = "lab_other:Other" if name == "rnn" else "lab_networks:LabRNN"
    message = f"model_type: two are called '{name}', {first} and {second} of a plug-in: rename yours"
    with pytest.raises(UserError, match=message):
        target_of(MODELS, "lstm", "model_type")
    clear()


def test_a_plugin_that_is_installed_and_named_is_one(lab):
    install(lab / "site", "emt.models", "lab_rnn = lab_networks:LabRNN")
    plugins.use(["lab_networks"])
    assert target_of(MODELS, "lab_rnn", "model_type") == "lab_networks:LabRNN"


@pytest.mark.parametrize(
    ("module", "old", "new", "error", "message"),
    [
        ("lab_network", "", "", UserError, r"plugins: no such module: 'lab_network' \(looked in this folder"),
        ("lab_networks.x", "", "", UserError, r"plugins: no such module: 'lab_networks.x'"),
        ("../lab", "", "", UserError, r"plugins: must be names of modules, such as my_networks; got '../lab'"),
        ("sys", "", "", UserError, "plugins: no such module: 'sys'"),
        ("lab_networks", "MODELS =", "X =", None, ""),
        ("lab_networks", "LabRNN\"}", "LabRNN\" + ''}", RegistrationError, "expected MODELS written out, such as"),
        ("lab_networks", "\nMODELS =", "\nMODELS = dict() or", RegistrationError, "expected MODELS written out"),
        ("lab_networks", "lab_networks:LabRNN", "LabRNN", RegistrationError, "expected MODELS written out"),
        ("lab_networks", SOURCE, "x = 1", RegistrationError, "lab_networks: expected MODELS or TASKS, such as MODELS"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_module_is_said(module, old, new, error, message, lab):
    (lab / "lab_networks.py").write_text(SOURCE.replace(old, new))
    if error is None:
        plugins.use([module])
        assert plugins.package_of("task", "lab_task") == "lab_networks"
        assert plugins.package_of("model_type", "lab_rnn") == ""
        return
    with pytest.raises(error, match=message):
        plugins.use([module])


def targets_and_path(name):
    return target_of(MODELS, name, "model_type"), os.environ["LAB_IMPORTED"]


def test_worker_processes_know_what_was_named(lab, monkeypatch):
    """A worker that starts in another folder finds the module where this process found it."""
    plugins.use(["lab_networks"])
    elsewhere = lab / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    [result] = engine.run(targets_and_path, ["lab_rnn"], 1)
    assert result.value == ("lab_networks:LabRNN", ""), result.failure
    assert with_plugins(len) == WithPlugins(len, plugins.given())
    plugins.use([])
    [result] = engine.run(targets_and_path, ["lab_rnn"], 1)
    assert "must be one of rnn" in result.failure


def test_a_configuration_alone_imports_nothing(lab):
    plugins.use(["lab_networks"])
    about = recorded_code(run())
    assert about["plugins"] == "lab_networks"
    file = lab / "config.json"
    file.write_text(run(**about).model_dump_json())
    plugins.use([])
    with pytest.raises(
        UserError, match=r"config.json: model_type 'lab_rnn' is of a plug-in: add --plugins lab_networks$"
    ):
        read_run(file, partial=True)
    assert not imported()
    assert plugins.given() == ()
    plugins.use(["lab_networks"])
    assert read_run(file, partial=True).model_type == "lab_rnn"


def test_a_hostile_name_of_a_plugin_is_not_passed_on(lab):
    file = lab / "config.json"
    file.write_text(run(plugins="x; rm -rf ~").model_dump_json())
    with pytest.raises(UserError, match="model_type: must be one of") as refused:
        read_run(file, partial=True)
    assert "rm -rf" not in str(refused.value)


def test_the_source_of_a_plugin_is_part_of_a_run(lab):
    plugins.use(["lab_networks"])
    before = code_of_run(run())
    assert before["lab_networks_source"] == source_hash("lab_networks")
    assert "lab_networks_source" not in code_of_run(run("rnn"))
    assert changes(before, code_of_run(run())) == ""
    (lab / "lab_networks.py").write_text(SOURCE + "\n")
    clear()
    now = code_of_run(run())
    assert changes(before, now).startswith("lab_networks_source ")
    # Another module that gives the name is another source too.
    assert changes(before, code_of_run(run("rnn"))).endswith(" → not used")


def test_packages_are_named_once():
    assert packages_of("", "lab.networks", "emt.models.gru", "lab.tasks") == ("emt", "lab")

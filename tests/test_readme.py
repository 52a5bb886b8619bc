"""The README's commands parse, and its code runs as it stands."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from emt.commands import analyze
from emt.commands import evaluate as evaluate_multiple
from emt.commands import train as train_multiple
from emt.commands.script import SCRIPTS

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.S | re.M)


def commands(stage):
    """Return the words of each command of a stage, as ``python SCRIPT …`` or as ``emt STAGE …``."""
    forms = (f"python {SCRIPTS[stage]}", f"emt {stage}", f"python -m emt {stage}")
    lines = [line for block in blocks("bash") for line in block.splitlines()]
    found = [
        shlex.split(line.removeprefix(form))
        for line in lines
        for form in forms
        if line.startswith(f"{form} ")
    ]
    assert found, f"the README shows no {stage}"
    return found


@pytest.mark.parametrize("words", commands("train"), ids=" ".join)
def test_training_commands_make_a_configuration(words):
    config = train_multiple.parse(words)[0]
    members = words[words.index("--num_models") + 1] if "--num_models" in words else 50
    assert config.training.num_models == int(members)


@pytest.mark.parametrize("words", commands("evaluate"), ids=" ".join)
def test_evaluation_commands_parse(words):
    trained = {train[train.index("--experiment_name") + 1] for train in commands("train")}
    assert evaluate_multiple.parser().parse_args(words).models_dir in trained


@pytest.mark.parametrize("words", commands("analyze"), ids=" ".join)
def test_analysis_commands_parse(words):
    assert analyze.build_parser().parse_args(words).command == words[0]


def test_a_wrong_command_would_be_noticed():
    with pytest.raises((SystemExit, ValueError)):
        train_multiple.parse(["--experiment_name", "x", "--seq_lenght", "8"])


def test_first_screen_holds_the_two_commands():
    first_screen = README.splitlines()[:15]
    assert any(line.startswith("make demo") for line in first_screen)
    assert any(line.startswith("make test") for line in first_screen)


def test_it_is_short():
    assert len(README.splitlines()) <= 200


def test_code_runs(tmp_path):
    def run(*words):
        subprocess.run([sys.executable, *words], cwd=tmp_path, check=True, capture_output=True, timeout=600)

    small = ["--num_models", "1", "--epochs", "1", "--epoch_batches", "2", "--validation_batches", "1"]
    script = [str(ROOT / "train_multiple.py"), "--experiment_name", "repeat_copy", "--seq_length", "8"]
    run(*script, "--output_dir", "demo", *small)
    run(
        str(ROOT / "evaluate_multiple.py"),
        "--models_dir",
        "demo/repeat_copy",
        "--test_horizon",
        "9",
        "--no_figures",
    )
    code = blocks("python")
    assert len(code) == 2
    for block in code:
        run("-c", block)
    assert (tmp_path / "eigenvalues.png").stat().st_size > 5000

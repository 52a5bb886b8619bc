"""What training refuses, in one line."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from command_line import TINY, complain, refuse

from emt.models import MODELS
from emt.tasks import TASKS

pytestmark = pytest.mark.usefixtures("empty_folder")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--experiment_name a --seq_length 8 --hiden_dim 9", "unrecognized arguments: --hiden_dim 9"),
        ("--experiment_name a --seq_length 8 --hidden 9", "unrecognized arguments: --hidden 9"),
        ("--experiment_name a", "--seq_length"),
        ("--seq_length 8", "the following arguments are required: --experiment_name"),
        ("--experiment_name a/b --seq_length 8", "--experiment_name: must be a plain folder name; got 'a/b'"),
        (
            "--experiment_name a --seq_length 3 4 5",
            "--seq_length: must be an integer or 2 integers; got 3 4 5",
        ),
        (
            "--experiment_name a --seq_length 7 3",
            "--seq_length: must be one length ≥ 1 or an ascending range",
        ),
        (
            "--experiment_name a --seq_length 8 --task_id 127 0 0",
            "--task_id: must have 8 one-bits in the first integer",
        ),
        ("--experiment_name a --seq_length 4 --task_id T2", "--task_id: must have bits below"),
        ("--experiment_name a --seq_length 8 --task_id 255 0", "--task_id: must be one of repeat_copy, T1"),
        ("--experiment_name a --seq_length 8 --hidden_dim 0", "--hidden_dim: must be an integer ≥ 1; got 0"),
        ("--experiment_name a --seq_length 8 --epochs 0", "--epochs: must be ≥ 1; got 0"),
        (
            "--experiment_name a --seq_length 8 --learning_rate nan",
            "--learning_rate: must be a finite number",
        ),
        (
            "--experiment_name a --seq_length 8 --curriculum_horizons 10 5",
            "--curriculum_horizons: must be ascending",
        ),
        ("--experiment_name a --seq_length 8 --task copy", "--task: must be one of variable_binding"),
        (
            "--experiment_name a --seq_length 8 --model_type no_such_model",
            "--model_type: must be one of rnn, lstm",
        ),
        ("--experiment_name a --seq_length 8 --init zeros", "--init: invalid choice: 'zeros'"),
        ("--experiment_name a --seq_length 8 --infinite_horizon --use_eos", "--use_eos"),
        ("--experiment_name a --config missing.json", "no such file: missing.json"),
        ("--config", "--config: expected one argument"),
    ],
)
def test_training_refuses(words, message):
    assert message in refuse("train_multiple", *words.split())
    assert os.listdir() == [], "a refused command leaves nothing behind"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"task": {"seq_length": 8}, "model": {}, "training": {"epoch": 3}}', "--epoch: no such field"),
        (
            '{"task": {"seq_length": 8, "bits": 3}, "model": {}}',
            "--bits: task variable_binding has no such option",
        ),
        ('{"task": {"seq_length": 8}, "model": {"bais": true}}', "--bais: model rnn has no such option"),
        ('{"task": {"seq_length": 8}, "model": {}, "mdoel": {}}', "--mdoel: no such field"),
        (
            '{"task": {"seq_length": "8"}, "model": {}}',
            "--seq_length: must be an integer or 2 integers; got 8",
        ),
        (
            '{"task": {"seq_length": 8, "task_id": [127, 0, 0]}, "model": {}}',
            "--task_id: must have 8 one-bits",
        ),
        ('{"task": {}, "model": {}}', "--seq_length: must be an integer or 2 integers; got none"),
        ('{"task": {"seq_length": 8}, "model"', "file.json: not valid JSON"),
    ],
)
def test_training_refuses_a_configuration_file(text, message):
    Path("file.json").write_text(text)
    assert message in refuse("train_multiple", "--experiment_name", "a", "--config", "file.json")
    assert os.listdir() == ["file.json"]


def test_a_folder_with_another_run_is_refused(make_run):
    folder = make_run()
    before = (folder / "config.json").read_bytes()
    line = refuse("train_multiple", "--experiment_name", folder.name, "--output_dir", folder.parent, *TINY)
    assert f"--experiment_name: {folder} contains a run with another configuration" in line
    assert "model.hidden_dim: 13 → 7" in line
    assert "training.epochs: 20 → 1" in line
    assert (folder / "config.json").read_bytes() == before


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda f: (f / "config.json").write_text('{"task": {'), "config.json: not valid JSON"),
        (lambda f: (f / "config.json").unlink(), "contains models but no config.json"),
    ],
)
def test_a_folder_with_a_broken_configuration_is_refused(make_run, damage, message):
    folder = make_run()
    damage(folder)
    assert message in refuse(
        "train_multiple", "--experiment_name", "run", "--output_dir", folder.parent, *TINY
    )


def test_an_output_folder_that_cannot_be_made_is_refused():
    Path("file").touch()
    assert "file" in refuse("train_multiple", "--experiment_name", "a", "--output_dir", "file", *TINY)


@pytest.fixture
def small_disk(tmp_path):
    """Return a folder on a file system of 100 kB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    options = ["-t", "tmpfs", "-o", "size=100k", "tmpfs", folder]
    mount = shutil.which("mount")
    if mount is None or subprocess.run([mount, *options], capture_output=True, check=False).returncode != 0:
        pytest.skip("file systems cannot be mounted here")
    yield folder
    subprocess.run(["umount", folder], check=True)


@pytest.mark.slow
def test_a_disk_that_fills_up_while_training_gets_one_line(small_disk):
    words = [
        "--experiment_name",
        "a",
        "--output_dir",
        small_disk,
        *TINY,
        "--num_models",
        "1",
        "--hidden_dim",
        "128",
    ]
    code, lines = complain("train_multiple", *words)
    assert code in (1, 2)
    assert len(lines) == 1, lines
    assert "no space left" in lines[0].lower()


def test_help_lists_a_line_for_each_task_and_model():
    lines = subprocess.run(
        [sys.executable, "-m", "emt", "train", "--help"],
        check=True,
        capture_output=True,
        text=True,
        timeout=600,
    ).stdout.splitlines()
    for name in (*TASKS, *MODELS):
        assert [line for line in lines if line.split()[:1] == [name]], name
    assert not [line for line in lines if line.endswith("(default: False)")]

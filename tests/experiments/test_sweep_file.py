"""Sweeps in a file of the user's."""

import csv

import pytest

from emt.commands import sweep
from emt.errors import UserError

FILE = """
from emt.config import RunConfig, TrainingConfig
from sizes import WIDTHS

TRAINING = TrainingConfig(num_models=2, epochs=1, epoch_batches=5, curriculum_horizons=(4,))
CONFIGS = tuple(
    RunConfig(
        metadata={"experiment_name": f"width_{width}"},
        task={"name": "variable_binding", "seq_length": 3, "input_dim": 4},
        model={"type": "rnn", "hidden_dim": width},
        training=TRAINING,
    )
    for width in WIDTHS
)
"""
NAMED = f"{FILE}\nSWEEPS = {{'widths': CONFIGS, 'first': CONFIGS[:1]}}\ndel CONFIGS\n"


@pytest.fixture
def write(tmp_path):
    """Return a function that writes the file beside another one that it imports."""

    def write(text=FILE):
        folder = tmp_path / "anywhere"
        folder.mkdir()
        (folder / "sizes.py").write_text("WIDTHS = (5, 7)\n")
        (folder / "widths.py").write_text(text)
        return str(folder / "widths.py")

    return write


@pytest.mark.parametrize(
    ("text", "name", "folder", "runs"),
    [
        (FILE, "", "widths", ["width_5", "width_7"]),
        (NAMED, ":widths", "widths_widths", ["width_5", "width_7"]),
        (NAMED, ":first", "widths_first", ["width_5"]),
    ],
)
def test_it_is_trained(write, tmp_path, text, name, folder, runs):
    words = [f"{write(text)}{name}", "--output_dir", str(tmp_path / "out"), "--engine", "inline"]
    assert sweep.main(words) == 0
    with (tmp_path / "out" / folder / "members.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert list(dict.fromkeys(row["experiment"] for row in rows)) == runs
    assert {row["status"] for row in rows} == {"finished"}


@pytest.mark.parametrize(
    ("old", "new", "name", "message"),
    [
        ("epochs=1", "epoch=1", "", r"epoch: no such field; did you mean epochs\? \(.*widths.py, line 5\)"),
        ("in WIDTHS", "in WIDTH", "", r"widths.py, line 13: NameError: name 'WIDTH' is not defined"),
        ("TRAINING = ", "TRAINING = (", "", r"widths.py, line 5: '\(' was never closed"),
        ("CONFIGS =", "OTHERS =", "", r"widths.py: expected CONFIGS, .* found neither"),
        ("CONFIGS = tuple(", "CONFIGS = len, (", "", r"widths.py: expected a tuple of RunConfig; got tuple"),
        (
            '"hidden_dim"',
            '"hiden_dim"',
            "",
            r"run 1 of 2: hiden_dim: model rnn has no .* did you mean hidden_dim\?",
        ),
        ('"experiment_name"', '"name"', "", r"run 1 of 2: expected metadata="),
        ("", "", ":wide", r"widths.py: expected SWEEPS, a dictionary with 'wide'; found none"),
    ],
)
def test_what_is_wrong_in_it_is_named_with_its_place(write, tmp_path, old, new, name, message):
    path = write(FILE.replace(old, new, 1))
    with pytest.raises(UserError, match=message):
        sweep.main([f"{path}{name}", "--output_dir", str(tmp_path / "out")])
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("name", "near"), [("", ""), (":width", r"; did you mean widths\?")])
def test_of_several_sweeps_one_is_named(write, name, near):
    path = write(NAMED)
    with pytest.raises(
        UserError, match=f"must be one of {path}:widths, {path}:first; got {path}{name}{near}"
    ):
        sweep.main([f"{path}{name}"])


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"no such file: .*none\.py"):
        sweep.main([str(tmp_path / "none.py")])

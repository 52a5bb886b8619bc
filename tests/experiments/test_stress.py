import json
import os
import signal
import time

import pytest

from emt.errors import UserError
from emt.files import read_json, write_json
from experiments.stress import __main__ as stress
from experiments.stress.door import Door, attack_doors
from experiments.stress.kind import Kind, attack_kind
from experiments.stress.outcome import Attack, Outcome, try_each


def hold_on():
    time.sleep(30)
    return Outcome.SAME


def bad_input():
    raise UserError("must be 1; got 2", parameter="trials")


def no_line():
    raise UserError(" ")


def no_space():
    raise OSError(28, "No space left on device", "a file")


def use_much():
    return Outcome(bytes(2**40))


ENDS = {
    "same": (lambda: Outcome.SAME, Outcome.SAME, ""),
    "silent": (lambda: Outcome.SILENT, Outcome.SILENT, ""),
    "line": (bad_input, Outcome.CLEAR, "--trials: must be 1; got 2"),
    "disk": (no_space, Outcome.CLEAR, "a file: no space left on the disk"),
    "no line": (no_line, Outcome.TRACEBACK, ""),
    "crash": (lambda: os.kill(os.getpid(), signal.SIGSEGV), Outcome.TRACEBACK, "its process died: SIGSEGV"),
    "exit": (lambda: os._exit(3), Outcome.TRACEBACK, "its process died: exit code 3"),
    "memory": (use_much, Outcome.TRACEBACK, "MemoryError"),
    "fault": (lambda: {}["x"], Outcome.TRACEBACK, "KeyError: 'x'"),
    "hang": (hold_on, Outcome.HANG, "no end after 1 s"),
    "after": (lambda: Outcome.SAME, Outcome.SAME, ""),
}


def test_how_attacks_end():
    trials = list(try_each([Attack(name, work) for name, (work, *_) in ENDS.items()], 1.0))
    assert [(t.name, t.outcome) for t in trials] == [
        (name, outcome) for name, (_, outcome, _) in ENDS.items()
    ]
    assert all(text in t.text for t, (*_, text) in zip(trials, ENDS.values(), strict=True))


def make(folder):
    write_json(folder / "about.json", {"x": [1.5, 2.5], "n": 3})
    return folder / "about.json"


def strict(path):
    content = read_json(path)
    if not isinstance(content, dict) or content.get("n") != 3:
        raise UserError(f"{path}: expected n = 3")
    return {"n": 3}


@pytest.mark.parametrize(
    ("read", "vouched", "seen"),
    [
        (strict, True, {Outcome.SAME, Outcome.CLEAR}),
        (read_json, False, {Outcome.LEGAL, Outcome.CLEAR}),
        (lambda path: json.loads(path.read_bytes()), False, {Outcome.TRACEBACK}),
        (lambda path: path.read_bytes(), True, {Outcome.SILENT}),
    ],
)
def test_what_damaged_files_come_to(read, vouched, seen, tmp_path):
    trials = list(attack_kind(Kind("about", make, read, vouched), 30, 0, tmp_path, 5.0))
    assert len(trials) == 30
    assert seen <= {trial.outcome for trial in trials}
    faults = {f"about {path.name.partition('_')[2]}" for path in tmp_path.glob("faults/*")}
    assert faults == {t.name for t in trials if t.outcome in (Outcome.TRACEBACK, Outcome.SILENT)}


def test_damage_is_the_same_for_the_same_seed(tmp_path):
    runs = [
        list(attack_kind(Kind("about", make, read_json), 20, 7, tmp_path / f"{k}", 5.0)) for k in range(2)
    ]
    assert [t.outcome for t in runs[0]] == [t.outcome for t in runs[1]]


def test_a_kind_that_cannot_be_read_whole_is_refused(tmp_path):
    def refuse(path):
        raise UserError("no")

    with pytest.raises(RuntimeError, match="about: expected the whole file to be read; got no"):
        list(attack_kind(Kind("about", make, refuse), 1, 0, tmp_path, 5.0))


def test_doors(tmp_path):
    door = Door("shell", lambda text, folder: Outcome.SILENT if "$(" in text else Outcome.SAME)
    trials = list(attack_doors([door], ["a b", "$(x)"], tmp_path, 5.0))
    assert [t.outcome for t in trials] == [Outcome.SAME, Outcome.SILENT]


def test_table_and_exit_code(tmp_path, monkeypatch, capsys):
    faults = lambda given: iter([stress.Part("one", iter([stress.Trial("one 0", Outcome.HANG)]))])  # noqa: E731
    monkeypatch.setattr(stress, "PARTS", (faults,))
    assert stress.main(["--folder", str(tmp_path / "a")]) == 1
    printed = capsys.readouterr().out
    assert "hang: one 0" in printed
    assert printed.splitlines()[-1].split() == ["all", "1", "0", "0", "0", "0", "0", "1"]
    monkeypatch.setattr(stress, "PARTS", ())
    assert stress.main(["--folder", str(tmp_path / "b")]) == 0

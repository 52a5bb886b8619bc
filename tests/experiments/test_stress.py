import json
import math
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from emt.errors import UserError
from emt.files import read_json, write_json
from experiments.stress import __main__ as stress
from experiments.stress import clock, commands, kills
from experiments.stress.cases import EVALUATE, Case, Trees, train
from experiments.stress.commands import Ended
from experiments.stress.disks import attack_disk
from experiments.stress.door import Door, attack_doors
from experiments.stress.kills import attack_case, attack_workers, save_often
from experiments.stress.kind import Kind, attack_kind
from experiments.stress.outcome import FAULTS, Attack, Outcome, Trial, try_each
from experiments.stress.pairs import Pair, attack_pair
from experiments.stress.parts import Part
from experiments.stress.results import left_over, results_of

ROOT = Path(__file__).parents[2]


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
    outcomes = {trial.outcome for trial in trials}
    assert seen <= outcomes
    assert outcomes & set(FAULTS) <= seen
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


def faults():
    yield Trial("one 0", Outcome.HANG)


def test_table_and_exit_code(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(stress, "PARTS", (lambda _: [Part("one", faults())],))
    assert stress.main(["--folder", str(tmp_path / "a")]) == 1
    printed = capsys.readouterr().out
    assert "hang: one 0" in printed
    assert printed.splitlines()[-1].split() == ["all", "1", "0", "0", "0", "0", "0", "1"]
    monkeypatch.setattr(stress, "PARTS", ())
    assert stress.main(["--folder", str(tmp_path / "b")]) == 0


@pytest.fixture
def no_time():
    """Let all attacks end in a moment."""
    clock.end_at(time.monotonic() + 0.5)
    yield
    clock.end_at(math.inf)


def test_what_waits_for_an_attack_waits_no_longer_than_all_attacks_take(no_time, tmp_path, monkeypatch):
    children, fork = [], os.fork
    monkeypatch.setattr("os.fork", lambda: children.append(fork()) or children[-1])
    with pytest.raises(clock.TimeUpError):
        list(try_each([Attack("hang", hold_on)], 60.0))
    running = commands.Running(["--version"], tmp_path, lambda: time.sleep(600))
    with pytest.raises(clock.TimeUpError):
        running.wait(60.0)
    assert len(children) == 2
    for child in children:
        with pytest.raises(ChildProcessError):
            os.waitpid(child, os.WNOHANG)


def endless():
    yield Trial("hang 0", Outcome.SAME)
    yield from try_each([Attack("hang 1", hold_on)], 60.0)


def broken():
    yield Trial("broken 0", Outcome.SAME)
    raise RuntimeError("expected it to succeed when left alone")


def test_an_attack_that_has_no_time_left_is_not_counted(tmp_path, monkeypatch, capsys):
    parts = [Part("broken", broken()), Part("hang", endless())]
    monkeypatch.setattr(stress, "PARTS", (lambda _: parts,))
    assert stress.main(["--folder", str(tmp_path / "a"), "--seconds", "3", "--workers", "1"]) == 1
    printed = capsys.readouterr().out
    assert "traceback: broken: expected it to succeed when left alone" in printed
    rows = {
        line.split()[0]: line.split()[1:] for line in printed.splitlines() if line[:4] in ("hang", "brok")
    }
    assert rows["hang"] == ["1", "1", "0", "0", "0", "0", "0"]
    assert rows["broken"] == ["2", "1", "0", "0", "1", "0", "0"]
    assert printed.splitlines()[-1].endswith("before all attacks were made")
    clock.end_at(math.inf)


# Commands


@pytest.mark.parametrize(
    ("code", "complained", "left", "outcome"),
    [
        (0, "", 0, Outcome.SAME),
        (-9, "", 0, Outcome.SAME),
        (130, "emt: interrupted", 0, Outcome.SAME),
        (2, "emt: no such file: x\n", 0, Outcome.CLEAR),
        (2, "", 0, Outcome.TRACEBACK),
        (-11, "", 0, Outcome.TRACEBACK),
        (0, "Traceback (most recent call last):\n", 0, Outcome.TRACEBACK),
        (None, "", 0, Outcome.HANG),
        (0, "", 1, Outcome.HANG),
    ],
)
def test_what_a_user_calls_an_end(code, complained, left, outcome):
    assert Ended(code, "", complained, left, 0.0).outcome() == outcome


@pytest.fixture
def trees(tmp_path):
    return Trees(tmp_path / "alone")


def break_of(what):
    """Return a fault for the child of a command."""

    def before():
        from emt.training import population

        train_all = population.train_all

        def faulty(populations, execution, tick):
            failures = train_all(populations, execution, tick)
            for experiment in populations:
                what(experiment)
            return failures

        population.train_all = faulty

    return before


def leave_a_process(_):
    if not os.fork():
        time.sleep(600)
        os._exit(0)


def lose_a_weight(experiment):
    path = experiment / "model-2" / "training_curve.csv"
    path.write_text(path.read_text().replace("1", "2"))


@pytest.mark.slow
def test_a_forked_command_does_what_a_process_does(trees, tmp_path):
    case = Case("train", train("rnn", "--engine local"))
    case.prepare(trees, save_often)
    (tmp_path / "process").mkdir()
    words = [sys.executable, "-m", "emt", *shlex.split(case.words)]
    done = subprocess.run(
        words, cwd=tmp_path / "process", env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True
    )
    assert done.returncode == 0
    assert results_of(tmp_path / "process") == case.alone
    assert left_over(tmp_path / "process") == []


@pytest.mark.slow
def test_kills_disks_and_pairs_cost_nothing(trees, tmp_path):
    case = Case("train", train("rnn"))
    assert [
        t.text for t in attack_case(case, trees, 2, 0, tmp_path / "kill") if t.outcome != Outcome.SAME
    ] == []
    disks = {t.outcome for t in attack_disk(case, trees, 2, 0, tmp_path / "disk")}
    assert Outcome.CLEAR in disks
    assert disks <= {Outcome.CLEAR, Outcome.SAME}
    pair = Pair(case, Case("again", train("rnn", "--engine local")))
    assert {t.outcome for t in attack_pair(pair, trees, 1, 0, tmp_path / "pair")} <= {
        Outcome.CLEAR,
        Outcome.SAME,
    }


@pytest.mark.slow
@pytest.mark.parametrize("words", [train("rnn", "--engine local"), EVALUATE])
def test_killed_workers_cost_nothing(words, trees, tmp_path):
    case = Case("case", words, "nothing" if words.startswith("train") else "trained")
    trials = list(attack_workers(case, trees, 2, 0, tmp_path / "worker"))
    assert [t.text for t in trials if t.outcome != Outcome.SAME] == []
    assert any("a worker after" in t.name for t in trials)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("what", "outcome"), [(lose_a_weight, Outcome.SILENT), (leave_a_process, Outcome.HANG)]
)
def test_faults_of_commands_are_seen(what, outcome, trees, tmp_path, monkeypatch):
    case = Case("train", train("rnn"))
    case.prepare(trees, save_often)
    monkeypatch.setattr(kills, "save_often", break_of(what))
    monkeypatch.setattr(commands, "GRACE_S", 1.0)
    [trial] = attack_case(case, trees, 1, 0, tmp_path / "kill")
    assert trial.outcome == outcome, trial.text
    assert list((tmp_path / "kill").iterdir()), "what it takes to see it again stays"

"""A training that is asked to stop at random moments leaves its last whole step, and ends with the same bytes."""

import signal

import numpy as np
import pytest
from signals import signal_at

from emt import runs, stopping
from emt.files import write_json
from emt.training import chunk as chunks
from emt.training import curriculum
from emt.training.adam import MemberAdam
from emt.training.continued import where_it_continues
from emt.training.population import Chunk
from emt.training.resume import read_resume_state, resume_file
from emt.training.stack import Stack

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

NUMBERS = (1, 2, 3)


@pytest.fixture
def config(make_config, monkeypatch):
    """A run of two epochs of 20 steps that one member leaves early."""
    monkeypatch.setattr(curriculum, "STOP_WINDOW", 7)
    return make_config(
        num_models=3, hidden_dim=11, epoch_batches=20, stop_accuracy=0.7, curriculum_threshold=0.55
    )


@pytest.fixture
def steps(monkeypatch):
    """Return a list of the steps done so far, as they are done."""
    done, original = [0], Stack.advance

    def counted(stack, report):
        original(stack, report)
        done.append(stack.step)

    monkeypatch.setattr(Stack, "advance", counted)
    return done


def train(work, at=None, number=signal.SIGINT):
    """Train a chunk; send this process a signal at its ``at``-th call of a function. Return the number of calls."""
    with stopping.deferred(), signal_at(at, number) as calls:
        chunks.train_chunk(work)
    return calls[0]


def saved_step(work):
    return read_resume_state(work.state_path)[1]["step"]


def contents(work):
    """Return all that a member ends with but its log, which has times in it."""
    names = ("checkpoint/weights.safetensors", "checkpoint/done.json", "training_curve.csv")
    return [
        (runs.model_folder(work.experiment, n) / name).read_bytes() for n in work.numbers for name in names
    ]


def assert_the_last_whole_step_is_saved(work, steps):
    """Check what an interrupted chunk left: a resume state after the last step, or all of its members."""
    if work.state_path.exists():
        assert saved_step(work) == steps[-1]
    else:
        assert all(runs.is_done(work.experiment, n) for n in NUMBERS), "no resume state was saved"


@pytest.mark.parametrize("moments", [6, pytest.param(100, marks=pytest.mark.slow)])
def test_at_random_moments(config, steps, tmp_path, moments):
    whole = Chunk(tmp_path / "whole", config, NUMBERS)
    calls, rng, run = train(whole), np.random.default_rng(moments), 0
    expected, found = contents(whole), []
    while len(found) < moments:
        work, run = Chunk(tmp_path / str(run), config, NUMBERS), run + 1
        steps[:] = [0]
        while not all(runs.is_done(work.experiment, n) for n in NUMBERS):
            try:
                train(work, int(rng.integers(calls)), (signal.SIGINT, signal.SIGTERM)[len(found) % 2])
            except stopping.Stopped:
                assert_the_last_whole_step_is_saved(work, steps)
                found += [saved_step(work)] if work.state_path.exists() else []
        assert contents(work) == expected
        assert not list(work.experiment.rglob(".*")), "a file is half written"
    assert len(set(found)) > min(moments // 2, 20), "the moments are spread over the run"


@pytest.fixture
def interrupted_in_a_step(config, steps, tmp_path, monkeypatch):
    """Return a function that trains a chunk which Ctrl-C strikes while the optimiser's sixth step moves weights."""
    move = MemberAdam._descend

    def struck(optimizer, *tensors):
        move(optimizer, *tensors)
        if steps[-1] == 5:
            signal.raise_signal(signal.SIGINT)

    def interrupt():
        work = Chunk(tmp_path, config, NUMBERS)
        with pytest.raises(stopping.Stopped):
            train(work)
        return work

    monkeypatch.setattr(MemberAdam, "_descend", struck)
    return interrupt


def test_within_a_step(interrupted_in_a_step, steps):
    assert_the_last_whole_step_is_saved(interrupted_in_a_step(), steps)
    assert steps[-1] == 6


def test_what_is_said_of_it_is_where_it_continues(interrupted_in_a_step, steps, config, tmp_path):
    assert where_it_continues(config, tmp_path) == "", "a new run has nothing to say"
    work = interrupted_in_a_step()
    write_json(tmp_path / "population" / "chunks.json", [[*NUMBERS], [4, 5]])
    write_json(tmp_path / "config.json", config.model_dump())
    expected = f"models 1 to 3 continue after step {steps[-1]} of 40 (epoch 1 of 2) at horizon"
    said = where_it_continues(config, tmp_path)
    assert said.startswith(expected)
    assert said.endswith("; models 4 and 5 start at step 0")
    other = config.model_copy(update={"model": {**config.model, "hidden_dim": 12}})
    assert where_it_continues(other, tmp_path) == "", "training refuses another run in the folder"
    work.state_path.write_bytes(resume_file({}, {"numbers": [1, 2, 3], "step": "6"}))
    assert where_it_continues(config, tmp_path) == "", "training refuses the file, and says so"
    work.state_path.write_bytes(b"damaged")
    assert where_it_continues(config, tmp_path) == "", "training refuses the file, and says so"


def test_an_exception_within_a_step_would_lose_what_is_done(interrupted_in_a_step, steps, monkeypatch):
    """Negative control: Ctrl-C as an exception where it strikes, instead of a request, fails the same check."""
    monkeypatch.setattr(stopping, "deferred", stopping.handled)
    work = interrupted_in_a_step()
    assert steps[-1] == 5
    with pytest.raises(AssertionError, match="no resume state was saved"):
        assert_the_last_whole_step_is_saved(work, steps)

"""What an evaluation records at a time, and what is refused before it starts."""

import resource
from dataclasses import replace

import numpy as np
import pytest

from emt import evaluation, record, runs
from emt.commands import working_memory
from emt.commands.evaluate_members import load_member
from emt.config import RunConfig, TrainingConfig
from emt.errors import UserError
from emt.models import MODELS
from emt.options import load

UNITS, WIDTH, LENGTH, HORIZON = 7, 3, 2, 9


@pytest.fixture
def make_work(tmp_path):
    def make(model="rnn", **changes):
        config = RunConfig(
            task={"name": "variable_binding", "seq_length": LENGTH, "input_dim": WIDTH},
            model={"type": model, "hidden_dim": UNITS},
            training=TrainingConfig(num_models=2, seed=5),
        )
        stack = load(MODELS, model, "model_type")(
            config.training.seeds(), WIDTH, WIDTH, **config.model_options()
        )
        for position in range(2):
            runs.write_weights(runs.model_folder(tmp_path, position + 1), stack.export(position), {})
        settings = evaluation.Settings((LENGTH, 4), HORIZON, "cpu", True)
        return replace(evaluation.Work(tmp_path, config, settings, (1, 2)), **changes)

    return make


@pytest.fixture
def make_loaded():
    return lambda work: record.load_members(work.experiment, work.config, [1])


def with_horizon(work, horizon):
    return replace(work, settings=replace(work.settings, test_horizon=horizon))


def test_an_elman_step_reports_its_outputs_and_its_states(make_work, make_loaded):
    assert record.step_bytes(make_loaded(make_work()), LENGTH) == 4 * (UNITS + WIDTH)
    assert record.step_bytes(make_loaded(make_work("lstm")), LENGTH) == 4 * (2 * UNITS + WIDTH)


def test_the_steps_of_a_long_sequence_are_known_without_it(make_work, make_loaded):
    work = make_work()
    task = make_loaded(work).task
    assert working_memory.count_steps(work, task, 4) == task.test_batch(5, 4, HORIZON, 1).steps == 4 + HORIZON
    assert working_memory.count_steps(with_horizon(work, 10**12), task, 4) == 10**12 + 4
    assert working_memory.count_steps(with_horizon(work, 10**12), task, 4, 32) == 36


def test_blocks_cover_everything_once_and_hold_at_least_one(monkeypatch):
    monkeypatch.setattr(working_memory, "PIECE_BYTES", 100)
    for size, largest in [(30, 3), (100, 1), (101, 1), (1000, 1)]:
        blocks = working_memory.sequence_blocks(size, 70)
        assert [n for block in blocks for n in range(block.start, block.stop)] == list(range(70))
        assert max(block.stop - block.start for block in blocks) == largest
        members = working_memory.member_blocks((2, 3, 5, 7, 11), size)
        assert [n for block in members for n in block] == [2, 3, 5, 7, 11]
        assert max(map(len, members)) == largest


@pytest.mark.parametrize("model", ["rnn", "lstm", "fw"])
def test_a_model_recorded_in_pieces_is_the_model_recorded_at_once(make_work, monkeypatch, model):
    work = make_work(model)
    whole, operators, rows = load_member(work, 2)
    assert whole.hidden.shape == (512, 13, UNITS)
    # 7 sequences of the longer length at a time, and the states of 5 of each length: 512 and 7 are coprime.
    step = record.step_bytes(record.load_members(work.experiment, work.config, [2]), 4)
    monkeypatch.setattr(working_memory, "PIECE_BYTES", 7 * 13 * step)
    monkeypatch.setattr(working_memory, "KEPT_BYTES", 5 * 13 * 4 * UNITS * 2)
    pieces, same_operators, same_rows = load_member(work, 2)
    assert rows == same_rows
    assert operators.keys() == same_operators.keys()
    np.testing.assert_array_equal(pieces.recorded, [0, 1, 2, 3, 4, 256, 257, 258, 259, 260])
    np.testing.assert_array_equal(pieces.targets, whole.targets)
    np.testing.assert_array_equal(pieces.scored, whole.scored)
    np.testing.assert_allclose(pieces.outputs, whole.outputs, atol=1e-6)
    np.testing.assert_allclose(pieces.hidden, whole.hidden[pieces.recorded], atol=1e-6)
    np.testing.assert_allclose(
        pieces.scored_states, whole.hidden[pieces.recorded][whole.scored[pieces.recorded]], atol=1e-6
    )
    if model != "rnn":
        np.testing.assert_allclose(pieces.jacobian, whole.jacobian, atol=1e-5)
        # Control: the mean over the first piece alone is another state.
        first = load_member(with_horizon(work, 1), 2)[0]
        assert np.abs(first.jacobian - whole.jacobian).max() > 1e-4


def test_what_does_not_fit_is_refused_with_the_option_to_change(make_work, make_loaded, monkeypatch):
    work = make_work(workers=2)
    loaded = make_loaded(work)
    monkeypatch.setattr(working_memory, "free_memory", lambda: 2 * 10**9)
    working_memory.check_fits(work, loaded)
    with pytest.raises(
        UserError, match=r"^test_horizon: the evaluation needs about .* GB of memory, and 2 GB are"
    ) as e:
        working_memory.check_fits(with_horizon(work, 10**12), loaded)
    fitting = int(str(e.value).rsplit("; ", 1)[1].split()[0])
    working_memory.check_fits(with_horizon(work, fitting), loaded)
    with pytest.raises(UserError):
        working_memory.check_fits(with_horizon(work, 3 * fitting), loaded)
    monkeypatch.setattr(working_memory, "free_memory", lambda: 6 * 10**8)
    with pytest.raises(UserError, match=r"^num_workers: .*; 1 would fit$"):
        working_memory.check_fits(work, loaded)
    monkeypatch.setattr(working_memory, "free_memory", lambda: 10**8)
    with pytest.raises(UserError, match=r"^seq_length: .*; choose fewer or shorter lengths$"):
        working_memory.check_fits(work, loaded)


def test_recorded_runs_that_no_disk_holds_are_refused(make_work, make_loaded, monkeypatch):
    work = make_work()
    loaded = make_loaded(work)
    size = 2 * 32 * (LENGTH + 4 + 2 * HORIZON) * 4 * (UNITS + WIDTH)
    assert working_memory.estimate(work, loaded).files == size
    for free, fits in [(size, True), (size - 1, False)]:
        monkeypatch.setattr(
            working_memory.shutil, "disk_usage", lambda _, free=free: type("Usage", (), {"free": free})
        )
        if fits:
            working_memory.check_fits(work, loaded)
        else:
            with pytest.raises(
                UserError, match=r"^model_pattern: recorded runs of 2 models need about .* of disk"
            ):
                working_memory.check_fits(work, loaded)


def test_a_recorded_run_that_does_not_fit_is_not_read(tmp_path, monkeypatch):
    path = tmp_path / "seq4.nc"
    path.write_bytes(bytes(1000))
    for free in (2000, 1999):
        monkeypatch.setattr(working_memory, "free_memory", lambda free=free: free)
        if free == 2000:
            working_memory.check_readable(path, "summary_file")
        else:
            with pytest.raises(
                UserError, match=r"^summary_file: an analysis of .*seq4\.nc needs .*--model_pattern"
            ):
                working_memory.check_readable(path, "summary_file")


def test_free_memory_respects_the_limit_of_the_process(monkeypatch):
    most = 10**15
    monkeypatch.setattr(resource, "getrlimit", lambda _: (resource.RLIM_INFINITY,) * 2)
    without = working_memory.free_memory()
    assert 0 < without < most
    monkeypatch.setattr(resource, "getrlimit", lambda _: (without // 2,) * 2)
    assert working_memory.free_memory() < without // 2


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("DefaultCPUAllocator: can't allocate memory"),
        RuntimeError("CUDA out of memory."),
    ],
)
def test_memory_that_runs_out_is_one_line_with_the_options(error):
    expected = pytest.raises(UserError, match=r"^test_horizon: memory ran out; .* --num_workers$")
    with expected, working_memory.explained_allocations():
        raise error
    with pytest.raises(RuntimeError, match="shapes"), working_memory.explained_allocations():
        raise RuntimeError("shapes differ")

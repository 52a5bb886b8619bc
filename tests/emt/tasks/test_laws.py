"""Laws of every registered task, and of the names of its options beside those of models and sections."""

import argparse
import itertools

import numpy as np
import pytest

from emt import trace
from emt.config import ExecutionConfig, TrainingConfig
from emt.errors import RegistrationError, UserError
from emt.models import MODELS
from emt.options import Option, add_flags, load, options_of, options_of_model
from emt.tasks import TASKS
from emt.tasks.base import Batch, check_task

REQUIRED = {
    "variable_binding": {"seq_length": 3, "input_dim": 2},
    "catbabi": {"folder": "en-valid", "tasks": (1, 15), "segment": 20},
    "contextual_choice": {"trials": 4, "steps": 5, "t_off": 2, "evidence": 3},
    "graph_navigation": {"steps": 5, "graphs": 6},
    "characters": {"dataset": "small_palindromes"},
    "words": {"segment": 20},
}
"""Options of tasks that need some, or are large without."""

SEEDS, SIZE, HORIZON = (5, 1005), 4, 6
ONE_TEXT = ("words",)
"""Tasks in which all seeds read the same, as published."""

every_task = pytest.mark.parametrize("name", TASKS)


@pytest.fixture
def make_task(mini_babi, mini_texts):
    """Return a function that makes a task by name."""

    def make(name):
        folders = {"catbabi": mini_babi, "words": mini_texts}
        data = {"data": str(folders[name])} if name in folders else {}
        return load(TASKS, name, "task")(**REQUIRED.get(name, {}), **data)

    return make


def batch_of(task, split="train", step=0):
    shape = task.shape(SEEDS[0], split, step, HORIZON)
    return task.batch(SEEDS, split, step, shape, SIZE)


def as_played(batch):
    """Return a batch as agents without preferences play it; one that waits for no actions, as it is."""
    if batch.environment is None:
        return batch
    return batch.environment.play(lambda seen, events: np.zeros((*seen.shape[:2], 4)), len(SEEDS))


def arrays_of(batch):
    return [np.asarray(batch.inputs), batch.targets, batch.scored, batch.judged_steps, *batch.events.values()]


def equal(first, second):
    pairs = itertools.zip_longest(arrays_of(first), arrays_of(second))
    return all(a.shape == b.shape and np.array_equal(a, b) for a, b in pairs)


@every_task
def test_a_task_has_all_that_is_asked_of_it(name, make_task):
    check_task(make_task(name), name)
    with pytest.raises(
        RegistrationError, match=r"task 'x': expected object to have input_channels, .*operator"
    ):
        check_task(object(), "x")


@every_task
def test_batches_are_a_function_of_seed_split_and_step(name, make_task):
    first, again = (batch_of(make_task(name)) for _ in range(2))
    assert equal(first, again)
    assert np.array_equal(np.asarray(first.inputs)[0], np.asarray(first.inputs)[1]) == (name in ONE_TEXT)


@every_task
def test_splits_and_steps_differ(name, make_task):
    task = make_task(name)
    batches = [batch_of(task, "train"), batch_of(task, "validation"), batch_of(task, "train", 1)]
    for first, second in itertools.combinations(batches, 2):
        assert not equal(first, second)


def states_of_models():
    """Return names of states, which a trace has beside a task's events."""
    kinds = [load(MODELS, name, "model_type") for name in MODELS]
    return {state for kind in kinds for state in getattr(kind, "state_dims", {})}


@every_task
@pytest.mark.parametrize("split", ["train", "validation"])
def test_arrays_have_the_shapes_and_types_of_a_batch(name, split, make_task):
    task, batch = make_task(name), as_played(batch_of(make_task(name), split))
    assert isinstance(batch, Batch)
    leading = batch.scored.shape
    assert leading[:2] == (len(SEEDS), SIZE)
    assert batch.scored.dtype == bool
    assert batch.scored.any()
    inputs = batch.padded_inputs(task.input_channels)
    assert (inputs.shape, inputs.dtype) == ((*leading, task.input_channels), np.float32)
    assert batch.targets.shape[:3] == leading
    assert batch.judged_steps.shape == leading
    own = batch.events.keys() - set(trace.EVENTS)
    assert all(event.isidentifier() for event in own)
    assert not own & ({*trace.REQUIRED, *trace.RECORDED, *trace.OPTIONAL} | states_of_models())
    for event, values in batch.events.items():
        assert np.issubdtype(values.dtype, np.integer), event
        assert values.shape[:3] == leading, event
        assert values.ndim == 3 or event in trace.ITEMS, event
        assert values.min() >= -1, event


@every_task
def test_what_is_asked_for_was_written_somewhere(name, make_task):
    batch = as_played(batch_of(make_task(name)))
    if {"asked", "written"} <= batch.events.keys():
        written, asked = (set(np.unique(batch.events[event])) - {-1} for event in ("written", "asked"))
        assert written
        # Items that a stream wrote in an earlier batch may be asked for; a fresh one has written all.
        assert asked <= written or not batch.fresh
    assert batch.events.get("asked") is None or "written" in batch.events


def outcome_of(task, length):
    """Return the leading axes of a test batch of a length, or which parameter is refused."""
    try:
        return task.test_batch(5, length, HORIZON, SIZE).scored.shape[:2]
    except UserError as error:
        return f"refused: {error.parameter}"


@every_task
@pytest.mark.parametrize("length", [1, 29])
def test_a_length_is_tested_or_refused(name, length, make_task):
    task = make_task(name)
    trained = task.test_batch(5, task.lengths[0], HORIZON, SIZE)
    assert trained.scored.shape[:2] == (1, SIZE)
    assert trained.scored.any()
    assert outcome_of(task, length) in ("refused: length", (1, SIZE))


@pytest.mark.parametrize("model", MODELS)
@every_task
def test_no_two_parts_of_a_command_line_share_an_option(name, model):
    parser = argparse.ArgumentParser()
    for flag in ("--experiment_name", "--output_dir", "--config", "--task", "--model_type"):
        parser.add_argument(flag)
    sections = [options_of(TASKS[name]), options_of(MODELS[model])]
    for options in (*sections, options_of_model(TrainingConfig), options_of_model(ExecutionConfig)):
        add_flags(parser, options)
    with pytest.raises(RegistrationError, match=r"^--seed: .* an option of this name"):
        add_flags(parser, [Option("seed", int, 0)])

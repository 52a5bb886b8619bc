"""Laws of associative memories over the whole registry: what a model logs is what it does."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from analysis.memory.log import memory_log
from analysis.memory.matching import match_memories
from analysis.memory.replay import match_grids, recall_error, replay_memory
from emt import record, runs, trace
from emt.config import RunConfig, TrainingConfig
from emt.models import MODELS
from emt.options import assigns, load

MEMBERS, SEQUENCES, PAIRS = 2, 5, 3
STEPS = 2 * PAIRS + 3
WITH_MEMORY = [name for name, target in MODELS.items() if assigns(target, "memories")]

every_memory = pytest.mark.parametrize("recording", WITH_MEMORY, indirect=True)


SMALLER = {"awd_fwm": {"hidden_dim": 12, "embedding_dim": 400}}
"""Sizes of a model whose defaults are those of a language model; keys of a small last layer would be near zero."""


@pytest.fixture
def recording(request, tmp_path: Path):
    """Record untrained members of a model, its name with options or without, on associative retrieval."""
    name, options = request.param if isinstance(request.param, tuple) else (request.param, {})
    options = {**SMALLER.get(name, {}), **options}
    config = RunConfig(
        metadata={"experiment_name": "planted"},
        task={"name": "associative_retrieval", "pairs": PAIRS},
        model={"type": name, **options},
        training=TrainingConfig(num_models=MEMBERS, seed=5),
    )
    build = load(MODELS, name, "model_type")
    stack = build(config.training.seeds(), 37, 10, **config.model_options())
    for position in range(MEMBERS):
        runs.write_weights(runs.model_folder(tmp_path, position + 1), stack.export(position), {})
    loaded = record.load_members(tmp_path, config, (1, 2))
    batch = loaded.task.test_batch(5, STEPS, 1, SEQUENCES)
    if "targets" in loaded.model.context:
        # What is learnt at the last step alone is never read.
        targets = np.random.default_rng(2).integers(0, 10, batch.scored.shape)
        batch = replace(batch, answers=targets, scored=np.ones_like(batch.scored))
    return record.record(loaded, batch, STEPS)


def memories(recording):
    return list(trace.places(recording))


def test_some_model_keeps_a_memory():
    assert "fw" in WITH_MEMORY
    assert "rnn" not in WITH_MEMORY


@every_memory
def test_effective_weights_times_written_values_are_what_the_memory_returned_at_every_step(recording):
    for memory in memories(recording):
        grids = match_grids(recording, memory)
        assert np.nanmax(np.abs(trace.memory(recording, memory)["read_value"].values)) > 0
        assert len(grids.read_steps) >= STEPS - 1
        assert (recall_error(recording, memory, grids) < 1e-5).all()


@every_memory
def test_ignoring_decay_shows(recording):
    for memory in memories(recording):
        if (memory_log(recording, memory).keep == 1).all():
            continue
        trace.memory(recording, memory)["write_keep"].values[:] = 1
        assert (recall_error(recording, memory, match_grids(recording, memory)) > 1e-3).all()


@every_memory
def test_replayed_contents_answer_as_recorded(recording):
    for memory in memories(recording):
        log = memory_log(recording, memory)
        if log.rule["kind"] != "linear":
            continue
        steps = np.arange(1, STEPS)
        contents = replay_memory(recording, memory, log.last_write(steps).tolist())
        queries, *further = np.moveaxis(log.query[:, :, steps], -2, 0)
        for factor in further:
            queries = (queries[..., :, None] * factor[..., None, :]).reshape(*queries.shape[:-1], -1)
        answers = np.einsum("mbtvk,mbtrk->mbtrv", contents, queries)
        np.testing.assert_allclose(answers, log.answer[:, :, steps], atol=1e-5 * np.abs(log.answer).max())


DICTIONARIES = [
    ("dnd_lstm", {"similarity": similarity, "recall": recall, "key": key, "capacity": capacity})
    for similarity, recall, key, capacity in (
        ("l1", "nearest", "input", 100),
        ("cosine", "nearest", "context", 100),
        ("l2", "kernel", "input", 2),
        ("l1", "kernel", "context", 2),
        ("cosine", "kernel", "input", 100),
        ("l2", "nearest", "hidden", 100),
        ("cosine", "kernel", "hidden", 2),
    )
]


@pytest.mark.parametrize(
    "recording", DICTIONARIES, indirect=True, ids=lambda p: "-".join(map(str, p[1].values()))
)
def test_every_kind_of_dictionary_is_read_as_its_rule_says(recording):
    grids = match_grids(recording, "dnd")
    assert np.abs(recording["memory/dnd/read_value"].values).max() > 0
    assert (recall_error(recording, "dnd", grids) < 1e-5).all()


@pytest.mark.parametrize("recording", [("fw", {"eta": 0.0})], indirect=True)
def test_with_fast_weights_off_the_score_is_chance(recording):
    scores = match_memories(recording).scores
    assert (scores["asks"] == SEQUENCES).all()
    np.testing.assert_allclose(scores["score"], 1 / (STEPS - 1))
    np.testing.assert_allclose(scores["chance"], 1 / (STEPS - 1))


def erases_at_the_key(node):
    """KDA looks up what it erases at w ∘ k, after the decay; this at k, before it."""
    node["erase_query"] = node["erase_key"] = node["write_key"]


def erases_where_it_looks_up(node):
    """RWKV-7 takes away at κ̂ ∘ a; this at κ̂."""
    node["erase_key"] = node["erase_query"]


def erases_nothing(node):
    node["write_erase"] = 0 * node["write_erase"]


def keeps_the_mean(node):
    """One decay for all channels in place of one each."""
    node["write_keep"] = node["write_keep"].mean("key").expand_dims(key=node.sizes["key"], axis=-1)


WRONG = [
    ("kda", erases_at_the_key),
    ("kda", keeps_the_mean),
    ("rwkv7", erases_where_it_looks_up),
    ("rwkv7", keeps_the_mean),
    *((name, erases_nothing) for name in ("deltanet", "gated_deltanet", "kda", "rwkv7")),
]


@pytest.mark.parametrize(
    ("recording", "wrong"),
    [((name, {"hidden_dim": 12, "initializer_range": 0.5}), wrong) for name, wrong in WRONG],
    indirect=["recording"],
    ids=[f"{name}-{wrong.__name__}" for name, wrong in WRONG],
)
def test_another_rule_than_the_cells_misses(recording, wrong):
    [memory, *_] = memories(recording)
    assert (recall_error(recording, memory, match_grids(recording, memory)) < 1e-5).all()
    wrong(recording["memory/fast"])
    assert (recall_error(recording, memory, match_grids(recording, memory)) > 1e-2).all()

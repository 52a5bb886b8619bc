"""Conditions on writes and reads: which writes are chosen, what they give, and what is refused."""

import re

import numpy as np
import pytest

from analysis import summarise_interventions
from emt import effects
from emt.commands.known_systems.signed_memory import signed_memory
from emt.errors import UserError
from emt.interventions.condition import Condition
from emt.interventions.intervene import intervene
from emt.interventions.queries import queries_of
from emt.interventions.targets import exchanged, sources_of, targets_of
from emt.interventions.write_conditions import UNCHANGED
from emt.interventions.write_edits import WriteEdits
from emt.models import MODELS
from emt.options import load
from emt.record import Loaded, to_tensors
from emt.tasks.associative_retrieval import AssociativeRetrieval
from emt.tasks.contextual_choice import ContextualChoice

SEEDS = (11, 1011)


def retrieval(size=40, **options):
    task = AssociativeRetrieval(pairs=3)
    model = load(MODELS, "fw", "model_type")(
        SEEDS, task.input_channels, task.output_channels, hidden_dim=9, **options
    )
    labels = {"model": {"type": "fw"}, "task": {}, "experiment": "", "seeds": list(SEEDS)}
    return Loaded(model.requires_grad_(False), task, (1, 2), labels), task.test_batch(0, 9, 1, size)


def test_queried_writes_and_those_of_another_item_are_at_the_same_distances():
    _, batch = retrieval()
    queries = queries_of(batch, batch.judged_steps[0], True, 0)
    targets = targets_of(batch, queries)
    # Item k is written at step 2 k + 1.
    assert [np.flatnonzero(row).tolist() for row in targets.queried] == [
        [2 * k + 1] for k in queries.items[:, 0]
    ]
    other = targets.other(np.random.default_rng(0))
    assert (other.sum(axis=1) == 1).all()
    assert not (other & targets.queried).any()
    assert sorted(targets.lag(other)) == sorted(targets.lag(targets.queried))
    wide = targets_of(batch, queries, mixes=2)
    assert (wide.queried.sum(axis=1) == 2).all()


def test_where_all_are_alike_no_exchange_can_part_them():
    generator = np.random.default_rng(0)
    mixed = np.repeat([1.0, 2.0], 5)
    assert (exchanged(mixed, generator) != mixed).all()
    assert exchanged(np.ones(3), generator).tolist() == [1.0] * 3


def test_sources_have_their_writes_at_the_same_steps_and_the_answers_that_are_wanted():
    mask = np.eye(4, dtype=bool)[[0, 0, 1, 1, 0, 2]]
    answers = np.array([0, 1, 1, 1, 0, 3])
    generator = np.random.default_rng(0)
    assert sources_of(mask, answers, False, generator).tolist()[1] in (0, 4)
    assert sources_of(mask, answers, False, generator).tolist()[2:] == [-1, -1, 1, -1]
    assert sources_of(mask, answers, True, generator).tolist() == [4, -1, 3, 2, 0, -1]


def test_without_fast_weights_no_write_matters_and_with_them_it_does():
    for eta, same in ((0.0, True), (0.5, False)):
        loaded, batch = retrieval(eta=eta)
        found = intervene(loaded, batch, kinds=("writes",))
        base = found["margin"].sel(condition="unchanged")
        removed = found["margin"].sel(condition="without queried")
        assert (removed.equals(base) or bool((removed == base).all())) == same
        assert np.isfinite(found["right"].sel(condition="without queried")).all()
    said = {c.name: c for c in effects.conditions(found)}
    assert {c.kind for c in said.values()} == {"writes", "checks", "dose", "map"}
    lags = found["lag"].sel(condition=["without queried", "without other"]).mean("query")
    assert lags[0] == lags[1]
    swapped = found.sel(condition="queried with the value of another answer")
    assert np.isfinite(swapped["counterfactual_right"]).all()
    assert np.isnan(found["counterfactual_right"].sel(condition="without queried")).all()


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        (
            {"edit": "shuffle", "target": "queried"},
            "edit must be one of unchanged, scale, skip, freeze, swap, swap key, swap both, add, give; got 'shuffle'",
        ),
        (
            {"edit": "scale", "target": "queries"},
            "target must be one of queried, other, all, but queried, but other",
        ),
        ({"edit": "swap", "target": "queried"}, "source must be one of another answer, same answer; got ''"),
        ({"edit": "scale", "target": "all", "part": "slow"}, "part must be one of all, fast; got 'slow'"),
        (
            {"edit": "scale", "target": "all", "at": "once"},
            "at must be one of write, query, between, reads; got 'once'",
        ),
        ({"edit": "skip", "target": "all", "at": "query"}, "at must be write; got 'query'"),
        (
            {"edit": "scale", "target": "all", "hold": True},
            "'a': a change of 'hold' of memories that can have scale, skip, freeze, .* changed is not possible",
        ),
    ],
)
def test_writes_that_cannot_be_changed_so_are_refused(condition, message):
    with pytest.raises(UserError, match=message):
        intervene(*retrieval(4), [Condition("a", kind="writes", **condition)])


def test_models_without_memory_have_no_writes():
    task = AssociativeRetrieval(pairs=3)
    model = load(MODELS, "rnn", "model_type")(SEEDS, task.input_channels, task.output_channels, hidden_dim=9)
    labels = {"model": {"type": "rnn"}, "task": {}, "experiment": "", "seeds": list(SEEDS)}
    loaded = Loaded(model.requires_grad_(False), task, (1, 2), labels)
    with pytest.raises(
        UserError, match="writes: the model has no associative memory that is logged; states would do"
    ):
        intervene(loaded, task.test_batch(0, 9, 1, 4), kinds=("writes",))
    found = intervene(loaded, task.test_batch(0, 9, 1, 4))
    assert {c.kind for c in effects.conditions(found)} == {"states", "curve"}


def test_reads_that_miss_writes_before_the_query_are_of_no_use_to_one_that_misses_them_itself():
    """Direct and indirect effect: at the query alone, and at all reads before it; the estimate is of the first."""
    loaded, batch = retrieval()
    found = intervene(loaded, batch, kinds=("reads",))
    said = {c.name: c for c in effects.conditions(found)}
    assert {c.kind for c in said.values()} == {"writes", "reads", "edges"}
    assert said["without queried, at the query"].control == "without other, at the query"
    margin = found["margin"].mean("query")
    base = margin.sel(condition="unchanged")
    for name in ("without queried, at the query", "as much of something else read, too"):
        assert (margin.sel(condition=name) != base).all()
    linear = found["linear_margin"]
    assert np.isfinite(linear.sel(condition="without queried, at the query")).all()
    assert np.isnan(linear.sel(condition="without queried, until the query")).all()


def test_given_the_read_of_another_answer_every_sequence_answers_as_its_source():
    """A signed memory's read is what it finds of the queried pair, so that of the source gives the source's answer."""
    loaded = signed_memory(SEEDS)
    found = intervene(loaded, loaded.task.test_batch(0, 5, 1, 60), kinds=("reads",))
    given = found.sel(condition="the read of another answer")
    assert (given["counterfactual_right"] == 1).all()
    assert (given["right"] == 0).all()
    assert (found["right"].sel(condition="only queried, at the query") == 1).all()
    # Two writes that no read finds are as good as one.
    assert (found["right"].sel(condition="without other, at the query") == 1).all()
    assert (found["margin"].sel(condition="without queried, at the query") == 0).all()


def test_what_a_read_weighs_of_a_write_is_its_share():
    """A signed memory weighs the queried write alone; in any memory the shares of single writes add up to 1."""
    loaded = signed_memory(SEEDS)
    found = intervene(loaded, loaded.task.test_batch(0, 5, 1, 60), kinds=("writes",))
    share = found["share"]
    assert (share.sel(condition="without queried") == 1).all()
    assert (share.sel(condition="without other") == 0).all()
    assert share.sel(condition="unchanged").isnull().all()

    loaded, batch = retrieval()
    steps = range(1, batch.steps)
    single = [Condition(f"lag {lag}", "scale", target=f"lag {lag}", kind="writes") for lag in steps]
    share = intervene(loaded, batch, single)["share"].values
    assert np.nanmin(share) >= 0
    np.testing.assert_allclose(np.nansum(share, axis=1), 1, atol=1e-6)
    assert np.nanstd(share, axis=1).min() > 0.01


def test_frozen_memories_hold_what_was_written_before():
    """Frozen after two pairs a memory answers queries of these two, and of no other."""
    loaded = signed_memory(SEEDS)
    batch = loaded.task.test_batch(0, 6, 1, 60)
    frozen = Condition("frozen", "freeze", kind="writes", after=2, control="unchanged")
    found = intervene(loaded, batch, [UNCHANGED, frozen])
    first = (batch.events["written"][0][:, :2] == found["item"].values[:, None]).any(axis=1)
    margin = found["margin"].sel(condition="frozen").values
    assert (margin[:, first] == 1).all()
    assert (margin[:, ~first] == 0).all()


def test_dictionaries_have_conditions_on_reads_and_no_share_of_an_edge():
    task = ContextualChoice(trials=3, steps=4, t_off=2, evidence=3)
    model = load(MODELS, "dnd_lstm", "model_type")(
        SEEDS, task.input_channels, task.output_channels, hidden_dim=5, similarity="l1"
    )
    labels = {"model": {"type": "dnd_lstm"}, "task": {}, "experiment": "", "seeds": list(SEEDS)}
    loaded = Loaded(model.requires_grad_(False), task, (1, 2), labels)
    batch = task.test_batch(0, 24, 1, 8)
    found = intervene(loaded, batch, kinds=("writes", "reads"))
    # Agents that read once at the query lose by a cut edge what they lose by a removed entry.
    margin = found["margin"].sel(condition=["without queried", "without queried, at the query", "unchanged"])
    assert np.isfinite(margin).all()
    said = {c.name: c.edit for c in effects.conditions(found)}
    assert said["without queried"] == "skip"
    # Between writes there is nothing to remove.
    assert np.isnan(found["right"].sel(condition="without write 1 before")).any()
    # Given what a source's query recalls an agent goes on as with the source's value in its own entry.
    swapped, given = (
        found["margin"].sel(condition=name)
        for name in ("queried with the value of another answer", "the read of another answer")
    )
    agree = np.isclose(swapped, given, atol=1e-5) | np.isnan(given)
    assert agree.mean() > 0.8
    half = Condition("a", "scale", kind="reads", target="queried", at="query", amount=0.5)
    with pytest.raises(UserError, match=re.escape("'a': amount must be 0.0; got 0.5")):
        intervene(loaded, batch, [half])


def test_with_a_convolution_an_items_content_is_in_several_writes_that_go_together():
    """Three pairs and four taps: the last pair has fewer writes to itself before the query, and all conditions run."""
    task = AssociativeRetrieval(pairs=3)
    model = load(MODELS, "deltanet", "model_type")(
        SEEDS, task.input_channels, task.output_channels, hidden_dim=8
    )
    labels = {"model": {"type": "deltanet"}, "task": {}, "experiment": "", "seeds": list(SEEDS)}
    loaded = Loaded(model.requires_grad_(False), task, (1, 2), labels)
    found = intervene(loaded, task.test_batch(0, 9, 1, 40), kinds=("writes", "reads"))
    assert np.isfinite(found["margin"].sel(condition="without queried")).all()
    names = found["condition"].values.tolist()
    # A delta memory erases, so a write that is skipped is another thing than one of no strength.
    assert {"queried skipped", "other with a value of another answer"} <= set(names)
    margins = found["margin"].sel(condition=["without queried", "queried skipped"])
    assert not np.allclose(margins[:, 0], margins[:, 1])


def test_memories_that_take_no_edits_or_few_have_the_conditions_that_they_can(monkeypatch):
    loaded, batch = retrieval(12)
    monkeypatch.setattr(loaded.model, "edits", ("scale",), raising=False)
    names = intervene(loaded, batch, kinds=("writes", "reads"))["condition"].values.tolist()
    assert {"unchanged", "without queried", "without other"} <= set(names)
    assert not [name for name in names if "at the query" in name or "key" in name]
    monkeypatch.setattr(loaded.model, "edits", ())
    assert {c.kind for c in effects.conditions(intervene(loaded, batch))} == {"states", "curve"}
    with pytest.raises(UserError, match=re.escape("nothing of the model's memory can be changed in a run")):
        intervene(loaded, batch, kinds=("writes",))


def test_untrained_networks_depend_on_no_write():
    """Eight seeds: the interval of control − target holds zero."""
    task = AssociativeRetrieval(pairs=3)
    seeds = tuple(range(8))
    model = load(MODELS, "fw", "model_type")(seeds, task.input_channels, task.output_channels, hidden_dim=9)
    labels = {"model": {"type": "fw"}, "task": {}, "experiment": "", "seeds": list(seeds)}
    loaded = Loaded(model.requires_grad_(False), task, tuple(range(1, 9)), labels)
    found = intervene(loaded, task.test_batch(0, 9, 1, 100), kinds=("writes",))
    row = summarise_interventions(found).population.loc["without queried"]
    assert row["effect_low"] < 0 < row["effect_high"]
    assert row["p"] > 0.05


@pytest.mark.parametrize("name", ["fw", "fwm", "deltanet", "gated_deltanet", "mamba2", "linear_attention"])
def test_reads_of_edited_runs_are_what_their_logs_say(name):
    """Σ_i W_ti (1 − hide_i) v_i + add, to rounding in float32; and not where a log has other signs."""
    task = AssociativeRetrieval(pairs=3)
    model = load(MODELS, name, "model_type")(SEEDS, task.input_channels, task.output_channels, hidden_dim=8)
    labels = {"model": {"type": name}, "task": {}, "experiment": "", "seeds": list(SEEDS)}
    loaded = Loaded(model.requires_grad_(False), task, (1, 2), labels)
    batch = task.test_batch(0, 9, 1, 12)
    found = intervene(loaded, batch, kinds=("writes", "reads"))
    errors = found["read_error"]
    assert np.isfinite(errors).all()
    assert errors.max() < 1e-5
    inputs, context = to_tensors(loaded, batch)
    queries = queries_of(batch, batch.judged_steps[0], True, 0)
    log = model(inputs, None, batch.steps, context)[2]
    edits = WriteEdits(model, log, queries)
    assert edits.read_error(edits.nothing(), log).max() < 1e-5
    node = next(iter(model.memories))
    wrong = {**log, f"memory/{node}/write_value": -log[f"memory/{node}/write_value"]}
    assert edits.read_error(edits.nothing(), wrong).min() > 0.1

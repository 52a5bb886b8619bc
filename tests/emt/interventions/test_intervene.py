"""Conditions on loaded members: what they answer, and what is refused."""

import re

import numpy as np
import pytest
import torch

from emt import effects
from emt.commands.known_systems.registers import LENGTH, shift_register
from emt.errors import UserError
from emt.interventions.condition import Condition
from emt.interventions.conditions import chosen_steps, cut
from emt.interventions.intervene import intervene
from emt.interventions.queries import Answers, Queries, queries_of
from emt.interventions.scores import score
from emt.models.fast_weights import FastWeights
from emt.record import Loaded
from emt.tasks.associative_retrieval import AssociativeRetrieval


def register(members=2):
    loaded = shift_register(range(members))
    return loaded, loaded.task.test_batch(0, LENGTH, 2 * LENGTH, 16)


def test_an_exchanged_register_answers_what_its_source_was_shown():
    loaded, batch = register()
    found = intervene(loaded, batch)
    assert (found["right"].sel(condition="cut after 3 steps") == 1).all()
    exchanged = found.sel(condition="shuffle state after 3 steps")
    shown = np.asarray(batch.targets[0, :, LENGTH:])
    same = (shown == shown[exchanged["source"]]).mean(axis=(1, 2))
    np.testing.assert_allclose(exchanged["right"], np.tile(same, (2, 1)), atol=1e-6)
    differ = same < 1
    assert (exchanged["counterfactual_right"].values[:, differ] == 1).all()
    # Before its last input a register is not what its source's is, and nothing says what it should answer.
    early = found.sel(condition="shuffle state after 2 steps")
    assert np.isnan(early["counterfactual_right"]).mean() > 0.5
    assert (early["right"].mean() > exchanged["right"].mean()).item()


def test_sources_are_other_sequences_each_used_once():
    found = intervene(*register())
    for name, sources in zip(found["condition"].values, found["source"].values, strict=True):
        if name.startswith("cut"):
            assert (sources == -1).all()
        else:
            assert sorted(sources) == list(range(16))
            assert (sources != np.arange(16)).all()


def test_a_member_whose_outputs_are_not_finite_is_undefined_and_no_other():
    loaded, batch = register()
    loaded.model.w_out[0, 0, 0] = torch.nan
    found = intervene(loaded, batch)
    assert np.isnan(found["right"].sel(member=1)).all()
    assert np.isfinite(found["right"].sel(member=2)).all()


def test_signs_and_classes_are_scored_as_derived():
    """Signs: bits (+ −) right, source (− −): of two bits one differs. Classes: source 1 instead of 0."""
    queries = Queries(np.array([0]), np.array([-1]), np.array([[-1]]))
    signs = Answers(np.array([[[0.0, 0.0], [1.0, -1.0]]]), np.array([[False, True]]), "sign")
    other = np.array([[[0.0, 0.0], [-1.0, -1.0]]])
    outputs = np.array([[[[9.0, 9.0], [-3.0, -1.0]]], [[[9.0, 9.0], [3.0, 1.0]]]])
    found = score(outputs, signs, queries, 0, other)
    assert found["right"][:, 0].tolist() == [0.5, 0.5]
    assert found["counterfactual_right"][:, 0].tolist() == [1.0, 0.0]
    assert found["kept_right"][:, 0].tolist() == [1.0, 0.0]
    assert found["margin"][:, 0].tolist() == [-1.0, 1.0]
    classes = Answers(np.array([[[1.0, 0.0, 0.0]]]), np.array([[True]]), "argmax")
    found = score(np.array([[[[0.0, 2.0, 1.0]]]]), classes, queries, 0, np.array([[[0.0, 1.0, 0.0]]]))
    assert {name: values.item() for name, values in found.items()} == pytest.approx(
        {
            "right": 0.0,
            "counterfactual_right": 1.0,
            "kept_right": np.nan,
            "margin": -1.5,
            "probability": 1 / (1 + np.e + np.e**2),
        },
        nan_ok=True,
    )
    # A change after the query cannot have had an effect on it.
    both = Answers(np.repeat(classes.targets, 2, axis=1), np.array([[True, True]]), "argmax")
    late = score(np.zeros((1, 1, 1, 3)), both, Queries(np.array([0]), np.array([0]), np.array([[0]])), 1)
    assert np.isnan(late["right"]).all()


def test_queries_are_the_first_of_steps_that_query_the_same_written_item():
    task = AssociativeRetrieval(pairs=3)
    batch = task.test_batch(0, 9, 1, 20)
    queries = queries_of(batch, batch.judged_steps[0], True, 0)
    assert queries.step.tolist() == [8] * 20
    assert queries.items[:, 0].tolist() == batch.events["asked"][0, :, -1].tolist()
    assert queries_of(batch, batch.judged_steps[0], False, 0).step.tolist() == [-1] * 20


def test_a_network_with_a_memory_has_conditions_on_its_parts():
    task = AssociativeRetrieval(pairs=2)
    model = FastWeights([1], task.input_channels, task.output_channels, hidden_dim=7).requires_grad_(False)
    loaded = Loaded(model, task, (1,), {"model": {"type": "fw"}, "task": {}, "experiment": "", "seeds": [1]})
    found = intervene(loaded, task.test_batch(0, 7, 1, 12))
    said = effects.conditions(found)
    assert {c.part for c in said if c.edit == "shuffle"} == {"moving", "memory", "all"}
    assert [c.after for c in said if c.part == "memory"] == [1, 2, 3, 4, 5, 6]
    # Nothing is in the state before the first step: that exchange is of no step.
    assert chosen_steps(100)[0] == 1
    assert len(chosen_steps(100)) == 16


@pytest.mark.parametrize(
    ("conditions", "message"),
    [
        ([Condition("a", "shuffle", "memory", 1)], "'a': part must be one of all, hidden; got 'memory'"),
        (
            [Condition("a", "squash", after=1)],
            "'a': edit must be one of unchanged, shuffle, zero, mean; got 'squash'",
        ),
        ([Condition("a", "shuffle", after=9)], "'a': after must be 1 to 8, steps of the run; got 9"),
        (
            [Condition("a", "shuffle", after=1, control="b")],
            "'a': control must be the name of a condition; got 'b'",
        ),
        ([cut(1), cut(1)], "expected different names; got cut after 1 step (2 times)"),
    ],
)
def test_conditions_that_cannot_be_are_refused_in_one_line(conditions, message):
    with pytest.raises(UserError, match=re.escape(message)):
        intervene(*register(), conditions)


def test_other_edits_are_made_where_they_are_asked_for():
    loaded, batch = register()
    given = [
        cut(3),
        Condition("lost", "zero", "hidden", 3, "cut after 3 steps"),
        Condition("mean", "mean", "all", 3),
    ]
    found = intervene(loaded, batch, given)
    # Sign of zero is neither: without content no answer is right.
    assert (found["right"].sel(condition="lost") == 0).all()
    assert (found["right"].sel(condition="mean").mean() < 0.8).item()


def test_kinds_that_are_unknown_are_refused():
    with pytest.raises(UserError, match="must be of writes, reads, states, variables, members; got guesses"):
        intervene(*register(), kinds=("guesses",))

"""Variables of planted codes that are exchanged: a linear network of which Ψ is known."""

import re
from dataclasses import replace

import numpy as np
import pytest
from planted.codes import LENGTH, SCALE, UNITS, VARIABLES, WIDTH, batch_of, mean, planted

from analysis.variables.find import find_variables
from emt import effects, record, runs
from emt.commands.evaluate_interventions import find_codes
from emt.config import RunConfig, TrainingConfig
from emt.errors import UserError
from emt.evaluation import Settings, Work
from emt.interventions.condition import Condition
from emt.interventions.intervene import intervene
from emt.interventions.kinds import KINDS
from emt.interventions.recoded import random_directions
from emt.member_interventions import InterventionWork, write_parts
from emt.models.elman import Elman

every_code = pytest.mark.parametrize("kind", ["orthogonal", "oblique"])


@every_code
def test_exchanged_variables_of_a_planted_code_are_answered(kind):
    """Of set and swap, of each slot, of a bit and of all: every bit that differs is the source's, the others stay."""
    loaded, codes = planted(kind)
    parts = ["slot 1", "slot 2", "slot 3", "bit 2.2", "all"]
    given = [
        Condition(f"{edit} {part}", edit, part, 5, kind="variables", target="own")
        for edit in ("set", "swap")
        for part in parts
    ]
    base = Condition("base", "unchanged", after=5, kind="variables")
    found = intervene(loaded, batch_of(), [base, *given], codes=codes)
    for condition in given:
        assert (mean(found, condition.name) == 1).all(), condition.name
        assert condition.part == "all" or (mean(found, condition.name, "kept_right") == 1).all()
    # What the base answers are the targets, nothing is called for.
    assert (mean(found, "base", "right") == 1).all()
    assert np.isnan(mean(found, "base")).all()
    # A set moves the state by ‖Ψ_P (u' - u)‖, each value that differs by 2.
    bit = found["norm"].sel(condition="set bit 2.2")
    length = 2 * np.linalg.norm(codes.basis[:, :, 3], axis=1)
    np.testing.assert_allclose(bit.max("query"), length, rtol=1e-5)
    assert (np.isclose(bit, 0) | np.isclose(bit, length[:, None], rtol=1e-5)).all()


@every_code
def test_outputs_after_an_exchange_are_the_counterfactual_ones(kind):
    """Two of six steps answer the slot, so that k of its two bits that differ leave a margin of 1 - k/3."""
    loaded, codes = planted(kind)
    given = [Condition("set", "set", "slot 2", 5, kind="variables", target="own")]
    found = intervene(loaded, batch_of(), given, codes=codes)
    lost = 3 * (1 - found["margin"].values)
    np.testing.assert_allclose(lost, lost.round(), atol=6e-4)
    assert set(lost.round().ravel()) == {0, 1, 2}


@every_code
def test_the_wrong_directions_are_not_answered(kind):
    loaded, codes = planted(kind)
    given = [
        Condition("next", "set", "slot 2", 5, kind="variables", target="next slot"),
        Condition("moved on", "set", "slot 2", 5, kind="variables", target="own"),
        Condition("rest", "swap", "all", 5, kind="variables", target="but own"),
        Condition("random", "set", "slot 2", 5, kind="variables", target="random", draws=10),
    ]
    assert (mean(intervene(loaded, batch_of(), given[:1], codes=codes), "next") == 0).all()
    wrong = replace(codes, basis=codes.basis[:, :, codes.moved_on()])
    found = intervene(loaded, batch_of(), given, codes=wrong)
    assert (mean(found, "moved on") == 0).all()
    found = intervene(loaded, batch_of(), given, codes=codes)
    # The rest holds the sum of inputs, which nothing reads.
    assert (mean(found, "rest", "right") == 1).all()
    assert (found["norm"].sel(condition="rest").mean("query") > SCALE).all()
    assert (mean(found, "random") < 0.5).all()


def test_a_code_that_was_found_from_trials_is_causal_and_these_are_not_edited():
    loaded, _ = planted("oblique")
    batch = batch_of(64)
    recording = record.record(loaded, batch, LENGTH)
    codes = find_variables(recording.isel(batch=slice(24))).codes()
    assert codes.fitted == 24
    found = intervene(loaded, batch, kinds=("variables",), codes=codes)
    own = [c for c in effects.conditions(found) if c.target == "own"]
    assert len({c.after for c in own}) == 5
    assert {c.part for c in own} == {"bit 2.1", "slot 2", "all"}
    for condition in own:
        values = found["counterfactual_right"].sel(condition=condition.name)
        assert np.isnan(values[:, :24]).all()
        assert (values.mean("query") == 1).all(), condition.name
        assert (found["source"].sel(condition=condition.name).values[24:] >= 24).all()
    assert effects.about(found)["width"] == WIDTH
    np.testing.assert_allclose(found["basis"], codes.basis, rtol=1e-6)


def test_a_pseudo_inverse_misreads_what_least_squares_reads():
    """Slots that share directions: what Ψ leaves out of the states is multiplied by Ψ's pseudo-inverse, not by D."""
    rng = np.random.default_rng(0)
    trials, units = 400, 7
    u = rng.choice([-1.0, 1.0], (trials, 2))
    basis = np.zeros((units, 2))
    basis[0], basis[1, 1] = 1, 0.01
    # The unit that tells both apart, but for a disturbance which another unit has, too.
    disturbance = rng.standard_normal((trials, 1))
    states = u @ basis.T
    states[:, 1:3] += disturbance
    centred, variables = states - states.mean(axis=0), u - u.mean(axis=0)
    reader = np.linalg.lstsq(centred, variables, rcond=None)[0].T

    def r2(dual):
        return 1 - np.square(centred @ dual.T - variables).sum() / np.square(variables).sum()

    assert r2(reader) == pytest.approx(1, abs=1e-9)
    assert r2(np.linalg.pinv(basis)) < -1000


def test_an_exchange_and_its_reverse_are_the_identity():
    """Of set always; of swap with D Ψ = 1, which a least-squares reader is not where states are disturbed."""
    _, codes = planted("oblique", 1)
    rng = np.random.default_rng(0)
    h, u = rng.standard_normal((2, UNITS)), rng.choice([-1.0, 1.0], (2, VARIABLES))
    basis, reader = codes.basis[0], codes.reader[0]
    there = h[0] + basis @ (u[1] - u[0])
    np.testing.assert_allclose(there + basis @ (u[0] - u[1]), h[0], atol=1e-12)
    swapped = h[0] + basis @ reader @ (h[1] - h[0])
    np.testing.assert_allclose(swapped + basis @ reader @ (h[0] - swapped), h[0], atol=1e-6)
    assert np.abs(swapped + 0.9 * basis @ reader @ (h[0] - swapped) - h[0]).max() > 1e-3


def test_a_member_without_a_code_is_undefined_and_no_other():
    loaded, codes = planted("orthogonal")
    codes.basis[0, 2, 3] = np.nan
    found = intervene(loaded, batch_of(), kinds=("variables",), codes=codes)
    assert np.isnan(found["right"].sel(member=1)).all()
    assert (found["right"].sel(member=2, condition="variables unchanged after 5 steps") == 1).all()
    codes.basis[1] = np.nan
    found = intervene(loaded, batch_of(), kinds=("variables",), codes=codes)
    assert np.isnan(found["right"]).all()


def test_a_code_of_separate_directions_is_none_of_magnitudes():
    loaded, codes = planted("orthogonal")
    found = intervene(loaded, batch_of(), kinds=("variables",), codes=codes)
    assert (mean(found, "set slot 2 after 5 steps") == 1).all()
    # One number for each slot is right for one slot of three at most.
    for how, most in ((" by magnitudes", 0.4), (" by magnitudes of units", 1.0)):
        slots = [mean(found, f"set slot {k + 1}{how} after 5 steps") for k in range(LENGTH)]
        assert (np.mean(slots, axis=0) < most).all(), how


def test_random_directions_are_orthonormal():
    drawn = random_directions((2, 5, UNITS), 3, np.random.default_rng(0))
    np.testing.assert_allclose(drawn.mT @ drawn, np.tile(np.eye(3), (2, 1, 1)), atol=1e-12)


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        (
            Condition("a", "zero", "all", 5, kind="variables"),
            "edit must be one of unchanged, set, swap; got 'zero'",
        ),
        (
            Condition("a", "set", "slot 9", 5, kind="variables", target="own"),
            "part must be all, slot N or bit N.K with N of 1, 2, 3; got 'slot 9'",
        ),
        (
            Condition("a", "set", "all", 5, kind="variables", target="but own"),
            "target must be one of own, next slot, random, unit, scalar; got 'but own'",
        ),
        (
            Condition("a", "set", "all", 2, kind="variables", target="own"),
            "after must be a step with whole windows before and answers after: 3, 4, 5, 6, 7; got 2",
        ),
    ],
)
def test_exchanges_that_cannot_be_are_refused_in_one_line(condition, message):
    loaded, codes = planted("orthogonal")
    with pytest.raises(UserError, match=re.escape(f"'a': {message}")):
        intervene(loaded, batch_of(), [condition], codes=codes)


def test_variables_without_codes_or_of_other_members_are_refused():
    loaded, codes = planted("orthogonal")
    with pytest.raises(UserError, match=re.escape("variables: expected codes of the task's variables")):
        intervene(loaded, batch_of(), kinds=("variables",))
    with pytest.raises(UserError, match=re.escape("expected Ψ (member, state, variable) of shape (2, 9, 6)")):
        intervene(loaded, batch_of(), codes=replace(codes, basis=codes.basis[:1]))
    with pytest.raises(UserError, match="expected at least two trials beside the 39 that codes come from"):
        intervene(loaded, batch_of(), codes=replace(codes, fitted=39))


def test_evaluation_finds_codes_on_trials_of_their_own(tmp_path):
    """Weights of the planted network in a run's folder: all that is exchanged is answered, of 30 trials."""
    loaded, _ = planted("orthogonal")
    config = RunConfig(
        metadata={"experiment_name": "planted"},
        task={"name": "variable_binding", "seq_length": LENGTH, "input_dim": WIDTH},
        model={"type": "rnn", "hidden_dim": UNITS},
        training=TrainingConfig(num_models=2),
    )
    for n in (1, 2):
        runs.write_weights(runs.model_folder(tmp_path, n), loaded.model.export(n - 1), {"status": "finished"})
    work = Work(tmp_path, config, Settings((LENGTH,), 9, "cpu", False), (1, 2))
    job = InterventionWork(work, ("variables",), 30, find_codes)
    write_parts((job, job.missing()))
    job.join([LENGTH])
    found = effects.load(job.whole_path(LENGTH))
    assert found.sizes["query"] == 30
    own = [c.name for c in effects.conditions(found) if c.target == "own"]
    assert (found["counterfactual_right"].sel(condition=own).mean("query") == 1).all()
    # What was found depends on the code of analyses, too.
    assert job.hashes != replace(job, kinds=("states",)).hashes
    pairs = replace(job, kinds=("members",))
    write_parts((pairs, {LENGTH: (2,)}))
    write_parts((pairs, {LENGTH: (1,)}))
    pairs.join([LENGTH])
    found = effects.load(job.whole_path(LENGTH))
    assert (found["counterfactual_right"].sel(condition="all variables of model-1").mean("query") == 1).all()
    assert found["held"].shape == (2, 30, UNITS)


def test_a_member_that_is_not_finite_has_no_code_and_costs_the_others_nothing():
    loaded, _ = planted("orthogonal")
    alone = find_codes(record.record(loaded, batch_of(24), LENGTH))
    loaded.model.w_in[0, 0, 0] = np.nan
    codes = find_codes(record.record(loaded, batch_of(24), LENGTH))
    assert (alone.known.tolist(), codes.known.tolist()) == ([True, True], [False, True])
    np.testing.assert_array_equal(codes.basis[1], alone.basis[1])
    loaded.model.w_in[1, 0, 0] = np.nan
    assert not find_codes(record.record(loaded, batch_of(24), LENGTH)).known.any()


def test_variables_of_a_task_without_operator_are_refused_and_left_out_by_default(tmp_path):
    config = RunConfig(
        metadata={"experiment_name": "flips"},
        task={"name": "flip_flop", "steps": 5, "bits": 2},
        model={"type": "rnn", "hidden_dim": 4},
        training=TrainingConfig(num_models=1),
    )
    model = Elman(config.training.seeds(), 2, 2, hidden_dim=4)
    runs.write_weights(runs.model_folder(tmp_path, 1), model.export(0), {"status": "finished"})
    work = Work(tmp_path, config, Settings((5,), 8, "cpu", False), (1,))
    job = InterventionWork(work, ("states", "variables"), 8, find_codes)
    with pytest.raises(UserError, match=re.escape("the task has no linear operator, so its variables")):
        write_parts((job, job.missing()))
    job = InterventionWork(work, KINDS, 8, find_codes)
    write_parts((job, job.missing()))
    job.join([5])
    assert {c.kind for c in effects.conditions(effects.load(job.whole_path(5)))} == {"states", "curve"}


def test_a_swap_read_by_the_pseudo_inverse_is_worse_where_other_directions_are_not_orthogonal():
    """What the sum of inputs, which nothing reads, leaves along Ψ: only D knows that it is none of the variables."""
    for kind, least in (("orthogonal", 1.0), ("oblique", 0.0)):
        loaded, codes = planted(kind)
        given = [Condition(t, "swap", "slot 2", 5, kind="variables", target=t) for t in ("own", "pinv")]
        found = intervene(loaded, batch_of(), given, codes=codes)
        assert (mean(found, "own") == 1).all()
        assert (mean(found, "pinv") >= least).all()
    assert (mean(found, "pinv") < 0.95).any()

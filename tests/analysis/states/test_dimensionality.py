"""Dimensionality of states: closed forms, invariances, and controls that must and must not differ."""

import numpy as np
import pytest

from analysis.cache import cached_in
from analysis.errors import AnalysisError
from analysis.figures.states.dimensionality import draw
from analysis.states.dimensionality import (
    covariance_spectrum,
    effective_rank,
    expected_participation_ratio,
    measure_dimensionality,
    participation_ratio,
    shuffle_units,
)
from emt import trace

MEASURES = (participation_ratio, effective_rank)


def states_with(spectrum, states=40, seed=0):
    """Return states (state, unit) whose covariance has exactly this spectrum, in a random basis, off the origin."""
    rng = np.random.default_rng(seed)
    noise = rng.normal(size=(states, len(spectrum)))
    frame, _ = np.linalg.qr(noise - noise.mean(axis=0))
    basis, _ = np.linalg.qr(rng.normal(size=(len(spectrum),) * 2))
    result = frame * np.sqrt((states - 1) * np.asarray(spectrum, float)) @ basis + rng.normal(
        size=len(spectrum)
    )
    result.setflags(write=False)
    return result


def of(measure, states):
    return float(measure(covariance_spectrum(states)))


@pytest.fixture
def make_states():
    """Return a function that makes a trace with given states (member, batch, time, unit) of each variable."""

    def make(scored=None, **variables):
        members, trials, steps, _ = next(iter(variables.values())).shape
        events = {"scored": np.ones((trials, steps), int) if scored is None else scored}
        arrays = {name: ((*trace.MEMBER_TIME, f"{name}_unit"), values) for name, values in variables.items()}
        arrays["hidden"] = ((*trace.MEMBER_TIME, "unit"), variables["hidden"])
        arrays |= {name: (("batch", "time"), values) for name, values in events.items()}
        arrays |= {
            "inputs": (("batch", "time", "channel"), np.zeros((trials, steps, 2))),
            "targets": (("batch", "time", "target"), np.zeros((trials, steps, 1))),
            "outputs": ((*trace.MEMBER_TIME, "output"), np.zeros((members, trials, steps, 1))),
        }
        return trace.make(
            arrays, [*range(1, members + 1)], {"experiment": "planted", "states": list(variables)}
        )

    return make


# Closed forms


def test_a_known_spectrum_has_known_dimensionality():
    spectrum = [4.0, 2.0, 1.0, 1.0]
    states = states_with(spectrum)
    np.testing.assert_allclose(covariance_spectrum(states), spectrum, rtol=1e-10)
    np.testing.assert_allclose(
        covariance_spectrum(states), np.linalg.eigvalsh(np.cov(states.T))[::-1], rtol=1e-10
    )
    assert of(participation_ratio, states) == pytest.approx(8**2 / (16 + 4 + 1 + 1))
    # Shares 1/2, 1/4, 1/8, 1/8 have an entropy of 7/4 bits.
    assert of(effective_rank, states) == pytest.approx(2**1.75)


@pytest.mark.parametrize("measure", MEASURES)
def test_equal_eigenvalues_are_counted_and_a_line_is_one(measure):
    assert measure([[3, 3, 3, 0], [5, 0, 0, 0], [0, 0, 0, 0]]) == pytest.approx([3, 1, 0])
    line = np.outer(np.random.default_rng(0).normal(size=30), np.arange(1.0, 6)) + 7
    assert of(measure, line) == pytest.approx(1)
    assert of(measure, states_with(np.full(6, 2.5))) == pytest.approx(6)
    assert 1 < measure([4, 1]) < 2


def test_the_effective_rank_is_never_the_smaller_one():
    # Exponentials of the Renyi entropies of order 1 and 2.
    spectra = np.random.default_rng(1).exponential(size=(50, 7)) ** 3
    ranks, ratios = effective_rank(spectra), participation_ratio(spectra)
    assert (ranks >= ratios).all()
    assert (ranks - ratios).max() > 0.5
    assert ((ratios >= 1) & (ranks <= 7)).all()


def test_states_that_do_not_vary_have_no_dimension():
    constant = np.full((11, 4), 0.1)
    assert not covariance_spectrum(constant).any()
    assert [of(measure, constant) for measure in MEASURES] == [0, 0]


@pytest.mark.parametrize(("n_states", "n_units"), [(90, 30), (45, 60), (2000, 12)])
def test_normal_states_have_the_expected_participation_ratio(n_states, n_units):
    rng = np.random.default_rng(2)
    found = [of(participation_ratio, rng.normal(size=(n_states, n_units))) for _ in range(30)]
    expected = expected_participation_ratio(n_states, n_units)
    assert np.mean(found) == pytest.approx(expected, rel=0.01)
    # About d n / (d + n): only many states show all dimensions.
    assert expected == pytest.approx(n_units * n_states / (n_units + n_states), rel=0.03)
    assert (expected > 0.95 * n_units) == (n_states == 2000)


def test_fewer_states_than_units_give_the_same_eigenvalues():
    wide = np.random.default_rng(3).normal(size=(5, 9))
    found = covariance_spectrum(wide)
    np.testing.assert_allclose(found[:4], np.linalg.eigvalsh(np.cov(wide.T))[::-1][:4], rtol=1e-10)
    assert found.shape == (5,)
    assert found[4] == pytest.approx(0, abs=1e-12)


# Invariances


@pytest.mark.parametrize("measure", MEASURES)
def test_rotation_shift_and_scale_change_nothing_but_scales_of_single_units_do(measure):
    rng = np.random.default_rng(4)
    states = states_with([4.0, 2.0, 1.0, 0.5, 0.2])
    rotation, _ = np.linalg.qr(rng.normal(size=(5, 5)))
    before = of(measure, states)
    assert of(measure, 3e5 * states @ rotation + np.arange(5)) == pytest.approx(before)
    assert abs(of(measure, states * [1, 3, 1, 0.2, 5]) - before) > 0.1


def test_shuffling_all_units_together_changes_nothing_and_each_by_itself_does():
    states = states_with([9.0, 0.1, 0.1, 0.1, 0.1, 0.1])
    together = np.random.default_rng(5).permutation(states, axis=0)
    np.testing.assert_allclose(covariance_spectrum(together), covariance_spectrum(states), rtol=1e-10)
    apart = shuffle_units(states, np.random.default_rng(5))
    np.testing.assert_allclose(np.sort(apart, axis=0), np.sort(states, axis=0))
    assert of(participation_ratio, apart) > 1.5 * of(participation_ratio, states)


def test_shuffled_units_keep_their_variances_alone():
    states = states_with([9.0, 3.0, 1.0, 1.0, 0.5], states=4000)
    variances = states.var(axis=0)
    shuffled = of(participation_ratio, shuffle_units(states, np.random.default_rng(6)))
    assert shuffled == pytest.approx(variances.sum() ** 2 / np.square(variances).sum(), rel=0.01)


# A population


def planar(members=4, trials=5, steps=13, units=8, seed=7):
    """Return states (member, batch, time, unit) that lie in a plane."""
    rng = np.random.default_rng(seed)
    return rng.normal(size=(members, trials, steps, 2)) @ rng.normal(size=(members, 1, 2, units))


def independent(members=4, trials=5, steps=13, units=8, seed=8):
    return np.random.default_rng(seed).normal(size=(members, trials, steps, units))


def test_states_in_a_plane_fill_less_than_shuffled_and_independent_units_do_not(make_states):
    plane, free = (
        measure_dimensionality(make_states(hidden=h)).population
        for h in (planar(members=6), independent(members=6))
    )
    for measure in ("participation_ratio", "effective_rank"):
        rows = plane.loc[measure]
        assert (
            1
            < rows.loc["recorded", "mean"]
            <= 2
            < 2 * rows.loc["recorded", "mean"]
            < rows.loc["shuffled", "mean"]
        )
        assert rows.loc["shuffled", "p"] == pytest.approx(2 / 2**6)  # all six of one sign, either way
        assert free.loc[(measure, "shuffled"), "p"] > 0.05
        assert free.loc[(measure, "recorded"), "mean"] == pytest.approx(
            free.loc[(measure, "shuffled"), "mean"], rel=0.05
        )
    expected = expected_participation_ratio(5 * 13, 8)
    assert plane.loc[("participation_ratio", "random"), "mean"] == pytest.approx(expected, rel=0.05)
    assert np.isnan(plane["p"].xs("recorded", level="states")).all()


def test_members_have_the_numbers_of_their_own_states(make_states):
    hidden = planar()
    result = measure_dimensionality(make_states(hidden=hidden), draws=2)
    for place, name in enumerate(result.members.index.unique("model_name")):
        states = hidden[place].reshape(-1, 8)
        found = result.members.loc[(name, "recorded")]
        assert found["participation_ratio"] == pytest.approx(of(participation_ratio, states))
        assert found["effective_rank"] == pytest.approx(of(effective_rank, states))
    shares = result.spectra["variance_share"].unstack("states")
    np.testing.assert_allclose(shares.sum(), 1)
    assert shares["recorded"].iloc[2:].max() < 1e-12


def test_a_member_does_not_depend_on_the_others(make_states):
    hidden = planar()
    both = [measure_dimensionality(make_states(hidden=hidden[:n])).members for n in (4, 2)]
    assert both[0].loc[["model-1", "model-2"]].equals(both[1])


@pytest.mark.parametrize("unit", [1e-300, 1e300])
def test_states_may_have_any_unit(make_states, unit):
    plain, scaled = (measure_dimensionality(make_states(hidden=scale * planar())) for scale in (1.0, unit))
    np.testing.assert_allclose(scaled.members, plain.members, rtol=1e-9)
    assert plain.members["participation_ratio"].xs("recorded", level="states").between(1, 2).all()  # a plane


def test_intervals_stay_within_what_is_possible(make_states):
    hidden = planar(members=3)
    hidden[0] = hidden[0][..., :1] * np.arange(1, 9)  # one member on a line
    result = measure_dimensionality(make_states(hidden=hidden))
    assert result.largest == 8
    assert (result.population["low"] >= 1).all()
    assert (result.population["high"] <= 8).all()
    assert (result.population["low"] <= result.population["mean"]).all()
    few = measure_dimensionality(make_states(hidden=planar(trials=1, steps=5)))
    assert few.largest == 4


def test_the_whole_state_is_analysed_and_named(make_states):
    hidden, cell = planar(), independent(units=3)
    result = measure_dimensionality(make_states(hidden=hidden, cell=cell))
    whole = np.concatenate([hidden, cell], axis=-1)[1].reshape(-1, 11)
    found = result.members.loc[("model-2", "recorded"), "participation_ratio"]
    assert found == pytest.approx(of(participation_ratio, whole))
    assert result.states_analysed == "whole state (hidden, cell), 65 states of 11 numbers"
    alone = measure_dimensionality(make_states(hidden=hidden))
    assert alone.states_analysed == "hidden, 65 states of 8 numbers"


def test_steps_that_are_scored_can_be_chosen(make_states):
    hidden = planar()
    scored = np.zeros((5, 13), int)
    scored[:, 4:] = 1
    chosen = measure_dimensionality(make_states(hidden=hidden, scored=scored), steps="scored")
    cut = measure_dimensionality(make_states(hidden=hidden[:, :, 4:]))
    recorded = [r.members["participation_ratio"].xs("recorded", level="states") for r in (chosen, cut)]
    np.testing.assert_allclose(*recorded)
    assert chosen.n_states == cut.n_states == 45
    assert chosen.states_analysed.endswith("at scored steps")
    with pytest.raises(
        AnalysisError, match='steps: expected at least two states of each member; "scored" leaves 0'
    ):
        measure_dimensionality(make_states(hidden=hidden, scored=0 * scored), steps="scored")


def test_a_dead_member_is_left_out_and_infinite_states_are_refused(make_states):
    hidden = planar()
    hidden[1] = 0.3
    result = measure_dimensionality(make_states(hidden=hidden))
    assert result.members.loc["model-2"].loc["recorded"].isna().all()
    assert (result.population["n"].xs("recorded", level="states") == 3).all()
    hidden[2, 0, 0, 0] = np.inf
    with pytest.raises(AnalysisError, match="model-3: expected finite hidden states"):
        measure_dimensionality(make_states(hidden=hidden))
    with pytest.raises(AnalysisError, match="draws: must be an integer ≥ 1; got 0"):
        measure_dimensionality(make_states(hidden=planar()), draws=0)


def test_cached_results_are_the_same(make_states, tmp_path):
    recording = make_states(hidden=planar())
    with cached_in(tmp_path):
        first, second = (measure_dimensionality(recording) for _ in range(2))
    assert any((tmp_path / "cache").iterdir())
    assert first.members.equals(second.members)
    assert not first.members.equals(measure_dimensionality(recording, seed=1).members)


def test_a_planted_circuit_fills_no_more_than_its_variables(make_circuits):
    recording = make_circuits({"seq_length": 2, "input_dim": 3})[0]
    result = measure_dimensionality(recording, steps="scored")
    recorded = result.members.xs("recorded", level="states")
    assert (recorded <= 6 + 1e-6).all(axis=None)
    assert (result.members.xs("random", level="states") > 2 * recorded).all(axis=None)
    assert "participation ratio" in result.headline()


def test_a_member_whose_states_do_not_vary_is_left_out_and_named(make_states):
    """Its dimensionality is undefined; means, shares and controls are those of the other three."""
    hidden = planar()
    hidden[1] = 0.7
    result, others = (measure_dimensionality(make_states(hidden=h), draws=2) for h in (hidden, planar()))
    assert result.headline().startswith("n = 3 members; ")
    assert "left out, since their states do not vary: model-2" in result.headline()
    assert "left out" not in others.headline()
    assert others.headline().startswith("n = 4 members; ")
    assert result.members.loc["model-2"].isna().all(axis=None)
    assert set(result.population["n"]) == {3}
    np.testing.assert_allclose(result.spectra["variance_share"].unstack("states").sum(), 1)


def test_states_of_which_none_vary_are_said_to_have_no_dimensionality(make_states):
    result = measure_dimensionality(make_states(hidden=np.full((3, 5, 13, 8), 0.7)), draws=2)
    assert result.headline().endswith("dimensionality is undefined, since no member's states vary")
    assert "nan" not in result.headline()
    assert result.spectra["variance_share"].isna().all()
    for _, figure in draw(result):
        assert "n = 0 members" in figure.get_suptitle()
        figure.canvas.draw()

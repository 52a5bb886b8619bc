"""Null clouds keep what they say and forget the rest; tests against them find loops, and none if there is none."""

import dataclasses
import math
from functools import partial

import numpy as np
import pytest

from analysis.errors import AnalysisError
from analysis.homology import nulls
from analysis.homology.nulls import (
    PATIENCE,
    Sample,
    _over_members,
    bar_tests,
    check_memory,
    gaussian_cloud,
    longest_bars,
    memory_needed,
    plane,
    rotate_angles,
    rotate_phases,
    seconds_needed,
    shuffle_time,
)
from analysis.homology.persistence import distance_diagrams
from analysis.statistics import monte_carlo_test


def noisy_circle(seed, n_points=64, dimensions=64, noise=0.1):
    rng = np.random.default_rng(seed)
    angle = rng.uniform(0, 2 * np.pi, n_points)
    cloud = noise * rng.normal(size=(n_points, dimensions))
    cloud[:, :2] += np.column_stack([np.cos(angle), np.sin(angle)])
    return cloud


def blob(seed, n_points=64, dimensions=64):
    return np.random.default_rng(seed).normal(size=(n_points, dimensions))


def sample(name, cloud):
    return Sample(name, cloud, cloud, {"gaussian": partial(gaussian_cloud, cloud)})


def trajectories(seed=0, sequences=3, steps=10, units=4):
    return np.random.default_rng(seed).normal(size=(sequences, steps, units)).cumsum(axis=1)


@pytest.mark.parametrize("shape", [(11, 3), (5, 7), (2, 3), (1, 4)])
def test_a_gaussian_cloud_has_exactly_the_mean_and_covariance(shape):
    cloud = np.random.default_rng(0).normal(size=shape) * np.arange(1, shape[1] + 1) + 5
    drawn = gaussian_cloud(cloud, np.random.default_rng(1))
    np.testing.assert_allclose(drawn.mean(axis=0), cloud.mean(axis=0))
    centred = [points - points.mean(axis=0) for points in (cloud, drawn)]
    np.testing.assert_allclose(centred[1].T @ centred[1], centred[0].T @ centred[0], atol=1e-10)
    if shape[0] > 2:
        assert np.abs(drawn - cloud).max() > 0.1


def test_shuffled_units_keep_their_values_and_lose_each_other():
    states = np.repeat(trajectories(units=1), 4, axis=2)
    shuffled = shuffle_time(states, np.random.default_rng(0))
    np.testing.assert_array_equal(np.sort(shuffled, axis=1), np.sort(states, axis=1))
    assert np.ptp(shuffled, axis=2).max() > 0.1


@pytest.mark.parametrize("steps", [1, 10, 11])
def test_random_phases_keep_power_spectra(steps):
    states = trajectories(steps=steps)
    rotated = rotate_phases(states, np.random.default_rng(0))
    assert rotated.shape == states.shape
    power = [np.abs(np.fft.rfft(x, axis=1)) for x in (states, rotated)]
    np.testing.assert_allclose(power[1], power[0], atol=1e-10)
    np.testing.assert_allclose(rotated.mean(axis=1), states.mean(axis=1))
    assert steps == 1 or np.abs(rotated - states).max() > 0.1


@pytest.mark.parametrize("cut", [0, 1])
def test_random_angles_keep_moduli_real_values_and_conjugate_pairs(cut):
    values = np.linalg.eigvals(np.random.default_rng(4).normal(size=(9, 9)))
    values = values[np.argsort(-np.abs(values))][: 9 - cut]
    turned = rotate_angles(values, np.random.default_rng(0)) @ [1, 1j]
    np.testing.assert_allclose(np.sort(np.abs(turned)), np.sort(np.abs(values)))
    np.testing.assert_array_equal(np.sort(turned[turned.imag == 0]), np.sort(values[values.imag == 0]))
    lone = [np.abs(v[:, None] - v.conj()).min(axis=1) > 1e-12 for v in (turned, values)]
    assert lone[0].sum() == lone[1].sum()
    assert np.abs(np.sort_complex(turned) - np.sort_complex(values)).max() > 0.1


def test_longest_bars_are_those_of_the_diagrams():
    cloud = noisy_circle(0)
    distances = np.linalg.norm(cloud[:, None] - cloud, axis=-1)
    diagrams = distance_diagrams(distances, 2)
    expected = [np.ptp(bars[np.isfinite(bars[:, 1])], axis=1).max(initial=0.0) for bars in diagrams]
    np.testing.assert_allclose(longest_bars(cloud, 2), expected, rtol=1e-14)
    for few in (cloud[:1], cloud[:2], np.zeros((5, 3))):
        assert longest_bars(few)[1] == 0.0


@pytest.mark.parametrize("unit", [1e-300, 1e-50, 1e-3, 1e40, 1e300])
def test_longest_bars_have_the_unit_of_the_cloud(unit):
    """Of 12 points on a circle gaps are 2 sin(π/12), and the loop lives from there to the side √3 of a triangle."""
    angle = 2 * np.pi * np.arange(12) / 12
    circle = np.column_stack([np.cos(angle), np.sin(angle)])
    gap = 2 * math.sin(math.pi / 12)
    np.testing.assert_allclose(longest_bars(unit * circle) / unit, [gap, math.sqrt(3) - gap], rtol=1e-12)


@pytest.mark.parametrize("unit", [1e-290, 1e290])
def test_null_clouds_have_the_unit_of_the_data(unit):
    states = trajectories()
    for null, data in ((gaussian_cloud, states[0]), (rotate_phases, states), (shuffle_time, states)):
        plain, scaled = (null(scale * data, np.random.default_rng(1)) for scale in (1.0, unit))
        np.testing.assert_allclose(scaled / unit, plain, rtol=1e-9, atol=1e-9)
    found, plain = (
        bar_tests([sample("a", scale * noisy_circle(0, 20, 3))], 1, 19).members for scale in (unit, 1.0)
    )
    assert found.loc[("a", 1, "gaussian"), "p"] == 1 / 20 == plain.loc[("a", 1, "gaussian"), "p"]
    assert found.loc[("a", 1, "gaussian"), "longest"] / unit == pytest.approx(
        plain.loc[("a", 1, "gaussian"), "longest"]
    )


def test_a_null_that_only_turns_the_cloud_is_a_tie():
    """Two points keep their distance under any covariance-preserving draw, so all 19 clouds are as long: p = 1."""
    pair = np.array([[0.3, 0.1], [1.7, 0.8]])
    assert bar_tests([sample("pair", pair)], 0, 19).members.loc[("pair", 0, "gaussian"), "p"] == 1.0


def test_a_member_without_points_has_no_p():
    tests = bar_tests([sample("none", np.empty((0, 2))), sample("circle", noisy_circle(0, 20, 3))], 1, 19)
    assert tests.members.xs("none", level="model_name")["p"].isna().all()
    assert tests.headline().endswith("of n = 1: gaussian 1; undefined for 1 of 2: none")


def test_a_loop_is_found_with_its_range_and_none_in_a_blob():
    tests = bar_tests([sample("circle", noisy_circle(0)), sample("blob", blob(0))], 1, n_nulls=39)
    circle, none = (tests.members.loc[(name, 1, "gaussian")] for name in ("circle", "blob"))
    assert circle["p"] == circle["smallest_p"] == pytest.approx(1 / 40)
    assert circle["p_bh"] == pytest.approx(2 / 40)
    assert none["p"] > 0.05
    assert circle["null_median"] < circle["null_95"] < circle["subset_low"] < circle["longest"]
    assert circle["subset_share"] == 1.0
    assert none["subset_share"] < 0.5
    loops = tests.population.loc[(1, "gaussian")]
    assert loops[["significant", "share", "n"]].tolist() == [1, 0.5, 2]
    assert 0 < loops["low"] < 0.5 < loops["high"] < 1
    assert "longer loops than null clouds" in tests.headline()
    assert "(p ≤ 0.05 after Benjamini and Hochberg, 39 clouds)" in tests.headline()
    assert tests.headline().endswith("of n = 2: gaussian 1")


def test_members_without_a_p_are_counted_apart_from_those_without_a_loop():
    tests = bar_tests([sample(f"model-{k}", noisy_circle(k, 24, 5)) for k in (1, 2, 3)], 1, 39)
    members = tests.members.copy()
    members.loc[("model-2", 1, "gaussian"), "p"] = np.nan
    population = _over_members(members, 0.05).loc[(1, "gaussian")]
    assert population[["share", "n"]].tolist() == [1.0, 2]
    headline = dataclasses.replace(tests, members=members).headline()
    assert headline.endswith("; undefined for 1 of 3: model-2")
    assert "undefined" not in tests.headline()


def test_clouds_that_are_too_few_for_the_level_are_refused():
    with pytest.raises(AnalysisError, match=r"n_nulls: must be at least 19 for level 0.05; got 18"):
        bar_tests([sample("blob", blob(0))], 1, n_nulls=18)
    circle = bar_tests([sample("circle", noisy_circle(0))], 1, n_nulls=19)
    assert circle.members.loc[("circle", 1, "gaussian"), "p"] == 0.05
    assert circle.headline().endswith("of n = 1: gaussian 1")


def test_the_same_seed_draws_the_same_clouds_whoever_else_is_there():
    samples = [sample("a", blob(0, 12, 3)), sample("b", blob(1, 12, 3))]
    alone, both, other = (
        bar_tests(s, 1, 19, seed=k).members for s, k in ((samples[:1], 5), (samples, 5), (samples, 6))
    )
    columns = ["p", "null_95", "subset_low"]
    assert alone.loc["a", columns].equals(both.loc["a", columns])
    assert not other.loc["a", columns].equals(both.loc["a", columns])


def test_the_memory_needed_is_named_and_is_what_ripser_takes_at_most():
    check_memory(200, 1, 0.01)
    with pytest.raises(AnalysisError, match=r"^limit: expected .* GB, .* dimension 2 of 2000 points needs"):
        check_memory(2000, 2, 4.0)
    with pytest.raises(AnalysisError, match=r"got 0.001 GB, enough for (\d+) points") as refusal:
        check_memory(500, 1, 0.001)
    enough = int(str(refusal.value).split()[-2])
    assert memory_needed(enough, 1) <= 0.001 < memory_needed(enough + 1, 1)
    assert memory_needed(200, 2) > 0.08  # measured
    assert memory_needed(1000, 1) > 0.079


def test_processes_are_started_where_clouds_take_long(monkeypatch):
    asked = []

    def run_here(function, jobs, description, parallel):
        asked.append(parallel)
        return (np.zeros((1, 3, len(nulls.FIGURES))) for _ in jobs)

    monkeypatch.setattr(nulls, "run_parallel", run_here)
    few = [sample(name, blob(seed, 200, 16)) for seed, name in enumerate("ab")]
    many = [sample(str(seed), blob(seed, 20, 3)) for seed in range(50)]
    # Two members of many points take long, fifty of few do not.
    for samples in (few, many):
        bar_tests(samples, 2, 199)
    assert asked == [True, False]
    # A null of a large pool takes long to draw, whatever is analysed of it.
    pool = np.zeros((1000, 1000))
    assert seconds_needed(Sample("a", blob(0, 20, 3), pool, few[0].nulls), 1, 199) > PATIENCE


def test_inputs_are_left_alone():
    states, values = trajectories(), np.exp(1j * np.arange(5))
    for array in (states, values):
        array.setflags(write=False)
    rng = np.random.default_rng(0)
    shuffle_time(states, rng)
    rotate_phases(states, rng)
    rotate_angles(values, rng)
    gaussian_cloud(states[0], rng)
    assert plane(values).shape == (5, 2)


def is_beyond_chance(cloud, seed, level, n_nulls=199):
    """Return whether the loop of a cloud has p < level among null clouds; stop drawing once it cannot any more."""
    rng = np.random.default_rng((7, seed))
    observed, enough = longest_bars(cloud)[1], math.ceil(level * (n_nulls + 1)) - 1
    longer = 0
    for _ in range(n_nulls):
        longer += longest_bars(gaussian_cloud(cloud, rng))[1] >= observed
        if longer >= enough:
            return False
    return True


def test_drawing_stops_only_where_the_test_is_decided():
    for seed, cloud in enumerate((noisy_circle(0, 20, 5), *(noisy_circle(k, 20, 5, 0.6) for k in range(4)))):
        rng = np.random.default_rng((7, seed))
        simulated = [longest_bars(gaussian_cloud(cloud, rng))[1] for _ in range(39)]
        p = monte_carlo_test(longest_bars(cloud)[1], simulated).p
        for level in (0.025, 0.05, 0.2, 0.5):
            assert is_beyond_chance(cloud, seed, level, 39) == (p < level), (seed, p, level)


@pytest.mark.slow
def test_blobs_in_64_dimensions_have_loops_as_often_as_chance_says():
    found = [is_beyond_chance(blob(seed), seed, 0.05) for seed in range(100)]
    assert sum(found) <= 9


@pytest.mark.parametrize("seeds", [range(10), pytest.param(range(10, 100), marks=pytest.mark.slow)], ids=len)
def test_noisy_circles_in_64_dimensions_have_a_loop(seeds):
    found = [is_beyond_chance(noisy_circle(seed), seed, 0.01) for seed in seeds]
    assert sum(found) >= 0.95 * len(seeds)

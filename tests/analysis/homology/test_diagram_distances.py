"""Distances of persistence diagrams, against persim's and known ones."""

import itertools
import math

import numpy as np
import persim
import pytest

from analysis.homology.diagram_distances import (
    comparable_models,
    diagram_distance,
    pairwise_diagram_distances,
)
from analysis.homology.persistence import persistence_diagrams


def random_bars(n_bars, seed, *, born_at_zero=False):
    births, lengths = np.random.default_rng(seed).uniform(0.01, 1, (2, n_bars))
    births = 0 * births if born_at_zero else births
    return np.column_stack([births, births + lengths])


@pytest.mark.parametrize("sizes", [(5, 8), (9, 9), (1, 6)])
@pytest.mark.parametrize("born_at_zero", [False, True])
def test_distances_of_finite_diagrams_are_persims(sizes, born_at_zero):
    for seed in range(20):
        a, b = (random_bars(n, seed + 100 * i, born_at_zero=born_at_zero) for i, n in enumerate(sizes))
        assert diagram_distance(a, b, "bottleneck") == pytest.approx(persim.bottleneck(a, b), abs=1e-12)
        assert diagram_distance(a, b, "wasserstein") == pytest.approx(persim.wasserstein(a, b), abs=1e-7)


def test_distance_to_an_empty_diagram_is_that_to_the_diagonal():
    bars, none = np.array([[1.0, 2.0], [1.0, 5.0]]), np.empty((0, 2))
    assert diagram_distance(bars, none, "bottleneck") == 2.0
    assert diagram_distance(none, bars, "wasserstein") == pytest.approx(5 / math.sqrt(2))
    assert diagram_distance(none, none) == 0.0


@pytest.mark.parametrize(("metric", "expected"), [("bottleneck", 3.0), ("wasserstein", 3.5)])
def test_infinite_bars_are_matched_by_birth(metric, expected):
    a = np.array([[0.0, np.inf], [7.0, np.inf]])
    b = np.array([[4.0, np.inf], [0.5, np.inf]])
    assert diagram_distance(a, b, metric) == expected


@pytest.mark.parametrize("metric", ["bottleneck", "wasserstein"])
def test_a_bar_that_never_dies_is_infinitely_far_from_none(metric):
    """A matching must pair [0, ∞) with a finite bar or with the diagonal, at an infinite distance either way."""
    one, none = np.array([[0.0, 1.0], [0.0, np.inf]]), np.array([[0.0, 1.0]])
    assert diagram_distance(one, none, metric) == diagram_distance(none, one, metric) == math.inf
    # Control: with a partner it costs the difference of births.
    assert diagram_distance(one, np.array([[0.0, 1.0], [0.25, np.inf]]), metric) == 0.25


def test_what_is_infinitely_far_does_not_depend_on_the_others():
    one, none = (np.array([[0.0, 1.0], [0.0, np.inf]]),), (np.array([[0.0, 1.0]]),)
    short, long = (np.array([[0.0, 0.5]]),), (np.array([[0.0, 90.0]]),)
    alone, beside = (pairwise_diagram_distances(d)[0] for d in ([one, none, short], [one, none, short, long]))
    np.testing.assert_array_equal(beside[:3, :3], alone)
    assert alone[0].tolist() == [0.0, math.inf, math.inf]
    assert alone[1, 2] == 0.5
    assert comparable_models(beside).tolist() == [False, True, True, True]
    assert comparable_models(alone[:2, :2]).tolist() == [True, False]  # the first of equals


def test_short_bars_beside_long_ones_keep_their_digits():
    """Both diagrams have a bar that dies at 1e16; what differs is bars of length 37 and 0.1: (37 + 0.1) / √2.

    At 1e16 numbers are 2 apart: what each diagram costs alone, less what matching saves, would keep no digit
    of 26.23.
    """
    long, short = [0.0, 1e16], [[0.0, 37.0], [1.0, 1.1]]
    a, b = np.array([long, *short]), np.array([long])
    assert diagram_distance(a, b, "wasserstein") == pytest.approx((37 + 0.1) / math.sqrt(2), rel=1e-14)
    assert diagram_distance(b, a, "wasserstein") == diagram_distance(a, b, "wasserstein")
    # Bars far from zero, whose matching is a shift by 2: three bars move by (2, 2), at √8 each.
    far = np.array([[1e15, 3e15], [2e15, 7e15], [4e15, 9e15]])
    assert diagram_distance(far, far + 2, "wasserstein") == pytest.approx(3 * math.sqrt(8), rel=1e-14)
    # Control: from larger terms the same sum keeps no digits.
    alone = [np.sum(bars[:, 1] - bars[:, 0]) / math.sqrt(2) for bars in (a, b)]
    assert abs(sum(alone) - 2 * alone[1] - (37 + 0.1) / math.sqrt(2)) > 0.1


def circle(n_points):
    return np.exp(2j * np.pi * np.arange(n_points) / n_points)


def blob(n_points, seed=0):
    rng = np.random.default_rng(seed)
    return 0.2 * (rng.normal(size=n_points) + 1j * rng.normal(size=n_points))


def test_pairwise_distances_keep_dimensions_apart():
    diagrams = [persistence_diagrams(v) for v in (circle(9), circle(12), blob(11), circle(9))]
    distances = pairwise_diagram_distances(diagrams)
    assert distances.shape == (2, 4, 4)
    np.testing.assert_array_equal(distances, distances.transpose(0, 2, 1))
    np.testing.assert_array_equal(distances[:, 0, 3], 0.0)
    assert distances[1, 0, 2] > distances[1, 0, 1] > 0
    for i, j in itertools.combinations(range(4), 2):
        assert distances[1, i, j] == diagram_distance(diagrams[i][1], diagrams[j][1])


def test_small_changes_of_a_spectrum_are_small_changes_of_its_diagrams():
    values = blob(15)
    moved = values + 1e-3 * np.exp(1j * np.arange(15))
    distances = pairwise_diagram_distances([persistence_diagrams(values), persistence_diagrams(moved)])
    assert 0 < distances.max() <= 2e-3  # stability theorem: no more than the largest change of a distance


@pytest.mark.parametrize("metric", ["bottleneck", "wasserstein"])
def test_many_pairs_are_shared_among_processes(monkeypatch, metric):
    diagrams = [persistence_diagrams(blob(9, seed)) for seed in range(7)]
    alone = pairwise_diagram_distances(diagrams, metric)
    monkeypatch.setattr("analysis.cache.MANY_PAIRS", 1)
    np.testing.assert_array_equal(pairwise_diagram_distances(diagrams, metric), alone)


@pytest.mark.parametrize("metric", ["bottleneck", "wasserstein"])
@pytest.mark.parametrize("unit", [2.0**-900, 2.0**900])
def test_distances_have_the_unit_of_the_diagrams(metric, unit):
    births, lengths = np.random.default_rng(0).uniform(size=(2, 9))
    bars = np.column_stack([births, births + lengths])
    a, b = bars[:5], bars[5:]
    # A power of two is divided out without rounding.
    assert diagram_distance(unit * a, unit * b, metric) / unit == diagram_distance(a, b, metric) > 0.1
    assert diagram_distance(unit * a, unit * a[:0], metric) / unit == diagram_distance(a, a[:0], metric) > 0.1

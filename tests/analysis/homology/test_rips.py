"""Bars in double precision from ranks in single precision."""

import math

import numpy as np
import pytest

from analysis.homology.rips import _as_float, _as_rank, rips_bars


def test_distances_that_single_precision_cannot_tell_apart_are_told_apart():
    """Points of a line join at their gaps; 1 and 1 + 1e-12 are one number in single precision."""
    line = np.cumsum([0.0, 1.0, 1.0 + 1e-12, 3.0])
    (components,) = rips_bars(np.abs(line[:, None] - line), 0)
    deaths = np.sort(components[:, 1])
    np.testing.assert_array_equal(deaths[:3], np.sort(np.diff(line)))
    assert deaths[3] == math.inf
    assert len(np.unique(deaths.astype(np.float32))) == 3  # control


@pytest.mark.parametrize("rank", [0, 1, 2**24 - 1, 2**24, 2**24 + 1, 2**30])
def test_each_rank_has_a_number_of_its_own(rank):
    ranks = np.array([rank, rank + 1])
    codes = _as_float(ranks)
    assert codes[0] < codes[1] < np.inf
    np.testing.assert_array_equal(_as_rank(codes.astype(float), -1), ranks)
    assert _as_rank(np.array([np.inf]), 7).tolist() == [7]


def test_the_filtration_ends_at_the_largest_scale():
    points = np.array([0.0, 1.0, 4.0])
    distances = np.abs(points[:, None] - points)
    assert np.isinf(rips_bars(distances, 0, 2.5)[0][:, 1]).sum() == 2
    assert np.isinf(rips_bars(distances, 0, 3.0)[0][:, 1]).sum() == 1

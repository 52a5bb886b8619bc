"""Units of numbers."""

import numpy as np
import pytest

from analysis.scale import unit_of


@pytest.mark.parametrize("value", [3.0, 4.0, 1e-310, 5e-324, 1.7e308, -7 + 24j])
def test_a_unit_is_a_power_of_two_within_a_factor_of_two_of_the_largest_modulus(value):
    unit = unit_of([value, 0.0])
    assert np.frexp(unit)[0] == 0.5
    assert 1 <= abs(value) / unit < 2
    assert unit * (value / unit) == value


def test_zeros_and_nothing_have_the_unit_one():
    assert unit_of([0.0, 0.0]) == unit_of([]) == unit_of([], [0.0]) == 1


def test_the_largest_of_several_arrays_decides():
    assert unit_of([1e-3], [[0.5, -9.0]]) == 8

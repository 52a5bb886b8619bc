"""The companion matrix and its spectrum in closed form."""

import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment

from analysis.errors import AnalysisError
from analysis.variables.companion import companion_cycles, companion_eigenvalues, companion_matrix


def selection(positions, signs, length):
    operator = np.zeros((length * len(positions), len(positions)))
    operator[positions, np.arange(len(positions))] = signs
    return operator


def distance(a, b):
    gaps = np.abs(np.subtract.outer(a, b))
    return gaps[linear_sum_assignment(gaps)].max()


DIAGONAL = list(range(0, 64, 9))
TASKS = {
    "T1": (list(range(8)), [1.0] * 8, 8),
    "T2": (DIAGONAL, [1.0] * 8, 8),
    "shuffled": ([DIAGONAL[i] for i in (2, 0, 1, 5, 4, 7, 3, 6)], [1, -1, 1, 1, -1, 1, -1, 1], 8),
    "reads a bit twice": ([0, 2, 5], [1.0, -1.0, 1.0], 4),
    "one cycle of odd sign": ([1, 0], [1.0, -1.0], 3),
}


@pytest.mark.parametrize("task", TASKS)
def test_the_companion_matrix_moves_a_window_one_step_on(task):
    operator = selection(*TASKS[task])
    size, width = operator.shape
    window = np.random.default_rng(1).choice([-1.0, 1.0], size)
    moved = companion_matrix(operator, TASKS[task][2]) @ window
    assert np.array_equal(moved, np.concatenate([window[width:], window @ operator]))


def test_repeat_copy_has_the_roots_of_unity_as_often_as_there_are_bits():
    length, width = 7, 3
    operator = selection(list(range(width)), [1.0] * width, length)
    roots = np.repeat(np.exp(2j * np.pi * np.arange(length) / length), width)
    found = companion_eigenvalues(companion_matrix(operator, length))
    assert distance(found, roots) < 1e-12
    assert distance(found * np.exp(0.01j), roots) > 0.009


@pytest.mark.parametrize("task", TASKS)
def test_the_closed_form_has_the_characteristic_polynomial_of_the_matrix(task):
    companion = companion_matrix(selection(*TASKS[task]), TASKS[task][2])
    roots = companion_eigenvalues(companion)
    powers = [np.trace(np.linalg.matrix_power(companion, n)) for n in range(1, len(companion) + 1)]
    assert np.allclose([np.sum(roots**n) for n in range(1, len(companion) + 1)], powers, atol=1e-10)


def test_a_numerical_spectrum_agrees_where_the_matrix_is_not_defective():
    companion = companion_matrix(selection(*TASKS["one cycle of odd sign"]), 3)
    assert distance(companion_eigenvalues(companion), np.linalg.eigvals(companion)) < 1e-12


def test_cycles_hand_values_on_in_order_of_time_with_their_signs():
    companion = companion_matrix(selection(*TASKS["shuffled"]), 8)
    cycles = companion_cycles(companion)
    for cycle in cycles:
        assert np.array_equal(companion[cycle.positions, np.roll(cycle.positions, 1)], cycle.signs)
    kept = np.concatenate([cycle.positions for cycle in cycles])
    assert len(np.unique(kept)) == len(kept) == np.sum(np.abs(companion_eigenvalues(companion)) > 0)


def test_what_is_no_signed_selection_has_no_cycles_to_name():
    operator = selection([0, 1], [1.0, 0.5], 3)
    with pytest.raises(AnalysisError, match=r"operator: expected a signed selection"):
        companion_cycles(companion_matrix(operator, 3))


def test_an_operator_of_another_length_is_refused():
    with pytest.raises(AnalysisError, match=r"expected shape \(5·d, d\); got \(8, 2\)"):
        companion_matrix(selection([0, 1], [1.0, 1.0], 4), 5)

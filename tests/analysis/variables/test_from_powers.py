"""The basis of variable memories."""

import numpy as np
import pytest

from analysis.errors import AnalysisError
from analysis.spectra.values import spectral_error
from analysis.variables.companion import companion_eigenvalues, companion_matrix
from analysis.variables.from_powers import find_variable_basis


def selection(positions, signs, length):
    operator = np.zeros((length * len(positions), len(positions)))
    operator[positions, np.arange(len(positions))] = signs
    return operator


TASKS = {
    "repeat copy": ([0, 1, 2], [1.0, 1.0, 1.0], 5),
    "negated and swapped": ([1, 0, 2], [-1.0, 1.0, -1.0], 5),
    "different delays": ([0, 4, 8], [1.0, 1.0, -1.0], 5),
    "reads a bit twice": ([0, 3, 5], [1.0, -1.0, 1.0], 5),
    "reads the newest": ([0, 13, 14], [1.0, -1.0, 1.0], 5),
}


def basis_of(circuit, operator):
    return find_variable_basis(circuit.recurrent, circuit.readout, operator, circuit.hidden)


@pytest.mark.parametrize("oblique", [0.0, 0.5], ids=["orthonormal", "oblique"])
@pytest.mark.parametrize("task", TASKS)
def test_an_exact_solution_gives_back_its_companion_matrix(plant, task, oblique):
    positions, signs, length = TASKS[task]
    operator = selection(positions, signs, length)
    circuit = plant(units=26, length=length, width=3, operator=operator, oblique=oblique, bulk=0.3)
    found = basis_of(circuit, operator)
    kept = np.ix_(found.kept, found.kept)
    assert np.allclose(found.transition[kept], companion_matrix(operator, length)[kept], atol=1e-11)
    assert found.identifiable


def test_the_dual_basis_reads_the_window_from_the_state(plant):
    length, width = 4, 3
    operator = selection([0, 1, 2], [1.0] * 3, length)
    circuit = plant(units=22, length=length, width=width, oblique=0.4, horizon=9)
    found = basis_of(circuit, operator)
    # Slot 0 is the oldest: at step t the window holds the outputs of steps t - 3 … t.
    window = np.concatenate([circuit.targets[:, t : t + 6] for t in range(length)], axis=-1)
    assert np.allclose(circuit.hidden[:, 3:9] @ found.dual[: length * width].T, window, atol=1e-10)
    backwards = np.concatenate([circuit.targets[:, t : t + 6] for t in reversed(range(length))], axis=-1)
    assert not np.allclose(circuit.hidden[:, 3:9] @ found.dual[: length * width].T, backwards, atol=0.5)


def test_a_rotated_basis_gives_the_same_transition(plant):
    operator = selection([0, 1, 2], [1.0] * 3, 5)
    first = basis_of(plant(units=26, length=5, width=3, noise=0.2, seed=4), operator)
    circuit = plant(units=26, length=5, width=3, noise=0.2, seed=4)
    turn = np.linalg.qr(np.random.default_rng(9).normal(size=(26, 26)))[0]
    turned = find_variable_basis(
        turn @ circuit.recurrent @ turn.T, circuit.readout @ turn.T, operator, circuit.hidden @ turn.T
    )
    assert np.allclose(first.transition[:15, :15], turned.transition[:15, :15], atol=1e-9)


def test_a_gain_above_one_is_divided_out(plant):
    operator = selection([0, 1, 2], [1.0] * 3, 5)
    circuit = plant(units=26, length=5, width=3)
    found = find_variable_basis(1.2 * circuit.recurrent, circuit.readout, operator, circuit.hidden)
    assert found.gain == pytest.approx(1.2)
    assert np.allclose(found.transition[:15, :15], 1.2 * companion_matrix(operator, 5), atol=1e-10)
    assert found.condition_number == pytest.approx(basis_of(circuit, operator).condition_number)


def test_a_network_that_solves_another_task_shows_it(plant):
    operator, other = selection([0, 1, 2], [1.0] * 3, 5), selection([1, 0, 2], [1.0] * 3, 5)
    found = basis_of(plant(units=26, length=5, width=3, operator=other), operator)
    assert np.linalg.norm(found.transition[12:15, :15] - companion_matrix(operator, 5)[12:]) > 1
    right = basis_of(plant(units=26, length=5, width=3), operator)
    assert np.linalg.norm(right.transition[12:15, :15] - companion_matrix(operator, 5)[12:]) < 1e-10
    assert (
        spectral_error(right.eigenvalues, companion_eigenvalues(companion_matrix(operator, 5))).angle_deg
        < 1e-6
    )


def test_a_network_may_be_read_along_other_directions_than_it_is_active_in(plant):
    operator = selection([0, 1, 2], [1.0] * 3, 5)
    circuit = plant(units=26, length=5, width=3, oblique=0.3)
    active = circuit.hidden[:, -15:].reshape(-1, 26).T
    basis = np.linalg.svd(active)[0][:, :15]
    outside = np.random.default_rng(7).normal(size=(26, 26)) @ (np.eye(26) - basis @ basis.T)
    # States of the circuit are as before: the addition is zero on them.
    recurrent, readout = circuit.recurrent @ (np.eye(26) + outside), circuit.readout @ (np.eye(26) + outside)
    found = find_variable_basis(recurrent, readout, operator, circuit.hidden)
    assert np.allclose(circuit.hidden @ (found.basis[:, :15] @ found.dual[:15]).T, circuit.hidden, atol=1e-9)
    smallest = np.linalg.pinv(found.dual[:15])
    assert np.linalg.norm(circuit.hidden @ (smallest @ found.dual[:15]).T - circuit.hidden) > 1
    noisy = np.random.default_rng(8).normal(size=(4, 12, 26))
    found = find_variable_basis(recurrent, readout, operator, noisy)
    assert found.basis.shape == (26, 25)
    assert np.allclose(found.dual @ found.basis, np.eye(25), atol=1e-9)


def test_pruned_positions_have_no_direction_and_residual_directions_lie_outside(plant):
    positions, signs, length = TASKS["different delays"]
    operator = selection(positions, signs, length)
    circuit = plant(units=26, length=length, width=3, operator=operator, horizon=30)
    found = basis_of(circuit, operator)
    pruned = np.setdiff1d(np.arange(15), found.kept)
    assert len(found.kept) == 12
    assert not found.basis[:, pruned].any()
    assert not found.dual[pruned].any()
    residual = found.basis.shape[1] - 15
    assert 0 < residual <= 3
    assert basis_of(plant(units=26, length=5, width=3), selection([0, 1, 2], [1.0] * 3, 5)).basis.shape == (
        26,
        15,
    )
    assert found.dual.shape == found.basis.T.shape
    used = np.concatenate([found.kept, np.arange(15, 15 + residual)])
    assert np.allclose(found.dual[used] @ found.basis[:, used], np.eye(len(used)), atol=1e-10)


@pytest.mark.parametrize("units", [4, 9])
def test_fewer_units_than_positions_are_not_identifiable(plant, units):
    operator = selection([0, 1], [1.0, 1.0], 5)
    found = basis_of(plant(units=units, length=5, width=2), operator)
    assert not found.identifiable
    assert np.isinf(found.condition_number)
    assert found.basis.shape == (units, 10)
    assert np.isfinite(found.transition).all()


def test_a_silent_network_is_not_identifiable():
    operator = selection([0, 1], [1.0, 1.0], 3)
    silent = find_variable_basis(np.zeros((9, 9)), np.ones((2, 9)), operator, np.zeros((3, 4, 9)))
    assert not silent.identifiable
    assert not silent.transition.any()


def test_a_readout_of_another_width_is_refused(plant):
    with pytest.raises(AnalysisError, match="readout: expected 3 outputs, as the operator has; got 2"):
        basis_of(plant(units=24, length=3, width=2), selection([0, 1, 2], [1.0] * 3, 5))

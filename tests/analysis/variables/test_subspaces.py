"""Invariant, singular and principal subspaces."""

import numpy as np
import pytest

from analysis.variables.companion import companion_matrix
from analysis.variables.subspaces import (
    compare_as_reference,
    greedy_spectral_error,
    leading_subspace,
    left_singular_subspace,
    principal_subspace,
    subspace_overlap,
)

LENGTH, WIDTH, UNITS = 4, 3, 29
SIZE = LENGTH * WIDTH


def shift():
    operator = np.zeros((SIZE, WIDTH))
    operator[range(WIDTH), range(WIDTH)] = 1
    return companion_matrix(operator, LENGTH)


def planted(strength, seed=0):
    """A rotated shift beside a block that is nilpotent (no eigenvalue but 0) and of the given strength."""
    frame = np.linalg.qr(np.random.default_rng(seed).normal(size=(UNITS, UNITS)))[0]
    q, outside = frame[:, :SIZE], frame[:, SIZE:]
    block = np.triu(np.random.default_rng(seed + 1).normal(size=(UNITS - SIZE,) * 2), 1)
    matrix = q @ shift() @ q.T + strength * outside @ block @ outside.T
    matrix.setflags(write=False)
    return matrix, q


def test_a_planted_block_is_found_beside_a_strong_unrelated_one():
    matrix, q = planted(strength=2.0)
    basis, eigenvalues = leading_subspace(matrix, SIZE)
    assert basis.shape == (UNITS, SIZE)
    assert np.allclose(np.abs(eigenvalues), 1, atol=1e-10)
    assert np.linalg.norm(basis @ basis.conj().T - q @ q.T) < 1e-8
    # The singular subspace, which the reference implementation takes, is led astray.
    assert subspace_overlap(left_singular_subspace(matrix, SIZE), q) < 0.8


@pytest.mark.parametrize("k", [1, 5, UNITS, UNITS + 4])
def test_the_leading_subspace_is_orthonormal_and_invariant(k):
    matrix = np.random.default_rng(3).normal(size=(UNITS, UNITS)) / np.sqrt(UNITS)
    basis, eigenvalues = leading_subspace(matrix, k)
    n = min(k, UNITS)
    assert basis.shape == (UNITS, n)
    assert np.allclose(basis.conj().T @ basis, np.eye(n), atol=1e-12)
    inside = basis.conj().T @ matrix @ basis
    assert np.allclose(matrix @ basis, basis @ inside, atol=1e-12)
    moduli = np.sort(np.abs(np.linalg.eigvals(matrix)))[::-1][:n]
    assert np.allclose(np.abs(eigenvalues), moduli, atol=1e-10)


def test_principal_directions_are_those_with_variance():
    rng = np.random.default_rng(5)
    directions = np.linalg.qr(rng.normal(size=(UNITS, 3)))[0]
    activity = 7.0 + rng.normal(size=(4, 9, 3)) * [5.0, 2.0, 1.0] @ directions.T
    basis, shares = principal_subspace(activity, 6)
    assert basis.shape == (UNITS, 3)
    assert subspace_overlap(basis, directions) == pytest.approx(1)
    assert shares.sum() == pytest.approx(1)
    assert np.all(np.diff(shares) < 0)
    assert principal_subspace(np.ones((4, 9, UNITS)), 6)[0].shape == (UNITS, 0)


def test_overlap_is_one_for_a_part_and_zero_for_the_complement():
    frame = np.linalg.qr(np.random.default_rng(7).normal(size=(UNITS, UNITS)))[0]
    mixed = frame[:, :8] @ np.linalg.qr(np.random.default_rng(8).normal(size=(8, 8)))[0]
    assert subspace_overlap(frame[:, :3], mixed) == pytest.approx(1)
    assert subspace_overlap(frame[:, 8:], mixed) == pytest.approx(0, abs=1e-12)


def test_the_reference_values_follow_their_formulas():
    matrix, _ = planted(strength=0.3)
    reference = compare_as_reference(matrix, {LENGTH: shift()})[LENGTH]
    left, singular, _ = np.linalg.svd(matrix)
    difference = np.linalg.norm(left[:, :SIZE].T @ matrix @ left[:, :SIZE] - shift())
    assert reference.variance_ratio == pytest.approx(np.sum(singular[:SIZE] ** 2) / np.sum(singular**2))
    assert reference.frob_error == pytest.approx(difference)
    assert reference.frob_relative == pytest.approx(difference / np.sqrt(SIZE))
    assert reference.eigenvalues.shape == (SIZE,)


def test_a_network_narrower_than_the_window_has_no_frobenius_error():
    reference = compare_as_reference(np.eye(SIZE - 1), {LENGTH: shift()})[LENGTH]
    assert np.isnan([reference.frob_error, reference.frob_relative, reference.spectral_error_deg]).all()
    assert reference.variance_ratio == pytest.approx(1)
    assert len(reference.eigenvalues) == SIZE - 1


def test_the_greedy_error_is_defined_for_equal_numbers_only():
    roots = np.exp(2j * np.pi * np.arange(5) / 5)
    assert greedy_spectral_error(roots[::-1], roots) == 0
    assert greedy_spectral_error(roots * np.exp(0.1j), roots) == pytest.approx(np.degrees(0.1))
    assert np.isnan(greedy_spectral_error(np.append(roots, 1.0), roots))
    assert np.isnan(greedy_spectral_error(0.5 * roots, 0.5 * roots))

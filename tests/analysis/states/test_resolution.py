"""What the last digit of weights leaves open: matrices whose answer is known."""

import numpy as np
import pytest

from analysis.states.dynamics import analyse_dynamics, sorted_modes, transient_growth
from analysis.states.resolution import PRECISION, eigenvalue_errors, place_errors

SIZE = 5


def rotation(seed=0, size=SIZE):
    return np.linalg.qr(np.random.default_rng(seed).normal(size=(size, size)))[0]


def block(shear, mode=0.5, size=SIZE):
    """Return a matrix with one eigenvalue, ``mode``, far from normal where ``shear`` is large, in a random basis."""
    turn = rotation(size=size)
    return turn @ (mode * np.eye(size) + shear * np.eye(size, k=1)) @ turn.T


def normal(*modes):
    turn = rotation(len(modes), len(modes))
    return turn @ np.diag(modes) @ turn.T


def errors(matrix):
    return eigenvalue_errors(matrix[None], sorted_modes(matrix[None])[1])[0]


def test_eigenvalues_of_normal_matrices_move_as_little_as_the_matrix():
    matrix = normal(0.9, -0.7, 0.5, 0.3, 0.1)
    np.testing.assert_allclose(errors(matrix), PRECISION * np.linalg.norm(matrix))
    assert errors(np.zeros((3, 3))).tolist() == [0.0, 0.0, 0.0]


def test_the_error_is_the_derivative_of_an_eigenvalue():
    """Eigenvalues 0.5 and 0.7 of [[0.5, s], [0, 0.7]] have κ = √(1 + (s / 0.2)²); the change along y xᴴ is κ ‖E‖."""
    shear = 30.0
    matrix = np.array([[0.5, shear], [0.0, 0.7]])
    condition = np.sqrt(1 + (shear / 0.2) ** 2)
    np.testing.assert_allclose(errors(matrix), PRECISION * np.linalg.norm(matrix) * condition)
    change = 1e-9 * np.array([[0.0, 0.0], [1.0, 0.0]])  # nearly y xᴴ
    moved = np.sort(np.linalg.eigvals(matrix + change).real) - [0.5, 0.7]
    np.testing.assert_allclose(np.abs(moved), 1e-9 * condition, rtol=1e-3)


@pytest.mark.parametrize("shear", [1e3, 1e6])
def test_an_extreme_block_has_no_resolved_eigenvalues(shear):
    """Its only eigenvalue is 0.5; rounding its entries to single precision moves it by about (u shear⁴ ‖J‖)^(1/5)."""
    exact = block(shear)
    rounded = exact.astype(np.float32).astype(float)
    moved = np.abs(np.linalg.eigvals(rounded) - 0.5).max()
    assert moved > 1
    assert errors(rounded).max() > 0.1 * moved
    # Control: without the shear rounding moves nothing, and the error says so.
    plain = block(0.0).astype(np.float32).astype(float)
    assert np.abs(np.linalg.eigvals(plain) - 0.5).max() < 1e-6
    assert errors(plain).max() < 1e-6


def test_defective_matrices_have_an_infinite_or_large_error():
    """One eigenvector for five eigenvalues 0: no first-order bound holds, since they move by the fifth root of u."""
    assert errors(np.eye(SIZE, k=1)).max() > 1


def test_a_place_is_known_as_well_as_the_residual_over_the_stiffness():
    """J = 0.5 leaves 1 − J = 0.5: a residual r = √(2q) puts the point within 2 r, and rounding within 2 u ‖J‖ |h|."""
    half, place = 0.5 * np.eye(4)[None], np.array([[3.0, 0.0, 4.0, 0.0]])
    assert place_errors(half, 0 * place, np.array([0.5e-14])) == pytest.approx(2e-7)
    assert place_errors(half, place, np.zeros(1)) == pytest.approx(2 * PRECISION * 1.0 * 5, rel=1e-6)
    # Nothing keeps a point of a line in place.
    assert place_errors(np.eye(4)[None], place, np.zeros(1)).tolist() == [np.inf]


def with_jacobians(portrait, matrices):
    portrait["jacobian"].values[: len(matrices)] = matrices
    portrait["speed"].values[: len(matrices)] = 1e-28
    return portrait


def test_extreme_points_are_counted_apart_and_named(make_portrait):
    portrait = make_portrait(members=2, points=3, size=SIZE)
    plain = analyse_dynamics(portrait)
    assert plain.members["unresolved"].tolist() == [0, 0]
    assert "last digit" not in plain.headline()
    extreme = block(1e4).astype(np.float32)
    found = analyse_dynamics(with_jacobians(portrait, np.stack([extreme, normal(0.9, -0.7, 0.5, 0.3, 0.1)])))
    first = found.points.loc["model-1"].iloc[0]
    assert first["kind"] == "unresolved"
    assert first["eigenvalue_error"] > 0.1
    assert found.points.loc["model-1"].iloc[1]["kind"] == "stable"  # control: a normal one in the same place
    row = found.members.loc["model-1"]
    assert row[["stable", "saddles", "repellers", "unresolved", "slow"]].tolist() == [1, 0, 0, 1, 1]
    assert (
        "kind or place the last digit of the weights decides, in no other count: model-1 1"
        in found.headline()
    )


def test_a_point_that_may_be_elsewhere_is_unresolved(make_portrait):
    """An eigenvalue 1 - 2e-5 keeps a point at |h| ≈ 0.5 within u ‖J‖ |h| / 2e-5 ≈ 0.002, and one at 50 within 0.2."""
    portrait = make_portrait(members=1, points=4, size=SIZE)
    modes = (0.3, 0.2, 0.1, 0.0)
    barely = normal(1 - 2e-5, *modes)
    portrait["position"].values[1] *= 100
    found = analyse_dynamics(with_jacobians(portrait, np.stack([barely, barely, normal(1 - 3e-7, *modes)])))
    lengths = np.linalg.norm(portrait["position"].values[:2], axis=1)
    expected = PRECISION * np.linalg.norm((1.0, *modes)) * lengths / 2e-5
    np.testing.assert_allclose(found.points["place_error"].iloc[:2], expected, rtol=0.05)
    assert expected[0] < 1e-2 < expected[1]
    # Along a neutral direction points are a continuum, and known to be.
    assert found.points["kind"].iloc[:3].tolist() == ["stable", "unresolved", "stable"]
    assert found.points["neutral"].iloc[:3].tolist() == [0, 0, 1]


def test_exponents_that_the_last_digit_moves_are_named_and_do_not_count(make_portrait):
    portrait = make_portrait(members=3)
    plain = analyse_dynamics(portrait)
    portrait["exponent_change"].values[1, 1, 2, 0] = 0.2
    found = analyse_dynamics(portrait)
    assert found.members["exponent_change_silence"].tolist() == [1e-7, 0.2, 1e-7]
    assert (plain.population.loc["exponent_silence", "n"], found.population.loc["exponent_silence", "n"]) == (
        3,
        2,
    )
    assert found.population.loc["exponent_recorded", "n"] == 3
    assert "exponents that it moves by more than 0.001, left out: model-3" not in plain.headline()
    assert "left out: model-3" in found.headline()
    assert found.exponents.loc[("model-3", "silence", 1), "change"] == 0.2


def test_growth_beyond_the_range_of_numbers_is_infinite():
    """‖J⁴‖ of a block with shear 1e90 is some 1e360."""
    huge = block(1e90, size=6)
    eigenvalues = np.full((2, 6), 0.5 + 0j)
    growth = transient_growth(np.stack([huge, block(0.0, size=6)]), eigenvalues)
    assert growth.tolist() == [np.inf, 1.0]

"""Dynamics of a population: facts about matrices, and a planted portrait."""

import json

import numpy as np
import pytest

from analysis.errors import AnalysisError
from analysis.states.dynamics import analyse_dynamics, non_normality, sorted_modes, transient_growth

SIZE = 5


def random_normal(seed, modes):
    """Return a normal matrix with these eigenvalues."""
    q = np.linalg.qr(np.random.default_rng(seed).normal(size=(len(modes), len(modes))))[0]
    return q @ np.diag(modes) @ q.T


MODES = np.array([0.9, -0.7, 0.5, 0.3, 0.1])
NORMAL = random_normal(0, MODES)
SHEARED = NORMAL + 3 * np.outer(np.linalg.svd(NORMAL)[0][:, 4], np.linalg.svd(NORMAL)[0][:, 0])
JORDAN = 0.9 * np.eye(SIZE) + np.eye(SIZE, k=1)


def spectrum(*matrices):
    return np.linalg.eigvals(np.stack(matrices))


def test_normal_matrices_are_normal_and_nilpotent_ones_are_not():
    matrices = np.stack([NORMAL, SHEARED, np.eye(SIZE, k=1), np.zeros((SIZE, SIZE))])
    found = non_normality(matrices, spectrum(*matrices))
    np.testing.assert_allclose(found[[0, 2]], [0, 1], atol=1e-6)
    assert 0.5 < found[1] < 1
    assert np.isnan(found[3])
    # Rotations change nothing.
    q = np.linalg.qr(np.random.default_rng(3).normal(size=(SIZE, SIZE)))[0]
    turned = q @ matrices[1:2] @ q.T
    np.testing.assert_allclose(non_normality(turned, spectrum(*turned)), found[1:2])


def test_only_what_is_not_normal_grows_before_it_decays():
    matrices = np.stack([NORMAL, SHEARED, JORDAN])
    found = transient_growth(matrices, spectrum(*matrices))
    powers = [[np.linalg.norm(np.linalg.matrix_power(m, t), 2) for t in range(400)] for m in matrices]
    exact = np.max(powers, axis=1)
    np.testing.assert_allclose(found[0], 1)
    assert found[1] > 2
    assert found[2] > 1e3
    assert (found <= exact * (1 + 1e-9)).all()
    assert (found >= 0.8 * exact).all()


def test_growth_of_an_unstable_point_is_beyond_that_of_its_leading_mode():
    np.testing.assert_allclose(transient_growth(2 * NORMAL[None], 2 * spectrum(NORMAL)), 1)
    assert transient_growth(2 * SHEARED[None], 2 * spectrum(SHEARED))[0] > 2


def test_modes_are_sorted_with_their_vectors():
    matrices = np.random.default_rng(1).normal(size=(3, SIZE, SIZE))
    values, vectors = sorted_modes(matrices)
    assert (np.diff(np.abs(values), axis=-1) <= 1e-12).all()
    np.testing.assert_allclose(matrices @ vectors, values[:, None] * vectors, atol=1e-12)


def test_points_are_told_apart_by_their_unstable_directions(make_portrait):
    dynamics = analyse_dynamics(make_portrait(members=2, points=7, size=SIZE))
    one = dynamics.points.loc["model-3"]
    assert one["unstable"].tolist() == [0, 1, 2, 3, 4, 5, 5]
    assert one["kind"].tolist() == ["stable", *["saddle"] * 4, "repeller", "slow"]
    np.testing.assert_allclose(one["spectral_radius"], [0.8, *[1.2] * 6])
    row = dynamics.members.loc["model-3"]
    assert row[["found", "hits", "stable", "saddles", "repellers", "slow"]].tolist() == [7, 28, 1, 4, 1, 1]
    assert row["transient_growth"] == one["transient_growth"].iloc[:6].max()
    assert dynamics.eigenvalues.shape == (14, SIZE)


def test_moduli_of_one_are_neutral_not_unstable(make_portrait):
    portrait = make_portrait(members=1, points=2, size=SIZE)
    turn = np.linalg.qr(np.random.default_rng(0).normal(size=(SIZE, SIZE)))[0]
    portrait["jacobian"].values[0] = turn.astype(np.float32)
    first = analyse_dynamics(portrait).points.iloc[0]
    assert (first["kind"], first["unstable"], first["neutral"]) == ("stable", 0, SIZE)


def test_exponents_are_means_over_sequences_and_members_are_the_sample(make_portrait):
    portrait = make_portrait()
    dynamics = analyse_dynamics(portrait)
    exponents = portrait["exponent"].values
    rows = dynamics.exponents.xs("silence", level="drive")
    np.testing.assert_allclose(rows.loc["model-5", "mean"], exponents[2, 1].mean(axis=0))
    np.testing.assert_allclose(rows.loc["model-5", "high"], exponents[2, 1].max(axis=0))
    leading = exponents[:, 1, :, 0].mean(axis=1)
    np.testing.assert_allclose(dynamics.members["exponent_silence"], leading)
    row = dynamics.population.loc["exponent_silence"]
    np.testing.assert_allclose(row["mean"], leading.mean())
    assert row["n"] == 3
    assert row["low"] < row["mean"] < row["high"]
    assert (dynamics.members["positive_silence"] == 0).all()


def test_planes_hold_the_recorded_states(make_portrait):
    portrait = make_portrait(size=SIZE)
    plane = analyse_dynamics(portrait).planes[1]
    assert plane.model_name == "model-3"
    radii = np.linalg.norm(plane.visited[:, :2], axis=1)
    np.testing.assert_allclose(radii, 1, atol=0.3)
    assert plane.variance_ratio[:2].sum() > 0.9
    np.testing.assert_allclose(np.linalg.norm(plane.points[:, :2], axis=1), 0.5, atol=0.1)
    drawn = (~np.isnan(plane.directions).any(axis=-1)).sum(axis=-1)
    assert drawn.tolist() == [0, 1, 2, 3]
    np.testing.assert_allclose(np.linalg.norm(plane.directions[1, 0]), 1, atol=1e-6)


def test_a_pair_of_complex_modes_spans_a_plane(make_portrait):
    portrait = make_portrait(members=1, points=1, size=SIZE)
    spiral = 0.5 * np.eye(SIZE)
    spiral[:2, :2] = 1.1 * np.array([[0.6, -0.8], [0.8, 0.6]])
    portrait["jacobian"].values[0] = spiral
    ways = analyse_dynamics(portrait).planes[0].directions[0]
    assert np.isnan(ways[2]).all()
    assert np.linalg.matrix_rank(ways[:2], tol=1e-3) == 2


def test_members_without_points_have_none(make_portrait):
    dynamics = analyse_dynamics(make_portrait(members=2, points=0))
    assert dynamics.members["stable"].tolist() == [0, 0]
    assert dynamics.members["transient_growth"].isna().all()
    assert "median numbers of points: 0 stable" in dynamics.headline()


def test_nothing_is_written_to_the_portrait(make_portrait):
    portrait = make_portrait()
    before = portrait.copy(deep=True)
    analyse_dynamics(portrait)
    assert portrait.identical(before)


def test_a_jacobian_that_is_not_finite_is_refused_by_name(make_portrait):
    portrait = make_portrait()
    portrait["jacobian"].values[5, 0, 0] = np.nan
    with pytest.raises(AnalysisError, match="model-3: expected finite Jacobians"):
        analyse_dynamics(portrait)


def test_a_portrait_is_called_after_its_experiment_else_its_model(make_portrait):
    portrait = make_portrait()
    about = json.loads(portrait.attrs["about"])
    for left_out, label in (
        ((), "planted"),
        (("experiment",), "lstm"),
        (("experiment", "model"), "population"),
    ):
        portrait.attrs["about"] = json.dumps({k: v for k, v in about.items() if k not in left_out})
        assert analyse_dynamics(portrait).label == label

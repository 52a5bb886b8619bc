import numpy as np
import pytest

from analysis import follow_conditions
from analysis.conditions.demixing import components_of, part_names, split_parts
from tests.planted.conditions import recording

STEPS, UNITS = 10, 18
LEVELS = (4, 2)


def planted(counts, seed=0, interaction=0.0, noise=0.7):
    """Return a stimulus of four and a decision of two values, with time, each in directions of its own.

    The decision's axis is at 45° to the stimulus'. Counts are trials of each cell (4, 2).
    """
    rng = np.random.default_rng(seed)
    stimulus, decision = (place.ravel() for place in np.indices(LEVELS))
    cells = np.repeat(np.arange(8), np.asarray(counts).ravel())
    axes = np.linalg.qr(rng.normal(size=(UNITS, 4)))[0].T
    time = np.linspace(0, 1, STEPS)
    rise = np.sin(np.pi * time)
    along = (axes[0] + axes[1]) / np.sqrt(2)
    means = (
        (stimulus - 1.5)[:, None, None] * (0.3 + rise)[:, None] * axes[0]
        + 1.2 * (2 * decision - 1)[:, None, None] * time[:, None] * along
        + 2 * np.cos(2 * time)[:, None] * axes[2]
        + interaction * ((stimulus - 1.5) * (2 * decision - 1))[:, None, None] * rise[:, None] * axes[3]
    )
    states = [
        means[cells] @ np.linalg.qr(rng.normal(size=(UNITS, UNITS)))[0]
        + noise * rng.normal(size=(len(cells), STEPS, UNITS))
        for _ in range(3)
    ]
    tree = recording(states, stimulus=stimulus[cells], decision=decision[cells])
    return tree, means.reshape(*LEVELS, STEPS, UNITS)


def true_shares(means):
    sizes = np.array([np.sum(part**2) for part in split_parts(means)])
    return sizes / sizes.sum()


def shares(tree):
    return follow_conditions(tree, label=("stimulus", "decision"), demix=True, permutations=19).demixed


def test_parts_are_orthogonal_and_add_up():
    means = np.random.default_rng(1).normal(size=(3, 2, 5, 4))
    parts = split_parts(means)
    assert len(parts) == len(part_names(["first", "second"])) == 4
    np.testing.assert_allclose(
        sum(parts), (means - means.reshape(-1, 4).mean(axis=0)).reshape(-1, 4), atol=1e-12
    )
    products = np.array([[np.sum(one * other) for one in parts] for other in parts])
    np.testing.assert_allclose(products - np.diag(np.diag(products)), 0, atol=1e-10)
    assert len(split_parts(means[:, 0])) == len(part_names(["first"])) == 2


def test_shares_are_the_planted_ones_though_noise_fills_the_part_of_all_together():
    tree, means = planted(np.full(LEVELS, 12))
    found, true = shares(tree).parts, true_shares(means)
    np.testing.assert_allclose(found["share"], true, atol=0.02)
    assert true[-1] == pytest.approx(0, abs=1e-12)
    assert found["plain"].iloc[-1] > 0.04


def test_an_interaction_is_found_where_there_is_one():
    tree, means = planted(np.full(LEVELS, 12), interaction=0.8)
    found, true = shares(tree).parts["share"].iloc[-1], true_shares(means)[-1]
    assert true > 0.1
    assert found == pytest.approx(true, abs=0.03)


def test_cells_count_once_however_many_trials_they_have():
    counts = np.where(np.indices(LEVELS).sum(axis=0) % 2, 20, 4)
    tree, means = planted(counts)
    np.testing.assert_allclose(shares(tree).parts["share"], true_shares(means), atol=0.04)


def test_components_of_a_part_show_it_though_axes_are_oblique():
    tree, means = planted(np.full(LEVELS, 12))
    found = shares(tree).parts["own"]
    assert found["decision"] > 0.75
    # No principal component does.
    flat = means.reshape(-1, UNITS) - means.reshape(-1, UNITS).mean(axis=0)
    parts = split_parts(means)
    best = max(
        np.sum((parts[2] @ axis) ** 2) / np.sum((flat @ axis) ** 2)
        for axis in np.linalg.svd(flat, full_matrices=False)[2][:3]
    )
    assert best < found["decision"]
    assert np.linalg.norm(components_of(parts, 2, 1e-3), axis=0)[0] == pytest.approx(1)

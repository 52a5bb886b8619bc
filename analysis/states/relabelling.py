"""Are members closer than unrelated ones? Distances of states against those of relabelled trials.

All members saw the same trials, so what two of them share by accident in these trials others may share too:
members alone are no sample against chance (`analysis.statistics.chance_test`). A relabelling moves a trial's
states as a whole to another trial, the same in the second member of every pair.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from analysis.states.state_distances import FEWEST_STATES, angles, distance_ranks, unbiased_product
from analysis.statistics import RELABELLINGS, ChanceTest, chance_test

Array = NDArray[np.float64]
Places = NDArray[np.intp]

MOST_PAIRS = 10
"""Pairs of members that are relabelled: no member is in two of them, so that pairs are a sample of members."""

MOST_STATES = 1024
"""States that are relabelled: of more, the first trials, and steps at equal distances."""

MOST_RSA_STATES = 128
"""The same for ``rsa``."""

LARGEST_CHUNK = 2**21
"""Numbers that relabellings taken at once may need."""


def against_chance(
    states: Array, n_trials: int, keys: Sequence[str], sets: tuple[Places, Places], seed: int = 0
) -> dict[str, ChanceTest]:
    """Test for each measure whether members of two sets, or of one, are closer than where trials are relabelled.

    Parameters
    ----------
    states
        (member, state, unit), trials one after the other.
    n_trials
        Trials of each member.
    keys
        A hash for each member: members are paired in this order, which is not that of files.
    sets
        Members of both sets; twice the same for one set.
    seed
        Seed of the relabellings.
    """
    first, second = _disjoint_pairs(keys, sets)
    if not len(first):
        return {}
    orders = _orders(n_trials, seed)
    different = len(np.unique(orders, axis=0))
    found = [_relabelled(states[[i, j]], n_trials, orders) for i, j in zip(first, second, strict=True)]
    tests = {}
    for measure in found[0]:
        closeness = -np.stack([pair[measure] for pair in found], axis=1)
        tests[measure] = chance_test(closeness[0], closeness[1:], different=different, seed=seed)
    return tests


def _disjoint_pairs(keys: Sequence[str], sets: tuple[Places, Places]) -> tuple[Places, Places]:
    first, second = (
        np.array(sorted(members, key=lambda place: keys[place]), dtype=np.intp) for members in sets
    )
    if np.array_equal(first, second):
        first, second = first[: len(first) // 2 * 2 : 2], first[1::2]
    n = min(len(first), len(second), MOST_PAIRS)
    first, second = first[:n], second[:n]
    # The second is relabelled: which one it is must not depend on the order of sets.
    return (first, second) if [keys[i] for i in first] <= [keys[i] for i in second] else (second, first)


def _orders(n_trials: int, seed: int) -> Places:
    """Return the order of the second members' trials by (relabelling, trial), that of the data in front."""
    rng = np.random.default_rng(seed)
    drawn = [rng.permutation(n_trials) for _ in range(RELABELLINGS)]
    return np.stack([np.arange(n_trials), *drawn])


def _relabelled(pair: Array, n_trials: int, orders: Places) -> dict[str, Array]:
    """Return distances (relabelling,) of two members' states (2, state, unit) by each measure."""
    chosen, steps = _chosen(pair, n_trials, MOST_STATES)
    distances = _of_products(chosen, _of_states(orders, steps, len(chosen[0])))
    chosen, steps = _chosen(pair, n_trials, MOST_RSA_STATES)
    return distances | {"rsa": _of_ranks(chosen, _of_states(orders, steps, len(chosen[0])))}


def _chosen(pair: Array, n_trials: int, most: int) -> tuple[Array, int]:
    """Return some states (member, state, unit), centred, of norm 1 and without surplus dimensions; steps of a trial."""
    by_trial = pair.reshape(2, n_trials, -1, pair.shape[-1])
    trials = min(n_trials, most)
    stride = -(-by_trial.shape[2] // max(most // trials, 1))
    kept = by_trial[:, :trials, ::-1][:, :, ::stride][:, :, ::-1]
    states = kept.reshape(2, -1, pair.shape[-1])
    states = states - states.mean(axis=1, keepdims=True)
    if states.shape[2] > states.shape[1]:
        vectors, values, _ = np.linalg.svd(states, full_matrices=False)
        states = vectors * values[:, None]
    norms = np.linalg.norm(states, axis=(1, 2), keepdims=True)
    return states / np.where(norms > 0, norms, np.nan), kept.shape[2]


def _of_states(orders: Places, steps: int, n_states: int) -> Places:
    """Return orders of states (relabelling, state) from those of trials, of which only the first may be left."""
    trials = n_states // steps
    orders = np.stack([order[order < trials] for order in orders])
    return (orders[..., None] * steps + np.arange(steps)).reshape(len(orders), -1)


def _of_products(pair: Array, orders: Places) -> dict[str, Array]:
    """Return ``cka``, ``cka_unbiased`` and ``procrustes`` by relabelling."""
    first, second = pair
    size = max(LARGEST_CHUNK // (second.size + second.shape[1] ** 2), 1)
    parts = [_products(first, second[orders[k : k + size]]) for k in range(0, len(orders), size)]
    squared, nuclear = np.concatenate(parts, axis=1)
    own = np.array([np.sum((member.T @ member) ** 2) for member in pair])
    distances = {"cka": angles(squared / np.sqrt(own[0] * own[1])), "procrustes": angles(nuclear)}
    n = len(first)
    if n >= FEWEST_STATES:
        a, b = np.sum(pair**2, axis=-1)
        itself = unbiased_product(own, np.array([a @ a, b @ b]), n)
        scale = np.sqrt(np.prod(np.where(itself > 1e-12 * own, itself, np.nan)))
        distances["cka_unbiased"] = angles(unbiased_product(squared, b[orders] @ a, n) / scale)
    return distances


def _products(first: Array, seconds: Array) -> Array:
    """Return ‖XᵀY‖² and ‖XᵀY‖_* for each Y of (relabelling, state, unit): (2, relabelling)."""
    cross = first.T @ seconds
    if not np.isfinite(cross).all():
        return np.full((2, len(seconds)), np.nan)
    nuclear = np.linalg.svd(cross, compute_uv=False).sum(axis=-1)
    return np.stack([np.sum(cross**2, axis=(1, 2)), nuclear])


def _of_ranks(pair: Array, orders: Places) -> Array:
    from scipy.spatial.distance import squareform

    if not np.isfinite(pair).all() or pair.shape[1] < 2:
        return np.full(len(orders), np.nan)
    first, second = (squareform(one) for one in distance_ranks(pair, None))
    return angles(np.array([np.sum(first * second[np.ix_(order, order)]) / 2 for order in orders]))

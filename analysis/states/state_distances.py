"""Distances between the states of two members, state by state, and the same for states that are out of order.

With X and Y the centred states (state, unit) of two members, all distances being angles:

* ``cka``: arccos of ‖XᵀY‖² / (‖XᵀX‖ ‖YᵀY‖), Frobenius norms (linear CKA, Kornblith et al. 2019);
* ``cka_unbiased``: the same with the unbiased estimator HSIC_1 (Song et al. 2007, eq. 5) in place of each product;
* ``procrustes``: arccos of ‖XᵀY‖_* / (‖X‖ ‖Y‖), the nuclear norm: the angle left after the best rotation
  (Williams et al. 2021);
* ``rsa``: arccos of the rank correlation of Euclidean distances between states (Kriegeskorte et al. 2008), distances
  that differ by less than 1e-6 of the largest being ties (states are recorded in single precision).

``cka`` and ``procrustes`` are biased: of n unrelated states they find more in common the more dimensions
these fill, so that values of members with other numbers of units do not compare. `shuffled_distances` is what
they come to then.
"""

from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray

from analysis.cache import all_pairs, content_hash
from analysis.errors import AnalysisError
from analysis.statistics import DISTANCE_TIES, ranks, scale_of

Array = NDArray[np.float64]
Places = NDArray[np.intp]
Pair = tuple[int, int]

N_RSA_STATES = 256
"""States whose distances ``rsa`` compares, drawn at random: each of s states has s - 1 distances."""

DIMENSIONS_PER_COMPONENT = 40
"""Dimensions of random rotations for each component that is looked at: more of them change nothing but the scale."""

ENTRIES_DRAWN = 8000
"""Random numbers behind an expected distance, so that its error is small against the spread of distances."""

MOST_DRAWS = 400
"""Random rotations behind an expected distance at most."""

FEWEST_FOR_SLOPE = 16
"""Products from which on the slope of their nuclear norm by their squares is fitted; of fewer it is that of a scale."""

LEAST_SPREAD = 0.01
"""Spread of the distances of unrelated states below which they all but agree, relative to that of other pairs."""

FEWEST_STATES = 4
"""States that HSIC_1 needs: it divides by n (n - 3)."""


def unit_states(runs: Sequence[Array], names: Sequence[str]) -> Array:
    """Return all states (member, state, unit) of runs (sequence, time, unit), centred and of norm 1.

    Raises
    ------
    AnalysisError
        Naming the first member whose states do not vary or are not finite.
    """
    n_units = max(run.shape[-1] for run in runs)
    states = np.zeros((len(runs), runs[0].shape[0] * runs[0].shape[1], n_units))
    for place, (run, name) in enumerate(zip(runs, names, strict=True)):
        flat = run.reshape(-1, run.shape[-1]) / scale_of(run)
        centred = flat - flat.mean(axis=0)
        norm = float(np.linalg.norm(centred))
        if not norm > 1e-12 * float(np.linalg.norm(flat)):
            raise AnalysisError(f"{name}: expected hidden states that vary and are finite; these do not")
        states[place, :, : run.shape[-1]] = centred / norm
    return states


def member_keys(states: Array, *parts: int) -> list[str]:
    """Return a hash for each member of its states (member, state, unit) and ``parts``, without units that it lacks.

    What is drawn or sorted by it depends on the member alone.
    """
    return [content_hash(member[:, member.any(axis=0)], *parts) for member in states]


def state_distances(states: Array, seed: int = 0) -> dict[str, Array]:
    """Return distances (member, member) of states (member, state, unit) by each measure of the module's table.

    States have to be centred and of norm 1 (‖X‖ = 1) for each member, as `unit_states` makes them; units that
    a member lacks are zero, which changes nothing. Of fewer than four states there is no ``cka_unbiased``; it
    is NaN for a member whose states are all equally far from each other.

    Examples
    --------
    The same states in other coordinates are at no distance, others are:

    >>> from analysis.states.state_distances import unit_states
    >>> rng = np.random.default_rng(0)
    >>> first, other = rng.normal(size=(2, 5, 10, 3))  # each (sequence, time, unit)
    >>> turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    >>> found = state_distances(unit_states([first, first @ turn, other], names="abc"))
    >>> {name: bool(distances[0, 1] < 1e-6 < distances[0, 2]) for name, distances in found.items()}
    {'cka': True, 'cka_unbiased': True, 'procrustes': True, 'rsa': True}
    """
    keys = member_keys(states)
    in_order = np.tile(np.arange(states.shape[1]), (len(states), 1))
    products = all_pairs("state_products", keys, partial(_products_of, states, in_order), 2)
    orders = distance_ranks(states, seed)
    return _distances(states, products, _inner_products(_squares(states)), orders @ orders.T)


def shuffled_distances(states: Array, seed: int = 0) -> dict[str, Array]:
    """Return the same distances where the states of one member of each pair changed places.

    It is what unrelated states of these members come to. The order of a member's states depends on its states
    and the seed alone, and so does which member of a pair is reordered: not on the order of members, nor on
    who else is there.
    """
    keys = member_keys(states, seed)
    by_key = np.argsort(keys)
    back = np.argsort(by_key)
    states, keys = states[by_key], [keys[place] for place in by_key]
    orders = np.stack([np.random.default_rng(int(key, 16)).permutation(states.shape[1]) for key in keys])
    products = all_pairs("shuffled_products", keys, partial(_products_of, states, orders), 2)
    squares = _squares(states)
    both = _of_later(squares @ np.take_along_axis(squares, orders, axis=1).T)
    found = distance_ranks(states, seed)
    ranked = _of_later(
        found @ np.stack([_reordered(one, key) for one, key in zip(found, keys, strict=True)]).T
    )
    distances = _distances(states, products, both, ranked)
    return {name: matrix[np.ix_(back, back)] for name, matrix in distances.items()}


def unbiased_product(product: Array, squares: Array, n_states: int) -> Array:
    """Return HSIC_1 times n (n - 3) from ‖XᵀY‖² and the sum of ‖x_i‖² ‖y_i‖², states being centred and of norm 1.

    With K = XXᵀ and L = YYᵀ without their diagonals, Song et al. (2007, eq. 5) have tr KL + 1ᵀK1 1ᵀL1 / ((n -
    1)(n - 2)) - 2/(n - 2) 1ᵀKL1. Rows of the whole matrices add up to 0, so K1 is minus the diagonal, which
    adds up to 1.
    """
    n = n_states
    return product - n / (n - 2) * squares + 1 / ((n - 1) * (n - 2))


def angles(cosines: Array) -> Array:
    """Return arccosines of values that rounding may have put beyond 1."""
    return np.arccos(np.clip(cosines, -1.0, 1.0))


def distance_ranks(states: Array, seed: int | None) -> Array:
    """Return ranks of the distances between some states (member, pair of states), centred and of norm 1.

    Without a seed of all states, in their order.
    """
    from scipy.spatial.distance import pdist

    n = states.shape[1]
    chosen = np.arange(n) if seed is None else np.random.default_rng(seed).permutation(n)[:N_RSA_STATES]
    found = np.stack([ranks(pdist(member[chosen]), DISTANCE_TIES) for member in states])
    found -= found.mean(axis=1, keepdims=True)
    return found / np.maximum(np.linalg.norm(found, axis=1, keepdims=True), np.finfo(float).tiny)


def _products_of(states: Array, orders: Places, pairs: tuple[Places, Places]) -> Array:
    """Return ‖XᵀY‖² and ‖XᵀY‖_* of pairs of members (2, pair), the states of the second in its order."""
    first, second = pairs
    products = np.empty((2, len(first)))
    for i in np.unique(first):
        here = first == i
        others = np.stack([states[j][orders[j]] for j in second[here]])
        cross = states[i].T @ others
        products[0, here] = np.sum(cross**2, axis=(1, 2))
        products[1, here] = np.linalg.svd(cross, compute_uv=False).sum(axis=-1)
    return products


def _distances(states: Array, products: Array, squares: Array, ranked: Array) -> dict[str, Array]:
    """Return angles from ‖XᵀY‖² and ‖XᵀY‖_*, the sums of ‖x_i‖² ‖y_i‖², and the correlations of ranks."""
    own = np.array([np.sum((member.T @ member) ** 2) for member in states])
    cosines = {"cka": products[0] / np.sqrt(np.outer(own, own))}
    n = states.shape[1]
    if n >= FEWEST_STATES:
        itself = unbiased_product(own, np.sum(_squares(states) ** 2, axis=1), n)
        itself = np.where(itself > 1e-12 * own, itself, np.nan)
        cosines["cka_unbiased"] = unbiased_product(products[0], squares, n) / np.sqrt(
            np.outer(itself, itself)
        )
    cosines |= {"procrustes": products[1], "rsa": ranked}
    return {name: _without_diagonal(angles(values)) for name, values in cosines.items()}


def _squares(states: Array) -> Array:
    return np.sum(states**2, axis=-1)


def _inner_products(rows: Array) -> Array:
    return np.asarray(rows @ rows.T)


def _of_later(values: Array) -> Array:
    """Return a symmetric matrix of the values above the diagonal."""
    upper = np.triu(values, 1)
    return np.asarray(upper + upper.T)


def _reordered(condensed: Array, key: str) -> Array:
    """Return values of pairs of states (pair,) where the states are in a random order."""
    from scipy.spatial.distance import squareform

    square = squareform(condensed)
    order = np.random.default_rng(int(key, 16)).permutation(len(square))
    return np.asarray(squareform(square[np.ix_(order, order)], checks=False))


def _without_diagonal(matrix: Array) -> Array:
    np.fill_diagonal(matrix, 0.0)
    return matrix


def levelled(distances: Mapping[str, Array], states: Array, seed: int = 0) -> dict[str, Array]:
    """Return distances as they would be if all pairs of members had the same bias, for tests between sets.

    ``cka`` and ``procrustes`` become the root of max s² + (d² - s²) r, where s is what unrelated states with
    the spectra of the two members are expected to come to (`unrelated_distances`), and r makes the spread of
    their d² the smallest of all pairs. So unrelated states have distances of one mean and one spread whatever
    their dimensions (tests that permute members need both), and where all spectra are alike nothing changes.
    The other measures have no such bias.
    """
    unrelated = unrelated_distances(states, seed)
    return {name: _levelled(d, *unrelated[name]) if name in unrelated else d for name, d in distances.items()}


def unrelated_distances(states: Array, seed: int = 0) -> dict[str, tuple[Array, Array]]:
    """Return mean and spread (member, member) of ``cka`` and ``procrustes`` for unrelated states with these spectra.

    Over all rotations of n states, centred and of norm 1, in their m = n - 1 dimensions, ‖XᵀY‖² has mean 1 / m
    and variance 2 (tr K² - 1/m) (tr L² - 1/m) / ((m - 1)(m + 2)), K and L being the Gram matrices. XᵀY itself
    is, along principal axes, a corner of a random rotation between the singular values of X and of Y: the
    same corners for all pairs, so that members of equal spectra have equal values, more of them where they
    are small. The variance of ‖XᵀY‖_* is bounded by its gradient (Poincaré's inequality). No sign of an axis
    matters to it, so that the smallest eigenvalue of the Laplacian that counts is that of traceless symmetric
    matrices, m, where the bound on ‖XᵀY‖² is exact; the spread is too large by at most a fifth.
    """
    n = states.shape[1]
    spectra = np.stack([np.linalg.svd(member, compute_uv=False) for member in states])[:, : n - 1]
    corners = _corners(n, spectra, seed)
    keys = [content_hash(spectrum, seed, n, len(corners)) for spectrum in spectra]
    nuclear = all_pairs("unrelated_norms", keys, partial(_products_of_corners, spectra, corners, n - 1), 2)
    own = np.sum(spectra**4, axis=1)
    norms = np.sqrt(np.outer(own, own))
    # Of two states there is one dimension, and nothing to rotate.
    variance = 2 / max((n - 2) * (n + 1), 1) * np.outer(*2 * [np.maximum(own - 1 / (n - 1), 0)])
    cosines = {"cka": (1 / (n - 1) / norms, np.sqrt(variance) / norms), "procrustes": tuple(nuclear)}
    return {name: _as_angles(*found) for name, found in cosines.items()}


def _as_angles(mean: Array, spread: Array) -> tuple[Array, Array]:
    """Return mean and spread of angles from those of their cosines."""
    expected = angles(mean)
    return _without_diagonal(expected), spread / np.maximum(np.sin(expected), np.finfo(float).tiny)


def _corners(n_states: int, spectra: Array, seed: int) -> list[Array]:
    """Return corners of random rotations (component, component), each as large as pairs that use it need.

    Small ones scatter more, so that pairs of few components use more of them (`_n_draws`).
    """
    fewest = int(_ranks_of(spectra).min())
    rng = np.random.default_rng(seed)
    corners = []
    for draw in range(_n_draws(fewest, fewest)):
        size = (
            min(spectra.shape[1], max(ENTRIES_DRAWN // ((draw + 1) * fewest), 1))
            if draw
            else spectra.shape[1]
        )
        dimensions = min(n_states - 1, DIMENSIONS_PER_COMPONENT * size)
        first, second = (np.linalg.qr(rng.normal(size=(dimensions, size)))[0] for _ in range(2))
        corners.append(first.T @ second * np.sqrt(dimensions / (n_states - 1)))
    return corners


def _products_of_corners(
    spectra: Array, corners: Sequence[Array], dimensions: int, pairs: tuple[Places, Places]
) -> Array:
    """Return mean and spread of the nuclear norm of corners between the spectra of pairs of members, (2, pair)."""
    found = np.empty((2, len(pairs[0])))
    ranks = _ranks_of(spectra)
    for place, (i, j) in enumerate(zip(*pairs, strict=True)):
        some = corners[: _n_draws(ranks[i], ranks[j])]
        both = [_between(spectra, ranks, some, dimensions, pair) for pair in ((i, j), (j, i))]
        norms, squares, variance = np.concatenate(both, axis=1)
        # The mean square of a product is 1 / dimensions: what these have more of it, their norms have too.
        excess = dimensions * squares.mean() - 1
        if len(norms) < FEWEST_FOR_SLOPE:
            slope = norms.mean() / 2
        else:
            slope = np.cov(norms, dimensions * squares)[0, 1] / np.var(dimensions * squares, ddof=1)
        found[:, place] = norms.mean() - slope * excess, np.sqrt(np.maximum(variance.mean(), 0))
    return found


def _between(spectra: Array, ranks: Places, corners: Sequence[Array], dimensions: int, pair: Pair) -> Array:
    """Return of corners between the spectra of two members in this order what their norms are, (3, corner).

    The nuclear norm, the squared Frobenius norm, and the square of the first one's gradient along rotations, over
    the Laplacian's eigenvalue ``dimensions``.
    """
    first, second = (spectra[place, : ranks[place]] for place in pair)
    some = np.stack([corner[: len(first), : len(second)] for corner in corners])
    left, values, right = np.linalg.svd(first[:, None] * some * second, full_matrices=False)
    gradient = first[:, None] * (left @ right) * second
    turned = np.swapaxes(gradient, 1, 2) @ some
    # Of RᵀG, for rotations R and the gradient G, the antisymmetric half.
    length = (np.sum(gradient**2, axis=(1, 2)) - np.einsum("kij,kji->k", turned, turned)) / 2
    return np.stack([values.sum(axis=-1), np.sum(values**2, axis=-1), length / dimensions])


def _ranks_of(spectra: Array) -> Places:
    """Return how many singular values of each spectrum (member, component) are more than rounding errors."""
    return np.maximum(np.sum(spectra > 1e-12 * spectra[:, :1], axis=1), 1).astype(np.intp)


def _n_draws(first: int, second: int) -> int:
    """Return how many corners a pair of members with so many components uses."""
    return int(min(max(ENTRIES_DRAWN // (first * second), 1), MOST_DRAWS))


def _levelled(distances: Array, expected: Array, spread: Array) -> Array:
    squares = expected**2
    # Of the square of a distance; none is stretched, so that the result is no negative number.
    wide = spread * expected
    others = wide[~np.eye(len(wide), dtype=bool)]
    smallest = max(others.min(), LEAST_SPREAD * others.max())
    ratio = np.minimum(smallest / np.maximum(wide, np.finfo(float).tiny), 1.0)
    return _without_diagonal(np.sqrt(squares.max() + (distances**2 - squares) * ratio))

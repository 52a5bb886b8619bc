"""Closed forms that a memory's capacity is compared with.

A pair is a value stored under a key; F is the number of features of a key, S the number of pairs. Errors are
squared distances of what is returned for the keys from their values, relative to the squares of the values.

The *floor* holds whatever the keys and the rule are: what a memory returns for S keys is a matrix of rank at
most F (Eckart and Young 1936). The other lines are expectations over random unit keys, each asked for by
itself, with unit values that are independent of each other.
"""

from typing import NamedTuple

import numpy as np

from analysis.memory.log import Array


class Moments(NamedTuple):
    """Of what is returned: its mean product with the right value, and its mean square (of unit values)."""

    product: float
    square: float

    def error(self) -> float:
        """Return the mean squared distance from the right value."""
        return 1 - 2 * self.product + self.square

    def scaled_error(self) -> float:
        """Return that distance after the best scaling of everything that is returned."""
        return 1 - self.product**2 / self.square if self.square > 0 else 1.0


def rank_floor(features: int, pairs: int) -> float:
    """Return max(0, 1 - F/S), the smallest error of S orthogonal values, from any keys.

    Examples
    --------
    Of 80 orthogonal values 64 features keep 64:

    >>> round(rank_floor(64, 80), 6)
    0.2
    """
    return max(0.0, 1 - features / pairs)


def value_floor(values: Array, features: int) -> float:
    """Return the smallest error of these values (pair, value) from any keys of F features.

    It is the share of squares that the F largest singular values leave, `rank_floor` of orthogonal values.

    Examples
    --------
    Four orthogonal values lose a fourth with three features; equal ones lose nothing with one:

    >>> value_floor(np.eye(4), 3), round(value_floor(np.ones((4, 2)), 1), 6)
    (0.25, 0.0)
    """
    gram = values @ values.T if len(values) <= values.shape[1] else values.T @ values
    squares = np.maximum(np.linalg.eigvalsh(gram)[::-1], 0.0)
    total = squares.sum()
    return float(squares[features:].sum() / total) if total > 0 else 0.0


def least_squares(features: int, pairs: int) -> Moments:
    """Return what the least-squares memory returns for random keys: a projection on F of S directions.

    Examples
    --------
    Of 80 pairs 64 features keep four fifths:

    >>> least_squares(64, 80)
    Moments(product=0.8, square=0.8)
    """
    share = min(1.0, features / pairs)
    return Moments(share, share)


def summed(features: int, pairs: int) -> Moments:
    """Return what a sum of v kᵀ returns: the value, and each other one times a product with variance 1/F.

    Examples
    --------
    The value comes back once, with the squares of 80 - 1 others, each divided by 64:

    >>> summed(64, 80)
    Moments(product=1.0, square=2.234375)
    >>> 1 + 79 / 64
    2.234375
    """
    return Moments(1.0, 1 + (pairs - 1) / features)


def delta_rule(features: int, pairs: int) -> Moments:
    """Return what one pass of the delta rule, M ← M(I - k kᵀ) + v kᵀ, returns, averaged over its pairs.

    A later write with another key takes 1/F of what is returned for a key out, on average, and adds its own
    value; of the squares of M, F (1 - (1 - 1/F)ᵗ) after t writes, a fourth-moment share of 1 / F(F + 2) is
    left. Pairs are written in a row, so that the first has S - 1 later writes and the last none.

    Examples
    --------
    >>> delta_rule(64, 1)  # the only pair is returned as it was
    Moments(product=1.0, square=1.0)
    >>> 1 - delta_rule(64, 20).product < 1 - delta_rule(64, 80).product
    True
    """
    f = float(features)
    # Sums over the pairs so far of 1 minus the product with the right value, and of the error: 0 of a new pair.
    lost = distance = 0.0
    for written in range(1, pairs):
        squares = f * (1 - (1 - 1 / f) ** written)
        spread = written * (squares + 2) - 4 * lost + 2 * distance
        distance += (2 * (lost - distance) + written) / f + spread / (f * (f + 2))
        lost += (written - lost) / f
    return Moments(1 - lost / pairs, 1 + (distance - 2 * lost) / pairs)


def mean_of_values(writes: Array, symbols: int) -> Array:
    """Return the loss ½‖ŷ - y‖² of the mean of all values that a key was given, if the last one is right.

    Parameters
    ----------
    writes
        How often the key was written, 1 or more.
    symbols
        V, the number of values, one-hot and drawn uniformly.

    Returns
    -------
    loss
        ½ (1 - 1/V) (1 - 1/n).

    Examples
    --------
    >>> mean_of_values(np.array([1, 2, 4]), symbols=10).round(4).tolist()
    [0.0, 0.225, 0.3375]
    """
    return np.asarray((1 - 1 / symbols) * (1 - 1 / np.asarray(writes, dtype=float)) / 2)


def repeated_sum(symbols: int, writes: int) -> float:
    """Return `mean_of_values` averaged over keys drawn uniformly, S of them, in a sequence of L writes.

    It is ½ (1 - 1/S) (1 - E[1/n | n ≥ 1]), n being binomial with L draws of probability 1/S: .1165 for L = S
    without end.

    Examples
    --------
    >>> round(repeated_sum(2000, 2000), 4)
    0.1164
    """
    from scipy.stats import binom

    counts = np.arange(1, writes + 1)
    odds = binom.pmf(counts, writes, 1 / symbols)
    return float((mean_of_values(counts.astype(float), symbols) * odds).sum() / odds.sum())


def interference(similarity: Array) -> Array:
    """Return the error of two summed pairs whose keys have this cosine, after the best scaling: ρ² / (1 + ρ²)."""
    squares = np.asarray(similarity, dtype=float) ** 2
    return np.asarray(squares / (1 + squares))

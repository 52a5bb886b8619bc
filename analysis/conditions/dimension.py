"""How many dimensions the states at one step fill, and the means of conditions there, without the bias of few trials.

The participation ratio (tr Σ)² / tr Σ² (`analysis.states.dimensionality`) of a sample of n states is too small, since
tr Σ² of their covariance is too large by what trials share with themselves. Both moments can be obtained from products
of different trials alone. That of the means of conditions is too large: noise of the means fills all dimensions.
Products of means of disjoint quarters of the trials have none in common.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.conditions.design import Design
from analysis.conditions.folds import deal, relabelled
from analysis.conditions.labels import Integers
from analysis.conditions.means import condition_means
from analysis.errors import AnalysisError
from analysis.parallel import counted

Array = NDArray[np.float64]

FEWEST_STATES = 8
"""States of which the unbiased ratio scatters too much to be given."""

QUARTERS = 4

SPLITS = 20
"""Splits of the trials into quarters that the dimension of the means is averaged over."""


def gram_ratio(first: Array, second: Array) -> Array:
    """Return tr A tr B / tr AB of symmetric matrices (…, row, column): of one with itself its participation ratio."""
    traces = np.trace(first, axis1=-2, axis2=-1) * np.trace(second, axis1=-2, axis2=-1)
    products = np.sum(first * second, axis=(-2, -1))
    return np.divide(traces, products, out=np.full_like(traces, np.nan), where=products > 0)


def state_dimensions(states: Array) -> tuple[float, float]:
    """Return the participation ratio of states (state, unit): of their covariance, and without bias, NaN if too few.

    With the raw Gram matrix K, k its diagonal, K° the rest, r the row sums of K° and S its sum, the sums over
    different states are s₁ = Σ K°², s₂ = Σ r² - s₁, s₃ = S² - 4 s₂ - 2 s₁, and with (n)_j = n (n - 1) … (n - j + 1)

        tr Σ² = s₁ / (n)₂ - 2 s₂ / (n)₃ + s₃ / (n)₄
        (tr Σ)² = [(Σ k)² - Σ k²] / (n)₂ - 2 [S Σ k - 2 Σ k r] / (n)₃ + s₃ / (n)₄
    """
    n = len(states)
    centred = states - states.mean(axis=0)
    gram = centred @ centred.T
    plain = float(gram_ratio(gram, gram))
    if n < FEWEST_STATES:
        return plain, np.nan
    k = np.diag(gram).copy()
    rest = gram - np.diag(k)
    r = rest.sum(axis=1)
    total = r.sum()
    s1 = np.sum(rest**2)
    s2 = np.sum(r**2) - s1
    s3 = total**2 - 4 * s2 - 2 * s1
    pairs, triples = n * (n - 1), n * (n - 1) * (n - 2)
    fours = triples * (n - 3)
    square = s1 / pairs - 2 * s2 / triples + s3 / fours
    traces = (
        (k.sum() ** 2 - np.sum(k**2)) / pairs
        - 2 * (total * k.sum() - 2 * np.sum(k * r)) / triples
        + s3 / fours
    )
    return plain, float(traces / square) if square > 0 else np.nan


def mean_dimensions(means: Array) -> Array:
    """Return the participation ratio of means (…, condition, step, unit) over conditions at each step, (…, step)."""
    gram = _grams(means, means)
    return gram_ratio(gram, gram)


def unbiased_mean_dimensions(
    states: Array, present: NDArray[np.bool_], classes: Integers, count: int, quarters: Sequence[Integers]
) -> Array:
    """Return the same of means of which noise is no part, (step,), NaN where means do not differ from each other.

    Parameters
    ----------
    states, present, classes, count
        As `analysis.conditions.means.condition_means` takes them.
    quarters
        Splits of the trials into four parts, (trial,) each.
    """
    traces, products = [], []
    for quarter in quarters:
        means, _ = condition_means(states, present, QUARTERS * classes + quarter, QUARTERS * count)
        parts = means.reshape(count, QUARTERS, *means.shape[1:]).swapaxes(0, 1)
        first, second = (_grams(parts[2 * half], parts[2 * half + 1]) for half in range(2))
        traces.append(np.trace(first, axis1=-2, axis2=-1) * np.trace(second, axis1=-2, axis2=-1))
        products.append(np.sum(first * second, axis=(-2, -1)))
    mean, spread = np.mean(products, axis=0), np.std(products, axis=0)
    known = mean > 2 * spread
    return np.divide(np.mean(traces, axis=0), mean, out=np.full_like(mean, np.nan), where=known)


def dimensions_over_time(
    states: Sequence[Array], design: Design, permutations: int, seed: int
) -> pd.DataFrame:
    """Return the table of dimensions by step (`analysis.conditions.trajectories.Trajectories`).

    Parameters
    ----------
    states
        Of each member, (trial, step, unit), 0 at steps that do not exist.
    design
        Trials and conditions.
    permutations
        Relabellings of the trials, the same in all members.
    seed
        Of these and of splits.
    """
    orders = relabelled(design.units, design.parts[:, None], permutations, seed)
    quarters = _quarters(design, seed)
    found: dict[str, list[Array]] = {name: [] for name in ("states", "states_plain", "means", "means_plain")}
    null = np.zeros((permutations, len(design.steps)))
    for values in counted(states, "members followed"):
        both = [state_dimensions(values[there, k]) for k, there in enumerate(design.present.T)]
        found["states_plain"].append(np.array(both)[:, 0])
        found["states"].append(np.array(both)[:, 1])
        means, _ = condition_means(values, design.present, design.classes[orders], design.count)
        plain = mean_dimensions(means)
        found["means_plain"].append(plain[0])
        null += plain[1:] / len(states)
        given = values, design.present, design.classes, design.count
        found["means"].append(
            unbiased_mean_dimensions(*given, quarters) if quarters else np.full(len(design.steps), np.nan)
        )
    columns = {name: _known_means(np.stack(one)) for name, one in found.items()}
    columns |= {
        "chance": null.mean(axis=0),
        "chance_low": np.quantile(null, 0.025, axis=0),
        "chance_high": np.quantile(null, 0.975, axis=0),
        "n": design.present.sum(axis=0),
    }
    return pd.DataFrame(columns, index=pd.Index(design.steps, name="step"))


def _known_means(values: Array) -> Array:
    """Return means over the members (member, step) that have a number, where at least half of them have."""
    known = np.isfinite(values)
    sums, counts = np.where(known, values, 0).sum(axis=0), known.sum(axis=0)
    enough = 2 * counts >= len(values)
    return np.divide(sums, counts, out=np.full(len(sums), np.nan), where=enough & (counts > 0))


def _quarters(design: Design, seed: int) -> list[NDArray[np.int64]]:
    """Return splits of the trials into quarters; none where a condition has too few for them."""
    try:
        return [deal(design.units, design.conditions, QUARTERS, seed + split) for split in range(SPLITS)]
    except AnalysisError:
        return []


def _grams(first: Array, second: Array) -> Array:
    """Return the symmetric part of products of means (…, condition, step, unit) about their mean, (…, step, c, c)."""
    one, other = (
        np.moveaxis(means - means.mean(axis=-3, keepdims=True), -2, -3) for means in (first, second)
    )
    gram = one @ np.swapaxes(other, -1, -2)
    return (gram + np.swapaxes(gram, -1, -2)) / 2

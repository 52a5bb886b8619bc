"""Which variable do states vary with? Demixed principal components (Kobak et al. 2016) of means of cells.

A cell is a combination of values of one or two variables. Its mean over trials counts once, however many trials it
has: then averages over variables split the means exactly into orthogonal parts (time alone, each variable with its
change over time, both together), which means weighted by trials do not. For X the centred means (row, unit) and X_φ
a part of them, reduced-rank regression finds components that show the part and not the others:

    B = (XᵀX + λ‖X‖² I)⁻¹ Xᵀ X_φ,   V the leading right singular vectors of X B,   decoder B V, encoder Vᵀ

λ is chosen by means of other trials. Shares of variance are those of products of halves of the trials, since
noise of the means fills the part of all variables together.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.conditions.design import Design
from analysis.conditions.folds import deal
from analysis.conditions.labels import Integers
from analysis.conditions.means import condition_means
from analysis.errors import AnalysisError
from analysis.statistics import mean_interval

Array = NDArray[np.float64]

RIDGES = np.logspace(-6, 0, 13)
COMPONENTS = 3
"""Of each part."""

SPLITS = 20
"""Halvings of the trials that shares of variance are averaged over."""

HELD_OUT = 5
"""Draws of one trial of each cell that decide on λ."""

MOST_VARIABLES = 2


@dataclass(frozen=True)
class Demixed:
    """How the variance of means of cells splits into parts.

    Attributes
    ----------
    parts
        Indexed by part: ``share`` of the variance of means without noise, mean over members with its 95 % interval
        ``low``, ``high``; ``plain``, the share with noise; ``own``, of the variance of the part's first component,
        what the part itself contributes.
    members
        The same indexed by (model_name, part), and ``ridge``, λ.
    components
        The first component of each part of one member, (part, condition, step).
    at_end
        Whether λ of some member is the smallest or the largest that was tried.
    """

    parts: pd.DataFrame
    members: pd.DataFrame
    components: Array
    at_end: bool


def demix_means(
    design: Design, states: Sequence[Array], names: Sequence[str], shown: int, seed: int
) -> Demixed:
    """Split the means of each member's states (trial, step, unit); ``shown`` is the member whose components are kept.

    Raises
    ------
    AnalysisError
        If there are more than two variables, or no trial of a combination of their values.
    """
    levels = _levels(design)
    labels = part_names([factor.name for factor in design.factors])
    halves = [deal(design.units, design.conditions, 2, seed + split) for split in range(SPLITS)]
    rows, components = [], np.empty(0)
    for place, (values, name) in enumerate(zip(states, names, strict=True)):
        means, _ = condition_means(values, design.present, design.classes, design.count)
        parts = split_parts(means.reshape(*levels, *means.shape[1:]))
        ridge = _chosen_ridge(values, design, levels, seed)
        first = np.stack([components_of(parts, part, ridge)[:, 0] for part in range(len(parts))])
        own = [_own_share(parts, part, axis) for part, axis in enumerate(first)]
        plain = np.array([np.sum(part**2) for part in parts])
        shares = _halved_shares(values, design, levels, halves)
        rows += [
            {"model_name": name, "part": label, "share": share, "plain": part, "own": one, "ridge": ridge}
            for label, share, part, one in zip(labels, shares, plain / plain.sum(), own, strict=True)
        ]
        if place == shown:
            centred = means - means.reshape(-1, means.shape[-1]).mean(axis=0)
            components = np.einsum("ctu,pu->pct", centred, first)
    members = pd.DataFrame(rows).set_index(["model_name", "part"])
    at_end = bool(members["ridge"].isin([RIDGES[0], RIDGES[-1]]).any())
    return Demixed(_over_members(members, labels), members, components, at_end)


def part_names(variables: Sequence[str]) -> list[str]:
    """Return the names of the parts: time, each variable, and two together."""
    return ["time", *variables, *(" × ".join(pair) for pair in combinations(variables, 2))]


def split_parts(means: Array) -> list[Array]:
    """Return parts (row, unit) of means (level of each variable …, step, unit): time, each variable, two together.

    They are orthogonal and add up to the means about their mean.
    """
    shape, variables = means.shape, means.ndim - 2
    centred = means - means.reshape(-1, shape[-1]).mean(axis=0)
    everything = tuple(range(variables))
    time = centred.mean(axis=everything, keepdims=True)
    parts = [time]
    for variable in everything:
        others = tuple(axis for axis in everything if axis != variable)
        parts.append(centred.mean(axis=others, keepdims=True) - time)
    if variables == MOST_VARIABLES:
        parts.append(centred - sum(parts))
    return [np.broadcast_to(part, shape).reshape(-1, shape[-1]) for part in parts]


def components_of(parts: Sequence[Array], part: int, ridge: float) -> Array:
    """Return the decoders of a part (unit, component), of norm 1, the first of largest variance."""
    decoder, _ = _reduced_rank(np.sum(parts, axis=0), parts[part], ridge)
    return decoder / np.maximum(np.linalg.norm(decoder, axis=0), np.finfo(float).tiny)


def _reduced_rank(x: Array, target: Array, ridge: float) -> tuple[Array, Array]:
    """Return decoder (unit, component) and encoder (component, unit) of a part of the means (row, unit)."""
    penalty = ridge * float(np.sum(x**2)) or 1.0
    b = np.linalg.solve(x.T @ x + penalty * np.eye(x.shape[1]), x.T @ target)
    encoder = np.linalg.svd(x @ b, full_matrices=False)[2][:COMPONENTS]
    return b @ encoder.T, encoder


def _own_share(parts: Sequence[Array], part: int, axis: Array) -> float:
    """Return the share of a part in the variance along an axis."""
    variances = np.array([np.sum((one @ axis) ** 2) for one in parts])
    return float(variances[part] / variances.sum()) if variances.sum() > 0 else np.nan


def _levels(design: Design) -> tuple[int, ...]:
    """Return how many values each variable has."""
    if len(design.factors) > MOST_VARIABLES:
        raise AnalysisError(
            f"splits states by one or two labels; got {len(design.factors)}", parameter="demix"
        )
    levels = tuple(len(factor.values) for factor in design.factors)
    held = {tuple(row) for row in np.stack([factor.first for factor in design.factors], axis=1).tolist()}
    for cell in np.ndindex(*levels):
        if cell not in held:
            names = ", ".join(
                f"{factor.name} {factor.values[level]}"
                for factor, level in zip(design.factors, cell, strict=True)
            )
            raise AnalysisError(
                f"needs trials of every combination of labels; there is none of {names}", parameter="demix"
            )
    return levels


def _chosen_ridge(states: Array, design: Design, levels: tuple[int, ...], seed: int) -> float:
    """Return the λ whose components show the parts of other trials' means best."""
    rng = np.random.default_rng(seed)
    errors = np.zeros(len(RIDGES))
    for _ in range(HELD_OUT):
        held = _one_of_each(design, rng)
        train, _ = condition_means(states, design.present, np.where(held, -1, design.classes), design.count)
        test, _ = condition_means(states, design.present, np.where(held, design.classes, -1), design.count)
        parts = split_parts(train.reshape(*levels, *train.shape[1:]))
        other = test.reshape(-1, test.shape[-1])
        other = np.nan_to_num(other - np.nanmean(other, axis=0))
        x = np.sum(parts, axis=0)
        for place, ridge in enumerate(RIDGES):
            for part in parts:
                decoder, encoder = _reduced_rank(x, part, ridge)
                errors[place] += np.sum((part - other @ decoder @ encoder) ** 2) / np.sum(x**2)
    return float(RIDGES[np.argmin(errors)])


def _one_of_each(design: Design, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Return a mask of one trial of each condition."""
    held = np.zeros(len(design.classes), dtype=bool)
    for condition in range(design.count):
        held[rng.choice(np.flatnonzero(design.classes == condition))] = True
    return held


def _halved_shares(
    states: Array, design: Design, levels: tuple[int, ...], halves: Sequence[Integers]
) -> Array:
    """Return the share of each part in products of the means of both halves of the trials."""
    found = []
    for half in halves:
        pair = []
        for kind in range(2):
            classes = np.where(half == kind, design.classes, -1)
            means, _ = condition_means(states, design.present, classes, design.count)
            pair.append(split_parts(means.reshape(*levels, *means.shape[1:])))
        found.append([float(np.sum(one * other)) for one, other in zip(*pair, strict=True)])
    # A half may have no trial of a cell at a step that few trials reach.
    known = np.array(found)[np.isfinite(found).all(axis=1)]
    products = known.sum(axis=0)
    total = products.sum()
    return products / total if total > 0 else np.full_like(products, np.nan)


def _over_members(members: pd.DataFrame, labels: Sequence[str]) -> pd.DataFrame:
    rows = {}
    for label in labels:
        own = members.xs(label, level="part")
        mean = mean_interval(own["share"])
        rows[label] = {
            "share": mean.estimate,
            "low": mean.low,
            "high": mean.high,
            "plain": own["plain"].mean(),
            "own": own["own"].mean(),
        }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("part")

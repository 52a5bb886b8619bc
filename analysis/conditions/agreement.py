"""How well matrices of dissimilarities agree: with models, with those of other members, and by chance.

Distances that share a condition are correlated; whitened, for equal and independent conditions, their cosine is that
of the doubly centred matrices -½ H D H (Diedrichsen et al. 2021; linear CKA). ``rho-a`` compares ranks, without giving
models with ties more than their due (Nili et al. 2014). The cosine of unrelated matrices is not zero: chance is what
relabelled conditions come to. As all members saw the same trials, members alone are no sample against chance
(`analysis.statistics.chance_test`); the relabelling of conditions is the same in all of them.
"""

import itertools
import math
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from analysis.conditions.dissimilarities import doubly_centred
from analysis.statistics import ChanceTest, chance_test, ranks

Array = NDArray[np.float64]
Coefficient = Literal["cosine", "rho-a"]

ENUMERATED = 6
"""Conditions up to which all their orders are tried."""

ORDERS = 999
"""Random orders of more conditions."""


class Comparison(NamedTuple):
    """A model beside the matrices of members.

    ``members`` (member,) coefficients, NaN where one is undefined; ``null`` those of relabelled models, mean over
    members (relabelling,); ``different`` relabelled models, the observed one included.
    """

    members: Array
    null: Array
    different: int
    test: ChanceTest


def features(matrices: Array, coefficient: Coefficient) -> Array:
    """Return vectors (…, feature) whose inner product is the coefficient of two matrices (…, condition, condition)."""
    if coefficient == "cosine":
        flat = doubly_centred(-matrices / 2).reshape(*matrices.shape[:-2], -1)
        norms = np.linalg.norm(flat, axis=-1, keepdims=True)
        return np.divide(flat, norms, out=np.zeros_like(flat), where=norms > 0)
    return _scaled_ranks(matrices[(..., *np.triu_indices(matrices.shape[-1], 1))])


def _scaled_ranks(pairs: Array) -> Array:
    """Return ranks of rows (…, pair) about their mean, of norm 1 without ties; NaN where a row is not finite."""
    n, known = pairs.shape[-1], np.isfinite(pairs).all(axis=-1, keepdims=True)
    ranked = ranks(np.where(known, pairs, 0.0))
    return np.where(known, (ranked - (n + 1) / 2) * math.sqrt(12 / (n**3 - n)), np.nan)


def condition_orders(count: int, seed: int) -> NDArray[np.intp]:
    """Return orders of conditions (order, condition) but the one that there is: all of few, else random ones."""
    if count <= ENUMERATED:
        return np.array(list(itertools.permutations(range(count))))[1:]
    rng = np.random.default_rng(seed)
    return np.stack([rng.permutation(count) for _ in range(ORDERS)])


def compare_model(matrices: Array, model: Array, coefficient: Coefficient, seed: int) -> Comparison:
    """Compare matrices of members (member, condition, condition) with a model, against its relabellings."""
    orders = condition_orders(len(model), seed)
    models = np.concatenate([model[None], model[orders[:, :, None], orders[:, None, :]]])
    predicted = features(models, coefficient)
    found = features(matrices, coefficient) @ predicted.T
    different = len(np.unique(np.round(models.reshape(len(models), -1), 12), axis=0))
    test = chance_test(found[:, 0], found[:, 1:].T, different=different, seed=seed)
    known = found[np.isfinite(found[:, 0])]
    null = known[:, 1:].mean(axis=0) if len(known) else np.full(len(orders), np.nan)
    return Comparison(found[:, 0], null, different, test)


def noise_ceiling(matrices: Array, coefficient: Coefficient) -> tuple[float, float]:
    """Return what the best model would come to: of members with the mean of the others, and with the mean of all."""
    own = features(matrices, coefficient)
    own = own[np.isfinite(own).all(axis=1)]
    if len(own) < 2:
        return math.nan, math.nan
    total = own.sum(axis=0)

    def mean(reference: Array) -> float:
        if coefficient == "rho-a":
            return float(np.mean(np.sum(own * _scaled_ranks(reference), axis=-1)))
        norms = np.linalg.norm(reference, axis=-1)
        return float(np.mean(np.sum(own * reference, axis=-1) / np.where(norms > 0, norms, np.inf)))

    return mean(total - own), mean(np.broadcast_to(total, own.shape))

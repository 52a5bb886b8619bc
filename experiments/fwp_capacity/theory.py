"""Losses in closed form: half the squared distance from a one-hot answer, a mean over keys."""

import math

import numpy as np


def floor(features: int, keys: int) -> float:
    """Return the smallest loss of reads that are linear in so many features, over keys asked equally often.

    Answers to S keys form a matrix of rank at most F, the targets one with S singular values of one: by Eckart
    and Young at least S − F of squared distance are left, ½ (1 − F/S) a key.
    """
    return 0.5 * max(0.0, 1 - features / keys)


def mean_of_values(keys: int, pairs: int) -> float:
    """Return the loss of a sum over repeated keys that returns the mean of a key's values, the best it can do.

    ½ (1 − 1/S)(1 − E[1/n | n ≥ 1]) with n ~ Binomial(L, 1/S); .1165 for L = S → ∞.
    """
    n = np.arange(1, pairs + 1)
    log_p = [
        math.lgamma(pairs + 1)
        - math.lgamma(i + 1)
        - math.lgamma(pairs - i + 1)
        - i * math.log(keys)
        + (pairs - i) * math.log1p(-1 / keys)
        for i in n.tolist()
    ]
    p = np.exp(log_p)
    return float(0.5 * (1 - 1 / keys) * (1 - (p / n).sum() / p.sum()))

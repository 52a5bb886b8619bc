"""Data without an effect for each test of `analysis.statistics`; a function returns p-values by the test's name."""

import numpy as np
from scipy.spatial.distance import cdist

from analysis.statistics import (
    chance_test,
    energy_test,
    mantel_test,
    monte_carlo_test,
    paired_distance_test,
    permutation_test,
    sign_flip_test,
)

PValues = dict[str, float]


def two_samples(rng: np.random.Generator) -> PValues:
    """Seven and eight exponential numbers: 6,435 splits, so that the level of .05 is attainable to 1e-4."""
    return {"permutation_test": permutation_test(rng.exponential(size=7), rng.exponential(size=8)).p}


def differences(rng: np.random.Generator) -> PValues:
    """Ten symmetric differences of unequal spread: 1,024 flips."""
    values = rng.normal(size=10) * np.arange(1, 11)
    two, one = sign_flip_test(values), sign_flip_test(values, one_sided=True)
    return {"sign_flip_test": two.p, "sign_flip_test, one-sided": one.p}


def distances(rng: np.random.Generator) -> PValues:
    """Points in three dimensions: two samples of six and seven; nine pairs that share what their seed does."""
    points = rng.normal(size=(13, 3))
    shared = np.tile(rng.normal(size=(9, 3)), (2, 1)) + rng.normal(size=(18, 3))
    return {
        "energy_test": energy_test(cdist(points, points), 6).p,
        "paired_distance_test": paired_distance_test(cdist(shared, shared)).p,
    }


def two_matrices(rng: np.random.Generator) -> PValues:
    """Distances of seven members by two measures that know nothing of each other."""
    first, second = rng.normal(size=(2, 7, 3))
    return {"mantel_test": mantel_test(cdist(first, first), cdist(second, second)).p}


def simulations(rng: np.random.Generator) -> PValues:
    """A number like the 199 that are simulated."""
    observed, *simulated = rng.normal(size=200)
    return {"monte_carlo_test": monte_carlo_test(observed, simulated).p}


def shared_trials(rng: np.random.Generator) -> PValues:
    """Ten members that saw the same trials: each labelling has an effect of its own, the same in all members.

    It is as large as what differs between members, so that a test over members alone rejects far too often.
    """
    values = rng.normal(size=(200, 1)) + rng.normal(size=(200, 10))
    test = chance_test(values[0], values[1:])
    trials = np.nan if test.trials is None else test.trials.p
    return {"chance_test, trials": trials, "chance_test, larger p": test.p}


def own_trials(rng: np.random.Generator) -> PValues:
    """Ten members that saw trials of their own: sign flips over members are the whole test."""
    values = rng.normal(size=(200, 10))
    return {"chance_test, trials of their own": chance_test(values[0], values[1:], shared=False).p}

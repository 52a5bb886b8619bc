"""Data without an effect for the analyses that give p-values; a function returns these by the command's name."""

import numpy as np
from numpy.typing import NDArray

from analysis.degeneracy.networks import Networks
from emt.commands.known_systems.answers import analyse
from emt.commands.known_systems.memories import plant_pairs
from emt.commands.known_systems.null_statistics import PValues
from emt.commands.known_systems.populations import plant_population
from emt.commands.known_systems.recordings import plant_answers, plant_states

NULL_CLOUDS = 19
"""As few as allow p = .05: p is then uniform on 1/20, 2/20, …, 1."""


def trajectories(rng: np.random.Generator) -> PValues:
    """White noise of two units in three sequences of five steps: normal, without correlation in time or of units.

    So the data are exchangeable with all three kinds of null clouds. An odd number of steps: the fastest
    rhythm of an even one keeps its phase.
    """
    hidden = rng.normal(size=(1, 3, 5, 2))
    seed = int(rng.integers(2**31))
    tests = analyse(
        "topology", plant_states(hidden), points=15, null_clouds=NULL_CLOUDS, seed=seed
    ).tests.members
    return {
        f"topology, {null}": float(p)
        for (_, _, null), p in tests["p"].xs(1, level=1, drop_level=False).items()
    }


def spectra(rng: np.random.Generator) -> PValues:
    """Nine conjugate pairs with random moduli at uniform angles: what the null ``angles`` draws."""
    values = rng.uniform(0.5, 1.0, 9) * np.exp(1j * rng.uniform(0, np.pi, 9))
    population = plant_population([np.concatenate([values, values.conj()])])
    seed = int(rng.integers(2**31))
    result = analyse("persistence", population, null_clouds=NULL_CLOUDS, seed=seed)
    return {"persistence, angles": float(result.tests.members.loc[("model-1", 1, "angles"), "p"])}


def sets_of_networks(rng: np.random.Generator) -> PValues:
    """Two sets of five and six random networks of eight units each."""
    spectra = list(np.linalg.eigvals(rng.normal(size=(11, 8, 8)) / np.sqrt(8)))
    sets = [plant_population(spectra[:5], label="first"), plant_population(spectra[5:], label="second")]
    result = analyse("compare", sets)
    rows = result.differences.loc[("first", "second")]
    return {
        "compare, spectra": float(result.distance_tests["p"].iloc[0]),
        "compare, mean modulus": float(rows.loc["mag_mean", "p"]),
        "compare, smallest p after Holm": float(rows["p_holm"].min()),
    }


def sets_of_states(rng: np.random.Generator) -> PValues:
    """Two sets of five and six members whose states are noise, of which all have a part in common."""
    shared = rng.normal(size=(1, 2, 9, 4))
    hidden = shared + rng.normal(size=(11, 2, 9, 4))
    recordings = {"first": plant_states(hidden[:5]), "second": plant_states(hidden[5:])}
    sets = analyse("similarity", recordings).sets
    return {
        f"similarity, {m}": float(sets.loc[(m, "first", "second"), "p"]) for m in ("cka", "procrustes", "rsa")
    }


def sets_of_noise(rng: np.random.Generator) -> PValues:
    """Two sets of four and eight members whose states are noise of three and of nine dimensions."""
    recordings = {
        "first": plant_states(rng.normal(size=(4, 2, 14, 3))),
        "second": plant_states(rng.normal(size=(8, 2, 14, 9))),
    }
    sets = analyse("similarity", recordings).sets
    return {
        f"similarity, {m}, other dimensions": float(sets.loc[(m, "first", "second"), "p"])
        for m in ("cka", "procrustes", "rsa")
    }


def unrelated_sets(rng: np.random.Generator) -> PValues:
    """Two sets of six members of which each has states of its own in common, in nine trials of three steps.

    What members share within a set lies near what they share in the other one by accident, in all pairs alike.
    """
    shared = rng.normal(size=(2, 1, 9, 3, 4))
    hidden = shared + rng.normal(size=(2, 6, 9, 3, 4))
    recordings = {"first": plant_states(hidden[0]), "second": plant_states(hidden[1])}
    sets = analyse("similarity", recordings).sets
    return {
        f"similarity, {m}, {name}": float(sets.loc[(m, "first", "second"), column])
        for m in ("cka", "cka_unbiased", "procrustes", "rsa")
        for name, column in (("trials", "p_trials"), ("larger p", "p_unrelated"))
    }


def units(rng: np.random.Generator) -> PValues:
    """Eight members whose units are independent, against one shuffled copy each: exchangeable with it."""
    hidden = rng.normal(size=(8, 2, 9, 4)) * [1.0, 2.0, 3.0, 4.0]
    result = analyse("dimensionality", plant_states(hidden), draws=1, seed=int(rng.integers(2**31)))
    p = result.population.loc[("participation_ratio", "shuffled"), "p"]
    return {"dimensionality, shuffled": float(p)}


def memories(rng: np.random.Generator) -> PValues:
    """Six members that store pairs under keys that have changed places, so that queries find any write.

    What was written is random: neither is the queried item found, nor do tokens explain the values.
    """
    recording = plant_pairs(6, 14, shuffled=True, seed=int(rng.integers(2**31)))
    # Values that all members share: otherwise each is a sample of its own, and the test over members could do.
    values = recording["memory/fast/write_value"].values
    values[:] = 0.5 * values + values[:1]
    match, memory = analyse("match", recording), analyse("memory", recording, color_by="token")
    return {
        "match, trials": float(match.population.loc["fast", "p_trials"]),
        "match, larger p": float(match.population.loc["fast", "p"]),
        "memory, trials": memory.memories[0].beyond_chance.trials.p,
        "memory, larger p": memory.memories[0].beyond_chance.p,
    }


def lags(rng: np.random.Generator) -> PValues:
    """Ten members that reach accuracy and spectrum at checkpoints drawn in the same way, independently."""
    steps = np.arange(12) * 100
    accuracy_step, spectrum_step = rng.choice(steps, size=(2, 10))
    checkpoints = {}
    for step in steps.tolist():
        scalars = {
            "accuracy": np.where(step >= accuracy_step, 1.0, 0.5),
            "spectral_error_deg": np.where(step >= spectrum_step, 1.0, 90.0),
        }
        checkpoints[step] = plant_population([_ROOTS] * 10, _ROOTS, scalars=scalars)
    return {"emergence": analyse("emergence", checkpoints).test.p}


_ROOTS: NDArray[np.complex128] = np.exp(2j * np.pi * np.arange(3) / 3)


def labels_of_trials(rng: np.random.Generator) -> PValues:
    """Six members whose states are those of one with noise, in 24 trials of four steps, and a label that means nothing.

    What the label shares with the states by accident all members show; a step is found anywhere.
    """
    hidden = rng.normal(size=(1, 24, 4, 5)) + 0.3 * rng.normal(size=(6, 24, 4, 5))
    label = np.repeat(rng.permutation(np.arange(24) % 2)[:, None], 4, axis=1)
    seed = int(rng.integers(2**31))
    times = analyse(
        "decode", plant_states(hidden, sample=label), label="sample", folds=3, permutations=39, seed=seed
    ).times
    return {
        "decode, trials": float(times["p_trials"].min()),
        "decode, larger p": float(times[["p_trials", "p_members"]].max(axis=1).min()),
    }


def paths_of_members(rng: np.random.Generator) -> PValues:
    """Four members with states of their own in 24 trials of four steps: what they share after rotation is chance."""
    hidden = rng.normal(size=(4, 24, 4, 5))
    label = np.repeat((np.arange(24) % 4)[:, None], 4, axis=1)
    seed = int(rng.integers(2**31))
    options = {"components": 3, "permutations": 19, "seed": seed}
    shared = analyse("trajectories", plant_states(hidden, sample=label), label=("sample",), **options).shared
    return {f"trajectories, {name}": float(p) for name, p in shared["p"].items()}


def alike_conditions(rng: np.random.Generator) -> PValues:
    """Six members whose states are those of one with noise, in 30 trials, and five conditions that mean nothing.

    Pairs of conditions differ by accident, in all members alike, and so do they from what a model says.
    """
    hidden = rng.normal(size=(1, 30, 1, 5)) + 0.3 * rng.normal(size=(6, 30, 1, 5))
    label = rng.permutation(np.arange(30) % 5)[:, None]
    seed = int(rng.integers(2**31))
    options = {"model": ("sample:difference",), "noise": "identity", "permutations": 39, "seed": seed}
    result = analyse("geometry", plant_states(hidden, sample=label), label=("sample",), **options)
    pairs, model = result.distances, result.models.iloc[0]
    return {
        "geometry, trials": float(pairs["p_trials"].min()),
        "geometry, larger p": float(pairs[["p_trials", "p_members"]].max(axis=1).min()),
        "geometry, conditions": float(model["p_conditions"]),
        "geometry, model, larger p": float(model["p"]),
    }


def alike_settings(rng: np.random.Generator) -> PValues:
    """Two settings of eight members each that answer at random, right with a probability of their own."""
    sure = rng.uniform(0.5, 1.0, (2, 8, 1, 1, 1))
    answers = np.where(rng.random((2, 8, 20, 10, 1)) < sure, 1.0, -1.0)
    networks = {
        name: Networks(plant_answers(own, np.ones((20, 10, 1))), options={"size": size})
        for name, own, size in zip(("first", "second"), answers, (1, 2), strict=True)
    }
    return {"degeneracy, trend": float(analyse("degeneracy", networks).trends.loc["disagreement", "p"])}

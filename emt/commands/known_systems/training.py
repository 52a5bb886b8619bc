"""A population along its training, with crossings that are known."""

from collections.abc import Iterator

import numpy as np

from emt.commands.known_systems.answers import Answer, analyse
from emt.commands.known_systems.populations import plant_population


def spectrum_after_accuracy() -> Iterator[Answer]:
    """Six networks that reach accuracy .99 at step 100 and a spectral error of 5° at step 300 (two at step 400).

    The lags are 200, four times, and 300, twice: 233.33 in the mean. All have one sign: p = 2 / 2⁶.
    """
    theory = np.exp(2j * np.pi * np.arange(3) / 3)
    accuracy = {0: 0.5, 100: 0.99, 300: 1.0, 400: 1.0}
    checkpoints = {}
    for step, share in accuracy.items():
        errors = np.where((step >= 400) | ((step >= 300) & (np.arange(6) < 4)), 4.0, 50.0)
        scalars = {"accuracy": np.full(6, share), "spectral_error_deg": errors}
        checkpoints[step] = plant_population([theory] * 6, theory, scalars=scalars)
    result = analyse("emergence", checkpoints)
    yield Answer("emergence", "median step of accuracy", 100.0, result.median_step("accuracy_step"), 0.0)
    yield Answer("emergence", "median step of the spectrum", 300.0, result.median_step("spectrum_step"), 0.0)
    yield Answer("emergence", "mean lag", 700 / 3, result.lag.estimate, 1e-9)
    yield Answer("emergence", "p of the lag over members", 2 / 64, result.test.members.p, 1e-12)

"""Evaluation summaries with planted spectra: cyclic shifts plus a random matrix."""

from collections.abc import Iterable
from typing import Any

import numpy as np

from analysis.spectra.values import eigenvalue_histograms, spectral_error


def _roots_of_unity(length: int, dimension: int) -> np.ndarray:
    return np.repeat(np.exp(2j * np.pi * np.arange(length) / length), dimension)


def _noisy_spectrum(length: int, dimension: int, noise: float, seed: int) -> np.ndarray:
    """Spectrum of a cyclic shift by one slot plus a random matrix: real, so conjugate pairs stay pairs."""
    size = length * dimension
    shift = np.kron(np.roll(np.eye(length), 1, axis=0), np.eye(dimension))
    random = np.random.default_rng(seed).normal(size=(size, size)) / np.sqrt(size)
    values = np.linalg.eigvals(shift + noise * random)
    return values[np.argsort(-np.abs(values))]


def _pairs(values: np.ndarray) -> list[list[float]]:
    return [[float(v.real), float(v.imag)] for v in values]


def _length_keys(length: int, dimension: int, noise: float, seed: int) -> dict[str, Any]:
    values, theory = _noisy_spectrum(length, dimension, noise, seed), _roots_of_unity(length, dimension)
    error = spectral_error(values, theory)
    angle_counts, magnitude_counts, _ = eigenvalue_histograms(values)
    keys = {
        "eigenvalues_rnn": _pairs(values),
        "eigenvalues_theory": _pairs(theory),
        "spectral_error_deg": error.angle_deg,
        "spectral_relative_error": error.relative,
        "missing_modes": error.missing,
        "angle_histogram_rnn": angle_counts.tolist(),
        "magnitude_histogram_rnn": magnitude_counts.tolist(),
        "variance_ratio": 0.9,
        "frob_error": 4.0 + noise * (seed % 7),
        "frob_relative": 1.0,
    }
    return {f"{name}_seq{length}": value for name, value in keys.items()}


def plant_summary(
    n_models: int = 6,
    *,
    lengths: Iterable[int] = (5,),
    dimension: int = 3,
    noise: float = 0.1,
    missing: Iterable[int] = (),
    nan_accuracy: Iterable[int] = (),
    seed: int = 0,
) -> dict[str, Any]:
    """Return the contents of an evaluation_summary.json with planted spectra.

    ``missing`` are numbers of models without a spectrum at the first length, ``nan_accuracy`` numbers of
    models whose accuracy is null. Models stand in the order of text (1, 10, 2), as a careless writer would
    leave them.
    """
    lengths, missing, nan_accuracy = list(lengths), set(missing), set(nan_accuracy)
    metrics = []
    for number in sorted(range(1, n_models + 1), key=str):
        entry = {
            "model_name": f"model-{number}",
            "model_path": f"experiment/model-{number}",
            "output_dir": f"experiment/model-{number}/results",
            "accuracy": None if number in nan_accuracy else max(1.0 - 0.01 * number, 0.0),
            "seq_lengths": lengths,
            "hidden_dim": 17,
            "input_dim": dimension,
            "batch_size": 64,
        }
        held = lengths[1:] if number in missing else lengths
        for length in held:
            entry |= _length_keys(length, dimension, noise, seed=1000 * seed + number)
        metrics.append(entry)
    return {
        "timestamp": "2025-01-01T00:00:00",
        "n_models": n_models,
        "evaluation_config": {},
        "metrics": metrics,
    }

"""Evaluated populations with given spectra."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from analysis.population import Population


def plant_population(
    spectra: Sequence[ArrayLike],
    theory: ArrayLike | None = None,
    *,
    label: str = "known",
    scalars: Mapping[str, ArrayLike] | None = None,
) -> Population:
    """Return a population whose members have these spectra.

    Parameters
    ----------
    spectra
        Complex (mode,), one for each member.
    theory
        The task's spectrum (mode,), if it has one.
    label
        Name of the population.
    scalars
        Numbers of the evaluation by name, each (member,), beside an accuracy of 1.
    """
    names = [f"model-{place}" for place in range(1, len(spectra) + 1)]
    values = {"accuracy": np.ones(len(spectra)), **(scalars or {})}
    return Population(
        label=label,
        seq_length=7,
        names=tuple(names),
        eigenvalues=tuple(np.asarray(spectrum, dtype=complex) for spectrum in spectra),
        theory=None if theory is None else np.asarray(theory, dtype=complex),
        scalars=pd.DataFrame(values, index=pd.Index(names, name="model_name")),
    )


def in_random_basis(matrix: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    """Return Q A Q⁻¹ with Q a rotation times scales between 1 and 2: the spectrum of A, to rounding."""
    left, right = (np.linalg.qr(rng.normal(size=matrix.shape))[0] for _ in range(2))
    scales = np.linspace(1.0, 2.0, len(matrix))
    q, inverse = (left * scales) @ right.T, (right / scales) @ left.T
    return q @ matrix @ inverse

"""Eigenvalue distributions of a population: statistics of every member, beside the task's theory."""

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.errors import AnalysisError
from analysis.parallel import run_parallel
from analysis.population import Population, mean_over_members
from analysis.result import Result
from analysis.spectra.values import (
    RANGES,
    check_eigenvalues,
    corrected_statistics,
    eigenvalue_statistics,
    spectral_error,
)
from analysis.statistics import mean_text, standard_deviation

MANY_PAIRS = 300_000_000
"""Pairs of eigenvalues, summed over members, from which processes of their own are worth starting."""


@dataclass(frozen=True)
class EigenvalueSummary(Result):
    """Statistics of the spectra of one population.

    Attributes
    ----------
    population
        What was summarised.
    statistics
        A row for each member: the 21 statistics of `eigenvalue_statistics`.
    corrected
        A row for each member: `corrected_statistics`, and, where the task has a linear operator,
        ``spectral_error_deg``, ``spectral_relative_error`` and ``missing_modes``.
    magnitude_threshold
        Modulus below which figures show no eigenvalue; all count.
    """

    main_figure = "spectra_overlay"

    population: Population
    statistics: pd.DataFrame
    corrected: pd.DataFrame
    magnitude_threshold: float = 0.0

    def shown(self, values: NDArray[np.complex128]) -> NDArray[np.complex128]:
        """Return the eigenvalues that figures show."""
        return values[np.abs(values) >= self.magnitude_threshold]

    def shown_text(self) -> str:
        """Return what figures say of the eigenvalues that they leave out; empty where they show all."""
        return f", |λ| ≥ {self.magnitude_threshold:g} shown" if self.magnitude_threshold > 0 else ""

    def tables(self) -> dict[str, pd.DataFrame]:
        """Return all statistics by member; over members mean with its 95 % interval, std (by n - 1), min, max and n."""
        everything = self.statistics.join(self.corrected)
        means = {name: vars(mean_over_members(values, ranges=RANGES)) for name, values in everything.items()}
        intervals = pd.DataFrame.from_dict(means, orient="index")[["low", "high", "n"]]
        described = everything.agg(["mean", "min", "max"]).T.join(intervals).rename_axis("statistic")
        described.insert(1, "std", [standard_deviation(values) for _, values in everything.items()])
        return {
            "eigenvalue_statistics": self.population.scalars[["accuracy"]].join(everything),
            "eigenvalue_summary": described,
        }

    def documents(self) -> dict[str, Any]:
        """Return ``eigenvalue_statistics``: ``{"models": [{"model_name", "statistics"}]}``."""
        rows = self.statistics.join(self.corrected).to_dict("index")
        return {
            "eigenvalue_statistics": {"models": [{"model_name": n, "statistics": s} for n, s in rows.items()]}
        }

    def headline(self) -> str:
        """Return the result in a sentence."""
        radius = mean_over_members(self.statistics["spectral_radius"], ranges=RANGES)
        text = f"means over n = {len(self.population)}: spectral radius {mean_text(radius, 3)}"
        if self.population.theory is None:
            return f"{text}; no theory to compare with"
        error, missing = (
            mean_over_members(self.corrected[name]) for name in ("spectral_error_deg", "missing_modes")
        )
        return (
            f"{text}; spectral error {mean_text(error, 2, ' degrees')}; {mean_text(missing, 1)} modes missing"
        )


def summarise_eigenvalues(population: Population, *, magnitude_threshold: float = 0.0) -> EigenvalueSummary:
    """Summarise eigenvalue distributions: statistics of every member and their distance from theory.

    Parameters
    ----------
    population
        The members.
    magnitude_threshold
        hide eigenvalues of smaller modulus in figures; statistics count all

    Raises
    ------
    AnalysisError
        If a member's spectrum is empty or not finite, and the message names the member; or if
        ``magnitude_threshold`` is negative, or so large that no eigenvalue is left.

    Examples
    --------
    >>> summary = summarise_eigenvalues(from_summary(read_summary("demo/repeat_copy")))
    >>> summary
    EigenvalueSummary: means over n = 5: spectral radius ...
    >>> summary.statistics.shape, "missing_modes" in summary.corrected
    ((5, 21), True)
    >>> summary.plot().savefig("spectra.png")
    """
    spectra = [check_eigenvalues(v, n) for n, v in zip(population.names, population.eigenvalues, strict=True)]
    largest = max((float(np.abs(v).max(initial=0)) for v in spectra), default=0.0)
    if not 0 <= magnitude_threshold <= largest:
        text = f"must be from 0 to {largest:.3g}, the largest modulus; got {magnitude_threshold:g}"
        raise AnalysisError(text, parameter="magnitude_threshold")
    index = pd.Index(population.names, name="model_name")
    # Assignments of a million pairs take longer than it takes to start processes.
    many = sum(len(values) ** 2 for values in spectra) > MANY_PAIRS
    corrected = run_parallel(partial(_corrected, theory=population.theory), spectra, "spectra", many)
    return EigenvalueSummary(
        population=population,
        statistics=pd.DataFrame([eigenvalue_statistics(v) for v in spectra], index=index),
        corrected=pd.DataFrame(list(corrected), index=index),
        magnitude_threshold=magnitude_threshold,
    )


def _corrected(values: NDArray[np.complex128], theory: NDArray[np.complex128] | None) -> dict[str, float]:
    statistics = corrected_statistics(values)
    if theory is None:
        return statistics
    error = spectral_error(values, theory)
    return statistics | {
        "spectral_error_deg": error.angle_deg,
        "spectral_relative_error": error.relative,
        "missing_modes": float(error.missing),
    }

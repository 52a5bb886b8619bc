"""What the figures across members show: distributions and statistics of one population, member by member."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.population import Population, mean_over_members
from analysis.spectra.values import RANGES, corrected_statistics, eigenvalue_statistics
from analysis.statistics import Interval

N_BINS = 40
"""Bins of each distribution; each angle bin is 9 degrees wide."""

STATISTICS = ("accuracy", "spectral_error_deg", "mag_mean", "spectral_radius", "n_unstable_tolerance")
"""Statistics that are compared across members."""


@dataclass(frozen=True)
class Overview:
    """A population's spectra, member by member.

    Attributes
    ----------
    population
        What was summarised.
    magnitude_edges, angle_edges
        Bin edges (bin + 1,); angles in degrees, the last bin being centred on 180, which is -180 too.
    magnitude_density, angle_density
        Densities (member, bin), each with an integral of 1.
    statistics
        One row for each member, one column for each of `STATISTICS`; NaN where a member lacks it.
    intervals
        Mean over members with its 95 % interval, by statistic.
    """

    population: Population
    magnitude_edges: NDArray[np.float64]
    magnitude_density: NDArray[np.float64]
    angle_edges: NDArray[np.float64]
    angle_density: NDArray[np.float64]
    statistics: pd.DataFrame
    intervals: dict[str, Interval]


def summarise_population(population: Population) -> Overview:
    """Compute what the figures across members show."""
    magnitudes = [np.abs(values) for values in population.eigenvalues]
    angles = [(np.degrees(np.angle(values)) + 175.5) % 360 - 175.5 for values in population.eigenvalues]
    magnitude_edges = np.linspace(0, 1.05 * max(1.0, *(m.max() for m in magnitudes)), N_BINS + 1)
    angle_edges = np.linspace(-175.5, 184.5, N_BINS + 1)
    rows = [eigenvalue_statistics(values) | corrected_statistics(values) for values in population.eigenvalues]
    table = pd.DataFrame(rows, index=population.scalars.index).combine_first(population.scalars)
    statistics = table.reindex(columns=list(STATISTICS)).loc[list(population.names)]
    return Overview(
        population=population,
        magnitude_edges=magnitude_edges,
        magnitude_density=np.stack([np.histogram(m, magnitude_edges, density=True)[0] for m in magnitudes]),
        angle_edges=angle_edges,
        angle_density=np.stack([np.histogram(a, angle_edges, density=True)[0] for a in angles]),
        statistics=statistics,
        intervals={name: mean_over_members(statistics[name], ranges=RANGES) for name in STATISTICS},
    )


def density_band(
    density: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return mean, 2.5 % and 97.5 % quantile over members of densities (member, bin): the spread, not an error."""
    low, high = np.quantile(density, [0.025, 0.975], axis=0)
    return density.mean(axis=0), low, high

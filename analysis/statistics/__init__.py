"""Uncertainty, effect sizes and permutation tests for small samples, on `scipy.stats`.

A sample is an array (member,): one number for each trained model, so seeds are what is sampled, and members,
never trials or pairs of members, are what a test permutes. Values that are not finite are left out of
samples. What a sample is too small for is NaN, never a warning: so is the p-value of a test that could not
reach its level whatever the data, and of one whose statistic is undefined for the data or for a relabelling.
A p-value is never below 1 / (1 + n) for n relabellings or simulations.

Numbers that differ by rounding are equal wherever order matters (`ranks`), and the scale of the data is
divided out before anything is squared or added up, so that no finite input overflows on the way.
"""

from analysis.statistics.corrections import benjamini_hochberg, holm
from analysis.statistics.effects import (
    cliffs_delta,
    cohens_d,
    hedges_g,
    mean_difference,
    pooled_std,
    standard_deviation,
)
from analysis.statistics.intervals import (
    N_RESAMPLES,
    UNBOUNDED,
    Interval,
    bootstrap_interval,
    mean_interval,
    mean_text,
    number_text,
    proportion_interval,
)
from analysis.statistics.pairs import Jackknife, Trend, jackknife, pair_mean, trend
from analysis.statistics.permutation import (
    LEVEL,
    N_MATRIX_RESAMPLES,
    RELABELLINGS,
    ChanceTest,
    PermutationTest,
    chance_test,
    energy_test,
    mantel_test,
    monte_carlo_test,
    p_text,
    paired_distance_test,
    permutation_test,
    sign_flip_test,
)
from analysis.statistics.ranks import (
    DISTANCE_TIES,
    LARGEST,
    ROUNDING,
    TIES,
    levels,
    rank_correlation,
    ranks,
    scale_of,
)

__all__ = [
    "ChanceTest",
    "DISTANCE_TIES",
    "Interval",
    "Jackknife",
    "LARGEST",
    "LEVEL",
    "N_MATRIX_RESAMPLES",
    "N_RESAMPLES",
    "PermutationTest",
    "RELABELLINGS",
    "ROUNDING",
    "TIES",
    "Trend",
    "UNBOUNDED",
    "benjamini_hochberg",
    "bootstrap_interval",
    "chance_test",
    "cliffs_delta",
    "cohens_d",
    "energy_test",
    "hedges_g",
    "holm",
    "jackknife",
    "levels",
    "mantel_test",
    "mean_difference",
    "mean_interval",
    "mean_text",
    "monte_carlo_test",
    "number_text",
    "p_text",
    "pair_mean",
    "paired_distance_test",
    "permutation_test",
    "pooled_std",
    "proportion_interval",
    "rank_correlation",
    "ranks",
    "scale_of",
    "sign_flip_test",
    "standard_deviation",
    "trend",
]

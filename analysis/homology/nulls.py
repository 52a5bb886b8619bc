"""Is a hole in a cloud of points more than chance makes? Null clouds, and tests of the longest bars against them.

A cloud is (point, dimension). A null keeps something of the data and forgets the rest, so each answers a
question of its own:

* ``gaussian`` keeps the covariance: is there more shape than in a normal distribution?
* ``shuffle`` keeps the values of each unit in a sequence, not their times: do units move together?
* ``phases`` keeps the power spectrum of each unit in a sequence, not its Fourier phases: is there more than rhythms
  that units have by themselves? A loop that one sine wave draws is no more than that. Where units move
  together, shuffled and turned clouds fill more dimensions than the data, in which loops are shorter: these
  two alone show no hole.
* ``angles``, for eigenvalues, keeps moduli and conjugate pairs: do angles keep distances from each other?
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from analysis.cache import content_hash, each_item
from analysis.errors import AnalysisError
from analysis.homology.diagram_distances import finite_bars
from analysis.homology.rips import rips_bars
from analysis.parallel import run_parallel
from analysis.population import undefined_text
from analysis.spectra.sliced import euclidean_distances
from analysis.statistics import benjamini_hochberg, monte_carlo_test, proportion_interval, scale_of

Array = NDArray[np.float64]
NullCloud = Callable[[np.random.Generator], Array]

N_SUBSETS = 20
"""Subsets of the points in which the longest bars are looked at again."""

SUBSET_SHARE = 0.8
"""Points of such a subset, as a share of those analysed."""

FIGURES = (
    *("longest", "null_median", "null_95", "p", "smallest_p"),
    *("subset_low", "subset_median", "subset_high", "subset_share"),
)
"""What is found for each member, null and dimension; `BarTests` describes them."""

BYTES_PER_PAIR, BYTES_PER_COLUMN = 100, 70
"""What ripser takes, measured, for each pair of points and each simplex of the largest dimension of homology."""

NS_PER_NUMBER, NS_PER_PAIR, NS_PER_SIMPLEX = 100, 400, 15
"""Time of one null cloud, measured: for each number of the pool, pair of points and simplex that may fill a hole."""

PATIENCE = 4.0
"""Seconds of work from which processes of their own are worth starting."""


@dataclass(frozen=True)
class Sample:
    """Points of one member.

    Attributes
    ----------
    name
        Of the member.
    cloud
        The points analysed (point, dimension).
    pool
        All points that there are (state, dimension), of which subsets are drawn.
    nulls
        For each null a function that draws a cloud of as many points.
    """

    name: str
    cloud: Array
    pool: Array
    nulls: Mapping[str, NullCloud]


@dataclass(frozen=True)
class BarTests:
    """Tests of the longest bars; a member is what is counted.

    Attributes
    ----------
    members
        Indexed by (model_name, dimension, null): ``longest``, the longest finite bar; ``null_median`` and
        ``null_95``, quantiles of it in the null clouds; p; p_bh over the members (Benjamini–Hochberg);
        smallest_p, the least that ``n_nulls`` clouds allow; ``subset_low``, ``subset_median``,
        ``subset_high``: 5 %, 50 % and 95 % points of the longest bar over `N_SUBSETS` subsets;
        ``subset_share`` of these whose longest bar exceeds ``null_95``; ``points``.
    population
        Indexed by (dimension, null): ``significant``, members with p_bh at most the level; ``share`` of
        members with p at most the level, with its interval ``low``, ``high`` (Wilson); n, the members that
        have a p.
    n_nulls
        Clouds drawn for each member and null.
    level
        Level of the tests.
    """

    members: pd.DataFrame
    population: pd.DataFrame
    n_nulls: int
    level: float

    def headline(self) -> str:
        """Say for the largest dimension how many members have a bar longer than each null's."""
        dimension = self.population.index.unique("dimension").max()
        rows = self.population.loc[dimension]
        found = ", ".join(f"{null} {row['significant']:.0f}" for null, row in rows.iterrows())
        kind = {0: "gaps", 1: "loops"}.get(dimension, f"holes of dimension {dimension}")
        text = (
            f"members with longer {kind} than null clouds (p ≤ {self.level:g} after Benjamini and Hochberg, "
            f"{self.n_nulls} clouds), of n = {rows['n'].max():.0f}: {found}"
        )
        undefined = undefined_text(self.members.xs(dimension, level="dimension")["p"])
        return f"{text}; {undefined}" if undefined else text


def gaussian_cloud(cloud: Array, rng: np.random.Generator) -> Array:
    """Return points (point, dimension) of a normal distribution with exactly the mean and covariance of ``cloud``.

    With the centred cloud U S Vᵀ this is U' S Vᵀ, U' uniform among frames orthogonal to the constant. For
    normal points U has that distribution given the covariance, so that a test against such clouds is exact
    for any number of points and dimensions (Langsrud 2005).

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> cloud = rng.uniform(size=(20, 3))
    >>> drawn = gaussian_cloud(cloud, rng)
    >>> np.allclose(np.cov(drawn.T), np.cov(cloud.T)), np.allclose(drawn, cloud)
    (True, False)
    """
    unit = scale_of(cloud)
    scaled = cloud / unit
    mean = scaled.mean(axis=0)
    _, scale, axes = np.linalg.svd(scaled - mean, full_matrices=False)
    scale = scale[: len(cloud) - 1]
    random = rng.normal(size=(len(cloud), len(scale)))
    frame, triangle = np.linalg.qr(random - random.mean(axis=0))
    return unit * (frame * np.sign(np.diag(triangle)) * scale @ axes[: len(scale)] + mean)


def shuffle_time(trajectories: Array, rng: np.random.Generator) -> Array:
    """Return trajectories (sequence, time, unit) whose units have their values at times of their own.

    Examples
    --------
    >>> trajectories = np.arange(12.0).reshape(1, 6, 2)
    >>> shuffled = shuffle_time(trajectories, np.random.default_rng(0))
    >>> np.array_equal(np.sort(shuffled, axis=1), trajectories), np.array_equal(shuffled, trajectories)
    (True, False)
    """
    return rng.permuted(trajectories, axis=1)


def rotate_phases(trajectories: Array, rng: np.random.Generator) -> Array:
    """Return trajectories (sequence, time, unit) with random Fourier phases (Theiler et al. 1992), each unit's its own.

    Means and power spectra stay, up to rounding.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> trajectories = rng.normal(size=(2, 16, 3))
    >>> powers = [np.abs(np.fft.rfft(x, axis=1)) for x in (trajectories, rotate_phases(trajectories, rng))]
    >>> np.allclose(*powers)
    True
    """
    steps, unit = trajectories.shape[1], scale_of(trajectories)
    spectrum = np.fft.rfft(trajectories / unit, axis=1)
    turns = np.exp(2j * np.pi * rng.random(spectrum.shape))
    turns[:, 0] = 1.0
    if steps % 2 == 0:
        turns[:, -1] = 1.0  # the fastest rhythm of an even number of steps has a sign, no phase
    return unit * np.fft.irfft(spectrum * turns, steps, axis=1)


def rotate_angles(eigenvalues: NDArray[np.complex128], rng: np.random.Generator) -> Array:
    """Return eigenvalues as points of the plane (mode, 2), conjugate pairs at one random angle, real ones unmoved.

    Examples
    --------
    >>> points = rotate_angles(np.array([0.5, 0.9j, -0.9j]), np.random.default_rng(0))
    >>> np.linalg.norm(points, axis=1).round(6).tolist(), points[0].tolist()
    ([0.5, 0.9, 0.9], [0.5, 0.0])
    """
    moduli = [
        np.sort(np.abs(side))[::-1]
        for side in (eigenvalues[eigenvalues.imag > 0], eigenvalues[eigenvalues.imag < 0])
    ]
    turns = np.exp(1j * rng.uniform(0, np.pi, max(map(len, moduli))))
    upper, lower = (r * turn[: len(r)] for r, turn in zip(moduli, (turns, turns.conj()), strict=True))
    return plane(np.concatenate([eigenvalues[eigenvalues.imag == 0], upper, lower]))


def plane(values: ArrayLike) -> Array:
    """Return complex values as points (point, 2)."""
    numbers = np.asarray(values, dtype=np.complex128).ravel()
    return np.column_stack([numbers.real, numbers.imag])


def longest_bars(cloud: Array, max_dimension: int = 1) -> Array:
    """Return the longest finite bar of each dimension (dimension,), 0 if there is none, in the cloud's unit."""
    distances = euclidean_distances(cloud)
    # Scales from which on all is connected to one point leave no hole; not looking at them changes nothing.
    diagrams = rips_bars(distances, max_dimension, float(distances.max(axis=1).min()))
    return np.array([float(np.ptp(finite_bars(bars), axis=1).max(initial=0.0)) for bars in diagrams])


def memory_needed(n_points: int, max_dimension: int) -> float:
    """Return how many GB the persistent homology of one cloud takes at most."""
    return (BYTES_PER_PAIR * n_points**2 + BYTES_PER_COLUMN * math.comb(n_points, max_dimension + 1)) / 1e9


def check_memory(n_points: int, max_dimension: int, limit: float) -> None:
    """Refuse what would take more than ``limit`` GB.

    Raises
    ------
    AnalysisError
        Naming the memory needed, and the number of points for which the limit is enough.
    """
    needed = memory_needed(n_points, max_dimension)
    if needed > limit:
        enough = max(n for n in range(n_points) if memory_needed(n, max_dimension) <= limit)
        raise AnalysisError(
            f"expected {needed:.2g} GB, which homology up to dimension {max_dimension} of {n_points} "
            f"points needs; got {limit:g} GB, enough for {enough} points",
            parameter="limit",
        )


def seconds_needed(sample: Sample, max_dimension: int, n_nulls: int) -> float:
    """Return roughly how long the null clouds and subsets of one member take on one core."""
    n_points, n_clouds = len(sample.cloud), n_nulls * len(sample.nulls)
    simplices = math.comb(n_points, max_dimension + 2)
    homology = NS_PER_PAIR * math.comb(n_points, 2) + NS_PER_SIMPLEX * simplices
    return (n_clouds * NS_PER_NUMBER * sample.pool.size + (n_clouds + N_SUBSETS) * homology) / 1e9


def bar_tests(
    samples: Sequence[Sample], max_dimension: int, n_nulls: int, level: float = 0.05, seed: int = 0
) -> BarTests:
    """Test the longest bars of each member against its null clouds, and see how far they depend on the points drawn.

    Parameters
    ----------
    samples
        One for each member, all with the same nulls.
    max_dimension
        Largest dimension of homology.
    n_nulls
        Clouds drawn for each member and null.
    level
        Level of significance.
    seed
        Seed of null clouds and subsets.

    Raises
    ------
    AnalysisError
        If so few clouds cannot reach the level.

    Examples
    --------
    A ring of 12 points has a longer loop than any normal cloud of its covariance that is drawn:

    >>> from analysis.homology.nulls import Sample
    >>> turns = 2 * np.pi * np.arange(12) / 12
    >>> ring = np.column_stack([np.cos(turns), np.sin(turns)])
    >>> sample = Sample("ring", ring, ring, {"gaussian": lambda rng: gaussian_cloud(ring, rng)})
    >>> tests = bar_tests([sample], max_dimension=1, n_nulls=99)
    >>> tests.members.loc[("ring", 1, "gaussian"), "p"].item()
    0.01
    """
    if 1 / (1 + n_nulls) > level:
        raise AnalysisError(
            f"must be at least {math.ceil(1 / level - 1 - 1e-9)} for level {level:g}; got {n_nulls}",
            parameter="n_nulls",
        )
    one = partial(_test_one, max_dimension, n_nulls, level, seed)

    def compute(places: list[int]) -> Iterator[Array]:
        jobs = [(keys[place], samples[place]) for place in places]
        seconds = sum(seconds_needed(sample, max_dimension, n_nulls) for _, sample in jobs)
        return run_parallel(one, jobs, "null clouds", parallel=seconds >= PATIENCE)

    keys = [content_hash(s.cloud, s.pool, *s.nulls.values(), *one.args) for s in samples]
    figures = each_item("null_clouds", keys, compute)
    members = pd.concat([_table(sample, values) for sample, values in zip(samples, figures, strict=True)])
    kinds = members.groupby(["dimension", "null"], sort=False)["p"]
    members.insert(members.columns.get_loc("p") + 1, "p_bh", kinds.transform(benjamini_hochberg))
    return BarTests(members, _over_members(members, level), n_nulls, level)


def _test_one(max_dimension: int, n_nulls: int, level: float, seed: int, job: tuple[str, Sample]) -> Array:
    """Return `FIGURES` of one member (null, dimension, figure), NaN for one without points."""
    key, sample = job
    if len(sample.cloud) == 0:
        return np.full((len(sample.nulls), max_dimension + 1, len(FIGURES)), math.nan)
    # By content, so that a member's figures do not depend on who else is there.
    rng = np.random.default_rng((seed, int(key, 16)))
    longest = longest_bars(sample.cloud, max_dimension)
    size = math.ceil(SUBSET_SHARE * len(sample.cloud))
    draws = [rng.choice(len(sample.pool), size, replace=False) for _ in range(N_SUBSETS)]
    subsets = np.array([longest_bars(sample.pool[np.sort(draw)], max_dimension) for draw in draws])
    figures = []
    for draw in sample.nulls.values():
        simulated = np.array([longest_bars(draw(rng), max_dimension) for _ in range(n_nulls)])
        for dimension, observed in enumerate(longest):
            test = monte_carlo_test(observed, simulated[:, dimension], level)
            usual = np.quantile(simulated[:, dimension], [0.5, 0.95])
            spread = np.quantile(subsets[:, dimension], [0.05, 0.5, 0.95])
            share = np.mean(subsets[:, dimension] > usual[1])
            figures.append([observed, *usual, test.p, test.smallest_p, *spread, share])
    return np.reshape(figures, (len(sample.nulls), len(longest), len(FIGURES)))


def _table(sample: Sample, figures: Array) -> pd.DataFrame:
    rows = {
        (sample.name, dimension, null): dict(zip(FIGURES, figures[i, dimension], strict=True))
        for i, null in enumerate(sample.nulls)
        for dimension in range(figures.shape[1])
    }
    table = pd.DataFrame.from_dict(rows, orient="index").rename_axis(["model_name", "dimension", "null"])
    return table.assign(points=len(sample.cloud))


def _over_members(members: pd.DataFrame, level: float) -> pd.DataFrame:
    rows = {}
    for key, group in members.groupby(["dimension", "null"], sort=False):
        known = group["p"].dropna()
        interval = proportion_interval(float((known <= level).mean()) if len(known) else math.nan, len(known))
        rows[key] = {
            "significant": (group["p_bh"] <= level).sum(),
            "share": interval.estimate,
            "low": interval.low,
            "high": interval.high,
            "n": interval.n,
        }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis(["dimension", "null"])

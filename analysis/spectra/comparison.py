"""Comparison of sets of models: what differs, by how much, and how sure that is. Members (seeds) are the sample."""

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.comparability import ACCURACY, Conditions, differences, remark
from analysis.errors import AnalysisError
from analysis.population import Population, mean_over_members, undefined_text
from analysis.result import Result
from analysis.spectra.distances import pairwise_distances, transport_method
from analysis.spectra.values import RANGES, check_eigenvalues, corrected_statistics, eigenvalue_statistics
from analysis.statistics import (
    benjamini_hochberg,
    bootstrap_interval,
    cliffs_delta,
    energy_test,
    hedges_g,
    holm,
    mean_difference,
    p_text,
    paired_distance_test,
    permutation_test,
    pooled_std,
    scale_of,
    sign_flip_test,
    standard_deviation,
)

BESIDE = ("seq_length", "task", "theory")
"""Conditions in which sets may differ if that is said."""

SCALARS = ("accuracy", "spectral_error_deg", "spectral_relative_error", "missing_modes")
"""Numbers of an evaluation that are compared beside the statistics of spectra, where sets have them."""

OF_A_LENGTH = ("mag_", "real_", "imag_", "spectral_radius")
"""How names of statistics begin that have the unit of eigenvalues."""


@dataclass(frozen=True)
class Comparison(Result):
    """Sets of models side by side; tables of pairs are empty if there is one set.

    Attributes
    ----------
    populations
        The sets, their labels all different.
    members
        Statistics of all members, indexed by (label, model_name), rounded to 12 decimals (those with the unit
        of eigenvalues, of the largest eigenvalue): numbers that vanish by symmetry, such as the mean
        imaginary part, otherwise differ by rounding errors. Without the circular mean of the angle, a
        direction, of which there are no means and differences on a line, and without accuracies that were
        measured over different numbers of output steps or by different rules.
    summary
        Indexed by (label, statistic): n, mean, std (dividing by n), min, max, and the Student t interval low,
        high, which respects the statistic's range (`mean_interval`).
    differences
        Indexed by (set_a, set_b, statistic): difference of means b - a with its BCa interval low, high;
        pooled_std, hedges_g, cliffs_delta; p of a permutation test (where ``paired``, of pairs with a name in
        common, and so the difference and its interval), p_holm and p_bh corrected over the statistics of the
        pair; smallest_p, the smallest p that sets of these sizes can give: where it exceeds 1 -
        ``confidence`` there is no p; n_a, n_b.
    distances
        Distances of spectra (member, member), members in the order of ``members``.
    set_distances
        Indexed by all ordered (set_a, set_b): mean_distance between their members; within a set of different
        members; n_a, n_b.
    distance_tests
        Indexed by (set_a, set_b): mean distances between, within_a and within_b; separation = between minus
        the mean of the other two; energy statistic and its permutation p, p_holm over the pairs of sets,
        smallest_p; n_a, n_b. Where ``paired``, of members that have a partner, and p is that of their mean
        difference, labels permuted within pairs (`paired_distance_test`).
    medoids
        For each set the name of its most central member: smallest sum of distances to the others.
    metric
        The distance of spectra.
    confidence
        Coverage of the intervals; 1 - confidence is the level of the tests.
    paired
        Whether members of one name are compared with each other.
    """

    populations: tuple[Population, ...]
    members: pd.DataFrame
    summary: pd.DataFrame
    differences: pd.DataFrame
    distances: NDArray[np.float64]
    set_distances: pd.DataFrame
    distance_tests: pd.DataFrame
    medoids: tuple[str, ...]
    metric: str
    confidence: float
    paired: bool

    @property
    def level(self) -> float:
        """Level of significance of the tests."""
        return 1 - self.confidence

    @property
    def labels(self) -> tuple[str, ...]:
        """Labels of the sets."""
        return tuple(population.label for population in self.populations)

    @property
    def pairs(self) -> tuple[tuple[str, str], ...]:
        """Pairs of labels, in the order of the sets."""
        return tuple(itertools.combinations(self.labels, 2))

    @property
    def varying(self) -> tuple[str, ...]:
        """Statistics that are not the same in all members."""
        return tuple(self.members.columns[self.members.max() > self.members.min()])

    def standardised(self, pair: tuple[str, str]) -> pd.DataFrame:
        """Return a pair's differences and intervals over the pooled standard deviation, where that is not zero."""
        rows = self.differences.xs(pair, level=["set_a", "set_b"])
        varying = rows[rows["pooled_std"] > 0]
        return varying[["difference", "low", "high"]].div(varying["pooled_std"], axis=0)

    def headline(self) -> str:
        """Say in a few sentences what was found and what the sizes allow."""
        sizes = ", ".join(f"{population.label} (n = {len(population)})" for population in self.populations)
        if not self.pairs:
            return f"One set: {sizes}. A comparison needs two sets."
        singles = [population.label for population in self.populations if len(population) == 1]
        notes = [f"Sets of one model have no interval: {', '.join(singles)}."] if singles else []
        notes += [self.left_out] if self.left_out else []
        first = [f"Sets: {sizes}.", self.remark] if self.remark else [f"Sets: {sizes}."]
        return " ".join([*first, *(self._pair_sentence(pair) for pair in self.pairs), *notes])

    @property
    def remark(self) -> str:
        """What differs between the sets beside their members; empty where nothing does."""
        sets = _conditions(self.populations)
        expected = "seq_length" in differences(sets) and any(p.theory is not None for p in self.populations)
        length = " At other lengths spectra differ by construction: as many eigenvalues are kept as the theory has."
        return remark(sets, BESIDE) + (length if expected else "")

    @property
    def left_out(self) -> str:
        """Why accuracies are not compared; empty where they are."""
        found = differences(_conditions(self.populations), ACCURACY)
        return f"Accuracies are not compared: sets differ in {'; '.join(found.values())}." if found else ""

    def _pair_sentence(self, pair: tuple[str, str]) -> str:
        rows = self.differences.xs(pair, level=["set_a", "set_b"]).dropna(subset="smallest_p")
        distance = self.distance_tests.loc[pair]
        found = f"{' and '.join(pair)}: spectra differ by {distance['between']:.3g} ({self.metric}) between the sets"
        if not math.isnan(distance["separation"]):
            found += f", by {distance['within_a']:.3g} and {distance['within_b']:.3g} within"
        found += f" ({p_text(distance['p'], distance['smallest_p'])}); "
        smallest = rows["smallest_p"].min()
        if smallest * len(rows) >= self.level:
            return (
                f"{found}with these sample sizes no difference in {len(rows)} statistics can pass Holm's correction "
                f"(smallest attainable p {smallest:.2g})."
            )
        differ = (rows["p_holm"] < self.level).sum()
        undefined = undefined_text(self.differences.xs(pair, level=["set_a", "set_b"])["p"])
        unknown = f"; the test is {undefined}" if undefined else ""
        return f"{found}{differ} of {len(rows)} statistics differ (Holm p < {self.level:.2g}){unknown}."

    def tables(self) -> dict[str, pd.DataFrame]:
        """Members, summaries, differences and distances."""
        return {
            "comparison_members": self.members,
            "comparison_statistics": self.summary,
            "comparison_differences": self.differences,
            "comparison_distances": self.set_distances,
            "comparison_distance_tests": self.distance_tests,
        }

    def documents(self) -> dict[str, Any]:
        """Return the summaries in the reference implementation's layout, n and the interval beside its four numbers."""
        return {
            "comparison_statistics": [
                {
                    "label": population.label,
                    "n_models": len(population),
                    "statistics": self.summary.xs(population.label, level="label").to_dict("index"),
                }
                for population in self.populations
            ]
        }

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Distances of all members, in the order of the table of members."""
        return {"comparison_distances": self.distances}


def compare_populations(
    populations: Sequence[Population],
    *,
    distance_metric: Literal[
        "transport",
        "2d",
        "emd",
        "separate",
        "separate_circular",
        "magnitude_only",
        "angle_only",
        "angle_circular",
        "hausdorff",
    ] = "transport",
    confidence: float = 0.95,
    paired: bool = False,
    seed: int = 0,
) -> Comparison:
    """Compare sets of models: statistics with intervals, tests of their differences, distances of spectra.

    Parameters
    ----------
    populations
        The sets; one is described only. A set of one model has no intervals.
    distance_metric
        distance of two spectra; transport is exact for spectra of one size up to 128, else sliced; 2d is
        always sliced, emd needs spectra of one size
    confidence
        coverage of the intervals; 1 - confidence is the level of the tests
    paired
        models of one name in two sets share their seed: compare each with its partner, leave others out
    seed
        seed of bootstrap and permutations

    Raises
    ------
    AnalysisError
        If labels repeat, an option is out of range, or sets have no pairs.

    Examples
    --------
    >>> names = ["repeat_copy", "orthogonal"]
    >>> sets = [from_summary(read_summary(f"demo/{name}"), label=name) for name in names]
    >>> comparison = compare_populations(sets)
    >>> comparison
    Comparison: Sets: repeat_copy (n = 5), orthogonal (n = 3). repeat_copy and orthogonal: spectra differ by ...
    >>> "hedges_g" in comparison.differences.loc[("repeat_copy", "orthogonal", "spectral_radius")]
    True
    """
    labels = [population.label for population in populations]
    if not populations:
        raise AnalysisError("expected at least one set of models; got none", parameter="populations")
    if len(set(labels)) < len(labels):
        raise AnalysisError(f"labels must all differ; got {', '.join(labels)}", parameter="populations")
    if not 0 < confidence < 1:
        raise AnalysisError(f"must be a share between 0 and 1; got {confidence}", parameter="confidence")
    if paired:
        _check_pairs(populations)
    members = _members(populations)
    spectra = [values for population in populations for _, values in _spectra(population)]
    distances = pairwise_distances(spectra, distance_metric)
    method = f", {transport_method(spectra)}" if distance_metric == "transport" else ""
    sets = _positions(populations)
    return Comparison(
        populations=tuple(populations),
        members=members,
        summary=_summary(members, labels, confidence),
        differences=_differences(members, labels, confidence, paired, seed),
        distances=distances,
        set_distances=_set_distances(distances, sets),
        distance_tests=_distance_tests(distances, sets, members.index, 1 - confidence, paired, seed),
        medoids=tuple(members.index[where[_medoid(distances, where)]][1] for where in sets.values()),
        metric=distance_metric + method,
        confidence=confidence,
        paired=paired,
    )


def _check_pairs(populations: Sequence[Population]) -> None:
    for a, b in itertools.combinations(populations, 2):
        if not set(a.names) & set(b.names):
            raise AnalysisError(
                f"expected sets with names of models in common; {a.label} and {b.label} have none",
                parameter="paired",
            )
        if None not in (a.training_seed, b.training_seed) and a.training_seed != b.training_seed:
            raise AnalysisError(
                "expected sets trained from one base seed, so that models of one name share theirs; got "
                f"{a.training_seed} ({a.label}) and {b.training_seed} ({b.label})",
                parameter="paired",
            )


def _spectra(population: Population) -> Iterator[tuple[str, NDArray[np.complex128]]]:
    for name, values in zip(population.names, population.eigenvalues, strict=True):
        yield name, check_eigenvalues(values, f"{population.label}, {name}")


def _conditions(populations: Sequence[Population]) -> dict[str, Conditions]:
    return {population.label: population.conditions for population in populations}


def _members(populations: Sequence[Population]) -> pd.DataFrame:
    differ = differences(_conditions(populations), ACCURACY)
    scalars = [key for key in SCALARS if key != "accuracy" or not differ]
    rows = {
        (population.label, name): {
            key: population.scalars.loc[name, key] for key in scalars if key in population.scalars
        }
        | eigenvalue_statistics(values)
        | corrected_statistics(values)
        for population in populations
        for name, values in _spectra(population)
    }
    members = pd.DataFrame.from_dict(rows, orient="index").drop(columns="angle_circular_mean")
    largest = scale_of(members["mag_max"])
    units = pd.Series({name: largest if name.startswith(OF_A_LENGTH) else 1.0 for name in members})
    # Adding zero makes zeros of negative ones.
    members = (members / units).round(12) * units + 0.0
    members.index = pd.MultiIndex.from_tuples(rows, names=["label", "model_name"])
    return members


def _summary(members: pd.DataFrame, labels: Sequence[str], confidence: float) -> pd.DataFrame:
    rows = {}
    for label, statistic in itertools.product(labels, members):
        values = members.loc[label, statistic]
        interval = mean_over_members(values, confidence, RANGES)
        rows[label, statistic] = {
            "n": interval.n,
            "mean": interval.estimate,
            "std": standard_deviation(values, ddof=0),
            "min": values.min(),
            "max": values.max(),
            "low": interval.low,
            "high": interval.high,
        }
    return _indexed(rows, ["label", "statistic"])


def _differences(
    members: pd.DataFrame, labels: Sequence[str], confidence: float, paired: bool, seed: int
) -> pd.DataFrame:
    pairs = list(itertools.combinations(labels, 2))
    rows = {
        (a, b, statistic): _difference(
            members.loc[a, statistic], members.loc[b, statistic], confidence, paired, seed
        )
        for a, b in pairs
        for statistic in members
    }
    differences = _indexed(rows, ["set_a", "set_b", "statistic"])
    for column, adjust in {"p_holm": holm, "p_bh": benjamini_hochberg}.items() if pairs else ():
        differences[column] = np.concatenate(
            [adjust(p) for p in np.split(differences["p"].to_numpy(), len(pairs))]
        )
    return differences


def _difference(a: pd.Series, b: pd.Series, confidence: float, paired: bool, seed: int) -> dict[str, float]:
    if paired:
        a, b = a.dropna().align(b.dropna(), join="inner")
        interval = bootstrap_interval(np.mean, b - a, confidence=confidence, seed=seed)
        test = sign_flip_test(b - a, seed, 1 - confidence)
    else:
        interval = bootstrap_interval(mean_difference, a, b, confidence=confidence, seed=seed)
        test = permutation_test(a, b, seed=seed, level=1 - confidence)
    return {
        "difference": interval.estimate,
        "low": interval.low,
        "high": interval.high,
        "pooled_std": pooled_std(a, b),
        "hedges_g": hedges_g(a, b),
        "cliffs_delta": cliffs_delta(a, b),
        "p": test.p,
        "p_holm": math.nan,
        "p_bh": math.nan,
        "smallest_p": test.smallest_p,
        "n_a": a.count(),
        "n_b": b.count(),
    }


def _positions(populations: Sequence[Population]) -> dict[str, NDArray[np.intp]]:
    """Return each set's positions in the table of members."""
    ends = np.cumsum([len(population) for population in populations])
    return {p.label: np.arange(end - len(p), end) for p, end in zip(populations, ends, strict=True)}


def _mean_distance(distances: NDArray[np.float64], a: NDArray[np.intp], b: NDArray[np.intp]) -> float:
    """Mean over pairs of members of two sets; of different members where both are the same set."""
    block = distances[np.ix_(a, b)]
    n_pairs, scale = block.size - len(np.intersect1d(a, b)), scale_of(block)
    return scale * float((block / scale).sum() / n_pairs) if n_pairs else math.nan


def _set_distances(distances: NDArray[np.float64], sets: Mapping[str, NDArray[np.intp]]) -> pd.DataFrame:
    rows = {
        (a, b): {
            "mean_distance": _mean_distance(distances, sets[a], sets[b]),
            "n_a": len(sets[a]),
            "n_b": len(sets[b]),
        }
        for a, b in itertools.product(sets, repeat=2)
    }
    return _indexed(rows, ["set_a", "set_b"])


def _distance_tests(
    distances: NDArray[np.float64],
    sets: Mapping[str, NDArray[np.intp]],
    members: pd.MultiIndex,
    level: float,
    paired: bool,
    seed: int,
) -> pd.DataFrame:
    rows = {}
    names = members.get_level_values("model_name").to_numpy()
    for a, b in itertools.combinations(sets, 2):
        first, second = sets[a], sets[b]
        if paired:
            _, i, j = np.intersect1d(names[first], names[second], return_indices=True)
            first, second = first[i], second[j]
        both = np.concatenate([first, second])
        block = distances[np.ix_(both, both)]
        energy = energy_test(block, len(first), seed, level)
        test = paired_distance_test(block, seed, level) if paired else energy
        between = _mean_distance(distances, first, second)
        within = [_mean_distance(distances, where, where) for where in (first, second)]
        rows[a, b] = {
            "between": between,
            "within_a": within[0],
            "within_b": within[1],
            "separation": between - sum(within) / 2,
            "energy": energy.statistic,
            "p": test.p,
            "p_holm": math.nan,
            "smallest_p": test.smallest_p,
            "n_a": len(first),
            "n_b": len(second),
        }
    tests = _indexed(rows, ["set_a", "set_b"])
    if rows:
        tests["p_holm"] = holm(tests["p"])
    return tests


def _medoid(distances: NDArray[np.float64], where: NDArray[np.intp]) -> int:
    block = distances[np.ix_(where, where)]
    return int((block / scale_of(block)).sum(axis=1).argmin())


def _indexed(rows: Mapping[Any, Mapping[str, float]], names: list[str]) -> pd.DataFrame:
    levels = list(zip(*rows, strict=True)) if rows else [()] * len(names)
    return pd.DataFrame(list(rows.values()), index=pd.MultiIndex.from_arrays(levels, names=names))

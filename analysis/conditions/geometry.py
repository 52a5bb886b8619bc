"""Which conditions do states tell apart, and like which hypothesis? Dissimilarities of conditions at single steps.

Distances are cross-validated (`analysis.conditions.dissimilarities`), so that conditions that do not differ have a
distance of zero on average. Whether any pair differs is tested by permuting labels of trials, the same in all members,
and over members; whether a model predicts the distances by relabelling its conditions, and over members
(`analysis.conditions.agreement`).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from analysis.cache import content_hash, each_item
from analysis.conditions.agreement import compare_model, noise_ceiling
from analysis.conditions.design import Design, find_design
from analysis.conditions.dissimilarities import dissimilarities, second_moment
from analysis.conditions.folds import FEWEST_LABELLINGS, check_permutations, enough_labellings
from analysis.conditions.labels import Labels, default_label, label_names
from analysis.conditions.model_matrices import find_models
from analysis.conditions.trials import check_noise, find_trials
from analysis.errors import AnalysisError
from analysis.parallel import run_parallel
from analysis.result import Result
from analysis.statistics import holm, mean_interval
from analysis.statistics.over_time import chance_over_time
from emt import trace

Array = NDArray[np.float64]

FEWEST, MOST = 3, 200
"""Conditions: two have one distance, which no model can miss."""

SLOW = 2e9
"""Numbers in (members · steps · permutations · units³) from which on processes are worth starting."""


@dataclass(frozen=True)
class Geometry(Result):
    """Dissimilarities of conditions, and how models agree with them.

    Attributes
    ----------
    label
        What figures call this population.
    conditions
        The conditions.
    matrices
        Dissimilarities (member, step, condition, condition).
    distances
        Indexed by (step, first, second): ``mean`` over members with its interval, ``p_trials`` and ``p_members``, each
        corrected for all pairs of the step, and whether both are at most .05, ``found``. Of correlations without
        tests.
    models
        Indexed by (step, model): ``coefficient``, mean over members with its interval; ``chance`` and ``null_95``, mean
        and 95 % quantile of relabelled conditions; ``p_conditions``, ``p_members``, ``p``, the larger one, ``p_holm``
        over all rows; ``smallest_p`` that relabellings of so few conditions can give; ``lower`` and ``upper`` end of
        the noise ceiling.
    members
        Indexed by (model_name, step, model): ``coefficient``.
    coefficient
        Name of the coefficient.
    distance
        Kind of the distance.
    design
        Says of which trials, and how.
    """

    label: str
    conditions: Labels
    matrices: Array
    distances: pd.DataFrame
    models: pd.DataFrame
    members: pd.DataFrame
    coefficient: str
    distance: str
    design: str

    @property
    def steps(self) -> tuple[int, ...]:
        """Steps whose states were compared."""
        return tuple(int(step) for step in self.models.index.get_level_values("step").unique())

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the models compared."""
        return tuple(self.models.index.get_level_values("model").unique())

    @property
    def n(self) -> int:
        """Number of members."""
        return len(self.matrices)

    def tables(self) -> dict[str, pd.DataFrame]:
        """Return distances, models, and coefficients of members."""
        return {
            "geometry_distances": self.distances,
            "geometry_models": self.models,
            "geometry_members": self.members,
        }

    def arrays(self) -> dict[str, Array]:
        """Return the dissimilarities (member, step, condition, condition)."""
        return {"geometry_dissimilarities": self.matrices}

    def headline(self) -> str:
        """Say how many pairs of conditions differ, and how well each model agrees, beside ceiling and chance."""
        members = f"n = {self.n} member{'s'[: self.n > 1]}"
        what = f"{self.conditions.name} ({len(self.conditions.values)} conditions; {members})"
        return "\n".join([what, *(f"step {step}: {self._at(step)}" for step in self.steps)])

    def _at(self, step: int) -> str:
        pairs = self.distances.loc[step]
        found = (
            []
            if pairs["found"].isna().all()
            else [f"{int(pairs['found'].sum())} of {len(pairs)} pairs differ"]
        )
        rows = self.models.loc[step]
        for name, row in rows.iterrows():
            p = (
                f"p = {row['p']:.2g}"
                if np.isfinite(row["p"])
                else f"no p: {max(row['smallest_p'], 2.0**-self.n):.2g} is the smallest attainable"
            )
            found.append(
                f"{name} {row['coefficient']:.2f} (relabelled {row['chance']:.2f}, 95 % of them up to "
                f"{row['null_95']:.2f}; {p})"
            )
        ends = rows.iloc[0]
        if np.isfinite(ends["lower"]):
            found.append(f"ceiling {ends['lower']:.2f} to {ends['upper']:.2f}")
        return ", ".join(found)


def compare_conditions(
    recording: xr.DataTree,
    *,
    label: tuple[str, ...] = (),
    at: str = "",
    times: tuple[int, ...] = (),
    model: tuple[str, ...] = (),
    distance: Literal["crossnobis", "correlation"] = "crossnobis",
    coefficient: Literal["cosine", "rho-a"] = "cosine",
    noise: Literal["residuals", "identity"] = "residuals",
    folds: int = 0,
    permutations: int = 199,
    probe_noise: float = 0.01,
    seed: int = 0,
) -> Geometry:
    """Compare conditions by cross-validated distances of their states, and these with what models predict.

    Parameters
    ----------
    recording
        recorded run of a population
    label
        what conditions differ in: an event of trials (group, asked, …), a variable of the task, or target:k, the sign
        of target k; of several labels each combination is a condition (default: labels with one value in a trial, as
        many as make three conditions)
    at
        which of several values counts for the whole trial: first, last, or the number of a step
    times
        steps whose states are compared (default: the last of each stage of the trials)
    model
        predictions: V, 1 for conditions that differ in the variable V; V:difference, the difference of its numbers;
        or a CSV file with a row and a column for each condition (default: each label)
    distance
        Mahalanobis distance, or correlation of patterns about their mean
    coefficient
        how distances and models are compared: cosine of centred matrices, or rho-a of ranks
    noise
        precision of the noise: from residuals about each condition in each fold, or the identity
    folds
        parts of the trials whose means are multiplied (default: 5, or fewer where conditions are small)
    permutations
        relabellings of trials, the same in all members
    probe_noise
        standard deviation of noise added to states, in units of theirs
    seed
        seed of folds, permutations and noise

    Raises
    ------
    AnalysisError
        If there is no such label or model, a condition has too few trials, or an option does not fit.

    Examples
    --------
    Four kinds of trial, of which three networks do not tell the first two apart:

    >>> kind = np.arange(80) % 4
    >>> states = np.random.default_rng(0).normal(size=(3, 80, 5, 8))
    >>> states[..., 0] += 6 * np.array([0, 0, 1, 2])[kind, None]
    >>> recording = emt.from_arrays(states, group=kind).recording
    >>> distances = compare_conditions(recording, label=("group",), permutations=99).distances
    >>> distances.index[distances["found"] == 0].tolist()
    [(4, '0', '1')]
    """
    check_permutations(permutations)
    check_noise(probe_noise)
    label = label or _default_labels(recording, at, folds, seed)
    design = find_design(recording, label, at, folds, seed, blame="folds")
    if not FEWEST <= design.count <= MOST:
        raise AnalysisError(
            f"must make {FEWEST} to {MOST} conditions; {design.conditions.name} makes {design.count}",
            parameter="label",
        )
    steps = _steps(design, recording, times)
    models = find_models(recording, design, model)
    moments = _moments(recording, design, steps, noise, permutations, probe_noise, seed)
    found = dissimilarities(moments, distance)
    matrices = found[:, 0]
    names = trace.member_names(recording)
    rows, members = _compare(matrices, models, steps, names, coefficient, seed)
    fold = f"{design.parts.max() + 1} folds"
    return Geometry(
        label=trace.label(recording),
        conditions=design.conditions,
        matrices=matrices,
        distances=_distances(found, design, steps, distance, seed),
        models=rows,
        members=members,
        coefficient=coefficient,
        distance=distance,
        design=f"{len(design.classes)} trials, {fold}, {distance}, noise: {noise}"
        + (f", noise of {probe_noise:g} of the states' spread added" if probe_noise else ""),
    )


def _default_labels(recording: xr.DataTree, at: str, folds: int, seed: int) -> tuple[str, ...]:
    """Return the default label, with others behind it until there are three conditions with enough trials."""
    first = default_label(recording, find_trials(recording))
    for more in ((), *((name,) for name in label_names(recording) if name != first)):
        try:
            if find_design(recording, (first, *more), at, folds, seed).count >= FEWEST:
                return (first, *more)
        except AnalysisError:
            continue
    return (first,)


def _steps(design: Design, recording: xr.DataTree, times: Sequence[int]) -> tuple[int, ...]:
    unknown = [step for step in times if step not in design.steps]
    if unknown:
        raise AnalysisError(
            f"must be steps at which each fold has trials of all conditions ({design.steps[0]} to "
            f"{design.steps[-1]}); got {unknown[0]}",
            parameter="times",
        )
    if times:
        return tuple(dict.fromkeys(times))
    ends = [step - 1 for step in design.starts(recording).values() if step - 1 in design.steps]
    return tuple(sorted({*ends, design.steps[-1]}))


def _moments(
    recording: xr.DataTree,
    design: Design,
    steps: Sequence[int],
    noise: Literal["residuals", "identity"],
    permutations: int,
    probe_noise: float,
    seed: int,
) -> Array:
    """Return second moments (member, 1 + permutation, step, condition, condition), those of the data first."""
    orders = enough_labellings(design.units, design.parts[:, None], permutations, seed)
    places = [design.steps.index(step) for step in steps]
    states = [values[:, places] for values in design.states(recording, probe_noise, seed)]
    there = design.present[:, places]
    work = partial(_member_moments, design, there, orders, noise)

    def compute(missing: list[int]) -> Iterator[Array]:
        size = len(missing) * len(steps) * len(orders) * float(states[0].shape[-1]) ** 3
        return run_parallel(work, [states[place] for place in missing], "members compared", size > SLOW)

    about = design.classes, design.parts, there, orders, noise
    return np.stack(each_item("geometry", [content_hash(values, *about) for values in states], compute))


def _member_moments(
    design: Design,
    there: NDArray[np.bool_],
    orders: NDArray[np.intp],
    noise: Literal["residuals", "identity"],
    states: Array,
) -> Array:
    """Return the second moments of a member's states (trial, step, unit) under each labelling."""
    found = np.full((len(orders), states.shape[1], design.count, design.count), np.nan)
    cells, n_folds = design.count * (design.parts.max() + 1), design.parts.max() + 1
    for place, exists in enumerate(there.T):
        for row, order in enumerate(orders):
            classes, folds = design.classes[order][exists], design.parts[exists]
            # Permuted labels may leave a cell empty at a step that some trials do not reach.
            if len(np.unique(n_folds * classes + folds)) == cells:
                found[row, place] = second_moment(states[exists, place], classes, folds, design.count, noise)
    return found


def _distances(found: Array, design: Design, steps: Sequence[int], distance: str, seed: int) -> pd.DataFrame:
    """Return the table of distances (member, labelling, step, condition, condition)."""
    first, second = np.triu_indices(design.count, 1)
    names, tables = design.conditions.values, {}
    for place, step in enumerate(steps):
        pairs = found[:, :, place, first, second]
        means = [mean_interval(column) for column in pairs[:, 0].T]
        table = pd.DataFrame(
            {
                "mean": [one.estimate for one in means],
                "low": [one.low for one in means],
                "high": [one.high for one in means],
                "p_trials": np.nan,
                "p_members": np.nan,
                "found": np.nan,
            },
            index=pd.MultiIndex.from_arrays(
                [[names[k] for k in first], [names[k] for k in second]], names=["first", "second"]
            ),
        )
        known = np.isfinite(pairs).all(axis=(0, 2))
        if distance == "crossnobis" and known.sum() >= FEWEST_LABELLINGS:
            test = chance_over_time(pairs[:, 0], pairs[:, known][:, 1:].swapaxes(0, 1), seed=seed)
            table[["p_trials", "p_members", "found"]] = np.transpose(
                [test.p_trials, test.p_members, test.found]
            )
        tables[step] = table
    return pd.concat(tables, names=["step"])


def _compare(
    matrices: Array,
    models: dict[str, Array],
    steps: Sequence[int],
    names: Sequence[str],
    coefficient: Literal["cosine", "rho-a"],
    seed: int,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the tables of models, and of members, of matrices (member, step, condition, condition)."""
    rows: dict[tuple[int, str], dict[str, float]] = {}
    members: dict[tuple[str, int, str], float] = {}
    for place, step in enumerate(steps):
        lower, upper = noise_ceiling(matrices[:, place], coefficient)
        for name, model in models.items():
            found = compare_model(matrices[:, place], model, coefficient, seed)
            mean = mean_interval(found.members)
            trials, own = found.test.trials, found.test.members
            rows[step, name] = {
                "coefficient": mean.estimate,
                "low": mean.low,
                "high": mean.high,
                "chance": float(np.mean(found.null)),
                "null_95": float(np.quantile(found.null, 0.95)),
                "p": found.test.p,
                "p_conditions": np.nan if trials is None else trials.p,
                "p_members": own.p,
                "smallest_p": np.nan if trials is None else trials.smallest_p,
                "lower": lower,
                "upper": upper,
                "n": mean.n,
            }
            members |= {
                (member, step, name): value for member, value in zip(names, found.members, strict=True)
            }
    table = pd.DataFrame.from_dict(rows, orient="index").rename_axis(["step", "model"])
    table.insert(table.columns.get_loc("p") + 1, "p_holm", holm(table["p"]))
    index = pd.MultiIndex.from_tuples(list(members), names=["model_name", "step", "model"])
    return table, pd.DataFrame({"coefficient": list(members.values())}, index=index)

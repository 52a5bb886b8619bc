"""Which way do states go in each condition? Means by condition in principal components, their speed and dimension.

The axes of a member are principal components of its condition means, each of weight one whatever its number of trials.
Members have no axes in common: of all together only what is left after rotation can be drawn
(`analysis.conditions.alignment`), and it is drawn only if they have more in common than conditions whose names are
permuted. Rotations come from half of the trials, what is drawn and measured of all members from the other half.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from analysis.conditions.alignment import (
    compare_with_relabelled,
    principal_axes,
    rotations,
    unit_clouds,
    variance_shares,
)
from analysis.conditions.demixing import Demixed, demix_means
from analysis.conditions.design import Design, find_design
from analysis.conditions.dimension import dimensions_over_time
from analysis.conditions.folds import check_permutations
from analysis.conditions.labels import Labels
from analysis.conditions.means import condition_means, spreads, squared_speeds
from analysis.errors import AnalysisError
from analysis.result import Result
from analysis.statistics import mean_interval
from emt import trace

Array = NDArray[np.float64]

DRAWN = 3
"""Axes that are drawn and saved."""

MEAN = "mean over members"
"""Who the rows of all members together are of."""

LEVEL = 0.05


class _Clouds(NamedTuple):
    """Means of both halves of the trials (member, condition, step, axis), of norm 1, and norms of the first, (member,).

    Both are along the principal axes that the first half has.
    """

    first: Array
    second: Array
    norms: Array


@dataclass(frozen=True)
class Trajectories(Result):
    """Means of states by condition, over time.

    Attributes
    ----------
    label
        What figures call this population.
    conditions
        The conditions.
    lines
        Indexed by (model_name, condition, step): ``axis_1`` to ``axis_3``, and ``low_k``, ``high_k``: of a member one
        standard deviation of trials to both sides, of the mean over members its 95 % interval.
    axes
        Indexed by (model_name, axis): share of the variance of condition means (``of_means``) and of all states
        (``of_states``) along an axis.
    members
        Indexed by model_name: ``scale``, what a member's means are divided by before alignment, in units of its
        states' spread, and ``agreement``, the cosine with the mean of the other members on held-out trials.
    shared
        Indexed by ``states`` and ``conditions`` (without what all conditions have in common at a step): ``agreement``
        of members after rotation, ``chance`` and ``chance_high`` of permuted conditions, ``p``; empty of one member.
    speed
        Indexed by (condition, step): mean over members with its interval, in units of the states' spread a step.
    dimension
        Indexed by step: participation ratio of states and of condition means, ``plain`` and without the bias of few
        trials, means over members; ``chance``, that of means (plain) with labels permuted; ``n`` trials.
    starts
        First step of each stage of the trials, by its name.
    demixed
        What states vary with; None where not asked for.
    shown
        Name of the member that is drawn alone.
    pca
        What the axes are principal components of.
    design
        Says of which trials, and how.
    """

    label: str
    conditions: Labels
    lines: pd.DataFrame
    axes: pd.DataFrame
    members: pd.DataFrame
    shared: pd.DataFrame
    speed: pd.DataFrame
    dimension: pd.DataFrame
    starts: dict[str, int]
    demixed: Demixed | None
    shown: str
    pca: str
    design: str

    @property
    def aligned(self) -> bool:
        """Whether members have more in common than permuted conditions, so that their mean is drawn."""
        return MEAN in self.lines.index.get_level_values("model_name")

    def tables(self) -> dict[str, pd.DataFrame]:
        """Return lines, axes, members, what they share, speed, dimension, and demixed parts."""
        tables = {
            "lines": self.lines,
            "axes": self.axes,
            "members": self.members,
            "shared": self.shared,
            "speed": self.speed,
            "dimension": self.dimension,
        }
        if self.demixed is not None:
            tables |= {"demixed": self.demixed.parts, "demixed_members": self.demixed.members}
        return {f"trajectories_{name}": table for name, table in tables.items()}

    def headline(self) -> str:
        """Say what members have in common, how much three axes hold, how many dimensions there are, what moves most."""
        n = len(self.members)
        found = [f"{self._common()}; {self._shares()}"]
        widest = self.dimension["states"].idxmax() if self.dimension["states"].notna().any() else None
        if widest is not None:
            row = self.dimension.loc[widest]
            found.append(f"states fill up to {row['states']:.1f} dimensions (step {widest})")
        fastest = self.speed["mean"].groupby("step").mean().idxmax()
        found.append(f"they move fastest from step {fastest}")
        if self.demixed is not None:
            parts = ", ".join(f"{part} {row['share']:.2f}" for part, row in self.demixed.parts.iterrows())
            end = " (λ at an end of what was tried)" if self.demixed.at_end else ""
            found.append(f"variance of means by {parts}{end}")
        what = (
            f"{self.conditions.name} ({len(self.conditions.values)} conditions; n = {n} member{'s'[: n > 1]})"
        )
        return f"{what}: {'; '.join(found)}"

    def _common(self) -> str:
        if self.shared.empty:
            return f"{self.shown} alone"
        row = self.shared.loc["states"]
        text = (
            f"members share {row['agreement']:.2f} of their condition means after rotation (permuted conditions "
            f"{row['chance']:.2f}, p = {row['p']:.2g})"
        )
        return text if self.aligned else f"{text}, too little for a mean: {self.shown} is drawn alone"

    def _shares(self) -> str:
        members = self.axes.drop(MEAN, level="model_name", errors="ignore")
        totals = members.groupby("model_name").sum().mean()
        return (
            f"{DRAWN} axes hold {totals['of_means']:.2f} of the variance of a member's means, "
            f"{totals['of_states']:.2f} of that of its states"
        )


def follow_conditions(
    recording: xr.DataTree,
    *,
    label: tuple[str, ...] = (),
    at: str = "",
    pca: Literal["means", "states"] = "means",
    components: int = 10,
    model: int | None = None,
    demix: bool = False,
    permutations: int = 199,
    seed: int = 0,
) -> Trajectories:
    """Follow mean states by condition in three principal components, one line each, with their speed and dimension.

    Parameters
    ----------
    recording
        recorded run of a population
    label
        what conditions differ in: an event of trials (group, asked, …), a variable of the task, or target:k, the sign
        of target k; of several labels each combination is a condition (default: the first with one value in a trial)
    at
        which of several values counts for the whole trial: first, last, or the number of a step
    pca
        axes: principal components of the means of conditions, or of all states
    components
        components of each member that are aligned with those of the others
    model
        number of the model that is drawn alone (default: the one that agrees best with the others)
    demix
        also split the variance of the means into time, each of one or two labels, and both together
    permutations
        draws of conditions with permuted names
    seed
        seed of halves of trials and permutations

    Raises
    ------
    AnalysisError
        If there is no such label, a condition has too few trials, or an option does not fit.

    Examples
    --------
    Two kinds of trial that part at the third step, which is most of what their means do:

    >>> kind = np.arange(40) % 2
    >>> states = np.random.default_rng(0).normal(size=(3, 40, 5, 8))
    >>> states[:, :, 2:, 0] += 6 * kind[:, None]
    >>> recording = emt.from_arrays(states, group=kind).recording
    >>> found = follow_conditions(recording, label=("group",), permutations=19)
    >>> list(found.lines.index.names)
    ['model_name', 'condition', 'step']
    >>> bool(found.axes.loc["model-1", "of_means"].iloc[0] > 0.5)
    True
    """
    _check(recording, components, model, permutations)
    design = find_design(recording, label, at, 2, seed)
    states, names = design.states(recording), trace.member_names(recording)
    clouds = _clouds(states, design, components, pca)
    shared = _shared(clouds, permutations, seed)
    members = _members(clouds, names)
    shown = (
        names.index(f"model-{model}") if model is not None else int(members["agreement"].fillna(0).argmax())
    )
    found = [_member_lines(values, design, name, pca) for values, name in zip(states, names, strict=True)]
    if not shared.empty and shared.loc["states", "p"] <= LEVEL:
        found.append(_mean_lines(clouds, design))
    lines, axes = (pd.concat(tables) for tables in zip(*found, strict=True))
    return Trajectories(
        label=trace.label(recording),
        conditions=design.conditions,
        lines=lines,
        axes=axes,
        members=members,
        shared=shared,
        speed=_speed(states, design),
        dimension=dimensions_over_time(states, design, permutations, seed),
        starts=design.starts(recording),
        demixed=demix_means(design, states, names, shown, seed) if demix else None,
        shown=names[shown],
        pca=pca,
        design=f"{len(design.classes)} trials; axes: principal components of "
        + ("condition means" if pca == "means" else "all states"),
    )


def _check(recording: xr.DataTree, components: int, model: int | None, permutations: int) -> None:
    if components < DRAWN:
        raise AnalysisError(f"must be at least {DRAWN}; got {components}", parameter="components")
    check_permutations(permutations)
    names = trace.member_names(recording)
    if model is not None and f"model-{model}" not in names:
        raise AnalysisError(f"must be one of {', '.join(names)}; got {model}", parameter="model")


def _axes_of(states: Array, design: Design, trials: NDArray[np.bool_], most: int, pca: str) -> tuple:
    """Return axes of some trials' means, or states, and what these are (row, unit), and the means."""
    classes = np.where(trials, design.classes, -1)
    means, _ = condition_means(states, design.present, classes, design.count)
    rows = means.reshape(-1, means.shape[-1])
    of_states = states[trials][design.present[trials]]
    return principal_axes(rows if pca == "means" else of_states, most), means, of_states


def _clouds(states: Sequence[Array], design: Design, components: int, pca: str) -> _Clouds:
    first, second = [], []
    for values in states:
        axes, means, _ = _axes_of(values, design, design.parts == 0, components, pca)
        others, _ = condition_means(
            values, design.present, np.where(design.parts == 1, design.classes, -1), design.count
        )
        first.append(axes.of(means))
        second.append(axes.of(others))
    (one, norms), (other, _) = (unit_clouds(clouds, components) for clouds in (first, second))
    return _Clouds(one, other, norms)


def _shared(clouds: _Clouds, permutations: int, seed: int) -> pd.DataFrame:
    """Return what members have in common, of the means and of these without their mean over conditions."""
    if len(clouds.norms) < 2:
        return pd.DataFrame(columns=["agreement", "chance", "chance_high", "p", "smallest_p"])
    rows = {}
    pairs = {
        "states": (clouds.first, clouds.second),
        "conditions": (_about_mean(clouds.first), _about_mean(clouds.second)),
    }
    for name, (first, second) in pairs.items():
        found = compare_with_relabelled(first, second, permutations, seed)
        rows[name] = {
            "agreement": found.value,
            "chance": found.chance,
            "chance_high": found.chance_high,
            "p": found.test.p,
            "smallest_p": found.test.smallest_p,
        }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("of")


def _about_mean(clouds: Array) -> Array:
    """Return clouds about their mean over conditions at each step, of norm 1 again."""
    return unit_clouds(list(clouds - clouds.mean(axis=1, keepdims=True)), clouds.shape[-1])[0]


def _aligned(clouds: _Clouds) -> Array:
    """Return the second clouds (member, condition, step, axis), along principal axes of the mean of the first ones."""
    members, conditions, steps, axes = clouds.first.shape
    first, second = (part.reshape(members, -1, axes) for part in clouds[:2])
    turns = rotations(first)
    common = principal_axes(np.mean(first @ turns, axis=0), axes)
    return (second @ turns @ common.axes).reshape(members, conditions, steps, -1)


def _members(clouds: _Clouds, names: Sequence[str]) -> pd.DataFrame:
    aligned = _aligned(clouds)
    agreement = np.full(len(names), np.nan)
    if len(names) > 1:
        others = aligned.sum(axis=0) - aligned
        lengths = np.linalg.norm(others.reshape(len(names), -1), axis=1)
        products = np.sum(aligned * others, axis=(1, 2, 3))
        agreement = np.divide(products, lengths, out=agreement, where=lengths > 0)
    index = pd.Index(names, name="model_name")
    return pd.DataFrame({"scale": clouds.norms, "agreement": agreement}, index=index)


Lines = tuple[pd.DataFrame, pd.DataFrame]


def _member_lines(states: Array, design: Design, name: str, pca: str) -> Lines:
    """Return a member's lines and axes, of all trials."""
    everyone = np.ones(len(states), dtype=bool)
    axes, means, of_states = _axes_of(states, design, everyone, DRAWN, pca)
    coordinates = axes.of(means)
    reach = spreads(axes.of(states), design.present, design.classes, design.count)
    of_means = variance_shares(
        coordinates.reshape(-1, coordinates.shape[-1]), means.reshape(-1, means.shape[-1])
    )
    shares = {"of_means": of_means, "of_states": variance_shares(axes.of(of_states), of_states)}
    return _table(design, name, coordinates, coordinates - reach, coordinates + reach), _axes(name, shares)


def _mean_lines(clouds: _Clouds, design: Design) -> Lines:
    """Return the lines and axes of the mean over members, with intervals over them."""
    aligned = _aligned(clouds)
    rows = aligned.mean(axis=0).reshape(-1, aligned.shape[-1])
    found = [mean_interval(column) for column in aligned[..., :DRAWN].reshape(len(aligned), -1).T]
    shape = aligned[0, ..., :DRAWN].shape
    low, high = (np.array([getattr(one, end) for one in found]).reshape(shape) for end in ("low", "high"))
    shares = variance_shares(rows[:, :DRAWN], rows)
    axes = _axes(MEAN, {"of_means": shares, "of_states": np.full(len(shares), np.nan)})
    return _table(design, MEAN, aligned[..., :DRAWN].mean(axis=0), low, high), axes


def _table(design: Design, name: str, middle: Array, low: Array, high: Array) -> pd.DataFrame:
    index = pd.MultiIndex.from_product(
        [[name], design.conditions.values, design.steps], names=["model_name", "condition", "step"]
    )
    columns = {}
    for place in range(DRAWN):
        for column, values in (("axis", middle), ("low", low), ("high", high)):
            there = place < values.shape[-1]
            columns[f"{column}_{place + 1}"] = values[..., place].ravel() if there else np.zeros(len(index))
    return pd.DataFrame(columns, index=index)


def _axes(name: str, shares: dict[str, Array]) -> pd.DataFrame:
    index = pd.MultiIndex.from_product(
        [[name], range(1, len(shares["of_means"]) + 1)], names=["model_name", "axis"]
    )
    return pd.DataFrame(shares, index=index)


def _speed(states: Sequence[Array], design: Design) -> pd.DataFrame:
    squares = [squared_speeds(values, design.present, design.classes, design.count) for values in states]
    speeds = np.sqrt(np.maximum(squares, 0))
    return _over_members(
        speeds.reshape(len(speeds), -1),
        pd.MultiIndex.from_product(
            [design.conditions.values, design.steps[:-1]], names=["condition", "step"]
        ),
    )


def _over_members(values: Array, index: pd.Index) -> pd.DataFrame:
    """Return means over members (member, row) with their intervals, values being at least 0."""
    means = [mean_interval(column, bounds=(0.0, np.inf)) for column in values.T]
    columns = {name: [getattr(one, name) for one in means] for name in ("low", "high")}
    return pd.DataFrame({"mean": [one.estimate for one in means], **columns}, index=index)

"""What an associative memory holds: principal components of its contents, and its spectrum over time."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from analysis.errors import AnalysisError
from analysis.memory.log import (
    CONVENTIONS,
    Array,
    Convention,
    event_of,
    further_text,
    memory_log,
    memory_names,
    memory_rule,
    most_interesting,
    normalised,
    other_convention,
    select,
)
from analysis.memory.queries import read_queries
from analysis.memory.query_scores import same_scores, score_member
from analysis.memory.relabelling import (
    count_different,
    relabelled_separations,
    share_trials,
    trial_orders,
)
from analysis.memory.replay import replay_memory
from analysis.memory.separation import class_separation, component_auc
from analysis.memory.write_similarity import WriteSimilarity, compare_writes
from analysis.parallel import counted
from analysis.population import median_over_members, undefined_text
from analysis.result import Result
from analysis.states.dimensionality import effective_rank
from analysis.statistics import (
    ChanceTest,
    Interval,
    chance_test,
    mean_interval,
    number_text,
)
from emt import trace

LARGEST_STEPS = 32
"""Steps, evenly spaced, at which contents are replayed."""

LARGEST_SAMPLE = 2**26
"""Numbers that one member's replayed contents may have: 512 MB. The first trials that fit are taken."""

WEIGHTS_TRIALS = 4
"""Trials, the first ones, for the spectra of weights that a memory is added to."""

N_COMPONENTS = 10
N_SINGULAR_VALUES = 6
SCORES = ("separation", "auc", "shuffled_auc", "recalled", "recalled_sign", "recalled_magnitude")
"""Attributes of `MemoryContents` with a number for each member."""

RANGES = {
    "separation": (-np.inf, 1.0),
    "auc": (0.5, 1.0),
    "shuffled_auc": (0.5, 1.0),
    **dict.fromkeys(SCORES[3:], (0.0, 1.0)),
}
"""Smallest and largest possible value of each of `SCORES`."""


@dataclass(frozen=True)
class MemoryContents:
    """Contents of one memory, a list entry for each member.

    Attributes
    ----------
    memory, model_names
        Name of the memory, names of the members.
    mixes
        Over how many tokens a write mixes (`analysis.memory.log.mixing_text`).
    classes
        What colours the points, (point,) integers, `NONE` for none.
    coordinates
        Positions on the principal components of the member's contents (point, component).
    variance_ratio
        Their shares of variance (component,).
    separation
        `class_separation` in the space of contents, for each member.
    auc, shuffled_auc
        `component_auc` along the first component, for each member, and the same for classes that changed
        places.
    beyond_chance
        Whether the separation exceeds that of relabelled trials (`analysis.memory.relabelling`).
    recalled
        How often the largest weight is on the queried item (`analysis.memory.matching`), for each member; NaN
        where nothing is asked for. By the ``convention`` of the memory's rule.
    recalled_sign, recalled_magnitude
        The same by each convention.
    convention
        "sign" or "magnitude" (`analysis.memory.log.CONVENTIONS`).
    similarity
        Of the writes of the first sequence to each other, for each member.
    spectrum
        ``effective_rank`` and the largest singular values ``singular_value_1`` … of the memory after some
        steps, by (quantity, step): mean over trials and members, with its interval over members. Where a
        layer's weights are the memory also ``weights_singular_value_1`` … of all that it multiplies by, and
        of a square layer (its bias apart) the ``weights_spectral_radius``; over the first `WEIGHTS_TRIALS`
        trials.
    trials
        Trials replayed.
    """

    memory: str
    model_names: tuple[str, ...]
    mixes: int
    classes: tuple[NDArray[np.int64], ...]
    coordinates: tuple[Array, ...]
    variance_ratio: tuple[Array, ...]
    separation: Array
    auc: Array
    shuffled_auc: Array
    beyond_chance: ChanceTest
    recalled: Array
    recalled_sign: Array
    recalled_magnitude: Array
    convention: Convention
    similarity: WriteSimilarity
    spectrum: pd.DataFrame
    trials: int

    def score(self, name: str) -> pd.Series:
        """Return one of `SCORES` by member."""
        return pd.Series(getattr(self, name), index=list(self.model_names), dtype=float)

    def conventions_text(self) -> str:
        """Return by which convention queried items are recalled, and how many are by the other; "" if as many."""
        if same_scores(self.recalled_sign, self.recalled_magnitude):
            return ""
        other = other_convention(self.convention)
        share = float(np.nanmean(self.score(f"recalled_{other}")))
        return f" by {self.convention}, by {other} in {100 * share:.1f} %"


@dataclass(frozen=True)
class MemoryAnalysis(Result):
    """What the memories of a population hold.

    Attributes
    ----------
    label
        What figures call this population.
    contents
        "values" or "matrices".
    color_by
        The event that colours points.
    class_names
        What the task calls the classes, where it names them.
    memories
        One entry for each memory.
    shown
        Those that are drawn and named in the headline: up to `analysis.memory.log.MOST_DRAWN`, the ones that
        recall most queried items, or whose contents classes explain best if nothing is asked for.
    """

    label: str
    contents: str
    color_by: str
    class_names: tuple[str, ...]
    memories: tuple[MemoryContents, ...]
    shown: tuple[str, ...]

    @property
    def drawn(self) -> tuple[MemoryContents, ...]:
        """The memories that are drawn."""
        return tuple(held for held in self.memories if held.memory in self.shown)

    def tables(self) -> dict[str, pd.DataFrame]:
        """Return separation and variances by member, separation over members, and the spectrum over time."""
        members, population = [], {}
        for held in self.memories:
            for i, (name, ratio) in enumerate(zip(held.model_names, held.variance_ratio, strict=True)):
                row = {score: getattr(held, score)[i] for score in SCORES}
                shares = {f"pc{i + 1}": share for i, share in enumerate(ratio)}
                members.append({"memory": held.memory, "model_name": name} | row | shares)
            medians = {f"{score}_median": median_over_members(held.score(score)) for score in SCORES[1:]}
            separation = _row(mean_interval(held.separation, bounds=RANGES["separation"]))
            population[held.memory] = separation | held.beyond_chance.row() | medians
        return {
            "memory_contents": pd.DataFrame(members).set_index(["memory", "model_name"]),
            "memory_separation": pd.DataFrame.from_dict(population, orient="index").rename_axis("memory"),
            "memory_spectrum": pd.concat(
                {held.memory: held.spectrum for held in self.memories}, names=["memory"]
            ),
        }

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return positions of each member's contents, with their classes as the last column, and similarities."""
        points = {
            f"memory_{held.memory}_{name}_{self.contents}": np.column_stack([points, classes])
            for held in self.drawn
            for name, points, classes in zip(held.model_names, held.coordinates, held.classes, strict=True)
        }
        return points | {
            f"memory_{held.memory}_{what}_similarity": getattr(held.similarity, what)
            for held in self.drawn
            for what in ("keys", "values")
        }

    def headline(self) -> str:
        """Return a line for each memory that is drawn."""
        lines = [self._headline(held) for held in self.drawn]
        return "\n".join(lines + further_text(len(self.memories) - len(lines)))

    def _headline(self, held: MemoryContents) -> str:
        separation = _row(mean_interval(held.separation, bounds=RANGES["separation"]))
        rank = held.spectrum.loc["effective_rank"]
        undefined = undefined_text(held.score("separation")) if separation["members"] else ""
        test = f"{held.beyond_chance}; {undefined}" if undefined else str(held.beyond_chance)
        return (
            f"memory {held.memory}: {self.color_by!r} explains {_text(separation, 100, ' %')} of the variance of "
            f"{self.contents} beyond chance ({test}); {self._told_apart(held)}; {self._recalled(held)}"
            f"effective rank after step {rank.index[-1]} {_text(rank.iloc[-1])} "
            f"(members: {len(held.model_names)}, trials: {held.trials})"
        )

    @staticmethod
    def _told_apart(held: MemoryContents) -> str:
        auc, shuffled = (median_over_members(held.score(name)) for name in ("auc", "shuffled_auc"))
        if np.isnan(auc):
            return "the AUC of its classes along PC 1 is undefined for all members"
        undefined = undefined_text(held.score("auc"))
        text = f"its classes are separated along PC 1 with AUC {auc:.2f} (median; shuffled {shuffled:.2f})"
        return f"{text}, {undefined}" if undefined else text

    @staticmethod
    def _recalled(held: MemoryContents) -> str:
        if np.isnan(held.recalled).all():
            return ""
        share = _text(_row(mean_interval(held.recalled, bounds=RANGES["recalled"])), 100, " %")
        missing = undefined_text(held.score("recalled"))
        undefined = f", {missing}" if missing else ""
        return f"the queried item is recalled in {share} of queries{held.conventions_text()}{undefined}; "


def analyse_memory(
    recording: xr.DataTree,
    *,
    memory: str | None = None,
    contents: Literal["values", "matrices"] = "values",
    color_by: str | None = None,
) -> MemoryAnalysis:
    """Look at what associative memories hold: principal components of their contents, spectrum over time.

    Parameters
    ----------
    recording
        recorded run of a population
    memory
        name of the memory, or a pattern such as layer3_* (default: all that the model keeps)
    contents
        points of the principal components: the values written, or the whole memory after each of up to 32
        steps
    color_by
        event that colours points: written, asked, token, phase, trial, as far as the task has it, or step
        (default: the first of these that it has)

    Raises
    ------
    AnalysisError
        If the model keeps no such memory, the task has no such event, or there is nothing to look at.

    Examples
    --------
    >>> found = analyse_memory(trace.load("demo/fast_weights/traces/seq11.nc"))
    >>> [contents] = found.memories
    >>> contents.memory, len(contents.coordinates), contents.separation.shape
    ('fast', 4, (4,))
    >>> found.plot().savefig("memory.png")
    """
    names = memory_names(recording, memory)
    events = [e for e in ("written", "asked", "token", "phase", "trial") if e in recording.data_vars] + [
        "step"
    ]
    if color_by is not None and color_by not in events:
        raise AnalysisError(f"must be one of {', '.join(events)}; got {color_by!r}", parameter="color_by")
    event = color_by or events[0]
    held = tuple(_look_at(recording, name, contents, event) for name in counted(names, "memories"))
    return MemoryAnalysis(
        label=trace.label(recording),
        contents=contents,
        color_by=event,
        class_names=trace.about(recording).tokens if event == "token" else (),
        memories=held,
        shown=most_interesting({one.memory: _interest(one) for one in held}),
    )


def _interest(held: MemoryContents) -> float:
    """Return what memories are ranked by: the mean share of recalled items, without any that of variance explained."""
    recalled = pd.Series(held.recalled).mean()
    return float(pd.Series(held.separation).mean() if np.isnan(recalled) else recalled)


def singular_values(matrices: Array) -> Array:
    """Return singular values (…, value) of (…, row, column), descending, to 1e-8 of the largest.

    They are roots of eigenvalues of the smaller Gram matrix: where columns are many, thirty times faster.
    """
    wide = matrices if matrices.shape[-2] <= matrices.shape[-1] else np.swapaxes(matrices, -1, -2)
    squares = np.linalg.eigvalsh(wide @ np.swapaxes(wide, -1, -2))[..., ::-1]
    return np.sqrt(np.maximum(squares, 0.0))


def _look_at(recording: xr.DataTree, memory: str, contents: str, event: str) -> MemoryContents:
    numbers = np.asarray(recording["member"]).tolist()
    steps, trials = _sample(recording, memory)
    few = select(recording, member=[0], batch=[0])
    ones = [select(recording, member=[i]) for i in range(len(numbers))]
    looked_at = (
        _member_contents(one, memory, contents, event) for one in counted(ones, f"members of {memory}")
    )
    columns = list(zip(*looked_at, strict=True))
    points = list(zip(columns[1], columns[0], strict=True))
    recalled = [score_member(read_queries(one, memory)).row for one in ones]
    separation, relabelled = np.array(columns[3]), np.stack(columns[5], axis=1)
    return MemoryContents(
        memory=memory,
        model_names=trace.member_names(recording),
        mixes=memory_rule(recording, memory).get("mixes", 1),
        classes=columns[0],
        coordinates=columns[1],
        variance_ratio=columns[2],
        separation=separation,
        beyond_chance=chance_test(
            separation, relabelled, different=columns[6][0], shared=share_trials(recording, event)
        ),
        auc=np.array([component_auc(x[:, 0], c) for x, c in points]),
        shuffled_auc=np.array([component_auc(x[:, 0], _shuffled(c)) for x, c in points]),
        recalled=np.array([row["score"] for row in recalled]),
        recalled_sign=np.array([row["score_sign"] for row in recalled]),
        recalled_magnitude=np.array([row["score_magnitude"] for row in recalled]),
        convention=CONVENTIONS[memory_rule(recording, memory)["kind"]],
        similarity=compare_writes(recording, memory, _classes(ones[0], event)),
        spectrum=_over_members(columns[4], steps, min(_replayed(few, memory, [0]).shape[-2:])),
        trials=trials,
    )


def _shuffled(classes: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.random.default_rng(0).permutation(classes)


def _over_members(
    quantities: Sequence[Mapping[str, Array]], steps: NDArray[np.intp], largest_rank: int
) -> pd.DataFrame:
    """Return means and intervals over members of each member's quantities (step,), none of which is negative."""
    names = list(quantities[0])
    ranges = {name: (0.0, float(largest_rank) if name == "effective_rank" else np.inf) for name in names}
    rows = [
        _row(mean_interval([q[name][t] for q in quantities], bounds=ranges[name]))
        for name in names
        for t in range(len(steps))
    ]
    return pd.DataFrame(rows, index=pd.MultiIndex.from_product([names, steps], names=["quantity", "step"]))


def _spectra(contents: Array, base: Array | None) -> dict[str, Array]:
    """Return quantities (step,), means over trials, of contents (trial, step, value, key) and of base + contents."""
    values = singular_values(contents)
    quantities = {"effective_rank": effective_rank(values), **_largest("singular_value", values)}
    if base is not None:
        weights = base + contents[:WEIGHTS_TRIALS]
        quantities |= _largest("weights_singular_value", singular_values(weights))
        size, keys = weights.shape[-2:]
        if size <= keys <= size + 1:
            radius = np.abs(np.linalg.eigvals(weights[..., :size])).max(axis=-1)
            quantities["weights_spectral_radius"] = radius
    return {name: values.mean(axis=0) for name, values in quantities.items()}


def _largest(name: str, values: Array) -> dict[str, Array]:
    return {f"{name}_{i + 1}": values[..., i] for i in range(min(values.shape[-1], N_SINGULAR_VALUES))}


def _sample(recording: xr.DataTree, memory: str) -> tuple[NDArray[np.intp], int]:
    """Return the steps and the number of trials at which contents are replayed."""
    last = recording.sizes["time"] - 1
    steps = np.unique(np.linspace(0, last, min(last + 1, LARGEST_STEPS)).round().astype(np.intp))
    one = select(recording, member=[0], batch=[0])
    size = _replayed(one, memory, [0]).size * len(steps)
    return steps, min(recording.sizes["batch"], max(LARGEST_SAMPLE // size, 1))


def _replayed(recording: xr.DataTree, memory: str, steps: Sequence[int]) -> Array:
    """Return `replay_memory` without the sums that only normalise what is read."""
    contents = replay_memory(recording, memory, steps)
    return contents[..., :-1, :] if normalised(memory_rule(recording, memory)) else contents


def _member_contents(one: xr.DataTree, memory: str, contents: str, event: str) -> tuple[Any, ...]:
    steps, trials = _sample(one, memory)
    few = select(one, batch=list(range(trials)))
    # A dictionary's empty slots hold nothing.
    replayed = np.nan_to_num(_replayed(few, memory, steps.tolist())[0])
    if contents == "matrices":
        points = replayed.reshape(trials * len(steps), -1)
        labels, there = _classes(few, event)[:, steps], np.ones((trials, len(steps)), dtype=bool)
    else:
        log = memory_log(one, memory)
        labels, there = _classes(one, event), log.written[0]
        points = log.held_value[0][there]
    classes, others = labels[there], labels[trial_orders(len(labels))][:, there]
    if len(points) < 2:
        raise AnalysisError(f"memory/{memory}: expected at least two contents; {contents} has {len(points)}")
    coordinates, ratio = _principal_components(points)
    return (
        classes,
        coordinates,
        ratio,
        class_separation(points, classes),
        _spectra(replayed, _base(one, memory)),
        relabelled_separations(points, others),
        count_different(np.vstack([classes, others])),
    )


def _base(one: xr.DataTree, memory: str) -> Array | None:
    """Return what a layer multiplies by when its memory is empty, (value, key); None where a memory is no layer."""
    node = trace.memory(one, memory)
    return np.asarray(node["base"], dtype=float)[0] if "base" in node.data_vars else None


def _classes(one: xr.DataTree, event: str) -> NDArray[np.int64]:
    if event == "step":
        return np.broadcast_to(np.arange(one.sizes["time"]), (one.sizes["batch"], one.sizes["time"]))
    return event_of(one, event)


def _principal_components(points: Array) -> tuple[Array, Array]:
    """Return positions on up to `N_COMPONENTS` principal components, at least two, and their shares of variance."""
    from sklearn.decomposition import PCA

    if np.ptp(points, axis=0).max() == 0:
        return np.zeros((len(points), 2)), np.zeros(2)
    pca = PCA(n_components=min(N_COMPONENTS, *points.shape), random_state=0)
    scores = pca.fit_transform(points)
    missing = max(0, 2 - scores.shape[1])
    return np.pad(scores, ((0, 0), (0, missing))), np.pad(pca.explained_variance_ratio_, (0, missing))


def _row(interval: Interval) -> dict[str, float]:
    return {"mean": interval.estimate, "low": interval.low, "high": interval.high, "members": interval.n}


def _text(row: Mapping[str, float], scale: float = 1.0, unit: str = "") -> str:
    if np.isnan(row["mean"]):
        return "an undefined share"
    mean, low, high = (number_text(scale * row[name], 1) for name in ("mean", "low", "high"))
    return f"{mean}{unit}" + (f" ({low} to {high}{unit})" if row["members"] > 1 else "")

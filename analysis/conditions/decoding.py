"""When can what be read from states? Cross-validated linear decoding over time.

A linear discriminant with shrinkage (`analysis.conditions.discriminant`) is trained on states of some trials at one
step and tested on states of other trials, at the same step or at any other (the temporal generalisation matrix,
King & Dehaene 2014: a code that stays is read at other steps too, one that turns is not). Scores are means of the
recalls of classes, so that a guess has 1 / classes, or R² of ridge regression on the label's numbers.

All members saw the same trials, so a label that means nothing agrees with the states of all members alike:
members alone are no sample against chance. Labels are therefore also permuted over trials, one permutation for all
members, and a claim needs both tests (`analysis.statistics.over_time`). Chance is the mean over permutations.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from analysis.cache import content_hash, each_item
from analysis.conditions.folds import (
    check_permutations,
    deal,
    enough_labellings,
    fold_units,
    splits_of,
    usable_steps,
)
from analysis.conditions.labels import Integers, Labels, default_label, find_labels
from analysis.conditions.scores import Plan, Score
from analysis.conditions.trials import Trials, check_noise, find_trials, trial_states, with_noise
from analysis.errors import AnalysisError
from analysis.parallel import run_parallel
from analysis.result import Result
from analysis.statistics import Interval, mean_interval, mean_text
from analysis.statistics.over_time import ChanceOverTime, chance_over_time
from emt import trace

Array = NDArray[np.float64]

SLOW = 2e8
"""Numbers in (members · folds · steps · permutations · trials) from which on processes are worth starting."""


@dataclass(frozen=True)
class Decoding(Result):
    """What a label's decoding found.

    Attributes
    ----------
    label
        What figures call this population.
    labels
        The classes.
    times
        Indexed by step: ``mean`` score over members with its 95 % interval ``low``, ``high``; ``chance``, the mean
        over permuted labels, and ``chance_low``, ``chance_high``, between which 95 % of these lie;
        ``p_trials``, ``p_members``, corrected for all steps; ``found``; ``n`` trials.
    members
        Indexed by (model_name, step): ``score``, and ``chance``, the member's mean over permuted labels.
    matrix
        Scores (member, training step, test step), NaN where a step is not analysed; None where not asked for.
    test
        The tests, of the steps analysed.
    score
        Mean of recalls, or R² of a regression.
    design
        Says how trials were split and what was added.
    """

    label: str
    labels: Labels
    times: pd.DataFrame
    members: pd.DataFrame
    matrix: Array | None
    test: ChanceOverTime
    score: Score
    design: str

    @property
    def names(self) -> list[str]:
        """Names of the members."""
        return list(self.members.index.get_level_values("model_name").unique())

    @property
    def found(self) -> list[int]:
        """Steps at which both tests find the label."""
        return [int(step) for step in self.times.index[self.times["found"]]]

    @property
    def tested(self) -> str:
        """Say of what the p-values speak."""
        if self.test.members_tested:
            return f"n = {self.test.n} members"
        why = f"p over members needs more of them: {self.test.smallest_p_members:.2g} is the smallest attainable"
        return f"n = {self.test.n} member{'' if self.test.n == 1 else 's'}, {why}"

    def tables(self) -> dict[str, pd.DataFrame]:
        """Return the scores over time and by member, clusters, and the matrix as a table of its mean over members."""
        tables = {
            "decode_times": self.times,
            "decode_members": self.members,
            "decode_clusters": self.test.clusters.assign(
                first=self.times.index.to_numpy()[self.test.clusters["first"].astype(int)],
                last=self.times.index.to_numpy()[self.test.clusters["last"].astype(int)],
            ),
        }
        if self.matrix is not None:
            steps = pd.RangeIndex(self.matrix.shape[1], name="trained_at")
            tables["decode_matrix"] = pd.DataFrame(
                self.matrix.mean(axis=0), index=steps, columns=[f"tested_at_{step}" for step in steps]
            )
        return tables

    def headline(self) -> str:
        """Say where the label is found, how well, and whether what is trained at one step reads others."""
        chance = (
            "R²"
            if self.score == "r2"
            else f"{len(self.labels.values)} classes, chance {_short(self.labels.chance)}"
        )
        what = f"{self.labels.name} ({chance}; {self.tested}): "
        row = self.times.iloc[self.test.best]
        if not self.found:
            return f"{what}not above chance at any step ({_both_p(row)} at best)"
        best = self.times.loc[self.found, "mean"].idxmax()
        mean = self.times.loc[best]
        interval = Interval(mean["mean"], mean["low"], mean["high"], self.test.n)
        where = f"{_ranges(self.found)} of {len(self.times)}"
        score = f"{mean_text(interval, 3)} at step {best}, {_both_p(mean)}"
        return f"{what}above chance at {where}; {score}{self._generalisation(int(best))}"

    def _generalisation(self, best: int) -> str:
        if self.matrix is None:
            return ""
        across = self.matrix.mean(axis=0)[best]
        tested = [step for step in self.found if np.isfinite(across[step])]
        worst = min(tested, key=lambda step: across[step] - self.times.loc[step, "mean"])
        own = self.times.loc[worst, "mean"]
        return f". Trained at step {best} it reads {across[worst]:.3f} at step {worst}, a decoder of its own {own:.3f}"


def decode_label(
    recording: xr.DataTree,
    *,
    label: str = "",
    at: str = "",
    score: Literal["recall", "r2"] = "recall",
    folds: int = 0,
    blocks: str = "",
    within: str = "",
    across: str = "",
    matrix: bool = False,
    permutations: int = 199,
    probe_noise: float = 0.01,
    seed: int = 0,
) -> Decoding:
    """Decode a label of trials from hidden states, step by step, with folds by trial and two tests against chance.

    Parameters
    ----------
    recording
        recorded run of a population
    label
        what is decoded: an event of trials (group, asked, …), a variable of the task, or target:k, the sign of
        target k (default: the first with one value in a trial)
    at
        which of several values of an event counts for the whole trial: first, last, or the number of a step
    score
        mean recall of classes, or R² of a regression on the label's numbers
    folds
        parts of the trials, each tested by what was trained on the others (default: 5, or fewer where classes
        are small)
    blocks
        event whose equal numbers keep trials in one fold, such as trial for recordings that drift
    within
        event within whose levels labels are permuted: is there more than what that event explains?
    across
        event: train in all of its levels but one and test in that one, instead of folds
    matrix
        also test each decoder at all other steps
    permutations
        relabellings of trials, the same in all members
    probe_noise
        standard deviation of noise added to states, in units of theirs: without any, states of a noise-free network
        are told apart however alike they are
    seed
        seed of folds, permutations and noise

    Raises
    ------
    AnalysisError
        If there is no such label, classes have too few trials, or an option does not fit.

    Examples
    --------
    Three networks whose states tell two kinds of trial apart from the third step on:

    >>> kind = np.arange(40) % 2
    >>> states = np.random.default_rng(0).normal(size=(3, 40, 5, 8))
    >>> states[:, :, 2:, 0] += 6 * kind[:, None]
    >>> recording = emt.from_arrays(states, group=kind).recording
    >>> decode_label(recording, label="group", permutations=99).times["found"].tolist()
    [False, False, True, True, True]
    """
    check_permutations(permutations)
    check_noise(probe_noise)
    trials, labels = _labelled(recording, label, at, score)
    units = fold_units(recording, trials, blocks)
    parts = _levels(recording, trials, across, "across") if across else deal(units, labels, folds, seed)
    groups = [parts, _levels(recording, trials, within, "within")] if within else [parts]
    blame = "blocks" if blocks else "within" if within else "folds"
    orders = enough_labellings(units, np.stack(groups, axis=1), permutations, seed, blame)
    splits = splits_of(parts)
    steps = usable_steps(trials, labels, splits)
    plan = Plan(labels, trials.present, tuple(splits), orders, steps, score, matrix)
    found = _all_members(recording, trials, plan, probe_noise, seed)
    scores = np.stack([one[: len(orders)] for one in found], axis=1)
    test = chance_over_time(scores[0], scores[1:], seed=seed)
    return Decoding(
        label=trace.label(recording),
        labels=labels,
        times=_times(scores, test, plan),
        members=_members(scores, plan, trace.member_names(recording)),
        matrix=_matrices(found, plan) if matrix else None,
        test=test,
        score=score,
        design=_design(plan, blocks, within, across, probe_noise),
    )


def _labelled(recording: xr.DataTree, label: str, at: str, score: Score) -> tuple[Trials, Labels]:
    """Return the trials that have the label, and what it is of them."""
    trials = find_trials(recording)
    labels = find_labels(recording, trials, label or default_label(recording, trials), at)
    labels = labels.as_numbers() if score == "r2" else labels
    kept = np.flatnonzero((labels.classes >= 0).any(axis=1))
    return trials.chosen(kept), labels.of_trials(kept)


def _levels(recording: xr.DataTree, trials: Trials, name: str, parameter: str) -> Integers:
    """Return a number for each trial's value of an event, (trial,).

    Raises
    ------
    AnalysisError
        If there is no such event, or only one value of it.
    """
    try:
        levels = find_labels(recording, trials, name).first
    except AnalysisError as error:
        raise AnalysisError(error.args[0], parameter=parameter) from None
    if (levels < 0).any():
        raise AnalysisError(
            f"must have a value in every trial; {name!r} lacks it in some", parameter=parameter
        )
    return levels


def _all_members(
    recording: xr.DataTree, trials: Trials, plan: Plan, probe_noise: float, seed: int
) -> list[Array]:
    """Return the scores of each member (`Plan.scores`)."""
    numbers = [int(number) for number in recording["member"].to_numpy()]
    states = trial_states(recording, trials)

    def compute(places: list[int]) -> Iterator[Array]:
        noisy = [
            with_noise(states[place], plan.present, probe_noise, (seed, numbers[place])) for place in places
        ]
        work = len(places) * len(plan.splits) * len(plan.steps) * plan.orders.size
        return run_parallel(plan.scores, noisy, "members decoded", work > SLOW)

    about = (
        plan.labels.classes,
        plan.labels.numbers,
        plan.present,
        plan.orders,
        plan.steps,
        plan.score,
        plan.matrix,
    )
    tested = [split.test for split in plan.splits]
    keys = [
        content_hash(values, number, *about, tested, probe_noise, seed)
        for values, number in zip(states, numbers, strict=True)
    ]
    return each_item("decoding", keys, compute)


def _times(scores: Array, test: ChanceOverTime, plan: Plan) -> pd.DataFrame:
    """Return the table over time of scores (1 + permutation, member, step)."""
    bounds = (-np.inf, 1.0) if plan.score == "r2" else (0.0, 1.0)
    means = [mean_interval(scores[0, :, k], bounds=bounds) for k in range(scores.shape[2])]
    null = scores[1:].mean(axis=1)
    usable = plan.present & (plan.labels.classes >= 0)
    columns = {
        "mean": [one.estimate for one in means],
        "low": [one.low for one in means],
        "high": [one.high for one in means],
        "chance": null.mean(axis=0),
        "chance_low": np.quantile(null, 0.025, axis=0),
        "chance_high": np.quantile(null, 0.975, axis=0),
        "p_trials": test.p_trials,
        "p_members": test.p_members,
        "found": test.found,
        "n": usable.sum(axis=0)[list(plan.steps)],
    }
    return pd.DataFrame(columns, index=pd.Index(plan.steps, name="step"))


def _members(scores: Array, plan: Plan, names: tuple[str, ...]) -> pd.DataFrame:
    index = pd.MultiIndex.from_product([names, plan.steps], names=["model_name", "step"])
    return pd.DataFrame({"score": scores[0].ravel(), "chance": scores[1:].mean(axis=0).ravel()}, index=index)


def _matrices(found: list[Array], plan: Plan) -> Array:
    """Return scores (member, training step, test step), NaN at steps that are not analysed."""
    time, places = plan.present.shape[1], np.array(plan.steps)
    whole = np.full((len(found), time, time), np.nan)
    whole[:, places[:, None], places] = [one[len(plan.orders) :] for one in found]
    return whole


def _short(share: float) -> str:
    return f"{share:.2g}".removeprefix("0")


def _both_p(row: pd.Series) -> str:
    over_members = "" if np.isnan(row["p_members"]) else f", {row['p_members']:.2g} over members"
    return f"p = {row['p_trials']:.2g} over trials{over_members}"


def _ranges(steps: list[int]) -> str:
    """Return "steps 4 to 9, 12" of ascending steps."""
    runs: list[list[int]] = []
    for step in steps:
        if runs and step == runs[-1][1] + 1:
            runs[-1][1] = step
        else:
            runs.append([step, step])
    texts = [str(first) if first == last else f"{first} to {last}" for first, last in runs]
    return f"step{'' if len(steps) == 1 else 's'} {', '.join(texts)}"


def _design(plan: Plan, blocks: str, within: str, across: str, probe_noise: float) -> str:
    parts = f"trained in all but one {across}, tested in that one" if across else f"{len(plan.splits)} folds"
    unit = f"blocks of {blocks}" if blocks else "trials"
    text = f"{plan.present.shape[0]} trials, {parts} of {unit}, labels permuted {len(plan.orders) - 1} times"
    text += f" within {within}" if within else ""
    return text + (f", noise of {probe_noise:g} of the states' spread" if probe_noise else "")

"""Accuracy of several populations on each kind of trial, such as each of the twenty bAbI tasks."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.errors import AnalysisError
from analysis.statistics import mean_interval
from emt.errors import repeated


@dataclass(frozen=True)
class Answered:
    """What a population answered.

    Attributes
    ----------
    label
        What figures and tables call it.
    members
        What tables call its members, such as "model-3".
    groups
        Kinds of trials, (group,).
    right
        Share of right answers, (member, group); NaN where nothing was asked.

    Examples
    --------
    >>> answered = Answered("LSTM", ("model-1", "model-2"), (1, 2), np.array([[0.9, 0.5], [1.0, np.nan]]))
    >>> answered.right[:, 0].tolist()  # the second member was asked nothing of kind 2
    [0.9, 1.0]
    """

    label: str
    members: tuple[str, ...]
    groups: tuple[int, ...]
    right: NDArray[np.float64]


@dataclass(frozen=True)
class GroupSummary:
    """Several populations side by side, in percent.

    Attributes
    ----------
    accuracies
        A row for each population and kind (label, group): ``n`` members, ``mean`` and ``std`` (dividing by n
        − 1) of their accuracies, ``low`` and ``high`` of the mean's 95 % t interval.
    members
        A row for each member and kind (label, model_name, group): its accuracy.
    """

    accuracies: pd.DataFrame
    members: pd.DataFrame

    @property
    def labels(self) -> list[str]:
        """The populations, in the order given."""
        return list(dict.fromkeys(self.accuracies.index.get_level_values("label")))

    @property
    def groups(self) -> list[int]:
        """All kinds of trials, ascending."""
        return sorted(set(self.accuracies.index.get_level_values("group")))

    def tables(self) -> dict[str, pd.DataFrame]:
        """Return the accuracies by population and by member."""
        return {"accuracy_by_group": self.accuracies, "accuracy_by_group_and_member": self.members}


def summarise_groups(populations: Sequence[Answered]) -> GroupSummary:
    """Summarise what populations answered on each kind of trial.

    Raises
    ------
    AnalysisError
        If there is no population, or two have the same label.

    Examples
    --------
    >>> right = np.array([[0.9, 0.5], [1.0, 0.7]])  # of two members, in trials of two kinds
    >>> answered = Answered("LSTM", ("model-1", "model-2"), (1, 2), right)
    >>> summarise_groups([answered]).accuracies["mean"].round(3).to_dict()
    {('LSTM', 1): 95.0, ('LSTM', 2): 60.0}
    """
    labels = [one.label for one in populations]
    if not labels or len(set(labels)) < len(labels):
        raise AnalysisError(f"expected populations of different labels; got {labels}")
    for one in populations:
        if several := repeated(one.members):
            raise AnalysisError(f"{one.label}: expected each model once; got {several}")
    rows, members = [], []
    for one in populations:
        for group, shares in zip(one.groups, 100 * one.right.T, strict=True):
            rows.append({"label": one.label, "group": group, **_reached(shares)})
            members += [
                {"label": one.label, "model_name": name, "group": group, "accuracy": share}
                for name, share in zip(one.members, shares, strict=True)
            ]
    return GroupSummary(
        pd.DataFrame(rows).set_index(["label", "group"]),
        pd.DataFrame(members).set_index(["label", "model_name", "group"]),
    )


def _reached(shares: NDArray[np.float64]) -> dict[str, float]:
    interval = mean_interval(shares, bounds=(0.0, 100.0))
    return {
        "n": interval.n,
        "mean": interval.estimate,
        "std": float(pd.Series(shares).std()),
        "low": interval.low,
        "high": interval.high,
    }

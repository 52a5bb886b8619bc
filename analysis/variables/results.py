"""Variable memories of a population as records of a member, a trial and all members, with tables and headline."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.result import Result
from analysis.statistics import UNBOUNDED, Interval, mean_interval, mean_text
from analysis.variables.from_trajectories import Array, Code
from emt.codes import Codes

MOST_REASONS = 3
"""Members whose reasons the headline gives in full."""

_DEGREES = (0.0, 180.0)
_AVERAGED = {
    "reconstruction": (-np.inf, 1.0),
    "reading": (-np.inf, 1.0),
    "condition_number": (1.0, np.inf),
    "precision_deg": _DEGREES,
    "agreement_deg": _DEGREES,
    "transition_angle_deg": _DEGREES,
    "transition_gain": UNBOUNDED,
    "observed_angle_deg": _DEGREES,
    "spectral_error_deg": _DEGREES,
}


@dataclass(frozen=True)
class Theory:
    """The variables of a linear task.

    Attributes
    ----------
    length, width
        Slots of the window, and bits in each.
    positions
        Positions in the window (slot · width + bit) that are on a cycle, hence remembered for ever
        (variable,).
    operator
        f, next vector = window @ f (window, target).
    transition
        Φ between them (variable, variable).
    modes
        Its eigenvalues (variable,).
    """

    length: int
    width: int
    positions: NDArray[np.intp]
    operator: Array
    transition: Array
    modes: NDArray[np.complex128]


@dataclass(frozen=True)
class MemberVariables:
    """The variable memories of one member.

    Attributes
    ----------
    model_name
        "model-3".
    estimator
        Where they come from, "powers" or "trajectories".
    code
        Ψ, Ψ* and b, from all trials.
    transition
        The empirical Φ = Ψ* W Ψ (variable, variable), with W the matrix of a step.
    observed
        The same from the recording alone: least squares of what Ψ* reads at the next step on what it reads
        now.
    """

    model_name: str
    estimator: str
    code: Code
    transition: Array
    observed: Array


@dataclass(frozen=True)
class TrialVariables:
    """The variables of one trial over time, read with a basis that was fitted without this trial.

    Attributes
    ----------
    model_name, trial
        Whose, and which trial, from 1.
    known
        What the task says (time, variable); NaN for vectors that are not there yet.
    read
        Ψ*(h - b) (time, variable).
    used
        Steps at which the network has to hold all variables (time,).
    """

    model_name: str
    trial: int
    known: Array
    read: Array
    used: NDArray[np.bool_]


@dataclass(frozen=True)
class VariableMemories(Result):
    """Variable memories of a population.

    Attributes
    ----------
    label
        What figures call this population.
    theory
        The task's variables.
    members
        For each member the estimator that was taken, its certificate and how Φ compares with the theory's;
        "none" and NaN where no estimator identifies a basis. ``agreement_deg`` is the mean angle between the
        two estimators' directions, ``shared_activity`` the share of the variance that all trials have in
        common.
    estimates
        The certificate of each estimator by (model_name, estimator), with its ``verdict``.
    found
        The members with a basis.
    shown
        A trial of one of them, or None.
    trials
        Recorded trials.
    described
        Of each member in ``members`` the code that is taken, or else the one that describes held-out states best
        although Ψ* does not read them, as where slots share directions; None if none does.
    readers
        D of each, (member, variable, state) (`analysis.variables.from_trajectories.fit_reader`).
    """

    drawn_by = "analysis.figures.variables.find"

    label: str
    theory: Theory
    members: pd.DataFrame
    estimates: pd.DataFrame
    found: tuple[MemberVariables, ...]
    shown: TrialVariables | None
    trials: int
    described: tuple[Code | None, ...]
    readers: Array

    def tables(self) -> dict[str, pd.DataFrame]:
        """Return members, estimates, means over members with a basis, and the trial shown, by step and position."""
        means = {name: vars(self._mean(name)) for name in _AVERAGED}
        tables = {
            "variables_members": self.members,
            "variables_estimates": self.estimates,
            "variables_population": pd.DataFrame.from_dict(means, orient="index").rename_axis("quantity"),
        }
        if self.shown is not None:
            steps, positions = range(len(self.shown.known)), self.theory.positions
            index = pd.MultiIndex.from_product([steps, positions], names=["step", "position"])
            known, read = self.shown.known.ravel(), self.shown.read.ravel()
            tables["variables_trial"] = pd.DataFrame({"known": known, "read": read}, index=index)
        return tables

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return Ψ, Ψ* and both empirical Φ, each (member, …) in the order of ``members``, NaN without a basis."""
        if not self.found:
            return {}
        found = {member.model_name: member for member in self.found}
        parts = {
            "basis": lambda member: member.code.basis,
            "dual": lambda member: member.code.dual,
            "transition": lambda member: member.transition,
            "transition_observed": lambda member: member.observed,
        }
        return {
            f"variables_{name}": np.stack(
                [
                    part(found[m]) if m in found else np.full_like(part(self.found[0]), np.nan)
                    for m in self.members.index
                ]
            )
            for name, part in parts.items()
        }

    def codes(self) -> Codes:
        """Return Ψ and D of all members, in the order of ``members``, for interventions on other trials than these.

        A member has them if Ψ reconstructs states of held-out trials; whether Ψ* reads from these is no matter, as
        a network may read in another way, which is what interventions show.

        Examples
        --------
        ``emt.intervene(run, codes=find_variables(run.recording.isel(batch=slice(64))).codes())``
        """
        nothing = np.full_like(self.readers[0].T, np.nan)
        bases = [nothing if code is None else code.basis for code in self.described]
        unknown = np.array([code is None for code in self.described])[:, None, None]
        readers = np.where(unknown, np.nan, self.readers)
        return Codes(np.stack(bases), readers, self.theory.positions, self.theory.operator, self.trials)

    def headline(self) -> str:
        """Return how many members have variable memories, how sure that is, and why the others have none."""
        lines = [f"variable memories in {len(self.found)} of {_count(len(self.members), 'member')}"]
        if self.found:
            counts = self.members["estimator"].value_counts().drop("none", errors="ignore")
            share, angle = map(self._mean, ("reconstruction", "transition_angle_deg"))
            lines[0] += (
                f" (from {', '.join(f'{name} {n}' for name, n in counts.items())}): held-out states reconstructed to "
                f"{mean_text(share, 1, ' %', 100)}, Φ {mean_text(angle, 1, ' degrees')} from the task's "
                f"(trials: {self.trials})"
            )
        without = self.members.index[self.members["estimator"] == "none"]
        lines += [f"{name} not identifiable: {self._reasons(name)}" for name in without[:MOST_REASONS]]
        if others := ", ".join(without[MOST_REASONS:]):
            lines.append(f"also not identifiable (reasons in variables_estimates): {others}")
        return "\n".join(lines)

    def _mean(self, name: str) -> Interval:
        return mean_interval(self.members[name], bounds=_AVERAGED[name])

    def _reasons(self, name: str) -> str:
        text = "; ".join(
            f"{estimator}: {why}" for estimator, why in self.estimates.loc[name, "verdict"].items()
        )
        each = self.members.loc[name, "reconstruction_each_step"]
        return text + (
            f" (with a separate basis at each step, reconstruction {each:.2f})" if each > 0 else ""
        )


def _count(n: int, noun: str) -> str:
    return f"{n} {noun}{'' if n == 1 else 's'}"

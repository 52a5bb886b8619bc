"""Which parts of the state, which writes of a memory and which directions of variables answers depend on.

Members are the sample: each has the mean over its queries. A condition is compared with its control, the same
run in which the same was done to something else, or nothing at the same place.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from analysis.interventions.contrasts import effect_test, member_means, population_rows
from analysis.interventions.pairs import Pairs, summarise_pairs
from analysis.interventions.prediction import prediction_points, prediction_table, through_norm
from analysis.interventions.variables import codes_table, variables_table, variables_text
from analysis.interventions.writes import dose_table, map_table, worth
from analysis.population import undefined_text
from analysis.result import Result
from analysis.statistics import Interval, mean_text, number_text, p_text
from emt import effects as files

PARTS = ("moving", "memory", "all")
"""Parts of the state in the order of tables and figures."""

MOST_OWN = 5
"""Conditions of one's own that a headline has; all are in the tables."""

MATCHED = 0.1
"""Writes of a control match up to so many standard deviations, in distance from the query and in size."""

PART_TEXTS = {"moving": "the moving state", "memory": "the contents of memories", "all": "the state"}


@dataclass(frozen=True)
class Interventions(Result):
    """What answers of a population depend on.

    Attributes
    ----------
    label
        What figures call this population.
    members
        Means over queries by (model_name, condition): share of ``right`` answers, of ``counterfactual_right``
        and ``kept_right`` ones, ``margin`` and ``probability``; ``effect`` and ``margin_effect``, control
        minus condition; ``queries`` that count.
    population
        A row for each condition (`analysis.interventions.contrasts.population_rows`).
    doses, single
        Accuracy by strength of the queried and of other writes, and by (item, steps before the query) without
        the write there (`analysis.interventions.writes`). Empty where there were no such conditions.
    prediction, points
        How well the query's own reads predict what removals change, by member, and each removal
        (`analysis.interventions.prediction`); likewise.
    worth
        Mean share of what the memory is worth that the queried writes are; NaN if unknown.
    norm_effect
        What the queried writes cost through the norm that their memory is divided by; NaN without one.
    states
        Of conditions on parts of the state the same by (part, after), with ``steps_left`` until the last
        answer.
    variables, codes
        Of exchanged variables the same by (after, edit, part), and of each member what its directions are like
        (`analysis.interventions.variables`). Empty where none were exchanged.
    pairs
        What members hold for each other (`analysis.interventions.pairs`); None if that was not asked for.
    chance
        Accuracy of always giving the commonest answer; of signs 0.5.
    trials
        Sequences that were run.
    n_members
        Number of members.
    """

    label: str
    members: pd.DataFrame
    population: pd.DataFrame
    doses: pd.DataFrame
    single: pd.DataFrame
    prediction: pd.DataFrame
    points: pd.DataFrame
    worth: float
    norm_effect: float
    states: pd.DataFrame
    variables: pd.DataFrame
    codes: pd.DataFrame
    pairs: Pairs | None
    chance: float
    trials: int
    n_members: int

    def tables(self) -> dict[str, pd.DataFrame]:
        """Return conditions over members, members, and what else there is."""
        tables = {"interventions_population": self.population, "interventions_members": self.members}
        further = {
            "interventions_dose": self.doses,
            "interventions_map": self.single,
            "interventions_prediction": self.prediction,
            "interventions_states": self.states,
            "interventions_variables": self.variables,
            "interventions_codes": self.codes,
            "interventions_pairs": pd.DataFrame() if self.pairs is None else self.pairs.table,
            "interventions_agreement": pd.DataFrame() if self.pairs is None else self.pairs.agreement,
        }
        return tables | {name: table for name, table in further.items() if len(table)}

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return what is carried over between members by each route, (member, partner), if that was asked for."""
        carried = {} if self.pairs is None else self.pairs.carried
        return {f"interventions_carried_{route}": shares for route, shares in carried.items()}

    def headline(self) -> str:
        """Return the result in a line for each kind, and which members are undefined."""
        known = "without queried" in self.population.index
        lines = [self._writes_text()] if known else list(self._own_texts())
        lines += [self._states_text()] if len(self.states) else []
        if len(self.variables):
            lines.append(variables_text(self.variables, self.codes, self.n_members))
        lines += [] if self.pairs is None else [self.pairs.text()]
        base = self.members["right"].groupby("model_name").mean()
        undefined = undefined_text(base)
        return "\n".join([*lines, *([f"accuracy {undefined}"] if undefined else [])])

    def _writes_text(self) -> str:
        row = self.population.loc["without queried"]
        without = Interval(row["accuracy"], row["low"], row["high"], int(row["n"]))
        effect = Interval(row["effect"], row["effect_low"], row["effect_high"], int(row["n"]))
        text = f"without the queried item's write {mean_text(without, 1, ' %', 100)} are right"
        if np.isnan(row["control_accuracy"]):
            return f"{text}; no trial has another item that is written as often"
        sample = (
            "trials of one network"
            if self.n_members == 1
            else f"{self._p_text(row, 'without queried')}, members: {self.n_members}"
        )
        unlike = (
            [f"the control's writes are {row['mismatch']:.1f} standard deviations off in lag or size"]
            if row["mismatch"] > MATCHED
            else []
        )
        texts = [
            f"{text}, without another's {_percent(row['control_accuracy'])}: "
            f"{mean_text(effect, 1, ' points', 100)}, {sample}",
            *unlike,
            *self._further_texts(),
        ]
        return "; ".join(texts)

    def _own_texts(self) -> Iterator[str]:
        """Yield what conditions on writes and reads of one's own, the first few, are against their controls."""
        rows = self.population[self.population["kind"].isin(["writes", "reads"])]
        for name, row in rows[rows["control"] != ""].head(MOST_OWN).iterrows():
            mean = Interval(row["accuracy"], row["low"], row["high"], int(row["n"]))
            p = "" if self.n_members == 1 else f", {self._p_text(row, str(name))}"
            control = f"({row['control']}: {_percent(row['control_accuracy'])})"
            yield f"{name}: {mean_text(mean, 1, ' %', 100)} are right {control}{p}"

    def _further_texts(self) -> Iterator[str]:
        """Yield what swapped values are answered with, and what the query's own read does, as far as known."""
        rows = self.population
        if (swap := "queried with the value of another answer") in rows.index:
            swapped = rows.loc[swap, "counterfactual_right"]
            control = rows.loc[rows.loc[swap, "control"], "counterfactual_right"]
            if not np.isnan(swapped):
                yield f"{_percent(swapped)} answer a swapped value (control {_percent(control)})"
        if (direct := "without queried, at the query") in rows.index:
            yield f"missed by the query's reads alone {_percent(rows.loc[direct, 'accuracy'])} are right"
        weights = rows.loc["without queried", "share"], rows.loc["without other", "share"]
        if not np.isnan(weights).any():
            yield f"share of the read's weight {_percent(weights[0])} (another's {_percent(weights[1])})"
        if not np.isnan(self.norm_effect):
            yield f"through the memory's norm {number_text(100 * self.norm_effect, 1)} points"

    def _states_text(self) -> str:
        after = tested_step(self.states)
        rows = self.states.xs(after, level="after")
        control = rows["control_accuracy"].iloc[0]
        parts = "; ".join(self._part_text(part, rows.loc[part]) for part in rows.index)
        sample = "trials of one network" if self.n_members == 1 else f"members: {self.n_members}"
        return (
            f"after {after} steps {_percent(control)} are right; with another trial's content: {parts} "
            f"({sample})"
        )

    def _part_text(self, part: str, row: pd.Series) -> str:
        mean = Interval(row["accuracy"], row["low"], row["high"], int(row["n"]))
        text = f"{PART_TEXTS.get(part, part)} {mean_text(mean, 1, ' %', 100)}"
        if self.n_members == 1:
            return text
        return f"{text}, {self._p_text(row, row['condition'])}"

    def _p_text(self, row: pd.Series, condition: str) -> str:
        if not np.isnan(row["p"]):
            return f"p = {row['p']:.2g} (Holm {row['p_holm']:.2g})"
        test = effect_test(self.members["effect"].xs(condition, level="condition"))
        return p_text(test.p, test.smallest_p)


def summarise_interventions(effects: xr.Dataset) -> Interventions:
    """Summarise what answers depend on, as evaluation with --interventions found it.

    Parameters
    ----------
    effects
        As `emt.effects` has it.

    Examples
    --------
    >>> signs = np.random.default_rng(0).choice([-1.0, 1.0], (12, 6, 1))
    >>> network, readout = torch.nn.GRU(1, 4, batch_first=True), torch.nn.Linear(4, 1)
    >>> run = emt.from_torch(network, emt.trials(signs, signs.cumprod(axis=1)), readout=readout)
    >>> summary = summarise_interventions(emt.intervene(run))
    >>> summary.n_members, list(summary.states.index.names)
    (1, ['part', 'after'])
    """
    conditions, about = files.conditions(effects), files.about(effects)
    members = member_means(effects, conditions)
    population = population_rows(members, conditions)
    points = prediction_points(effects, conditions)
    prediction = prediction_table(points, effects, conditions)
    rescaled = float(prediction["rescaled"].mean()) if len(prediction) else math.nan
    shares = worth(members, [condition.name for condition in conditions])
    return Interventions(
        label=about.get("experiment") or about.get("model", {}).get("type", "population"),
        members=members,
        population=population,
        doses=dose_table(members, conditions),
        single=map_table(effects, conditions),
        prediction=prediction,
        points=points,
        worth=float(np.nanmean(shares)) if np.isfinite(shares).any() else math.nan,
        norm_effect=through_norm(members, rescaled),
        states=_states(population),
        variables=variables_table(members, population, conditions),
        codes=codes_table(effects, members, conditions),
        pairs=summarise_pairs(effects, members, conditions),
        chance=float(about["chance"]),
        trials=int(about["trials"]),
        n_members=effects.sizes["member"],
    )


def _states(population: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of parts of the state that got another trial's content, by (part, after)."""
    of_state = population["kind"].isin(["states", "curve"])
    chosen = population[of_state & (population["edit"] == "shuffle")].reset_index()
    known = [part for part in PARTS if part in set(chosen["part"])]
    order = {part: place for place, part in enumerate([*known, *sorted(set(chosen["part"]) - set(known))])}
    chosen = chosen.iloc[np.lexsort((chosen["after"], chosen["part"].map(order)))]
    return chosen.set_index(["part", "after"])


def _percent(share: float) -> str:
    return "unknown" if math.isnan(share) else f"{number_text(100 * share, 1)} %"


def tested_step(states: pd.DataFrame) -> int:
    """Return the step of the exchange that is tested: one chosen beforehand, the last before the first query.

    A step chosen for its effect would have to be corrected for all steps; the others are shown as a curve.
    """
    tested = states[states["kind"] == "states"]
    after = (tested if len(tested) else states).index.get_level_values("after")
    return int(after.max())

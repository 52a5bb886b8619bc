"""What members hold for each other, beside how alike their states are: causal and correlational similarity."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from analysis.errors import AnalysisError
from analysis.states.state_distances import state_distances, unit_states
from analysis.statistics import mantel_test, mean_interval, mean_text, number_text, p_text
from emt.effects import Said

Array = NDArray[np.float64]

ROUTES = {"variables": "own", "map": "map"}
"""Ways from one member's state into another's, and what conditions call them (`emt.interventions.carried`)."""

ROUTE_TEXTS = {"variables": "through each one's own directions", "map": "by a linear map of states"}

_OTHER = " of another trial"


@dataclass(frozen=True)
class Pairs:
    """What passes between members, and how alike their states are.

    Attributes
    ----------
    table
        By (model_name, partner): for each route which share of the answers of ``model_name`` are those that the
        content of its partner calls for, where these differ from the own ones, and ``…_control``, the same of
        another trial's content; and the distance of their states by each measure
        (`analysis.states.state_distances`).
    agreement
        By (route, measure): ``rank_correlation`` of 1 minus the share that is carried over, mean of both
        directions, and the distance, over pairs of members, with the p of a test that permutes members
        (`analysis.statistics.mantel_test`), smallest_p and n; ``spread``, the range of the shares.
    carried
        For each route the shares, (member, partner).
    after
        The step.
    """

    table: pd.DataFrame
    agreement: pd.DataFrame
    carried: dict[str, Array]
    after: int

    def text(self) -> str:
        """Return the result in a line."""
        if self.table[list(ROUTES)].isna().all(axis=None):
            return "nothing was put into other members: none has directions of variables"
        texts = list(self._route_texts())
        known = self.agreement["rank_correlation"].dropna().index
        if len(known):
            rows = self.agreement.xs(known[0][0], level="route").dropna(subset="rank_correlation")
            said = [
                f"{measure} {row['rank_correlation']:z.2f} ({p_text(row['p'], row['smallest_p'])})"
                for measure, row in rows.iterrows()
            ]
            what = f"rank correlation of what is lost {ROUTE_TEXTS[known[0][0]]} and distance of states"
            texts.append(f"{what}: {', '.join(said)}")
        else:
            texts.append("too few pairs, or no difference between them, to compare with distances of states")
        return f"all variables from another member after {self.after} steps: " + "; ".join(texts)

    def _route_texts(self) -> Iterator[str]:
        different = self.table[self.table.index.get_level_values(0) != self.table.index.get_level_values(1)]
        for route, text in ROUTE_TEXTS.items():
            if route in different:
                means = different[route].groupby("model_name").mean()
                control = different[f"{route}_control"].mean()
                share = mean_text(mean_interval(means, bounds=(0.0, 1.0)), 1, " %", 100)
                beside = f"of another trial {_percent(control)}, members: {means.count()}"
                yield f"{text} {share} of the answers are carried over ({beside})"


def summarise_pairs(effects: xr.Dataset, members: pd.DataFrame, conditions: Sequence[Said]) -> Pairs | None:
    """Return what passes between members, None where that was not asked for."""
    chosen = [c for c in conditions if c.kind == "members"]
    if not chosen:
        return None
    names = [f"model-{number}" for number in effects["member"].values]
    partners = list(dict.fromkeys(c.source for c in chosen))
    shares = members["counterfactual_right"]
    found: dict[str, Array] = {}
    for route, target in ROUTES.items():
        for end in ("", _OTHER):
            of = {c.source: c.name for c in chosen if c.target == f"{target}{end}"}
            rows = [shares.xs(of[p], level="condition") if p in of else shares.iloc[:0] for p in partners]
            found[f"{route}{'_control' if end else ''}"] = np.stack(
                [row.reindex(names).to_numpy(dtype=float) for row in rows], axis=1
            )
    distances = _distances(effects, names) if partners == names else {}
    index = pd.MultiIndex.from_product([names, partners], names=["model_name", "partner"])
    table = pd.DataFrame({n: values.ravel() for n, values in (found | distances).items()}, index=index)
    carried = {route: found[route] for route in ROUTES}
    return Pairs(table, _agreement(carried, distances), carried, chosen[0].after)


def _distances(effects: xr.Dataset, names: Sequence[str]) -> dict[str, Array]:
    """Return the distances of the states that were exchanged, by measure; none where states do not vary."""
    held = effects["held"].values.astype(float)
    try:
        return state_distances(unit_states([states[None] for states in held], names))
    except AnalysisError:
        return {}


def _agreement(carried: dict[str, Array], distances: dict[str, Array]) -> pd.DataFrame:
    rows = {}
    for route, shares in carried.items():
        for measure, distance in distances.items():
            known = np.isfinite(np.diagonal(shares))
            lost = 1 - (shares + shares.T) / 2
            np.fill_diagonal(lost, 0.0)
            both = np.ix_(known, known)
            test = mantel_test(lost[both], distance[both])
            off = shares[both][~np.eye(int(known.sum()), dtype=bool)]
            rows[route, measure] = {
                "rank_correlation": test.statistic,
                "p": test.p,
                "smallest_p": test.smallest_p,
                "n": test.n,
                "spread": float(np.ptp(off)) if len(off) else np.nan,
            }
    columns = ["rank_correlation", "p", "smallest_p", "n", "spread"]
    table = pd.DataFrame(list(rows.values()), columns=columns)
    table.index = pd.MultiIndex.from_tuples(list(rows) or [], names=["route", "measure"])
    return table


def _percent(share: float) -> str:
    return "unknown" if np.isnan(share) else f"{number_text(100 * share, 1)} %"

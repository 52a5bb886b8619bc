"""What exchanged variables say: whether their directions are causal, and whether slots differ by magnitudes alone."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from analysis.statistics import Interval, mean_interval, mean_text, number_text, p_text
from emt import effects as files
from emt.codes import Codes, magnitude_fit, share_explained
from emt.effects import Said

RANDOM_CODES = 20
"""Random Ψ that magnitudes are fitted to, for comparison."""

BUT_OWN = "all but variables"
"""What the table calls the part of a swap of everything else."""

_SHARE = (0.0, 1.0)


def variables_table(
    members: pd.DataFrame, population: pd.DataFrame, conditions: Sequence[Said]
) -> pd.DataFrame:
    """Return exchanges of variables by (after, edit, part); empty where there were none.

    ``interchange`` is the share of answers that are the source's where these differ from the own ones, with its
    interval over members, ``kept`` that of right ones among the others; ``ceiling`` the share of right answers
    of the run without an exchange; ``random``, ``random_kept`` and ``wrong_slot`` the same for random directions
    and those of the next slot; ``pinv`` that of a swap which Ψ's pseudo-inverse reads; ``effect`` is interchange
    minus random, with its test; ``size`` the mean length of the change. Where all but the variables is swapped,
    answers are called for that are right: ``kept`` counts
    them all, and ``effect`` is ceiling minus kept.
    """
    chosen = [c for c in conditions if c.kind == "variables" and c.target in ("own", "but own")]
    rows = {_key(c): _row(members, population, c, conditions) for c in chosen}
    if not rows:
        return pd.DataFrame()
    index = pd.MultiIndex.from_tuples(list(rows), names=["after", "edit", "part"])
    return pd.DataFrame(list(rows.values()), index=index)


def _key(condition: Said) -> tuple[int, str, str]:
    part = BUT_OWN if condition.target == "but own" else condition.part
    return condition.after, condition.edit, part


def _row(
    members: pd.DataFrame, population: pd.DataFrame, condition: Said, conditions: Sequence[Said]
) -> dict[str, float]:
    own = members.xs(condition.name, level="condition")
    # A member without a code counts nowhere, nor where it was only cut.
    interchange = mean_interval(own["counterfactual_right"], bounds=_SHARE)
    kept = mean_interval(own["kept_right"], bounds=_SHARE)

    def other(edit: str, target: str, part: str) -> pd.DataFrame:
        wanted = (edit, target, part, condition.after, "variables")
        names = [c.name for c in conditions if (c.edit, c.target, c.part, c.after, c.kind) == wanted]
        return members.xs(names[0], level="condition") if names else own * np.nan

    # As many directions as all variables have are no control of what is left.
    random = other(condition.edit, "random", condition.part if condition.target == "own" else "")
    wrong, pinv = (other(condition.edit, target, condition.part) for target in ("next slot", "pinv"))
    row = {
        "n": float(max(interchange.n, kept.n)),
        "interchange": interchange.estimate,
        "low": interchange.low,
        "high": interchange.high,
        "kept": kept.estimate,
        "ceiling": other("unchanged", "", "all")["right"].mean(),
        "random": random["counterfactual_right"].mean(),
        "random_kept": random["kept_right"].mean(),
        "wrong_slot": wrong["counterfactual_right"].mean(),
        "pinv": pinv["counterfactual_right"].mean(),
    }
    tests = ("effect", "effect_low", "effect_high", "p", "p_holm", "smallest_p")
    return row | {n: float(population.loc[condition.name, n]) for n in tests} | {"size": own["norm"].mean()}


def codes_table(effects: xr.Dataset, members: pd.DataFrame, conditions: Sequence[Said]) -> pd.DataFrame:
    """Return what Ψ of each member is like; empty where no variables were exchanged.

    ``condition_number``; ``slot_cosine``, the mean |cosine| of one bit's directions in two slots. If slots differ
    by magnitudes (`emt.codes.magnitude_fit`) alone, ``unit_share``, the share of Ψ² that such a code explains, is
    1; ``unit_random`` is that of random Ψ of this shape, and ``unit_set`` the interchange along its directions,
    mean over slots, ``slots_set`` that along Ψ's own at the same step and the middle slot; ``scalar_…`` with one
    factor for a slot instead of one for each of its units.
    """
    codes = codes_of(effects)
    if codes is None:
        return pd.DataFrame()
    names = pd.Index([f"model-{number}" for number in effects["member"].values], name="model_name")
    unknown = dict.fromkeys(("condition_number", "slot_cosine", "unit_share", "scalar_share"), np.nan)
    pairs = zip(codes.basis, codes.known, strict=True)
    table = pd.DataFrame(
        [_code_row(basis, codes) if known else unknown for basis, known in pairs], index=names
    )
    for strength in ("unit", "scalar"):
        fitted = [c.name for c in conditions if c.kind == "variables" and c.target == strength]
        if fitted:
            table[f"{strength}_random"] = _random_share(codes, strength)
            table[f"{strength}_set"] = _mean_over(members, fitted)
    return table


def _mean_over(members: pd.DataFrame, conditions: Sequence[str]) -> pd.Series:
    chosen = members["counterfactual_right"][members.index.get_level_values("condition").isin(conditions)]
    return chosen.groupby("model_name").mean()


def codes_of(effects: xr.Dataset) -> Codes | None:
    """Return the codes whose variables were exchanged, None where none were; the operator is not kept."""
    if "basis" not in effects:
        return None
    basis, reader = (effects[name].values.astype(float) for name in ("basis", "reader"))
    positions, about = effects["position"].values, files.about(effects)
    width = int(about.get("width", 0)) or len(positions)
    length = -(-(int(positions.max()) + 1) // width) if len(positions) else 0
    return Codes(basis, reader, positions, np.zeros((length * width, width)))


def _code_row(basis: NDArray[np.float64], codes: Codes) -> dict[str, float]:
    row = {"condition_number": float(np.linalg.cond(basis)), "slot_cosine": slot_cosine(basis, codes)}
    for strength in ("unit", "scalar"):
        fit = magnitude_fit(basis, codes.positions, codes.width, strength)
        row[f"{strength}_share"] = float(share_explained(basis, fit))
    return row


def slot_cosine(basis: NDArray[np.float64], codes: Codes) -> float:
    """Return the mean |cosine| of the directions of one bit in two slots; NaN with one slot."""
    length = np.linalg.norm(basis, axis=0)
    cosine = np.abs(basis.T @ basis) / np.outer(length, length)
    bit = codes.positions % codes.width
    pairs = np.triu(bit[:, None] == bit, 1)
    return float(cosine[pairs].mean()) if pairs.any() else np.nan


def _random_share(codes: Codes, strength: str) -> float:
    drawn = np.random.default_rng(0).standard_normal((RANDOM_CODES, *codes.basis.shape[1:]))
    fit = magnitude_fit(drawn, codes.positions, codes.width, "unit" if strength == "unit" else "scalar")
    return float(share_explained(drawn, fit).mean())


def told_step(table: pd.DataFrame) -> int:
    """Return the step at which exchanges are told: the middle one, whatever was found there."""
    steps = table.index.unique("after").sort_values()
    return int(steps[len(steps) // 2])


def told_part(table: pd.DataFrame) -> str:
    """Return the part of the variables that is told: a slot, else the first there is."""
    parts = table.index.unique("part").tolist()
    return next((part for part in parts if str(part).startswith("slot ")), parts[0])


def variables_text(table: pd.DataFrame, codes: pd.DataFrame, n_members: int) -> str:
    """Return what exchanges say, at one step, in a line."""
    if len(codes) and codes["condition_number"].isna().all():
        return (
            "variables were not exchanged: no member has directions of them that reconstruct held-out states"
        )
    after, part = told_step(table), told_part(table)
    rows = table.xs(after, level="after")
    texts = [
        _exchange_text(edit, rows.loc[edit, part]) for edit in ("set", "swap") if (edit, part) in rows.index
    ]
    sample = "trials of one network" if n_members == 1 else f"members: {int(rows['n'].max())}"
    text = f"{part} exchanged after {after} steps: {'; '.join(texts)} ({sample})"
    if ("swap", BUT_OWN) in rows.index:
        text += f"; everything else swapped {_percent(rows.loc[('swap', BUT_OWN), 'kept'])} stay right"
    known = codes["condition_number"].dropna() if len(codes) else pd.Series(dtype=float)
    if len(known):
        span = f"{known.min():.3g}" + (f" to {known.max():.3g}" if len(known) > 1 else "")
        text += f"; condition number of Ψ {span}, |cosine| of a bit in two slots {codes['slot_cosine'].mean():.2f}"
        text += _magnitudes_text(codes)
    if without := [str(name) for name in codes.index if name not in known.index]:
        text += f"\nleft out, without directions of variables: {', '.join(without)}"
    return text


def _exchange_text(edit: str, row: pd.Series) -> str:
    mean = Interval(row["interchange"], row["low"], row["high"], int(row["n"]))
    effect = Interval(row["effect"], row["effect_low"], row["effect_high"], int(row["n"]))
    holm = "" if np.isnan(row["p"]) else f" (Holm {row['p_holm']:.2g})"
    text = f"{mean_text(mean, 1, ' %', 100)} answer a {'set' if edit == 'set' else 'swapped'} value"
    text += f", {_percent(row['kept'])} of the others kept; in random directions {_percent(row['random'])}: "
    return f"{text}{mean_text(effect, 1, ' points', 100)}, {p_text(row['p'], row['smallest_p'])}{holm}"


def _magnitudes_text(codes: pd.DataFrame) -> str:
    if "unit_random" not in codes:
        return ""
    share, random = codes["unit_share"].mean(), codes["unit_random"].mean()
    return f"; magnitudes explain {_percent(share)} of Ψ² (of random Ψ {_percent(random)})"


def _percent(share: float) -> str:
    return "unknown" if np.isnan(share) else f"{number_text(100 * share, 1)} %"

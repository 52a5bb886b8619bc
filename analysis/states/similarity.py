"""How alike members' states are: distances of all pairs by several measures, and whether these agree.

Measures compare states one by one, so all members must have seen the same trials
(`analysis.states.same_trials`). The state is the whole state of a network: an LSTM's cell as well as its
output. Distances are angles in radians, 0 for copies and π/2 where nothing is shared; none changes when
states are rotated, shifted or scaled as a whole:

* ``cka``, ``cka_unbiased``, ``procrustes``, ``rsa``: `analysis.states.state_distances`;
* ``dsa``, ``input_dsa``: how states move, not where they are (`analysis.states.dynamical_similarity`); no angles.

CKA is led by the few directions of most variance, Procrustes distance is less so, rank correlations ask for
order only, and DSA looks at dynamics, not at states. Where they disagree, "alike" has no one meaning.

Every pair of sets has controls of its own: ``shuffled``, the distance of the same members after the states of
one of them changed places, and a test against relabelled trials (`analysis.states.relabelling`). Whether two
sets differ is tested on `levelled` distances, since biased ones differ between sets of unrelated states that
fill other dimensions.
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from analysis.comparability import Conditions, remark
from analysis.errors import AnalysisError
from analysis.result import Result
from analysis.states.dynamical_similarity import (
    TooFewStepsError,
    dsa_distances,
    dynamical_distances,
    input_components,
    input_dsa_distances,
    movements,
)
from analysis.states.relabelling import against_chance
from analysis.states.same_trials import check_same_trials
from analysis.states.state_distances import (
    N_RSA_STATES,
    levelled,
    member_keys,
    shuffled_distances,
    state_distances,
    unit_states,
)
from analysis.statistics import LEVEL, energy_test, holm, mantel_test, paired_distance_test
from emt import trace
from emt.errors import repeated

__all__ = ["Similarity", "compare_states", "conditions_of", "dynamical_distances", "state_distances"]

Array = NDArray[np.float64]
Places = NDArray[np.intp]
Pair = tuple[str, str]

BESIDE = ("seq_length", "accuracy_rule", "task", "theory")
"""Conditions in which sets that saw the same inputs may differ if that is said."""


@dataclass(frozen=True)
class Similarity(Result):
    """Distances of all pairs of members.

    Attributes
    ----------
    members
        Indexed by (label, model_name), in the order of the distances: for each measure the mean distance to
        the other members of the set.
    distances
        For each measure (member, member).
    sets
        Indexed by (measure, set_a, set_b): ``mean_distance`` of different members; ``shuffled``, what it
        comes to after the states of one of them changed places; p_unrelated of the test that they are no
        closer than where trials are relabelled, the larger one of p_trials and p_members
        (`analysis.statistics.ChanceTest`); n_a, n_b; for different sets p of a permutation test that they are
        one (`energy_test`), p_holm over the pairs of sets, smallest_p. Where paired, p and n are of members
        that have a partner, and p is that of their mean difference (`paired_distance_test`). ``dsa`` and
        ``input_dsa`` have no controls.
    agreement
        Indexed by (measure_a, measure_b): ``rank_correlation`` over pairs of members, p of a test that
        permutes members (`mantel_test`), smallest_p, n, and whether the measures ``agree``: the correlation
        reaches ``bar``.
    bar
        The rank correlation below which measures are said to disagree.
    n_states
        States that are compared.
    variables
        For each label the state variables that make up its states.
    dynamics
        Of how many dimensions the models of ``dsa`` and ``input_dsa`` are; empty without them.
    refused
        Why a measure that was asked for is missing; empty where none is.
    remark
        What differs between the sets beside their members; empty where nothing does.
    """

    members: pd.DataFrame
    distances: Mapping[str, Array]
    sets: pd.DataFrame
    agreement: pd.DataFrame
    bar: float
    n_states: int
    variables: Mapping[str, tuple[str, ...]]
    dynamics: str = ""
    refused: str = ""
    remark: str = ""

    @property
    def sizes(self) -> dict[str, int]:
        """Members of each set, in order."""
        sizes = self.members.groupby(level="label", sort=False).size()
        return {str(label): int(n) for label, n in sizes.items()}

    @property
    def shuffled(self) -> dict[str, float]:
        """For each measure that has controls the mean shuffled distance of two members, whatever their sets."""
        known = self.sets.dropna(subset="shuffled")
        weights = known["n_pairs"] / known.groupby(level="measure")["n_pairs"].transform("sum")
        means = (weights * known["shuffled"]).groupby(level="measure", sort=False).sum()
        return {str(measure): float(mean) for measure, mean in means.items()}

    @property
    def states_compared(self) -> str:
        """How many states are compared, of which variables, and what ``rsa`` and ``dsa`` make of them."""
        fewer = f" (rsa: {N_RSA_STATES} of them)" if self.n_states > N_RSA_STATES else ""
        text = f"{self.n_states} states{fewer} of {self._variables()}"
        return f"{text}; {self.dynamics}" if self.dynamics else text

    def headline(self) -> str:
        """Say how far members are apart, whether that is what unrelated states are, and whether the measures agree."""
        sizes = ", ".join(f"{label} (n = {n})" for label, n in self.sizes.items())
        text = f"{sizes}; {self.states_compared}."
        text += f" {self.refused}" if self.refused else ""
        text += f" Mean distance of two members: {self._means()}."
        text += f" {self.remark}" if self.remark else ""
        if self.agreement["rank_correlation"].isna().all():
            return f"{text} Too few members, or no variation in the distances, to decide whether the measures agree."
        unknown = self.agreement.index[self.agreement["rank_correlation"].isna()]
        apart = self.agreement[self.agreement["rank_correlation"] < self.bar]
        verdicts = [f"{a} and {b} ({rho:z.2f})" for (a, b), rho in apart["rank_correlation"].items()]
        if verdicts:
            text += f" Measures disagree (rank correlation below {self.bar:g}): {', '.join(verdicts)}."
        elif not len(unknown):
            return f"{text} The measures agree (rank correlation at least {self.bar:g})."
        known = len(self.agreement) - len(unknown)
        if known > len(verdicts):
            alike = [
                f"{a} and {b}"
                for a, b in self.agreement.index.difference([*apart.index, *unknown], sort=False)
            ]
            text += f" These agree (rank correlation at least {self.bar:g}): {', '.join(alike)}."
        pairs = ", ".join(f"{a} and {b}" for a, b in unknown)
        return (
            f"{text} Undefined for {len(unknown)} of {len(self.agreement)} pairs: {pairs}." if pairs else text
        )

    def _variables(self) -> str:
        several = len(set(self.variables.values())) > 1
        if several:
            return "; ".join(f"{label}: {_state_text(names)}" for label, names in self.variables.items())
        return _state_text(next(iter(self.variables.values())))

    def _means(self) -> str:
        """Return the mean distances by measure; of two sets also between them, of more within each."""
        told = []
        for measure in self.distances:
            rows = self.sets.xs(measure, level="measure").dropna(subset="mean_distance")
            if len(self.sizes) > 2:
                rows = rows[rows.index.get_level_values("set_a") == rows.index.get_level_values("set_b")]
            places = [f"{a} " if a == b else f"{a} to {b} " for a, b in rows.index]
            values = [_mean_text(row) for _, row in rows.iterrows()]
            if len(self.sizes) == 1:
                told.append(f"{measure} {', '.join(values)}")
            else:
                told.append(f"{measure}: {', '.join(map(str.__add__, places, values))}")
        return (", " if len(self.sizes) == 1 else "; ").join(told)

    def tables(self) -> dict[str, pd.DataFrame]:
        """Return members, sets and agreement of measures."""
        return {
            "similarity_members": self.members,
            "similarity_sets": self.sets.drop(columns="n_pairs"),
            "similarity_agreement": self.agreement,
        }

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return the distances by each measure, in the order of the table of members."""
        return {f"similarity_{measure}": matrix for measure, matrix in self.distances.items()}


def compare_states(
    recordings: Mapping[str, xr.DataTree],
    *,
    dynamical: bool = False,
    variable: str = "",
    paired: bool = False,
    bar: float = 0.7,
    seed: int = 0,
) -> Similarity:
    """Compare the hidden states of all members of one or several experiments by several measures of similarity.

    Parameters
    ----------
    recordings
        recorded runs by label, all on the same inputs
    dynamical
        also compare dynamics (DSA), which needs the extra "similarity"
    variable
        compare one state variable, such as "hidden" (default: the whole state)
    paired
        in tests between experiments compare models of one seed with each other, leave others out
    bar
        rank correlation over pairs of members below which two measures are said to disagree
    seed
        seed of permutations and of the states drawn

    Raises
    ------
    AnalysisError
        If there are fewer than two members, members saw different inputs, states do not vary, or sets have no
        pairs.

    Examples
    --------
    >>> recording = trace.load("demo/repeat_copy/traces/seq8.nc")
    >>> similarity = compare_states({"repeat copy": recording})
    >>> sorted(similarity.distances), similarity.distances["cka"].shape
    (['cka', 'cka_unbiased', 'procrustes', 'rsa'], (5, 5))
    """
    if not -1 <= bar <= 1:
        raise AnalysisError(f"must be a correlation from -1 to 1; got {bar:g}", parameter="bar")
    told = check_same_trials(recordings)
    index = pd.MultiIndex.from_tuples(
        [(label, name) for label, r in recordings.items() for name in trace.member_names(r)],
        names=["label", "model_name"],
    )
    if len(index) < 2:
        raise AnalysisError(
            f"expected at least two members to compare; got {len(index)}", parameter="recordings"
        )
    variables = {label: _variables_of(recording, label, variable) for label, recording in recordings.items()}
    whole = [
        run for label, recording in recordings.items() for run in _states_of(recording, variables[label])
    ]
    names, present = [", ".join(key) for key in index], trace.present_steps(next(iter(recordings.values())))
    states = unit_states([run if present.all() else run[present][None] for run in whole], names)
    # Trials are relabelled and followed in time over the steps that all of them have.
    common = int(present.sum(axis=1).min())
    runs = [run[:, :common] for run in whole]
    rectangle = states if present.all() else unit_states(runs, names)
    distances = state_distances(states, seed)
    controls = _Controls(states, rectangle, len(present), shuffled_distances(states, seed), seed)
    dynamics, refused = _add_dynamics(distances, runs, names, recordings) if dynamical else ("", "")
    if not present.all():
        told = " ".join(filter(None, [told, _over_common_steps(common, dynamics)]))
    conditions = {label: conditions_of(recording) for label, recording in recordings.items()}
    return Similarity(
        members=_members(distances, index),
        distances=distances,
        sets=_sets(distances, controls, index, _partners(recordings) if paired else {}),
        agreement=_agreement(distances, bar, seed),
        bar=bar,
        n_states=states.shape[1],
        variables=variables,
        dynamics=dynamics,
        refused=refused,
        remark=" ".join(filter(None, [remark(conditions, BESIDE), told])),
    )


def _add_dynamics(
    distances: dict[str, Array],
    runs: Sequence[Array],
    names: Sequence[str],
    recordings: Mapping[str, xr.DataTree],
) -> tuple[str, str]:
    """Add ``dsa``, and ``input_dsa`` where inputs vary; return what their models are, and why one is missing."""
    inputs = input_components(inputs_of(next(iter(recordings.values())))[:, : runs[0].shape[1]])
    told = []
    try:
        moves = movements(runs, names)
        distances["dsa"] = dsa_distances(moves)
        ranks = sorted({move.rank for move in moves})
        told.append(f"dsa of rank {ranks[0]}" + (f" to {ranks[-1]}" if len(ranks) > 1 else ""))
        if inputs.shape[-1]:
            distances["input_dsa"] = input_dsa_distances(moves, inputs)
            told.append(f"input_dsa with {inputs.shape[-1]} input dimensions")
    except TooFewStepsError as error:
        return ", ".join(told), f"No {'input_dsa' if told else 'dsa'}: {error}."
    return ", ".join(told), ""


def inputs_of(recording: xr.DataTree) -> Array:
    """Return what members were shown (sequence, time, channel): inputs, or tokens where inputs have no channels."""
    inputs = recording["inputs"].to_numpy().astype(float)
    if inputs.shape[-1] or "token" not in recording:
        return inputs
    tokens = recording["token"].to_numpy()
    return np.asarray(tokens[..., None] == np.unique(tokens), dtype=float)


def conditions_of(recording: xr.DataTree) -> Conditions:
    """Return how a recorded run was trained and recorded, for comparison with others."""
    about = trace.about(recording)
    theory = np.asarray(recording["operator"]) if "operator" in recording.data_vars else None
    return Conditions(
        seq_length=about.length,
        accuracy_rule=about.accuracy,
        task=about.task or None,
        theory=theory,
    )


def _variables_of(recording: xr.DataTree, label: str, variable: str) -> tuple[str, ...]:
    """Return the variables that make up the states that are compared."""
    whole = trace.about(recording).states
    if variable and variable not in whole:
        raise AnalysisError(
            f"expected one of {', '.join(whole)}, the state of {label}; got {variable!r}",
            parameter="variable",
        )
    return (variable,) if variable else whole


def _states_of(recording: xr.DataTree, variables: Sequence[str]) -> list[Array]:
    """Return each member's states (sequence, time, unit), variables side by side."""
    return [trace.member_states(recording, variables, place) for place in range(recording.sizes["member"])]


def _over_common_steps(steps: int, dynamics: str) -> str:
    what = (
        "Tests against relabelled trials and dsa are" if dynamics else "Tests against relabelled trials are"
    )
    return f"{what} of the first {steps} steps, which all trials have."


@dataclass(frozen=True)
class _Controls:
    """What sets are compared with: states of members, those at steps of all trials, and distances out of order."""

    states: Array
    rectangle: Array
    n_trials: int
    shuffled: Mapping[str, Array]
    seed: int

    def tests(self, sets: tuple[Places, Places]) -> dict[str, dict[str, float]]:
        """Return the columns of the tests against relabelled trials by measure."""
        found = against_chance(self.rectangle, self.n_trials, member_keys(self.rectangle), sets, self.seed)
        return {
            measure: {_TEST_COLUMNS[name]: p for name, p in test.row().items()}
            for measure, test in found.items()
        }


_TEST_COLUMNS = {"p": "p_unrelated", "p_trials": "p_trials", "p_members": "p_members"}


def _state_text(variables: Sequence[str]) -> str:
    return f"the whole state ({', '.join(variables)})" if len(variables) > 1 else variables[0]


def _mean_text(row: pd.Series) -> str:
    """Return "0.63 (shuffled 0.63; p = 0.4: as far as unrelated states)"."""
    mean = f"{row['mean_distance']:.2f}"
    if np.isnan(row["shuffled"]):
        return mean
    known = {"": row["p_unrelated"], " over trials": row["p_trials"]}
    where, p = next(((where, p) for where, p in known.items() if not np.isnan(p)), ("", np.nan))
    if np.isnan(p):
        return f"{mean} (shuffled {row['shuffled']:.2f})"
    verdict = ": as far as unrelated states" if p > LEVEL else ""
    return f"{mean} (shuffled {row['shuffled']:.2f}; p = {p:.2g}{where}{verdict})"


def _members(distances: Mapping[str, Array], index: pd.MultiIndex) -> pd.DataFrame:
    labels = index.get_level_values("label").to_numpy()
    same = (labels[:, None] == labels) & ~np.eye(len(labels), dtype=bool)
    others = np.where(same.any(axis=1), same.sum(axis=1), np.nan)
    return pd.DataFrame(
        {name: (matrix * same).sum(axis=1) / others for name, matrix in distances.items()}, index=index
    )


def _partners(recordings: Mapping[str, xr.DataTree]) -> dict[tuple[str, str], tuple[Places, Places]]:
    """Return for each pair of experiments the places of members of one seed in both."""
    seeds = {label: trace.about(recording).seeds for label, recording in recordings.items()}
    for label, own in seeds.items():
        if several := repeated(f"seed {seed}" for seed in own):
            raise AnalysisError(
                f"expected members of {label} with a seed each; got {several}", parameter="paired"
            )
    partners = {}
    for a, b in itertools.combinations(seeds, 2):
        common, first, second = np.intersect1d(seeds[a], seeds[b], return_indices=True)
        if not len(common):
            raise AnalysisError(
                f"expected experiments with seeds in common; {a} and {b} have none", parameter="paired"
            )
        partners[a, b] = first, second
    return partners


def _sets(
    distances: Mapping[str, Array],
    controls: _Controls,
    index: pd.MultiIndex,
    partners: Mapping[Pair, tuple[Places, Places]],
) -> pd.DataFrame:
    labels = index.get_level_values("label")
    where = {label: np.flatnonzero(labels == label) for label in labels.unique()}
    pairs = list(itertools.combinations_with_replacement(where, 2))
    chance = {(a, b): controls.tests((where[a], where[b])) for a, b in pairs}
    comparable = levelled(distances, controls.states, controls.seed) if len(where) > 1 else distances
    tables = []
    for measure, matrix in distances.items():
        rows = {}
        for a, b in pairs:
            places = where[a], where[b]
            row = {"mean_distance": _mean(matrix, *places), "shuffled": np.nan}
            if measure in controls.shuffled:
                row["shuffled"] = _mean(controls.shuffled[measure], *places)
            row |= dict.fromkeys(_TEST_COLUMNS.values(), np.nan) | chance[a, b].get(measure, {})
            row |= _difference(comparable[measure], places, partners.get((a, b)), controls.seed)
            if (a, b) in partners:
                first, second = partners[a, b]
                row["mean_distance"] = _mean(matrix, places[0][first], places[1][second])
            rows[measure, a, b] = row | {"n_pairs": float(_n_pairs(*places))}
        table = pd.DataFrame.from_dict(rows, orient="index").rename_axis(["measure", "set_a", "set_b"])
        table.insert(table.columns.get_loc("p") + 1, "p_holm", holm(table["p"]))
        tables.append(table)
    return pd.concat(tables)


def _n_pairs(a: Places, b: Places) -> int:
    return len(a) * (len(a) - 1) // 2 if np.array_equal(a, b) else len(a) * len(b)


def _mean(matrix: Array, a: Places, b: Places) -> float:
    """Return the mean distance of different members, the first from one set and the second from another or the same."""
    block = matrix[np.ix_(a, b)]
    n = block.size - (len(a) if np.array_equal(a, b) else 0)
    return float(block.sum() / n) if n else np.nan


def _difference(
    matrix: Array, sets: tuple[Places, Places], partners: tuple[Places, Places] | None, seed: int
) -> dict[str, float]:
    """Return the columns of the test that two sets are one."""
    a, b = sets
    within = np.array_equal(a, b)
    if partners:
        a, b = a[partners[0]], b[partners[1]]
    both = np.concatenate([a, b])
    distances = matrix[np.ix_(both, both)]
    test = paired_distance_test(distances, seed) if partners else energy_test(distances, len(a), seed)
    return {
        "p": np.nan if within else test.p,
        "smallest_p": np.nan if within else test.smallest_p,
        "n_a": len(a),
        "n_b": len(b),
    }


def _agreement(distances: Mapping[str, Array], bar: float, seed: int) -> pd.DataFrame:
    rows = {}
    for a, b in itertools.combinations(distances, 2):
        test = mantel_test(distances[a], distances[b], seed)
        rows[a, b] = {
            "rank_correlation": test.statistic,
            "p": test.p,
            "smallest_p": test.smallest_p,
            "n": test.n,
            "agree": bool(test.statistic >= bar) if np.isfinite(test.statistic) else None,
        }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis(["measure_a", "measure_b"])

"""How alike members' hidden states are: distances of all pairs by several measures, and whether these agree.

Measures compare states one by one, so all members must have seen the same inputs. Distances are angles in radians, 0
for copies and π/2 where nothing is shared; none changes when states are rotated, shifted or scaled as a whole. With X
and Y the centred states (state, unit) of two members:

* ``cka``: arccos of ‖XᵀY‖² / (‖XᵀX‖ ‖YᵀY‖), Frobenius norms (linear CKA, Kornblith et al. 2019);
* ``procrustes``: arccos of ‖XᵀY‖_* / (‖X‖ ‖Y‖), the nuclear norm: the angle left after the best rotation
  (Williams et al. 2021);
* ``rsa``: arccos of the rank correlation of Euclidean distances between states (Kriegeskorte et al. 2008), distances
  that differ by less than 1e-6 of the largest being ties (states are recorded in single precision);
* ``dsa``: Wasserstein distance of the eigenvalues of linear models of how states move (Ostrow et al. 2023); no angle.

CKA is led by the few directions of most variance, Procrustes distance is less so, rank correlations ask for order only,
and DSA looks at dynamics, not at states. Where they disagree, "alike" has no one meaning.
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from analysis.cache import all_pairs, content_hash
from analysis.comparability import Conditions, remark
from analysis.errors import AnalysisError
from analysis.statistics import DISTANCE_TIES, energy_test, holm, mantel_test, paired_distance_test, ranks
from emt import trace
from emt.errors import install_hint, repeated

Array = NDArray[np.float64]
Places = NDArray[np.intp]

BESIDE = ("seq_length", "accuracy_rule", "task", "theory")
"""Conditions in which sets that saw the same inputs may differ if that is said."""

N_RSA_STATES = 256
"""States whose distances ``rsa`` compares, drawn at random: each of s states has s - 1 distances."""

N_SHUFFLED = 20
"""Members that are compared with a shuffled neighbour."""

DSA_RANK = 10
"""Principal components whose dynamics ``dsa`` compares."""


@dataclass(frozen=True)
class Similarity:
    """Distances of all pairs of members.

    Attributes
    ----------
    members
        Indexed by (label, model_name), in the order of the distances: for each measure the mean distance to the other
        members of the set.
    distances
        For each measure (member, member).
    sets
        Indexed by (measure, set_a, set_b): ``mean_distance`` of different members; n_a, n_b; for different sets p of a
        permutation test that they are one (`energy_test`), p_holm over the pairs of sets, smallest_p. Where paired, of
        members that have a partner, and p is that of their mean difference (`paired_distance_test`).
    shuffled
        For each measure the mean distance between a member and another whose states changed places: what unrelated
        states of that many units come to. Without ``dsa``.
    agreement
        Indexed by (measure_a, measure_b): ``rank_correlation`` over pairs of members, p of a test that permutes members
        (`mantel_test`), smallest_p, n, and whether the measures ``agree``: the correlation reaches ``bar``.
    bar
        The rank correlation below which measures are said to disagree.
    n_states
        States that are compared.
    remark
        What differs between the sets beside their members; empty where nothing does.
    """

    members: pd.DataFrame
    distances: Mapping[str, Array]
    sets: pd.DataFrame
    shuffled: Mapping[str, float]
    agreement: pd.DataFrame
    bar: float
    n_states: int
    remark: str = ""

    @property
    def sizes(self) -> dict[str, int]:
        """Members of each set, in order."""
        sizes = self.members.groupby(level="label", sort=False).size()
        return {str(label): int(n) for label, n in sizes.items()}

    @property
    def states_compared(self) -> str:
        """How many states are compared, and of how many ``rsa`` sees the distances where these are fewer."""
        fewer = f" (rsa: {N_RSA_STATES} of them)" if self.n_states > N_RSA_STATES else ""
        return f"{self.n_states} states{fewer}"

    def headline(self) -> str:
        """Say how far members are apart, and whether the measures agree."""
        sizes = ", ".join(f"{label} (n = {n})" for label, n in self.sizes.items())
        means = [f"{m} {d[np.triu_indices(len(d), 1)].mean():.2f}{self._beside(m)}" for m, d in self.distances.items()]
        text = f"{sizes}; {self.states_compared}. Mean distance of two members: {', '.join(means)}."
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
            alike = [f"{a} and {b}" for a, b in self.agreement.index.difference([*apart.index, *unknown], sort=False)]
            text += f" These agree (rank correlation at least {self.bar:g}): {', '.join(alike)}."
        pairs = ", ".join(f"{a} and {b}" for a, b in unknown)
        return f"{text} Undefined for {len(unknown)} of {len(self.agreement)} pairs: {pairs}." if pairs else text

    def _beside(self, measure: str) -> str:
        return f" (shuffled {self.shuffled[measure]:.2f})" if measure in self.shuffled else ""

    def tables(self) -> dict[str, pd.DataFrame]:
        """Return members, sets and agreement of measures."""
        shuffled = pd.Series(self.shuffled, dtype=float).rename("shuffled")
        return {
            "similarity_members": self.members,
            "similarity_sets": self.sets.join(shuffled, on="measure"),
            "similarity_agreement": self.agreement,
        }

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return the distances by each measure, in the order of the table of members."""
        return {f"similarity_{measure}": matrix for measure, matrix in self.distances.items()}


def compare_states(
    recordings: Mapping[str, xr.DataTree],
    *,
    dynamical: bool = False,
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
    paired
        in tests between experiments compare models of one seed with each other, leave others out
    bar
        rank correlation over pairs of members below which two measures are said to disagree
    seed
        seed of permutations and of the states drawn

    Raises
    ------
    AnalysisError
        If there are fewer than two members, members saw different inputs, states do not vary, or sets have no pairs.
    """
    if not -1 <= bar <= 1:
        raise AnalysisError(f"must be a correlation from -1 to 1; got {bar:g}", parameter="bar")
    _check_inputs(recordings)
    index = pd.MultiIndex.from_tuples(
        [(label, name) for label, r in recordings.items() for name in trace.member_names(r)],
        names=["label", "model_name"],
    )
    if len(index) < 2:
        raise AnalysisError(f"expected at least two members to compare; got {len(index)}", parameter="recordings")
    runs = [run for recording in recordings.values() for run in recording["hidden"].to_numpy().astype(float)]
    states = _unit_states(runs, [", ".join(key) for key in index])
    distances = state_distances(states, seed)
    if dynamical:
        distances["dsa"] = dynamical_distances(runs)
    return Similarity(
        members=_members(distances, index),
        distances=distances,
        sets=_sets(distances, index, _partners(recordings) if paired else {}, seed),
        shuffled=_shuffled(states, seed),
        agreement=_agreement(distances, bar, seed),
        bar=bar,
        n_states=states.shape[1],
        remark=remark({label: conditions_of(recording) for label, recording in recordings.items()}, BESIDE),
    )


def state_distances(states: Array, seed: int = 0) -> dict[str, Array]:
    """Return ``cka``, ``procrustes`` and ``rsa`` distances (member, member) of states (member, state, unit).

    States are centred and of norm 1 (‖X‖ = 1) for each member; units that a member lacks are zero, which changes
    nothing.
    """
    keys = [content_hash(member) for member in states]
    cka, procrustes = all_pairs("state_products", keys, partial(_products_of, states), 2)
    norms = np.array([np.linalg.norm(member.T @ member) for member in states])
    orders = _distance_ranks(states, seed)
    cosines = {"cka": cka / (norms[:, None] * norms), "procrustes": procrustes, "rsa": orders @ orders.T}
    return {name: _angles(values) for name, values in cosines.items()}


def _products_of(states: Array, pairs: tuple[NDArray[np.intp], NDArray[np.intp]]) -> Array:
    """Return ‖XᵀY‖² and ‖XᵀY‖_* of pairs of members (2, pair)."""
    first, second = pairs
    products = np.empty((2, len(first)))
    for i in np.unique(first):
        here = first == i
        products[:, here] = list(_inner_products(states[[i]], states[second[here]]).values())
    return products


def dynamical_distances(runs: Sequence[Array]) -> Array:
    """Return DSA distances (member, member) of states (sequence, time, unit) of each member.

    Linear models of `DSA_RANK` principal components, without delays since states are known whole, compared by their
    eigenvalues.

    Raises
    ------
    AnalysisError
        If the package is not installed.
    """
    try:
        from DSA import DSA
    except ModuleNotFoundError as error:
        raise AnalysisError(
            f"expected the package dsa-metric ({install_hint('similarity')}); got {error}", parameter="dynamical"
        ) from None
    rank = min(DSA_RANK, *(run.shape[-1] for run in runs))
    # Linear models have no constant term: a mean state would be taken for dynamics.
    runs = [run - run.mean(axis=(0, 1)) for run in runs]

    def distances_of(pairs: tuple[Places, Places]) -> Array:
        # Who is new is paired with everyone: only distances to these are asked for.
        paired = np.bincount(np.concatenate(pairs), minlength=len(runs))
        new = np.flatnonzero(paired == paired.max())
        sides = [runs] if len(new) == len(runs) else [[runs[i] for i in new], runs]
        scores = DSA(*sides, n_delays=1, rank=rank, score_method="wasserstein").fit_score()
        distances = np.zeros((len(runs), len(runs)))
        distances[new] = np.reshape(scores, (len(new), len(runs)))
        distances[:, new] = distances[new].T
        return distances[pairs][None]

    keys = [content_hash(run, rank) for run in runs]
    (distances,) = all_pairs("dynamical_distances", keys, distances_of, parallel=False)
    return distances


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


def _check_inputs(recordings: Mapping[str, xr.DataTree]) -> None:
    """Refuse recordings whose states do not belong to the same inputs."""
    for label, recording in recordings.items():
        if "member" in recording["inputs"].dims:
            raise AnalysisError(
                f"{label}: expected one batch that all members saw; their own actions changed what they saw, so that "
                "states do not compare one by one"
            )
    labels = list(recordings)
    for label in labels[1:]:
        first, other = (recordings[name]["inputs"].to_numpy() for name in (labels[0], label))
        if not np.array_equal(first, other):
            why = "other values" if first.shape == other.shape else f"sizes {first.shape} and {other.shape}"
            raise AnalysisError(
                f"expected experiments that were evaluated on the same inputs, so that states compare "
                f"one by one; those of {labels[0]!r} and {label!r} differ ({why})",
                parameter="recordings",
            )


def _unit_states(runs: Sequence[Array], names: Sequence[str]) -> Array:
    """Return all states (member, state, unit), centred and of norm 1."""
    n_units = max(run.shape[-1] for run in runs)
    states = np.zeros((len(runs), runs[0].shape[0] * runs[0].shape[1], n_units))
    for place, (run, name) in enumerate(zip(runs, names, strict=True)):
        flat = run.reshape(-1, run.shape[-1])
        centred = flat - flat.mean(axis=0)
        norm = float(np.linalg.norm(centred))
        if not norm > 1e-12 * float(np.linalg.norm(flat)):
            raise AnalysisError(f"{name}: expected hidden states that vary and are finite; these do not")
        states[place, :, : run.shape[-1]] = centred / norm
    return states


def _inner_products(first: Array, second: Array) -> dict[str, Array]:
    """Return ‖XᵀY‖² and ‖XᵀY‖_* of pairs of states (pair, state, unit)."""
    cross = np.swapaxes(first, 1, 2) @ second
    nuclear = np.linalg.svd(cross, compute_uv=False).sum(axis=-1)
    return {"cka": np.sum(cross**2, axis=(1, 2)), "procrustes": nuclear}


def _distance_ranks(states: Array, seed: int) -> Array:
    """Return ranks of the distances between some states (member, pair of states), centred and of norm 1."""
    from scipy.spatial.distance import pdist

    chosen = np.random.default_rng(seed).permutation(states.shape[1])[:N_RSA_STATES]
    found = np.stack([ranks(pdist(member[chosen]), DISTANCE_TIES) for member in states])
    found -= found.mean(axis=1, keepdims=True)
    return found / np.maximum(np.linalg.norm(found, axis=1, keepdims=True), np.finfo(float).tiny)


def _angles(cosines: Array) -> Array:
    angles = np.arccos(np.clip(cosines, -1.0, 1.0))
    np.fill_diagonal(angles, 0.0)
    return angles


def _shuffled(states: Array, seed: int) -> dict[str, float]:
    order = np.random.default_rng(seed).permutation(states.shape[1])
    some = states[:N_SHUFFLED]
    other = np.roll(some, 1, axis=0)[:, order]
    inner = _inner_products(some, other)
    own = _inner_products(some, some)["cka"]
    cosines = {
        "cka": inner["cka"] / np.sqrt(own * np.roll(own, 1)),
        "procrustes": inner["procrustes"],
        "rsa": np.sum(_distance_ranks(some, seed) * _distance_ranks(other, seed), axis=1),
    }
    return {name: float(np.arccos(np.clip(values, -1.0, 1.0)).mean()) for name, values in cosines.items()}


def _members(distances: Mapping[str, Array], index: pd.MultiIndex) -> pd.DataFrame:
    labels = index.get_level_values("label").to_numpy()
    same = (labels[:, None] == labels) & ~np.eye(len(labels), dtype=bool)
    others = np.where(same.any(axis=1), same.sum(axis=1), np.nan)
    return pd.DataFrame({name: (matrix * same).sum(axis=1) / others for name, matrix in distances.items()}, index=index)


def _partners(recordings: Mapping[str, xr.DataTree]) -> dict[tuple[str, str], tuple[Places, Places]]:
    """Return for each pair of experiments the places of members of one seed in both."""
    seeds = {label: trace.about(recording).seeds for label, recording in recordings.items()}
    for label, own in seeds.items():
        if several := repeated(f"seed {seed}" for seed in own):
            raise AnalysisError(f"expected members of {label} with a seed each; got {several}", parameter="paired")
    partners = {}
    for a, b in itertools.combinations(seeds, 2):
        common, first, second = np.intersect1d(seeds[a], seeds[b], return_indices=True)
        if not len(common):
            raise AnalysisError(f"expected experiments with seeds in common; {a} and {b} have none", parameter="paired")
        partners[a, b] = first, second
    return partners


def _sets(
    distances: Mapping[str, Array],
    index: pd.MultiIndex,
    partners: Mapping[tuple[str, str], tuple[Places, Places]],
    seed: int,
) -> pd.DataFrame:
    labels = index.get_level_values("label")
    where = {label: np.flatnonzero(labels == label) for label in labels.unique()}
    tables = []
    for measure, matrix in distances.items():
        rows = {
            (measure, a, b): _set_row(matrix, where[a], where[b], partners.get((a, b)), seed)
            for a, b in itertools.combinations_with_replacement(where, 2)
        }
        table = pd.DataFrame.from_dict(rows, orient="index").rename_axis(["measure", "set_a", "set_b"])
        table.insert(table.columns.get_loc("p") + 1, "p_holm", holm(table["p"]))
        tables.append(table)
    return pd.concat(tables)


def _set_row(
    matrix: Array, a: Places, b: Places, partners: tuple[Places, Places] | None, seed: int
) -> dict[str, float]:
    within = np.array_equal(a, b)
    if partners:
        a, b = a[partners[0]], b[partners[1]]
    block = matrix[np.ix_(a, b)]
    n_pairs = block.size - (len(a) if within else 0)
    both = np.concatenate([a, b])
    distances = matrix[np.ix_(both, both)]
    test = paired_distance_test(distances, seed) if partners else energy_test(distances, len(a), seed)
    return {
        "mean_distance": block.sum() / n_pairs if n_pairs else np.nan,
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

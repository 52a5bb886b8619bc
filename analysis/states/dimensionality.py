"""How many dimensions do hidden states fill? Participation ratio and effective rank, and what chance gives.

With λ_1 … λ_d the eigenvalues of the covariance of one member's states, and p_i = λ_i / Σ_j λ_j:

* participation ratio (Σ λ_i)² / Σ λ_i² (Abbott, Rajan & Sompolinsky 2011; Gao et al. 2017);
* effective rank exp(-Σ p_i ln p_i), exp of the entropy of the spectrum (Roy & Vetterli 2007, who take singular values).

Both are 1 if states lie on a line, d if their covariance is a multiple of the identity, and count m equal
eigenvalues as m; directions of small variance count more in the effective rank, which is never the smaller of
the two. Neither changes if states are rotated, shifted or scaled as a whole. Of finitely many states both are
too small: see :func:`expected_participation_ratio`. So each is compared with as many

* ``shuffled`` states: values of each unit permuted over all trials and steps, independently of other units. Variances
  of units remain, their correlations do not. (To permute whole states changes no covariance.)
* ``random`` states: independent standard normal numbers.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from analysis.cache import content_hash, each_item
from analysis.errors import AnalysisError
from analysis.result import Result
from analysis.statistics import Interval, holm, mean_interval, mean_text, scale_of, sign_flip_test
from emt import trace

Array = NDArray[np.float64]

MEASURES = ("participation_ratio", "effective_rank")
KINDS = ("recorded", "shuffled", "random")
"""Kinds of states: those of the network, and the two controls."""

NO_VARIANCE = 1e-12
"""Relative size of the deviations from the mean up to which they are rounding."""


@dataclass(frozen=True)
class Dimensionality(Result):
    """Dimensionality of the states of a population.

    Attributes
    ----------
    label
        What figures call this population.
    members
        Indexed by (model_name, states), states being "recorded", "shuffled" or "random": participation_ratio
        and effective_rank, for controls their means over ``draws``. NaN, controls too, for a member whose
        states do not vary.
    population
        Indexed by (measure, states): ``mean`` over members with its 95 % interval ``low``, ``high``, which
        lies between 1 and ``largest``; n; and for controls p of a sign-flip test over members of the
        difference to the recorded states, p_holm over all of these tests, smallest_p.
    spectra
        Share of the variance of each principal component by (states, component), means over members
        whose states vary; NaN without any.
    variables
        State variables that make up the state.
    steps
        Which steps count, "all" or "scored".
    n_states
        States of each member.
    n_units
        Numbers in a state, of members that differ in it of the largest.
    draws
        Draws of each control.
    fewest_units
        Numbers in a state of the smallest member; None where all have the same.
    """

    label: str
    members: pd.DataFrame
    population: pd.DataFrame
    spectra: pd.DataFrame
    variables: tuple[str, ...]
    steps: str
    n_states: int
    n_units: int
    draws: int
    fewest_units: int | None = None

    @property
    def n_members(self) -> int:
        """Members whose states vary."""
        return int(self._recorded.notna().sum())

    @property
    def left_out(self) -> str:
        """Names the members whose states do not vary; empty where all vary."""
        unknown = self._recorded[self._recorded.isna()].index
        return f"left out, since their states do not vary: {', '.join(unknown)}" if len(unknown) else ""

    @property
    def _recorded(self) -> pd.Series:
        """The first measure of recorded states by model, NaN where these do not vary."""
        return self.members[MEASURES[0]].xs("recorded", level="states")

    @property
    def largest(self) -> int:
        """The largest dimensionality that so many states of so many numbers can have."""
        return min(self.n_units, self.n_states - 1)

    @property
    def states_analysed(self) -> str:
        """Say which states these are: of which variables, at which steps, how many."""
        whole = f"whole state ({', '.join(self.variables)})" if len(self.variables) > 1 else self.variables[0]
        steps = "" if self.steps == "all" else " at scored steps"
        numbers = str(self.n_units) if self.fewest_units is None else f"{self.fewest_units} to {self.n_units}"
        return f"{whole}, {self.n_states} states of {numbers} numbers{steps}"

    def tables(self) -> dict[str, pd.DataFrame]:
        """Return members, population and spectra."""
        return {
            "dimensionality_members": self.members,
            "dimensionality_population": self.population,
            "dimensionality_spectra": self.spectra,
        }

    def headline(self) -> str:
        """Say how many dimensions are filled, and how many the controls fill."""
        if not self.n_members:
            return f"{self.states_analysed}: dimensionality is undefined, since no member's states vary"
        found = [self.left_out] if self.left_out else []
        for measure in MEASURES:
            rows = self.population.loc[measure]
            shuffled, random = (f"{kind} {rows.loc[kind, 'mean']:.2f}" for kind in KINDS[1:])
            found.append(
                f"{measure.replace('_', ' ')} {_row_text(rows.loc['recorded'])} ({shuffled}, {random})"
            )
        return f"n = {self.n_members} members; {self.states_analysed}: {'; '.join(found)}"


def measure_dimensionality(
    recording: xr.DataTree,
    *,
    steps: Literal["all", "scored"] = "all",
    draws: int = 5,
    seed: int = 0,
) -> Dimensionality:
    """Measure how many dimensions hidden states fill: participation ratio and effective rank, with two controls.

    Parameters
    ----------
    recording
        recorded run of a population
    steps
        steps whose states count: all, or only those at which outputs are scored
    draws
        shuffled and random sets of states for each model, whose mean is compared
    seed
        seed of shuffled and random states

    Raises
    ------
    AnalysisError
        If an option does not fit, fewer than two states are left, or states are not finite.

    Examples
    --------
    >>> dimensionality = measure_dimensionality(trace.load("demo/repeat_copy/traces/seq8.nc"))
    >>> dimensionality
    Dimensionality: n = 5 members; hidden, 1280 states of 128 numbers: participation ratio ...
    >>> dimensionality.members.loc["model-1"].index.tolist()
    ['recorded', 'shuffled', 'random']
    """
    if draws < 1:
        raise AnalysisError(f"must be an integer ≥ 1; got {draws}", parameter="draws")
    variables = _state_variables(recording)
    states = _states(recording, variables, steps)
    numbers = [int(number) for number in np.asarray(recording["member"])]
    for number, member in zip(numbers, states, strict=True):
        if not np.isfinite(member).all():
            raise AnalysisError(f"model-{number}: expected finite hidden states; some are not")

    def compute(places: list[int]) -> Iterator[Array]:
        return (_spectra(states[place], draws, (seed, numbers[place])) for place in places)

    keys = [content_hash(member, draws, seed, number) for member, number in zip(states, numbers, strict=True)]
    spectra = _stacked(each_item("state_spectra", keys, compute))
    members = _member_table(spectra, numbers)
    n_states, units = len(states[0]), [member.shape[1] for member in states]
    n_units, fewest = max(units), min(units)
    return Dimensionality(
        label=trace.label(recording),
        members=members,
        population=_population_table(members, min(n_units, n_states - 1)),
        spectra=_spectrum_table(spectra),
        variables=variables,
        steps=steps,
        n_states=n_states,
        n_units=n_units,
        fewest_units=None if fewest == n_units else fewest,
        draws=draws,
    )


def covariance_spectrum(states: ArrayLike) -> Array:
    """Return the eigenvalues of the sample covariance of states (state, unit), descending: min(state, unit) of them.

    All are zero if states do not vary beyond rounding.

    Examples
    --------
    >>> covariance_spectrum([[1, 0], [-1, 0], [0, 2], [0, -2]]).round(3).tolist()
    [2.667, 0.667]
    """
    values = np.asarray(states, dtype=float)
    centred = values - values.mean(axis=0)
    if np.linalg.norm(centred) <= NO_VARIANCE * np.linalg.norm(values):
        return np.zeros(min(values.shape))
    wide = centred if values.shape[0] <= values.shape[1] else centred.T
    return np.maximum(np.linalg.eigvalsh(wide @ wide.T)[::-1], 0.0) / max(len(values) - 1, 1)


def participation_ratio(eigenvalues: ArrayLike) -> Array:
    """Return (Σ λ)² / Σ λ² of spectra (…, eigenvalue), from 1 to their number; 0 if there is no variance.

    Examples
    --------
    >>> participation_ratio([[2, 2, 0], [4, 2, 2]]).round(2).tolist()
    [2.0, 2.67]
    """
    share = _shares(eigenvalues)
    squares = np.square(share).sum(axis=-1)
    return np.divide(1.0, squares, out=np.zeros_like(squares), where=squares > 0)


def effective_rank(values: ArrayLike) -> Array:
    """Return exp of the entropy of values (…, value) over their sum (Roy & Vetterli 2007); 0 if all are zero.

    Examples
    --------
    >>> effective_rank([[1, 1, 1, 0], [2, 0, 0, 0]]).round(6).tolist()
    [3.0, 1.0]
    """
    share = _shares(values)
    entropy = -np.sum(share * np.log(np.where(share > 0, share, 1.0)), axis=-1)
    return np.where(share.any(axis=-1), np.exp(entropy), 0.0)


def expected_participation_ratio(n_states: int, n_units: int) -> float:
    """Return the participation ratio to expect of independent normal states, (d ν + 2) / (d + ν + 1), ν = states - 1.

    It is E[(tr S)²] / E[tr S²] of a Wishart covariance S with ν degrees of freedom in d units, (d² + 2d/ν)
    over (d + d (d + 1) / ν): about d n / (d + n), so d only if there are many more states than units.

    Examples
    --------
    Of few states even noise in ten dimensions fills fewer:

    >>> round(expected_participation_ratio(1000, 10), 2), round(expected_participation_ratio(11, 10), 2)
    (9.89, 4.86)
    """
    freedom = n_states - 1
    return (n_units * freedom + 2) / (n_units + freedom + 1)


def shuffle_units(states: Array, rng: np.random.Generator) -> Array:
    """Return states (state, unit) with the values of each unit permuted over states independently of other units.

    Examples
    --------
    >>> states = np.arange(12.0).reshape(6, 2)
    >>> shuffled = shuffle_units(states, np.random.default_rng(0))
    >>> np.array_equal(np.sort(shuffled, axis=0), states), np.array_equal(shuffled, states)
    (True, False)
    """
    return rng.permuted(states, axis=0)


def _shares(values: ArrayLike) -> Array:
    """Return values (…, value) over their sum, zeros if that is zero."""
    array = np.asarray(values, dtype=float)
    total = array.sum(axis=-1, keepdims=True)
    return np.divide(array, total, out=np.zeros_like(array), where=total > 0)


def _state_variables(recording: xr.DataTree) -> tuple[str, ...]:
    """Return the variables that make up the state, without contents of memories, which a trace has as writes."""
    return trace.about(recording).states


def _states(recording: xr.DataTree, variables: tuple[str, ...], steps: str) -> list[Array]:
    """Return each member's states (state, unit): all variables side by side, at the steps that count."""
    chosen = trace.present_steps(recording)
    if steps == "scored":
        chosen &= np.asarray(recording["scored"], dtype=bool)
    if chosen.sum() < 2:
        raise AnalysisError(
            f'expected at least two states of each member; "{steps}" leaves {chosen.sum()}', parameter="steps"
        )
    return [trace.member_states(recording, variables, k)[chosen] for k in range(recording.sizes["member"])]


def _stacked(spectra: Iterable[Array]) -> Array:
    """Return spectra (member, draw, eigenvalue); members of fewer units have zeros at the end."""
    found = list(spectra)
    most = max(one.shape[1] for one in found)
    return np.stack([np.pad(one, [(0, 0), (0, most - one.shape[1])]) for one in found])


def _spectra(states: Array, draws: int, seed: tuple[int, int]) -> Array:
    """Return the spectrum of recorded states, then those of each draw of both controls, (1 + 2 draws, eigenvalue).

    Only shares of them are used, so the unit of the states is divided out before it is squared.
    """
    states = states / scale_of(states)
    # By model number, so that a member's controls do not depend on who else is there.
    rng = np.random.default_rng(seed)
    shuffled = [covariance_spectrum(shuffle_units(states, rng)) for _ in range(draws)]
    random = [covariance_spectrum(rng.normal(size=states.shape)) for _ in range(draws)]
    return np.stack([covariance_spectrum(states), *shuffled, *random])


def _by_kind(values: Array) -> dict[str, Array]:
    """Return the means over draws of values (member, 1 + 2 draws, …) of each kind of states, (member, …)."""
    draws = values.shape[1] // 2
    parts = np.split(values, [1, 1 + draws], axis=1)
    return {kind: part.mean(axis=1) for kind, part in zip(KINDS, parts, strict=True)}


def _member_table(spectra: Array, numbers: list[int]) -> pd.DataFrame:
    names = [f"model-{number}" for number in numbers]
    index = pd.MultiIndex.from_product([names, KINDS], names=["model_name", "states"])
    columns = {}
    for measure, function in zip(MEASURES, (participation_ratio, effective_rank), strict=True):
        found = np.stack(list(_by_kind(function(spectra)).values()), axis=1)
        columns[measure] = np.where(found[:, :1] > 0, found, np.nan).ravel()
    return pd.DataFrame(columns, index=index)


def _population_table(members: pd.DataFrame, largest: int) -> pd.DataFrame:
    rows = {}
    for measure in MEASURES:
        values = {kind: members[measure].xs(kind, level="states") for kind in KINDS}
        for kind in KINDS:
            mean = mean_interval(values[kind], bounds=(1.0, float(largest)))
            row = {"mean": mean.estimate, "low": mean.low, "high": mean.high, "n": mean.n, "p": np.nan}
            if kind != "recorded":
                test = sign_flip_test(values["recorded"] - values[kind])
                row |= {"p": test.p, "smallest_p": test.smallest_p}
            rows[measure, kind] = row
    table = pd.DataFrame.from_dict(rows, orient="index").rename_axis(["measure", "states"])
    table.insert(table.columns.get_loc("p") + 1, "p_holm", holm(table["p"]))
    return table


def _spectrum_table(spectra: Array) -> pd.DataFrame:
    varying = spectra[spectra[:, 0].any(axis=-1)]
    shares = {
        kind: share.mean(axis=0) if len(varying) else np.full(spectra.shape[-1], np.nan)
        for kind, share in _by_kind(_shares(varying)).items()
    }
    components = range(1, spectra.shape[-1] + 1)
    index = pd.MultiIndex.from_product([KINDS, components], names=["states", "component"])
    return pd.DataFrame({"variance_share": np.concatenate([shares[kind] for kind in KINDS])}, index=index)


def _row_text(row: pd.Series) -> str:
    return mean_text(Interval(row["mean"], row["low"], row["high"], int(row["n"])), 2)

"""The object every analysis takes: one evaluated population at one sequence length, as arrays."""

import html
import math
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.comparability import SAME_THEORY, Conditions
from analysis.errors import AnalysisError
from analysis.result import as_html
from analysis.statistics import UNBOUNDED, Interval, mean_interval
from emt.errors import repeated
from emt.text import visible

RANGES = {
    "accuracy": (0.0, 1.0),
    "spectral_error_deg": (0.0, 180.0),
    "spectral_relative_error": (0.0, math.inf),
    "missing_modes": (0.0, math.inf),
}
"""Smallest and largest possible value of numbers of an evaluation."""


def mean_over_members(
    values: pd.Series, confidence: float = 0.95, ranges: Mapping[str, tuple[float, float]] | None = None
) -> Interval:
    """Return the mean of a number with its interval, which respects the number's range (`mean_interval`).

    Parameters
    ----------
    values
        One for each member; the series' name says what they are.
    confidence
        Coverage of the interval.
    ranges
        Smallest and largest possible value by name, beside the `RANGES` of an evaluation.

    Raises
    ------
    AnalysisError
        If a value lies outside its range.
    """
    name = str(values.name)
    try:
        return mean_interval(values, confidence, {**RANGES, **(ranges or {})}.get(name, UNBOUNDED))
    except AnalysisError as error:
        raise AnalysisError(f"{name}: {error}") from None


def median_over_members(values: pd.Series) -> float:
    """Return the median over members that have a finite number; NaN without any."""
    known = values.astype(float).to_numpy()
    known = known[np.isfinite(known)]
    return float(np.median(known)) if len(known) else math.nan


def undefined_text(values: pd.Series) -> str:
    """Return "undefined for 2 of 5: model-1, model-4", empty where all values are finite.

    Values are indexed by member, or by several names of which one is ``model_name``: a member may have
    several.
    """
    index = values.index
    names = index.get_level_values("model_name") if isinstance(index, pd.MultiIndex) else index
    unknown = names[~np.isfinite(values.astype(float).to_numpy())].unique()
    listed = ", ".join(map(str, unknown))
    return f"undefined for {len(unknown)} of {names.nunique()}: {listed}" if listed else ""


@dataclass(frozen=True)
class Population:
    """Members of one experiment that have a spectrum at ``seq_length``.

    Attributes
    ----------
    label
        What figures call this population.
    seq_length
        The length L whose keys were read.
    names
        Model names, sorted by number, all different.
    eigenvalues
        One complex array for each member, as evaluated: ``eigenvalues_rnn_seqL``. Lengths may differ.
    theory
        Spectrum of the task's companion matrix, or None where the task has no linear operator.
    scalars
        One row for each member, indexed by name: ``accuracy``, its interval over sequences ``accuracy_low``,
        ``accuracy_high``, ``spectral_error_deg``, ``frob_error``, … (keys without
        their ``_seqL``; NaN where a member lacks one).
    skipped
        Names of members without a spectrum at this length.
    test_horizon
        Output steps over which accuracy was measured; None where the file does not say.
    training_seed
        Seed from which training counted those of members; None where the file does not say.
    task
        Name and options of the task it was trained on; None where the file does not say.
    accuracy_rule
        When an output counts as right, "sign" or "argmax"; None where the file does not say.
    """

    label: str
    seq_length: int
    names: tuple[str, ...]
    eigenvalues: tuple[NDArray[np.complex128], ...]
    theory: NDArray[np.complex128] | None
    scalars: pd.DataFrame
    skipped: tuple[str, ...] = ()
    test_horizon: int | None = None
    training_seed: int | None = None
    task: Mapping[str, Any] | None = None
    accuracy_rule: str | None = None

    def __post_init__(self) -> None:
        if several := repeated(self.names):
            raise AnalysisError(f"{self.label}: expected each model once; got {several}")

    def __len__(self) -> int:
        return len(self.names)

    def __repr__(self) -> str:
        return f"Population {self.label!r}: {len(self)} members at sequence length {self.seq_length}"

    def _repr_html_(self) -> str:
        """Return what a notebook shows."""
        return f"<p>{html.escape(visible(repr(self)))}</p>\n{as_html(self.scalars)}"

    @property
    def conditions(self) -> Conditions:
        """How it was trained and evaluated, for comparison with others."""
        return Conditions(self.seq_length, self.test_horizon, self.accuracy_rule, self.task, self.theory)


def from_summary(
    summary: Mapping[str, Any], *, label: str = "population", seq_length: int | None = None
) -> Population:
    """Build a population from the contents of an ``evaluation_summary.json``.

    Parameters
    ----------
    summary
        The parsed file; ``emt.runs`` describes the format. Files of the reference implementation are read
        too.
    label
        What figures call the population.
    seq_length
        The length to read; without it the file's only length, else 8, else the longest.

    Raises
    ------
    AnalysisError
        If no member has a spectrum at that length, where the message names the lengths that the file holds; or
        if members have different theories.

    Examples
    --------
    >>> population = from_summary(read_summary("demo/repeat_copy"), label="repeat copy")
    >>> population
    Population 'repeat copy': 5 members at sequence length 8
    >>> population.eigenvalues[0].shape, population.scalars["accuracy"].shape
    ((64,), (5,))
    """
    metrics, lengths = summary["metrics"], lengths_of(summary)
    if seq_length is None:
        seq_length = default_length(lengths)
    suffix = f"_seq{seq_length}"
    present = [entry for entry in metrics if _given(entry.get(f"eigenvalues_rnn{suffix}"))]
    places = {id(entry) for entry in present}
    if not present:
        if not lengths:
            raise AnalysisError(
                "the members have no spectrum; states recorded without the matrix of a step have none "
                "(emt.from_arrays takes step_matrix, tokens need silence, a memory alone has no step)"
            )
        held = ", ".join(map(str, lengths))
        raise AnalysisError(
            f"must be one of the lengths in the summary ({held}); got {seq_length}", parameter="seq_length"
        )
    names = tuple(entry["model_name"] for entry in present)
    how = summary.get("evaluation_config") or {}
    trained = training_configuration(summary)
    return Population(
        label=label,
        seq_length=seq_length,
        names=names,
        eigenvalues=tuple(_spectrum(entry, f"eigenvalues_rnn{suffix}") for entry in present),
        theory=_common_theory(present, f"eigenvalues_theory{suffix}"),
        scalars=pd.DataFrame(
            [_scalars(entry, suffix) for entry in present], index=pd.Index(names, name="model_name")
        ),
        skipped=tuple(entry["model_name"] for entry in metrics if id(entry) not in places),
        test_horizon=(how.get("evaluation") or {}).get("test_horizon"),
        training_seed=(trained.get("training") or {}).get("seed"),
        task=trained.get("task") or None,
        accuracy_rule=next((entry["accuracy_rule"] for entry in present if "accuracy_rule" in entry), None),
    )


def lengths_of(summary: Mapping[str, Any]) -> list[int]:
    """Return the lengths at which some member has a spectrum, ascending."""
    keys = {key for entry in summary["metrics"] for key in entry}
    return sorted(int(found.group(1)) for key in keys if (found := _SPECTRUM_KEY.fullmatch(key)))


def training_configuration(summary: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the configuration that a summary's models were trained with; empty where it is not recorded."""
    return (summary.get("evaluation_config") or {}).get("training_config") or {}


def default_length(lengths: Collection[int]) -> int:
    """Return the length that is meant where several are held and none is named: 8, else the longest."""
    return 8 if 8 in lengths else max(lengths, default=8)


_SPECTRUM_KEY = re.compile(r"eigenvalues_rnn_seq([0-9]{1,9})")
_ANY_LENGTH = re.compile(r".*_seq[0-9]+")


def complex_of(pairs: Any, where: str) -> NDArray[np.complex128]:
    """Return pairs [re, im] as complex numbers, by parts: x + 1j * y would turn -1 - 0i, of angle -π, into -1 + 0i.

    Raises
    ------
    AnalysisError
        If they are no pairs; the message says where they stand.
    """
    try:
        parts = np.asarray(pairs, dtype=float)
    except (TypeError, ValueError):
        parts = np.empty(0)
    if parts.ndim != 2 or parts.shape[1] != 2:
        raise AnalysisError(f"{where}: expected a list of pairs of numbers [re, im]; got {str(pairs)[:60]}")
    values = np.empty(len(parts), dtype=np.complex128)
    values.real, values.imag = parts.T
    return values


def _given(spectrum: Any) -> bool:
    return spectrum is not None and (not hasattr(spectrum, "__len__") or len(spectrum) > 0)


def _spectrum(entry: Mapping[str, Any], key: str) -> NDArray[np.complex128]:
    return complex_of(entry[key], f"{entry['model_name']}: {key}")


def _common_theory(entries: Sequence[Mapping[str, Any]], key: str) -> NDArray[np.complex128] | None:
    """Return the theory of the members that have one."""
    theories = {entry["model_name"]: _spectrum(entry, key) for entry in entries if _given(entry.get(key))}
    if not theories:
        return None
    (first, theory), *others = theories.items()
    for name, other in others:
        if other.shape != theory.shape or not np.allclose(other, theory, rtol=0.0, atol=SAME_THEORY):
            raise AnalysisError(
                f"{key}: expected one theory for all members, which are of one task; {name} has another than {first}"
            )
    return theory


def _scalars(entry: Mapping[str, Any], suffix: str) -> dict[str, float]:
    """Return an entry's plain numbers: those without a length and those of the length asked for."""
    kept = {k: v for k, v in entry.items() if k.endswith(suffix) or not _ANY_LENGTH.fullmatch(k)}
    numbers = {k.removesuffix(suffix): v for k, v in kept.items() if isinstance(v, int | float) or v is None}
    match entry.get("accuracy_interval"):
        case [float() | int() as low, float() | int() as high]:
            numbers |= {"accuracy_low": low, "accuracy_high": high}
    return {"accuracy": float("nan")} | {
        k: float("nan") if v is None else float(v) for k, v in numbers.items()
    }

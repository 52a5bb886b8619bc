"""One trained member as arrays, and its entry of ``evaluation_summary.json``.

The matrix whose spectrum is read is W_hh where the network has one (h_t = f(W_hh h_{t-1} + …)), otherwise the
Jacobian of its whole state.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from analysis.errors import AnalysisError
from analysis.spectra.values import eigenvalue_histograms, spectral_error
from analysis.statistics import mean_interval
from analysis.variables.companion import companion_eigenvalues, companion_matrix
from analysis.variables.subspaces import ReferenceComparison, compare_as_reference

N_RESAMPLES = 2000

Rule = Literal["sign", "argmax"]
"""When an output is right: each number has its target's sign, or the largest one is where the target's is."""


@dataclass(frozen=True)
class TrainedMember:
    """One trained member and its recorded run.

    Attributes
    ----------
    name
        "model-3".
    recurrent
        W_hh (unit, unit), acting on columns; None for networks other than Elman's.
    readout
        (output, unit), or None.
    jacobian
        Of the whole state (state, state), acting on columns; None where ``recurrent`` is given, or where no
        matrix of a step is known.
    hidden
        Recorded states (batch, time, unit), of the sequences ``recorded``.
    inputs
        (batch, time, channel), of the sequences ``recorded``.
    outputs, targets
        (batch, time, output).
    scored
        Steps that count (batch, time), bool.
    rule
        When an output is right.
    returns
        Sum of the rewards of each sequence, (batch,), of members that act; None for others.
    recorded
        Places on the batch axis of the sequences whose states and inputs are given; None for all.
    """

    name: str
    recurrent: NDArray[np.float64] | None
    readout: NDArray[np.float64] | None
    jacobian: NDArray[np.float64] | None
    hidden: NDArray[np.float64]
    inputs: NDArray[np.float64]
    outputs: NDArray[np.float64]
    targets: NDArray[np.float64]
    scored: NDArray[np.bool_]
    rule: Rule = "sign"
    returns: NDArray[np.float64] | None = None
    recorded: NDArray[np.intp] | None = None

    @property
    def scored_states(self) -> NDArray[np.float64]:
        """The states at steps that count, (step, unit); where none does, at all."""
        scored = self.scored if self.recorded is None else self.scored[self.recorded]
        return self.hidden[scored] if scored.any() else self.hidden.reshape(-1, self.hidden.shape[2])

    @property
    def states_shown(self) -> str:
        """Say of how many sequences the states are where not of all; captions of what is made from them end with it."""
        kept, of = len(self.hidden), len(self.scored)
        return f"; states of {kept} of {of} sequences" if kept < of else ""

    @property
    def matrix(self) -> NDArray[np.float64]:
        """The matrix whose spectrum is read, in float64.

        Raises
        ------
        AnalysisError
            If there is none, or it is not finite.
        """
        matrix = self.jacobian if self.recurrent is None else self.recurrent
        if matrix is None:
            raise AnalysisError(f"{self.name}: expected recurrent weights or a Jacobian; got neither")
        if not np.isfinite(matrix).all():
            raise AnalysisError(
                f"{self.name}: expected finite numbers in {self.matrix_name}; got NaN or infinity"
            )
        return np.asarray(matrix, dtype=np.float64)

    @property
    def predictions(self) -> NDArray[np.float64]:
        """The outputs as the targets are scaled: by "argmax" they are logits, and these their probabilities."""
        if self.rule == "sign":
            return self.outputs
        odds = np.exp(self.outputs - self.outputs.max(axis=-1, keepdims=True))
        probabilities: NDArray[np.float64] = odds / odds.sum(axis=-1, keepdims=True)
        return probabilities

    @property
    def matrix_name(self) -> str:
        """What figures call that matrix."""
        return "the Jacobian" if self.recurrent is None else "W_hh"


def wrong_outputs(
    outputs: NDArray[np.float64], targets: NDArray[np.float64], rule: Rule = "sign"
) -> NDArray[np.bool_]:
    """Return which outputs are wrong, (…, output) as given: those of the wrong sign, or the one chosen by mistake.

    Zero of either sign counts as positive; of several largest numbers the first is chosen.

    Examples
    --------
    >>> wrong_outputs(np.array([0.3, -0.1]), np.array([1.0, 1.0])).tolist()
    [False, True]
    >>> wrong_outputs(np.array([0.2, 0.9, 0.1]), np.array([1, 0, 0]), "argmax").tolist()
    [False, True, False]
    """
    if rule == "sign":
        return (outputs >= 0) != (targets >= 0)
    chosen, meant = (a.argmax(axis=-1)[..., None] for a in (outputs, targets))
    return (np.arange(outputs.shape[-1]) == chosen) & (chosen != meant)


def sequence_accuracy(
    outputs: NDArray[np.float64],
    targets: NDArray[np.float64],
    scored: NDArray[np.bool_],
    rule: Rule = "sign",
    seed: int = 0,
) -> tuple[float, tuple[float, float]]:
    """Return the share of scored outputs that are right, and its 95 % interval over sequences.

    The interval is a percentile bootstrap that draws whole sequences, since the errors of one sequence hang
    together; where all sequences do equally well it has no width.

    Parameters
    ----------
    outputs, targets
        (batch, time, output).
    scored
        (batch, time).
    rule
        When an output is right (`wrong_outputs`).
    seed
        Of the bootstrap.

    Returns
    -------
    accuracy, (low, high)
        NaN where an output is not finite, nothing is scored, or outputs or targets are unknown (without
        numbers); the interval also for fewer than two sequences.

    Examples
    --------
    Of four outputs of each of two sequences one is wrong in the second; the interval is over sequences:

    >>> targets = np.ones((2, 4, 1))
    >>> outputs = targets.copy()
    >>> outputs[1, 0] = -0.3
    >>> sequence_accuracy(outputs, targets, np.ones((2, 4), bool))
    (0.875, (0.75, 1.0))
    """
    undefined = float("nan"), float("nan")
    if not (outputs.shape[-1] and targets.shape[-1]):
        return float("nan"), undefined
    wrong = wrong_outputs(outputs, targets, rule)
    share = 1 - (wrong.any(axis=2) if rule == "argmax" else wrong.mean(axis=2))
    right, counted = (share * scored).sum(axis=1), scored.sum(axis=1)
    n = len(right)
    if not np.isfinite(outputs).all() or not counted.any():
        return float("nan"), undefined
    accuracy = float(right.sum() / counted.sum())
    if n < 2:
        return accuracy, undefined
    draws = np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), size=N_RESAMPLES)
    low, high = np.nanquantile(draws @ right / np.maximum(draws @ counted, 1), [0.025, 0.975])
    return accuracy, (float(low), float(high))


def leading_eigenvalues(matrix: NDArray[np.float64], k: int | None = None) -> NDArray[np.complex128]:
    """Return the ``k`` eigenvalues of largest modulus, descending: the spectrum of the leading invariant subspace.

    All of them where ``k`` is None or exceeds the matrix. `analysis.variables.subspaces.leading_subspace`
    gives its basis too.

    Examples
    --------
    >>> leading_eigenvalues(np.diag([0.5, -2.0, 1.0]), 2).tolist()
    [(-2+0j), (1+0j)]
    """
    eigenvalues = np.linalg.eigvals(matrix).astype(np.complex128)
    return eigenvalues[np.argsort(-np.abs(eigenvalues), kind="stable")][:k]


def summarise(
    member: TrainedMember, operators: Mapping[int, NDArray[np.float64]], lengths: Collection[int] = ()
) -> dict[str, Any]:
    """Return the numbers of one member in the layout of ``evaluation_summary.json`` (described in `emt.runs`).

    Parameters
    ----------
    member
        The member.
    operators
        The task's operator f (s·d, d) for each length s that is analysed; empty where the task is not linear.
    lengths
        Lengths without an operator: the whole spectrum is stored and nothing is compared with a theory. A
        member without a matrix has no keys of a spectrum.

    Returns
    -------
    entry
        All keys but the paths, JSON-able. Keys that are undefined are left out; the accuracy is NaN where an
        output is not finite.

    Examples
    --------
    >>> recording = trace.load("demo/repeat_copy/traces/seq8.nc")
    >>> entry = summarise(recorded_members(recording)[0], {8: recording["operator"].to_numpy()})
    >>> entry["model_name"], len(entry["eigenvalues_rnn_seq8"]), len(entry["eigenvalues_theory_seq8"])
    ('model-1', 64, 64)
    """
    lengths = sorted({*operators, *lengths})
    accuracy, interval = sequence_accuracy(member.outputs, member.targets, member.scored, member.rule)
    known = member.recurrent is not None or member.jacobian is not None
    spectrum = leading_eigenvalues(member.matrix) if known else np.empty(0, dtype=np.complex128)
    companions = {length: companion_matrix(operator, length) for length, operator in operators.items()}
    references = {} if member.recurrent is None else compare_as_reference(member.matrix, companions)
    entry: dict[str, Any] = {
        "model_name": member.name,
        "accuracy": accuracy,
        "accuracy_interval": list(interval),
        "accuracy_rule": member.rule,
        "seq_lengths": lengths,
        "hidden_dim": member.hidden.shape[2],
        "input_dim": member.inputs.shape[2],
        "batch_size": len(member.outputs),
    }
    if member.returns is not None:
        mean = mean_interval(member.returns)
        entry |= {"mean_return": mean.estimate, "mean_return_interval": [mean.low, mean.high]}
    for length in lengths if known else ():
        values = _spectrum_values(spectrum[: len(companions[length])] if length in companions else spectrum)
        if length in companions:
            values |= _theory_values(
                spectrum[: len(companions[length])], companion_eigenvalues(companions[length])
            )
        if length in references:
            values |= _reference_values(references[length])
        entry |= {f"{key}_seq{length}": value for key, value in values.items()}
    if not known:
        return entry
    bins = eigenvalue_histograms(spectrum)[2]
    return entry | {"histogram_bins": {name: edges.tolist() for name, edges in bins.items()}}


def _spectrum_values(eigenvalues: NDArray[np.complex128]) -> dict[str, Any]:
    angles, magnitudes, _ = eigenvalue_histograms(eigenvalues)
    return {
        "eigenvalues_rnn": _pairs(eigenvalues),
        "angle_histogram_rnn": angles.tolist(),
        "magnitude_histogram_rnn": magnitudes.tolist(),
    }


def _theory_values(eigenvalues: NDArray[np.complex128], theory: NDArray[np.complex128]) -> dict[str, Any]:
    error = spectral_error(eigenvalues, theory)
    return {
        "eigenvalues_theory": _pairs(theory),
        "spectral_error_deg": error.angle_deg,
        "spectral_relative_error": error.relative,
        "missing_modes": error.missing,
    }


def _reference_values(reference: ReferenceComparison) -> dict[str, Any]:
    numbers = {
        "variance_ratio": reference.variance_ratio,
        "frob_error": reference.frob_error,
        "frob_relative": reference.frob_relative,
        "spectral_error_deg_reference": reference.spectral_error_deg,
    }
    defined = {key: value for key, value in numbers.items() if np.isfinite(value)}
    return {"eigenvalues_rnn_reference": _pairs(reference.eigenvalues)} | defined


def _pairs(values: NDArray[np.complex128]) -> list[list[float]]:
    return np.column_stack([values.real, values.imag]).tolist()

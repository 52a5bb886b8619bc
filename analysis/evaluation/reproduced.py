"""Whether weights give the numbers that the earlier code reported of them."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from analysis.variables.companion import companion_matrix
from analysis.variables.subspaces import compare_as_reference


def differences_from_summary(
    entry: Mapping[str, Any], recurrent: NDArray[np.float64], operators: Mapping[int, NDArray[np.float64]]
) -> dict[str, float]:
    """Return the largest differences of recomputed numbers from those of a member's entry in an earlier summary.

    Parameters
    ----------
    entry
        The member's, with ``eigenvalues_rnn_seqL``, ``variance_ratio_seqL`` and ``frob_error_seqL``.
    recurrent
        W_hh (unit, unit).
    operators
        The task's, (s·d, d), for each length L.

    Returns
    -------
    differences
        ``eigenvalues``, by the pairing with the smallest sum, infinite where their numbers differ;
        ``variance_ratio`` and ``frob_error``, whose value hangs on the signs that a library gives singular
        vectors. Names that the entry has no value of are absent.
    """
    companions = {length: companion_matrix(operator, length) for length, operator in operators.items()}
    found: dict[str, float] = {}
    for length, ours in compare_as_reference(recurrent, companions).items():
        theirs = {name: entry.get(f"{name}_seq{length}") for name in ("variance_ratio", "frob_error")}
        differences = {
            name: abs(getattr(ours, name) - value) for name, value in theirs.items() if value is not None
        }
        pairs = np.asarray(entry.get(f"eigenvalues_rnn_seq{length}") or np.empty((0, 2)), dtype=np.float64)
        if len(pairs):
            differences["eigenvalues"] = _largest_distance(pairs[:, 0] + 1j * pairs[:, 1], ours.eigenvalues)
        for name, value in differences.items():
            found[name] = max(found.get(name, 0.0), float(value))
    return found


def _largest_distance(a: NDArray[np.complex128], b: NDArray[np.complex128]) -> float:
    if len(a) != len(b):
        return float("inf")
    distances = np.abs(a[:, None] - b)
    return float(distances[linear_sum_assignment(distances)].max())

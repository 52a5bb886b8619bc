"""How the answers of a run compare with the right ones, and with those that an edit calls for."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from emt.interventions.queries import Answers, Array, Queries

SCORES = ("right", "counterfactual_right", "kept_right", "margin", "probability")
"""What `score` returns, each (member, query)."""


class Outcome(NamedTuple):
    """What came of one condition.

    ``scores`` as `score` returns them, and of writes and reads ``linear_margin`` and ``share`` (`emt.effects`); of
    each query the ``source`` sequence, -1 for none, and the mean distance ``lag`` of the changed writes from it,
    (query,), and their mean size ``norm``, (member, query); and at which share of steps memories were ``rescaled``,
    (member,), if that is known. ``read_error``, (member,), is how far reads are from what the log says of them.
    """

    scores: dict[str, Array]
    source: NDArray[np.int64]
    lag: Array
    norm: Array
    rescaled: Array | None = None
    read_error: Array | None = None


def score(
    outputs: Array, answers: Answers, queries: Queries, first: int = 0, counterfactual: Array | None = None
) -> dict[str, Array]:
    """Score outputs at queries.

    Parameters
    ----------
    outputs
        Of the steps from ``first`` on, (member, batch, time, output); what comes after the numbers of a
        target, as a critic's value, is left out.
    answers, queries
        The right answers, and where they are scored.
    first
        First step that counts: an edit has no effect before. Queries without such a step are NaN.
    counterfactual
        What an edit calls for, (batch, time, target); NaN where that is undefined.

    Returns
    -------
    dict
        Arrays (member, query), NaN where undefined: ``right``, share of numbers with their target's sign, or
        of steps whose class is right; ``counterfactual_right``, share of those where the counterfactual
        answer is another one that are answered like it; ``kept_right``, share of the others that are right;
        ``margin``, mean of target times output, or the right output minus the mean of the others;
        ``probability`` of the right class. A member with an output that is not finite is NaN throughout.
    """
    at, counted = _places(queries, answers.judged, first)
    rows = queries.sequence[:, None]
    given = outputs[..., : answers.targets.shape[-1]][:, rows, at - first]
    targets = answers.targets[rows, at]
    wanted = None if counterfactual is None else counterfactual[rows, at]
    if answers.rule == "sign":
        scores = _score_signs(given, targets, wanted, counted)
    else:
        scores = _score_classes(given, targets, wanted, counted)
    broken = np.isnan(np.where(np.isfinite(outputs), 0.0, np.nan).sum(axis=(1, 2, 3)))
    return {name: np.where(broken[:, None], np.nan, values) for name, values in scores.items()}


def _places(
    queries: Queries, judged: NDArray[np.bool_], first: int
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Return steps of each query, (query, step), none of them before ``first``, and which of them count."""
    if (queries.step >= 0).all():
        step = queries.step[:, None]
        return np.maximum(step, first), step >= first
    steps = np.arange(first, judged.shape[1])
    at = np.broadcast_to(steps, (len(queries.step), len(steps)))
    return at, judged[queries.sequence][:, first:] & ((queries.step < 0) | (queries.step == at.T)).T


def _score_signs(
    given: Array, targets: Array, wanted: Array | None, counted: NDArray[np.bool_]
) -> dict[str, Array]:
    """Return the scores of outputs (member, query, step, output) by their signs."""
    right = np.sign(targets)
    counts = counted[..., None] & (right != 0)
    other = None if wanted is None else np.sign(wanted)
    margin = _mean(targets * given, np.broadcast_to(counted[..., None], counts.shape))
    return _shares(np.sign(given), right, other, counts) | {
        "margin": margin,
        "probability": np.full_like(margin, np.nan),
    }


def _score_classes(
    given: Array, targets: Array, wanted: Array | None, counted: NDArray[np.bool_]
) -> dict[str, Array]:
    """Return the scores of outputs (member, query, step, output) by the largest."""
    right = targets.argmax(axis=-1)
    other = None
    if wanted is not None:
        known = np.isfinite(wanted).all(axis=-1)
        other = np.where(known, np.nan_to_num(wanted).argmax(axis=-1), np.nan)
    own = np.take_along_axis(given, right[None, ..., None], axis=-1)[..., 0]
    others = (given.sum(axis=-1) - own) / max(given.shape[-1] - 1, 1)
    powers = np.exp(given - given.max(axis=-1, keepdims=True))
    probability = np.exp(own - given.max(axis=-1)) / powers.sum(axis=-1)
    return _shares(given.argmax(axis=-1), right, other, counted) | {
        "margin": _mean(own - others, counted),
        "probability": _mean(probability, counted),
    }


def _shares(
    given: NDArray[Any], right: NDArray[Any], other: Array | None, counts: NDArray[np.bool_]
) -> dict[str, Array]:
    """Return which shares of answers (member, query, …) are right, and which are the counterfactual ones."""
    shares = {"right": _mean(given == right, counts)}
    if other is None:
        return shares | {
            n: np.full_like(shares["right"], np.nan) for n in ("counterfactual_right", "kept_right")
        }
    known = counts & np.isfinite(other)
    return shares | {
        "counterfactual_right": _mean(given == other, known & (other != right)),
        "kept_right": _mean(given == right, known & (other == right)),
    }


def _mean(values: NDArray[Any], counts: NDArray[np.bool_]) -> Array:
    """Return the mean of values (member, query, …) over the places that count, (query, …); NaN without any."""
    flat, weight = values.reshape(*values.shape[:2], -1), counts.reshape(len(counts), -1)
    total = weight.sum(axis=1)
    sums = np.where(weight, flat, 0).sum(axis=-1, dtype=float)
    return np.divide(sums, total, out=np.full(sums.shape, np.nan), where=total > 0)

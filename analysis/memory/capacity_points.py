"""What is measured of one member's memory for its capacity: queries, pairs read by their own keys, transitions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from analysis.memory.log import Array, MemoryLog, event_of, items_of, memory_log
from analysis.memory.own_keys import key_cosines, read_own_keys, stored_pairs
from analysis.memory.queries import find_queries
from analysis.memory.transitions import smallest_eigenvalues
from emt import trace

MOST_PROBES = 16
"""Steps of a sequence, evenly spaced, at which pairs are read by their own keys."""


@dataclass(frozen=True)
class Points:
    """Measurements of one member and one memory.

    Attributes
    ----------
    queries
        A row for each query of an item: ``pairs`` stored, ``lag`` since the item was last written,
        ``similarity`` of its key to the most similar other one, ``writes`` of the item so far, ``accuracy``
        and ``loss`` of the answer.
    contents
        A row for each time that all pairs are read by their own keys: ``pairs``, ``error``, ``plain_error``,
        ``value_floor``.
    held
        A row for each pair then: ``pairs``, ``similarity``, ``lag``, ``error``, ``left``.
    eigenvalues
        A row for each write: ``token`` at its step, ``eigenvalue``, ``keep``.
    features
        F, the features of a key.
    """

    queries: pd.DataFrame
    contents: pd.DataFrame
    held: pd.DataFrame
    eigenvalues: pd.DataFrame
    features: int

    @classmethod
    def joined(cls, parts: Sequence["Points"]) -> "Points":
        """Return the measurements of several recordings together."""
        tables = ("queries", "contents", "held", "eigenvalues")
        joined = {n: pd.concat([getattr(one, n) for one in parts], ignore_index=True) for n in tables}
        return cls(**joined, features=parts[0].features)


def measure(one: xr.DataTree, memory: str, sequences: int) -> Points:
    """Return the measurements of a trace of one member; contents are replayed in the first sequences alone."""
    log = memory_log(one, memory)
    answers = _answers(one)
    asks, queries, contents, held = find_queries(one), [], [], []
    for sequence in range(one.sizes["batch"]):
        here = np.flatnonzero(asks.sequence == sequence)
        steps = asks.step[here]
        if len(here):
            known = stored_pairs(one, log, sequence, steps)
            rows = _queries(one, log, sequence, steps, asks.items[here, 0], known)
            queries.append(rows.assign(**{n: a[sequence, steps] for n, a in answers.items()}))
        if sequence < sequences:
            probes = _spread(steps if len(here) else np.flatnonzero(log.written[0, sequence]))
            pairs = stored_pairs(one, log, sequence, probes)
            for some in read_own_keys(log.sequence(sequence), probes, pairs):
                contents.append((some.pairs, some.error, some.plain_error, some.floor))
                held.append(
                    pd.DataFrame(
                        {
                            "pairs": some.pairs,
                            "similarity": some.similarity,
                            "lag": some.lag,
                            "error": some.errors,
                            "left": some.left,
                        }
                    )
                )
    return Points(
        queries=pd.concat(queries) if queries else pd.DataFrame(columns=[*QUERY_COLUMNS], dtype=float),
        contents=pd.DataFrame(contents, columns=["pairs", "error", "plain_error", "value_floor"]),
        held=pd.concat(held) if held else pd.DataFrame(columns=[*HELD_COLUMNS], dtype=float),
        eigenvalues=_eigenvalues(one, log),
        features=log.features,
    )


QUERY_COLUMNS = ("pairs", "lag", "similarity", "writes", "accuracy", "loss")
HELD_COLUMNS = ("pairs", "similarity", "lag", "error", "left")


def _spread(steps: NDArray[np.intp]) -> NDArray[np.intp]:
    """Return up to `MOST_PROBES` of some steps, evenly spaced, the last one among them."""
    if len(steps) <= MOST_PROBES:
        return steps
    return steps[np.linspace(0, len(steps) - 1, MOST_PROBES).round().astype(np.intp)]


def _queries(
    one: xr.DataTree,
    log: MemoryLog,
    sequence: int,
    steps: NDArray[np.intp],
    items: NDArray[np.int64],
    known: NDArray[np.bool_],
) -> pd.DataFrame:
    """Return a row for each of some steps of a sequence that ask for an item."""
    written = np.flatnonzero(known.any(axis=0))
    holds = (items_of(one, "written")[sequence][None] == items[:, None, None]).any(axis=-1)
    found = holds & log.written[0, sequence] & (np.arange(holds.shape[1]) <= log.last_write(steps)[:, None])
    last = np.where(found.any(axis=-1), holds.shape[1] - 1 - found[:, ::-1].argmax(axis=-1), -1)
    cosine = key_cosines(log.key[0, sequence, written])
    own = np.searchsorted(written, np.maximum(last, 0)).clip(0, max(len(written) - 1, 0))
    others = known[:, written] & (written != last[:, None])
    similarity = (
        np.where(others, cosine[own], 0.0).max(axis=-1, initial=0.0) if len(written) else np.zeros(len(steps))
    )
    missing = last < 0
    return pd.DataFrame(
        {
            "pairs": known.sum(axis=-1),
            "lag": np.where(missing, np.nan, steps - last),
            "similarity": np.where(missing, np.nan, similarity),
            "writes": found.sum(axis=-1),
        }
    )


def _answers(one: xr.DataTree) -> Mapping[str, Array]:
    """Return accuracy and loss of one member's outputs (batch, time); NaN where nothing is scored."""
    about = trace.about(one)
    outputs = np.asarray(one["outputs"], dtype=float)[0]
    targets, scored = (
        np.asarray(one[name].isel(member=0, missing_dims="ignore"), dtype=float)
        for name in ("targets", "scored")
    )
    right, loss = np.full((2, *scored.shape), np.nan)
    if about.accuracy and outputs.shape == targets.shape and outputs.size:
        same = {
            "argmax": outputs.argmax(axis=-1) == targets.argmax(axis=-1),
            "sign": (np.sign(outputs) == np.sign(targets)).all(axis=-1),
        }
        right = np.asarray(same[about.accuracy], dtype=float)
    if about.loss == "half_squares":
        loss = np.sum((outputs - targets) ** 2, axis=-1) / 2
    return {n: np.where(scored > 0, x, np.nan) for n, x in (("accuracy", right), ("loss", loss))}


def _eigenvalues(one: xr.DataTree, log: MemoryLog) -> pd.DataFrame:
    smallest = smallest_eigenvalues(log)[0]
    here = np.isfinite(smallest)
    keep = log.keep if log.keep.ndim == log.erase.ndim else log.keep.mean(axis=-1)
    token = event_of(one, "token")
    return pd.DataFrame({"token": token[here], "eigenvalue": smallest[here], "keep": keep[0][here]})

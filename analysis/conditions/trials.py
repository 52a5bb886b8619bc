"""Trials of a recording: its batch items, or the trials that the event ``trial`` numbers within each."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from analysis.errors import AnalysisError
from emt import trace

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Trials:
    """Where the trials of a recording are; they start together.

    Attributes
    ----------
    rows
        The batch item of each trial, (trial,).
    steps
        Its steps there, (trial, time), the last one again beyond its end.
    present
        (trial, time), steps that exist.
    """

    rows: NDArray[np.intp]
    steps: NDArray[np.intp]
    present: NDArray[np.bool_]

    def of(self, values: NDArray[Any]) -> NDArray[Any]:
        """Return values (batch, time, …) by trial, (trial, time, …)."""
        return values[self.rows[:, None], self.steps]

    def chosen(self, trials: NDArray[np.intp]) -> "Trials":
        """Return some of the trials."""
        return Trials(self.rows[trials], self.steps[trials], self.present[trials])


def trial_states(recording: xr.DataTree, trials: Trials) -> list[Array]:
    """Return the states (trial, time, unit) of each member, all its variables side by side.

    Raises
    ------
    AnalysisError
        If one is not finite at a step that exists.
    """
    variables = trace.about(recording).states
    names = trace.member_names(recording)
    states = [trials.of(trace.member_states(recording, variables, place)) for place in range(len(names))]
    for name, values in zip(names, states, strict=True):
        if not np.isfinite(values[trials.present]).all():
            raise AnalysisError(f"{name}: expected finite hidden states; some are not")
    return states


def over_spread(states: Array, present: NDArray[np.bool_]) -> Array:
    """Return states (trial, time, unit) over the root mean square of their units' standard deviations."""
    spread = np.sqrt(np.mean(states[present].var(axis=0)))
    return states / (spread if spread > 0 else 1.0)


def with_noise(states: Array, present: NDArray[np.bool_], share: float, seed: tuple[int, int]) -> Array:
    """Return states (trial, time, unit) over their spread, with noise of that share of it."""
    states = over_spread(states, present)
    return states + share * np.random.default_rng(seed).normal(size=states.shape) if share else states


def check_noise(share: float) -> None:
    """Refuse a share of noise that is none.

    Raises
    ------
    AnalysisError
    """
    if not share >= 0:
        raise AnalysisError(f"must be a number ≥ 0; got {share}", parameter="probe_noise")


def find_trials(recording: xr.DataTree) -> Trials:
    """Return the trials of a recording: runs of one number of the event ``trial`` in each batch item, -1 for none."""
    exists = trace.present_steps(recording)
    number = np.zeros(exists.shape, dtype=np.int64)
    if "trial" in recording.data_vars and "member" not in recording["trial"].dims:
        number = recording["trial"].to_numpy()
    first = np.concatenate([np.ones((len(number), 1), bool), number[:, 1:] != number[:, :-1]], axis=1)
    rows, starts = np.nonzero(first & exists)
    ends = np.append(starts[1:], 0)
    # The next trial starts in the same row, or the row ends.
    ends = np.where(np.append(rows[1:], -1) == rows, ends, exists.sum(axis=1)[rows])
    numbered = number[rows, starts] >= 0
    rows, starts, lengths = rows[numbered], starts[numbered], (ends - starts)[numbered]
    offsets = np.arange(lengths.max(initial=0))
    steps = starts[:, None] + np.minimum(offsets, lengths[:, None] - 1)
    return Trials(rows, steps, offsets < lengths[:, None])

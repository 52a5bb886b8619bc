"""Recordings with labels whose decoding is known."""

import numpy as np
import xarray as xr
from numpy.typing import NDArray

import emt

Array = NDArray[np.float64]


def recording(states: list[Array], **events: NDArray[np.int64]) -> xr.DataTree:
    """Return the recording of members' states (trial, step, unit) with events of trials."""
    return emt.from_arrays(states, events=events).recording


def turning_code(
    degrees: float, members: int = 6, trials: int = 80, steps: int = 9, units: int = 20, strength: float = 1.2
) -> tuple[list[Array], NDArray[np.int64]]:
    """Return states whose axis for one of two classes turns by so many degrees over the steps, and the classes."""
    rng = np.random.default_rng(3)
    label = np.arange(trials) % 2
    plane = np.linalg.qr(rng.normal(size=(units, 2)))[0].T
    angle = np.radians(np.linspace(0, degrees, steps))
    axis = np.cos(angle)[:, None] * plane[0] + np.sin(angle)[:, None] * plane[1]
    code = strength * (2 * label - 1)[:, None, None] * axis
    return [code + rng.normal(size=(trials, steps, units)) for _ in range(members)], label

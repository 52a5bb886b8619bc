"""Linear codes of a linear task's variables in states, h = Ψu + b, as arrays that analyses find and interventions use.

The variables u are the values in the task's window: its last s vectors of d values, flattened oldest first, so
index = slot · d + bit. The next vector is the window (a row) times the task's operator (s·d, d).
"""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

Strength = Literal["unit", "scalar"]
"""What slots may differ in where magnitudes hold the order: a factor for each unit, or one factor."""


@dataclass(frozen=True)
class Codes:
    """The codes of members, all of the same variables.

    Attributes
    ----------
    basis
        Ψ (member, state, variable), the state's tensors joined in the order of a trace's ``states``; NaN for a
        member without a code.
    reader
        D (member, variable, state): least squares of variables on states, each less its mean over trials. Not
        Ψ's pseudo-inverse, which reads badly where variables share directions.
    positions
        Position of each variable in the window, (variable,), ascending; others are forgotten.
    operator
        (window, target).
    fitted
        Number of first trials that the codes come from: these are not edited.
    """

    basis: Array
    reader: Array
    positions: NDArray[np.intp]
    operator: Array
    fitted: int = 0

    @property
    def length(self) -> int:
        """Slots of a window."""
        return len(self.operator) // self.width

    @property
    def width(self) -> int:
        """Values in a slot."""
        return int(self.operator.shape[1])

    @property
    def known(self) -> NDArray[np.bool_]:
        """Members that have a code, (member,)."""
        both = np.concatenate([self.basis, self.reader.mT], axis=2)
        return np.asarray(np.isfinite(both).all(axis=(1, 2)))

    @property
    def slots(self) -> NDArray[np.intp]:
        """Slots that have variables, ascending, from 0, the oldest."""
        return np.unique(self.positions // self.width)

    def moved_on(self) -> NDArray[np.intp]:
        """Return for each variable that of its bit in the next slot, after the last the first; -1 if there is none."""
        moved = np.full(len(self.positions), -1)
        for bit in range(self.width):
            places = np.flatnonzero(self.positions % self.width == bit)
            if len(places) > 1:
                moved[places] = np.roll(places, -1)
        return moved


def task_windows(values: Array, present: NDArray[np.bool_], trial: NDArray[np.int64], length: int) -> Array:
    """Return the window at each step (row, time, length · d), oldest vector first; NaN for vectors not there yet.

    Parameters
    ----------
    values
        The sequence's vectors (row, time, d).
    present
        Steps that have one (row, time); others, such as end markers, leave the window as it is.
    trial
        Trial of a stream that each step belongs to (row, time); each starts with an empty window.
    length
        Vectors in a window.

    Examples
    --------
    >>> values = np.array([[[1.0], [2.0], [3.0]]])
    >>> task_windows(values, np.ones((1, 3), bool), np.zeros((1, 3), int), 2).tolist()
    [[[nan, 1.0], [1.0, 2.0], [2.0, 3.0]]]
    """
    rows, steps, width = values.shape
    windows = np.full((rows, steps, length, width), np.nan)
    window = np.full((rows, length, width), np.nan)
    for t in range(steps):
        if t:
            window[trial[:, t] != trial[:, t - 1]] = np.nan
        here = present[:, t]
        window[here] = np.concatenate([window[here, 1:], values[here, t, None]], axis=1)
        windows[:, t] = window
    return windows.reshape(rows, steps, length * width)


def continued(windows: Array, operator: Array, steps: int) -> Array:
    """Return the vectors (row, step, d) that follow windows (row, window) by a linear task's operator."""
    width, found = operator.shape[1], []
    for _ in range(steps):
        found.append(windows @ operator)
        windows = np.concatenate([windows[:, width:], found[-1]], axis=1)
    return np.stack(found, axis=1)


def is_grid(positions: NDArray[np.intp], width: int) -> bool:
    """Whether all slots that have variables have those of the same bits."""
    slots, bits = (np.unique(part) for part in (positions // width, positions % width))
    return len(slots) * len(bits) == len(positions)


def magnitude_fit(basis: Array, positions: NDArray[np.intp], width: int, strength: Strength) -> Array:
    """Return the nearest Ψ in which slots have the same directions and differ in magnitude, (…, state, variable).

    Slot j of the fit is diag(g_j) E, with a vector E for each bit, which all slots share: the best approximation
    of rank one (Eckart & Young 1936) of each unit's (slot, bit) block (``strength`` "unit"), or of the matrix
    (slot, unit · bit), where g_j is a number ("scalar"). Csordás et al. (2024, arXiv:2408.10920) call such codes
    onions. NaN where slots do not have the same bits.

    Parameters
    ----------
    basis
        Ψ (…, state, variable), finite.
    positions, width
        Position of each variable in the window, and bits in a slot.
    strength
        What slots may differ in.
    """
    slots, bits = (np.unique(part) for part in (positions // width, positions % width))
    if not is_grid(positions, width):
        return np.full_like(basis, np.nan)
    blocks = basis.reshape(*basis.shape[:-1], len(slots), len(bits))
    if strength == "scalar":
        blocks = np.moveaxis(blocks, -2, -3).reshape(*basis.shape[:-2], len(slots), -1)
    u, s, v = np.linalg.svd(blocks, full_matrices=False)
    fit = u[..., :1] * s[..., None, :1] @ v[..., :1, :]
    if strength == "scalar":
        fit = np.moveaxis(fit.reshape(*basis.shape[:-2], len(slots), basis.shape[-2], len(bits)), -3, -2)
    return np.asarray(fit.reshape(basis.shape))


def share_explained(basis: NDArray[Any], fit: NDArray[Any]) -> Array:
    """Return the share of Ψ² that a fit explains, 1 - ‖Ψ - fit‖²/‖Ψ‖², over the last two axes."""
    left, total = (np.square(part).sum(axis=(-2, -1)) for part in (basis - fit, basis))
    return np.asarray(1 - left / total)

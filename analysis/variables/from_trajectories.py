"""Linear codes of a task's variables in recorded states, found from trajectories and certified on held-out trials.

A code says h_t = Ψ u_t + b_t: u_t are the values in the task's window at step t, the columns of Ψ the
variable memories that hold them, and b_t is what all trials share at that step, a transient or a clock. The
windows are known: inputs first, then targets, so that Ψ is a regression of states on variables. It needs no
weights, holds for any network, and is no more than what the certificate says: how well Ψ reconstructs the
states of trials that it was not fitted to, and how well Ψ* reads the variables from them.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from analysis.statistics import Interval, mean_interval
from emt.codes import task_windows

__all__ = [
    "Certificate",
    "Code",
    "Fit",
    "Trials",
    "certify",
    "code_of",
    "column_angles",
    "fit_each",
    "fit_reader",
    "fit_trajectories",
    "reconstruct_each_step",
    "task_windows",
]

Array = NDArray[np.float64]

N_FOLDS = 5
"""Parts of the trials, each left out once."""


@dataclass(frozen=True)
class Trials:
    """The variables of recorded trials.

    Attributes
    ----------
    variables
        u (trial, time, variable); NaN where the window has no vector yet.
    used
        Steps (trial, time) at which the network has to hold all variables.
    """

    variables: Array
    used: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.variables)

    def take(self, trials: NDArray[np.intp]) -> "Trials":
        """Return some of the trials."""
        return Trials(self.variables[trials], self.used[trials])

    @cached_property
    def folds(self) -> "list[tuple[NDArray[np.intp], Trials]]":
        """For each fold the numbers of the trials left out, and the others; none for a single trial."""
        number = np.arange(len(self))
        folds = min(N_FOLDS, len(self)) if len(self) > 1 else 0
        return [(number[number % folds == k], self.take(number[number % folds != k])) for k in range(folds)]

    @cached_property
    def means(self) -> Array:
        """Mean over trials of each step's variables (time, variable); a vector that is not there yet counts zero."""
        return np.nan_to_num(self.variables).mean(axis=0)

    @cached_property
    def design(self) -> Array:
        """The variables of all used steps, centred over trials, (sample, variable)."""
        return np.asarray((self.variables - self.means)[self.used])

    @cached_property
    def solver(self) -> Array:
        """Pseudo-inverse of the design (variable, sample), the same for all members."""
        return np.asarray(np.linalg.pinv(self.design))

    @cached_property
    def distinct(self) -> bool:
        """Whether the trials suffice to tell all variables apart."""
        return bool(np.linalg.matrix_rank(self.design) == self.design.shape[1])


@dataclass(frozen=True)
class Code:
    """A linear code of variables in states.

    Attributes
    ----------
    basis
        Ψ (state, variable).
    dual
        Ψ* (variable, state), with Ψ* Ψ the identity.
    offset
        b (time, state).
    condition_number
        ‖Ψ‖ ‖Ψ*‖ (spectral norms); infinite where the variables cannot be told apart.
    """

    basis: Array
    dual: Array
    offset: Array
    condition_number: float

    def encode(self, variables: Array) -> Array:
        """Return the states (trial, time, state) that hold variables (trial, time, variable)."""
        return variables @ self.basis.T + self.offset

    def decode(self, states: Array) -> Array:
        """Return the variables (trial, time, variable) that states (trial, time, state) hold."""
        return (states - self.offset) @ self.dual.T


Fit = Callable[[Array, Trials], Code]
"""How a code follows from states (trial, time, state) and their trials."""


@dataclass(frozen=True)
class Certificate:
    """How far a code can be relied on; intervals are means over held-out trials.

    Attributes
    ----------
    condition_number
        Of the code that is fitted to all trials.
    reconstruction
        1 - ‖h - Ψu - b‖² / ‖h - b̄‖², with b̄ the mean over the other trials: the share of what differs
        between trials.
    reading
        1 - ‖Ψ*(h - b) - u‖² / ‖u‖²: below zero where variables are read with errors larger than themselves.
    precision_deg
        Mean over variables of the jackknife's standard error of the direction of Ψ's columns; NaN where Ψ
        does not come from trials.
    """

    condition_number: float
    reconstruction: Interval
    reading: Interval
    precision_deg: float


def fit_reader(states: Array, trials: Trials) -> Array:
    """Return D (variable, state), least squares of variables on states (trial, time, state), over the used steps.

    Each less its mean over trials. Unlike the pseudo-inverse of Ψ it reads as well as any linear map of these
    states can: where variables share directions, a pseudo-inverse multiplies what Ψ does not explain.
    """
    centred = (states - states.mean(axis=0))[trials.used]
    return np.asarray(np.linalg.lstsq(centred, trials.design, rcond=None)[0].T)


def fit_trajectories(states: Array, trials: Trials) -> Code:
    """Return the code by least squares of states (trial, time, state) on variables, over the used steps.

    Examples
    --------
    States that are a linear code of two variables:

    >>> rng = np.random.default_rng(0)
    >>> trials = Trials(rng.normal(size=(20, 5, 2)), np.ones((20, 5), bool))
    >>> directions = np.array([[1.0, 0.0], [0.0, 2.0], [0.0, 0.0]])
    >>> code = fit_trajectories(trials.variables @ directions.T, trials)
    >>> code.basis.round(6).tolist(), round(code.condition_number, 6)
    ([[1.0, 0.0], [0.0, 2.0], [0.0, 0.0]], 2.0)
    """
    basis = (trials.solver @ (states - states.mean(axis=0))[trials.used]).T
    condition = float(np.linalg.cond(basis)) if trials.distinct and len(basis) >= basis.shape[1] else np.inf
    return code_of(basis, np.linalg.pinv(basis), condition, states, trials)


def code_of(basis: Array, dual: Array, condition_number: float, states: Array, trials: Trials) -> Code:
    """Return the code with a given basis, its offset from states (trial, time, state)."""
    return Code(basis, dual, states.mean(axis=0) - trials.means @ basis.T, condition_number)


def fit_each(states: Array, trials: Trials, fit: Fit) -> list[Code]:
    """Return the code of each fold, fitted to states (trial, time, state) of the trials that are not left out.

    Examples
    --------
    Where states are an exact code, that of each fold is the same:

    >>> rng = np.random.default_rng(0)
    >>> trials = Trials(rng.normal(size=(20, 5, 2)), np.ones((20, 5), bool))
    >>> codes = fit_each(trials.variables @ rng.normal(size=(2, 3)), trials, fit_trajectories)
    >>> all(np.allclose(code.basis, codes[0].basis) for code in codes)
    True
    """
    return [fit(np.delete(states, left_out, axis=0), others) for left_out, others in trials.folds]


def certify(code: Code, held_out: Sequence[Code], states: Array, trials: Trials) -> Certificate:
    """Return the certificate of a code from those of its folds (`fit_each`).

    Examples
    --------
    An exact code is certified in full:

    >>> rng = np.random.default_rng(0)
    >>> trials = Trials(rng.normal(size=(20, 5, 2)), np.ones((20, 5), bool))
    >>> states = trials.variables @ rng.normal(size=(2, 3))
    >>> code, held_out = fit_trajectories(states, trials), fit_each(states, trials, fit_trajectories)
    >>> certificate = certify(code, held_out, states, trials)
    >>> round(certificate.reconstruction.estimate, 6), round(certificate.reading.estimate, 6)
    (1.0, 1.0)
    """
    shares = [
        _shares(
            fold_code,
            states[left_out],
            trials.take(left_out),
            np.delete(states, left_out, axis=0).mean(axis=0),
        )
        for fold_code, (left_out, _) in zip(held_out, trials.folds, strict=True)
    ]
    reconstruction, reading = np.concatenate(shares, axis=1) if shares else np.empty((2, 0))
    return Certificate(
        condition_number=code.condition_number,
        reconstruction=mean_interval(reconstruction, bounds=(-np.inf, 1.0)),
        reading=mean_interval(reading, bounds=(-np.inf, 1.0)),
        precision_deg=_precision([fold_code.basis for fold_code in held_out]),
    )


def reconstruct_each_step(states: Array, trials: Trials) -> float:
    """Return the held-out reconstruction where each step has a basis of its own; NaN where trials are too few for it.

    Where it is much better than that of one basis, the variables are there, but the code changes with time.
    """
    if not trials.folds or min(len(others) for _, others in trials.folds) <= trials.variables.shape[2]:
        return float("nan")
    left, total = 0.0, 0.0
    for t in np.flatnonzero(trials.used.all(axis=0)):
        for left_out, others in trials.folds:
            fitted = np.delete(states[:, t], left_out, axis=0)
            basis = np.linalg.pinv(others.variables[:, t] - others.means[t]) @ (fitted - fitted.mean(axis=0))
            differing = states[left_out, t] - fitted.mean(axis=0)
            left += np.sum((differing - (trials.variables[left_out, t] - others.means[t]) @ basis) ** 2)
            total += np.sum(differing**2)
    return float(1 - left / total) if total else float("nan")


def column_angles(a: Array, b: Array) -> Array:
    """Return the angle in degrees between corresponding columns of two matrices; NaN where one is zero."""
    with np.errstate(invalid="ignore"):
        a, b = a / np.linalg.norm(a, axis=0), b / np.linalg.norm(b, axis=0)
    # Unlike arccos of the dot product, exact for equal directions.
    return np.degrees(2 * np.arctan2(np.linalg.norm(a - b, axis=0), np.linalg.norm(a + b, axis=0)))


def _shares(code: Code, states: Array, trials: Trials, mean: Array) -> Array:
    """Return reconstruction and reading of each trial, (2, trial); NaN where nothing differs."""
    used = trials.used[..., None]
    variables = np.nan_to_num(trials.variables)
    pairs = (
        (states - code.encode(variables), states - mean),
        (code.decode(states) - variables, variables),
    )
    left, total = (np.array([np.sum((pair[i] * used) ** 2, axis=(1, 2)) for pair in pairs]) for i in range(2))
    return 1 - left / np.where(total > 0, total, np.nan)


def _precision(bases: Sequence[Array]) -> float:
    if all(np.array_equal(basis, bases[0]) for basis in bases):
        return float("nan")
    mean = np.mean(bases, axis=0)
    squared = np.sum([np.sum((basis - mean) ** 2, axis=0) for basis in bases], axis=0) * (1 - 1 / len(bases))
    return float(np.degrees(np.arctan2(np.sqrt(squared), np.linalg.norm(mean, axis=0))).mean())

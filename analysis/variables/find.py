"""Variable memories of a population: which direction of its state holds which of the task's variables, and how surely.

Two estimators, `analysis.variables.from_powers` from powers of the step's matrix and
`analysis.variables.from_trajectories` from recorded trajectories, face the same certificate on held-out
trials. A network in which neither holds has no such basis that its recording shows, and none is drawn.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from analysis.errors import AnalysisError
from analysis.spectra.values import spectral_error
from analysis.statistics import Interval
from analysis.variables.companion import companion_cycles, companion_eigenvalues, companion_matrix
from analysis.variables.from_powers import CONDITION_LIMIT, find_variable_basis
from analysis.variables.from_trajectories import (
    Array,
    Certificate,
    Code,
    Fit,
    Trials,
    certify,
    code_of,
    column_angles,
    fit_each,
    fit_reader,
    fit_trajectories,
    reconstruct_each_step,
)
from analysis.variables.results import MemberVariables, Theory, TrialVariables, VariableMemories
from emt import trace
from emt.codes import task_windows

CONDITION_LIMITS = {"powers": CONDITION_LIMIT, "trajectories": 1e4}
"""Largest condition numbers: recordings are float32, and 1e4 leaves three of seven digits; powers also raise errors."""

EXPLAINED = 0.9
"""From this share of the states on, variables that cannot be read are said to share directions, not to be absent."""


def find_variables(
    recording: xr.DataTree,
    *,
    estimator: Literal["best", "powers", "trajectories"] = "best",
    model: int | None = None,
    trial: int = 1,
) -> VariableMemories:
    """Find the variable memories of a linear task's networks, and say if there are none.

    Parameters
    ----------
    recording
        recorded run of a population
    estimator
        where the basis comes from: powers of the recurrent matrix, regression of recorded states on the
        task's variables, or for each model whichever reconstructs held-out states best
    model
        number of the model whose variables are drawn over time (default: the one with the median
        reconstruction)
    trial
        which of the recorded sequences is drawn

    Raises
    ------
    AnalysisError
        If the task has no linear operator, the trace was recorded without the matrix of a step, or there is
        no such model or trial.

    Examples
    --------
    >>> found = find_variables(trace.load("demo/repeat_copy/traces/seq8.nc"))
    >>> found
    VariableMemories: variable memories in ... of 5 members...
    >>> found.estimates.loc["model-1"].index.tolist()
    ['powers', 'trajectories']
    >>> {"condition_number", "verdict"} <= set(found.estimates.columns)
    True
    """
    numbers = np.asarray(recording["member"]).tolist()
    _check(recording, numbers, model, trial)
    theory, trials = _theory(recording), _trials(recording)
    kept = Trials(trials.variables[..., theory.positions], trials.used)
    wanted = ("powers", "trajectories") if estimator == "best" else (estimator,)
    studies = [_study(recording, place, theory, kept, wanted) for place in range(len(numbers))]
    names = pd.Index(trace.member_names(recording), name="model_name")
    members = pd.DataFrame([_row(study, theory, kept) for study in studies], index=names)
    place = _median_place(members["reconstruction"]) if model is None else numbers.index(model)
    return VariableMemories(
        label=trace.label(recording),
        theory=theory,
        members=members,
        estimates=pd.concat(
            [_estimate_rows(study) for study in studies], keys=names, names=["model_name", "estimator"]
        ),
        found=tuple(study.found for study in studies if study.found),
        shown=None if place is None else _show(studies[place], kept, trial - 1),
        trials=len(kept),
        described=tuple(study.described for study in studies),
        readers=np.stack([fit_reader(study.states, kept) for study in studies]),
    )


@dataclass(frozen=True)
class _Estimate:
    """What one estimator says of one member: its code, that of each fold, and why it is refused (empty: it is not)."""

    code: Code
    held_out: Sequence[Code]
    certificate: Certificate
    refusal: str


@dataclass(frozen=True)
class _Study:
    """One member: its estimates by estimator, which of them is taken ("none" without any), what it was found with."""

    states: Array
    estimates: Mapping[str, _Estimate | None]
    estimator: str
    found: MemberVariables | None

    @property
    def described(self) -> Code | None:
        """The code that is taken, or the one that describes held-out states best, if Ψ* cannot read them."""
        if self.found is not None:
            return self.found.code
        shares = {
            name: estimate.certificate.reconstruction
            for name, estimate in self.estimates.items()
            if estimate is not None and estimate.certificate.condition_number <= CONDITION_LIMITS[name]
        }
        known = {name: share.estimate for name, share in shares.items() if share.low > 0}
        best = self.estimates[max(known, key=known.__getitem__)] if known else None
        return None if best is None else best.code


def _check(recording: xr.DataTree, numbers: list[int], model: int | None, trial: int) -> None:
    if "operator" not in recording.data_vars:
        about = trace.about(recording)
        if about.recorded_with:
            raise AnalysisError(
                "the trials have no linear operator, so their variables are not defined; emt.trials takes an operator, "
                "emt.task_trials brings that of a task"
            )
        raise AnalysisError(
            f"task {about.task.get('name', 'unknown')!r} has no linear operator, so its variables are not defined"
        )
    if "step_matrix" not in recording.data_vars:
        raise AnalysisError("expected a recorded run with 'step_matrix'; record it again")
    exists = trace.present_steps(recording)
    for name in ("operator", "step_matrix", "readout", *trace.about(recording).states):
        if name not in recording.data_vars:
            continue
        values, over_time = recording[name].to_numpy(), "time" in recording[name].dims
        if not np.isfinite(values[:, exists] if over_time else values).all():
            raise AnalysisError(f"expected finite numbers in {name!r}; got NaN or infinity")
    if model is not None and model not in numbers:
        raise AnalysisError(f"must be one of {', '.join(map(str, numbers))}; got {model}", parameter="model")
    if not 1 <= trial <= recording.sizes["batch"]:
        raise AnalysisError(f"must be 1 to {recording.sizes['batch']}; got {trial}", parameter="trial")


def _theory(recording: xr.DataTree) -> Theory:
    operator = np.asarray(recording["operator"], dtype=float)
    size, width = operator.shape
    companion = companion_matrix(operator, size // width)
    positions = np.sort(np.concatenate([cycle.positions for cycle in companion_cycles(companion)]))
    return Theory(
        length=size // width,
        width=width,
        positions=positions,
        operator=operator,
        transition=companion[np.ix_(positions, positions)],
        modes=companion_eigenvalues(companion)[: len(positions)],
    )


def _trials(recording: xr.DataTree) -> Trials:
    """Return the window at each step, complete or not, and the steps at which an answer completes it."""
    size, width = recording.sizes["window"], recording.sizes["target"]
    scored = np.asarray(recording["scored"], dtype=bool)
    inputs, targets = (np.asarray(recording[name], dtype=float) for name in ("inputs", "targets"))
    values = np.where(scored[..., None], targets, inputs[..., :width])
    present = scored | (np.asarray(recording["written"]) >= 0)
    windows = task_windows(values, present, np.asarray(recording["trial"]), size // width)
    return Trials(windows, scored & np.isfinite(windows).all(axis=-1))


def _states(recording: xr.DataTree, place: int) -> Array:
    """Return the whole state of one member, (trial, time, state)."""
    names = trace.about(recording).states
    arrays = [np.asarray(recording[name])[place].astype(float) for name in names]
    return np.concatenate([array.reshape(*array.shape[:2], -1) for array in arrays], axis=2)


def _readout(recording: xr.DataTree, place: int) -> Array | None:
    """Return how one member's outputs follow from its whole state (output, state), or None."""
    if "readout" not in recording.data_vars:
        return None
    sizes = {name: int(np.prod(recording[name].shape[3:])) for name in trace.about(recording).states}
    readout = np.asarray(recording["readout"], dtype=float)[place]
    blocks = [readout if name == "hidden" else np.zeros((len(readout), size)) for name, size in sizes.items()]
    return np.hstack(blocks)


def _study(
    recording: xr.DataTree, place: int, theory: Theory, trials: Trials, wanted: Sequence[str]
) -> _Study:
    states = _states(recording, place)
    matrix = np.asarray(recording["step_matrix"], dtype=float)[place]
    fits: dict[str, Fit] = {"trajectories": fit_trajectories}
    readout = _readout(recording, place)
    if readout is not None:
        fits["powers"] = _fit_powers(matrix, readout, np.asarray(recording["operator"], dtype=float), states)
    estimates = {
        name: _estimate(name, fits[name], states, trials) if name in fits else None for name in wanted
    }
    good = {name: e for name, e in estimates.items() if e is not None and not e.refusal}
    best = max(good, key=lambda name: good[name].certificate.reconstruction.estimate, default="none")
    if best == "none":
        return _Study(states, estimates, best, None)
    code = good[best].code
    found = MemberVariables(
        model_name=f"model-{int(np.asarray(recording['member'])[place])}",
        estimator=best,
        code=code,
        transition=code.dual @ matrix @ code.basis,
        observed=_observed_transition(code, states, trials),
    )
    return _Study(states, estimates, best, found)


def _observed_transition(code: Code, states: Array, trials: Trials) -> Array:
    """Return the least-squares map from the variables read at one step to those read at the next, (to, from)."""
    read = code.decode(states)
    pairs = trials.used[:, :-1] & trials.used[:, 1:]
    return np.asarray(np.linalg.lstsq(read[:, :-1][pairs], read[:, 1:][pairs], rcond=None)[0].T)


def _fit_powers(matrix: Array, readout: Array, operator: Array, states: Array) -> Fit:
    """Return the fit of which only the offset depends on the trials."""
    found = find_variable_basis(matrix, readout, operator, states)
    basis, dual = found.basis[:, found.kept], found.dual[found.kept]
    return lambda some, trials: code_of(basis, dual, found.condition_number, some, trials)


def _estimate(name: str, fit: Fit, states: Array, trials: Trials) -> _Estimate:
    code, held_out = fit(states, trials), fit_each(states, trials, fit)
    certificate = certify(code, held_out, states, trials)
    return _Estimate(code, held_out, certificate, _refusal(certificate, CONDITION_LIMITS[name]))


def _refusal(certificate: Certificate, limit: float) -> str:
    """Return why a code is not relied on; empty where it is."""
    reasons = []
    if not certificate.condition_number <= limit:
        reasons.append(f"condition number {certificate.condition_number:.3g} (at most {limit:g})")
    for name, share in (("reconstruction", certificate.reconstruction), ("reading", certificate.reading)):
        if not share.low > 0:
            reasons.append(
                f"held-out {name} {share.estimate:.3g} ({share.low:.3g} to {share.high:.3g}), not above 0"
            )
    if certificate.reconstruction.low > EXPLAINED and not certificate.reading.low > 0:
        reasons.append(
            f"although the variables explain {certificate.reconstruction.estimate:.1%} of the states: they share "
            f"directions (condition number {certificate.condition_number:.3g})"
        )
    return ", ".join(reasons)


def _row(study: _Study, theory: Theory, trials: Trials) -> dict[str, Any]:
    """Return what is known of a member; NaN for what needs a basis."""
    return {
        "estimator": study.estimator,
        **_certificate_row(study.estimates[study.estimator] if study.found else None),
        "agreement_deg": _agreement(list(study.estimates.values())),
        **_transition_row(study.found, theory),
        "reconstruction_each_step": reconstruct_each_step(study.states, trials),
        "shared_activity": _shared_activity(study.states, trials.used),
    }


def _certificate_row(estimate: _Estimate | None) -> dict[str, float]:
    unknown = Interval(np.nan, np.nan, np.nan, 0)
    certificate = estimate.certificate if estimate else Certificate(np.nan, unknown, unknown, np.nan)
    row = {"condition_number": certificate.condition_number, "precision_deg": certificate.precision_deg}
    for name, share in (("reconstruction", certificate.reconstruction), ("reading", certificate.reading)):
        row |= {name: share.estimate, f"{name}_low": share.low, f"{name}_high": share.high}
    return row


def _estimate_rows(study: _Study) -> pd.DataFrame:
    rows = {
        name: _certificate_row(estimate)
        | {"verdict": "no linear readout" if estimate is None else estimate.refusal or "identified"}
        for name, estimate in study.estimates.items()
    }
    return pd.DataFrame.from_dict(rows, orient="index")


def _transition_row(found: MemberVariables | None, theory: Theory) -> dict[str, float]:
    """Return how far the empirical Φ are from the task's, and the spectrum of the first."""
    transition, observed = (
        (found.transition, found.observed) if found else (np.full_like(theory.transition, np.nan),) * 2
    )
    angle, gain = _compare(transition, theory.transition)
    return {
        "transition_angle_deg": angle,
        "transition_gain": gain,
        "observed_angle_deg": _compare(observed, theory.transition)[0],
        "spectral_error_deg": spectral_error(np.linalg.eigvals(transition), theory.modes).angle_deg
        if found
        else np.nan,
    }


def _compare(transition: Array, theory: Array) -> tuple[float, float]:
    """Return the angle in degrees between two matrices as vectors, and the factor that the first is of the second."""
    squared = np.sum(theory**2)
    gain = float(np.sum(transition * theory) / squared)
    apart = np.linalg.norm(transition - gain * theory)
    return float(np.degrees(np.arctan2(apart, gain * np.sqrt(squared)))), gain


def _agreement(estimates: Sequence[_Estimate | None]) -> float:
    """Return the mean angle between the directions of two estimators, NaN unless both are relied on."""
    bases = [estimate.code.basis for estimate in estimates if estimate is not None and not estimate.refusal]
    return float(column_angles(*bases).mean()) if len(bases) == 2 else np.nan


def _shared_activity(states: Array, used: NDArray[np.bool_]) -> float:
    differing = np.sum((states - states.mean(axis=0))[used] ** 2)
    total = np.sum((states[used] - states[used].mean(axis=0)) ** 2)
    return float(1 - differing / total) if total else np.nan


def _median_place(reconstruction: pd.Series) -> int | None:
    """Return the place of the member with the median reconstruction, the lower of two; None without any."""
    ranked = reconstruction.reset_index(drop=True).dropna().sort_values(kind="stable")
    return int(ranked.index[(len(ranked) - 1) // 2]) if len(ranked) else None


def _show(study: _Study, trials: Trials, trial: int) -> TrialVariables | None:
    estimate = study.estimates.get(study.estimator)
    if study.found is None or estimate is None:
        return None
    codes = [
        code for code, (left_out, _) in zip(estimate.held_out, trials.folds, strict=True) if trial in left_out
    ]
    read = codes[0].decode(study.states[[trial]])[0]
    return TrialVariables(
        study.found.model_name, trial + 1, trials.variables[trial], read, trials.used[trial]
    )

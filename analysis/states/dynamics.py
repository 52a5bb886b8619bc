"""Dynamics of a population: kinds of fixed and slow points, spectra of their Jacobians, Lyapunov exponents.

Everything is about the autonomous map h → F(h, 0) of a member's moving state, and its Jacobians J;
`emt.dynamics_file` says where the points come from.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from analysis.errors import AnalysisError
from analysis.population import undefined_text
from analysis.result import Result
from analysis.states.resolution import eigenvalue_errors, place_errors
from analysis.statistics import UNBOUNDED, mean_interval
from emt import dynamics_file as portraits
from emt.dynamics_file import UNIT_TOLERANCE

GROWTH_DOUBLINGS = 7
"""Transient growth is looked for at steps 2ᵏ and 3 · 2ᵏ up to k = 7, that is up to 384 steps."""

MOST_DIRECTIONS = 3
"""Unstable directions of a point that are kept for drawing, the fastest."""

KINDS = ("stable", "saddle", "repeller", "unresolved")
"""Fixed points none, some and all of whose directions are unstable, and those of which rounding of the weights decides
that, or where they are (`analysis.states.resolution`)."""

EXPONENT_TOLERANCE = 1e-3
"""Exponents that Jacobians changed in their last digit move by more are not resolved: a run without input finds those
of linear networks to this precision."""


@dataclass(frozen=True)
class MemberPlane:
    """Where one member was and where its points are, on the first principal components of its recorded states.

    Attributes
    ----------
    model_name
        "model-3".
    visited
        Recorded states (visit, component), at least two components.
    points
        (point, component).
    directions
        Unstable directions at each point, (point, direction, component): unit vectors of the state space,
        projected; NaN where a point has fewer.
    variance_ratio
        Share of the recorded variance of each component.
    """

    model_name: str
    visited: NDArray[np.float64]
    points: NDArray[np.float64]
    directions: NDArray[np.float64]
    variance_ratio: NDArray[np.float64]


@dataclass(frozen=True)
class Dynamics(Result):
    """Dynamics of a population.

    Attributes
    ----------
    label
        What figures call this population.
    members
        A row for each member: points ``found`` by ``searches``, and of those kept how many searches ended
        there (``hits``) and how many are ``stable``, ``saddles``, ``repellers``, ``unresolved`` and ``slow``;
        largest ``transient_growth`` of a fixed point; ``exponent_recorded`` and ``exponent_silence``, the
        leading Lyapunov exponents (means over sequences), by how much a change of Jacobians in their last
        digit moves these (``exponent_change_…``), and how many exponents of those taken are positive.
    population
        For columns of ``members`` their mean over members with its 95 % interval, and n; exponents that are
        not resolved do not count.
    points
        A row for each point, by (model_name, point): ``kind`` ("stable", "saddle", "repeller", "unresolved"
        or "slow"), numbers of ``unstable`` and ``neutral`` directions, ``spectral_radius``, ``speed``,
        ``hits``, ``distance`` from the nearest recorded state in spreads, ``non_normality``,
        ``transient_growth``, ``input_gain``; what the weights' last digit leaves open: ``eigenvalue_error``,
        the largest of the moduli, and ``place_error`` in spreads.
    eigenvalues
        Of each point's Jacobian by descending modulus, (point, mode).
    exponents
        Mean over sequences by (model_name, drive, rank), with the smallest and the largest sequence's, and
        the largest ``change`` where Jacobians change in their last digit.
    planes
        One for each member.
    """

    label: str
    members: pd.DataFrame
    population: pd.DataFrame
    points: pd.DataFrame
    eigenvalues: NDArray[np.complex128]
    exponents: pd.DataFrame
    planes: tuple[MemberPlane, ...]

    def tables(self) -> dict[str, pd.DataFrame]:
        """Return members, population, points and exponents."""
        return {
            "dynamics_members": self.members,
            "dynamics_population": self.population,
            "dynamics_points": self.points,
            "lyapunov_exponents": self.exponents,
        }

    def arrays(self) -> dict[str, NDArray[np.complex128]]:
        """Return the eigenvalues, in the order of ``dynamics_points``."""
        return {"jacobian_eigenvalues": self.eigenvalues}

    def headline(self) -> str:
        """Return the result in a sentence."""
        kinds = ("stable", "saddles", "repellers", "slow")
        counts = ", ".join(f"{self.members[kind].median():g} {kind}" for kind in kinds)
        n = len(self.members)
        leading = self.members["exponent_silence"][resolved_exponents(self.members, "silence")]
        text = (
            f"{n} member{'' if n == 1 else 's'}: median numbers of points: {counts}; leading Lyapunov exponent without "
            f"input {leading.median():z.4f} per step ({leading.min():z.4f} to {leading.max():z.4f} over members)"
        )
        undefined = undefined_text(leading)
        return "; ".join([f"{text}, {undefined}" if undefined else text, *self._unresolved()])

    def _unresolved(self) -> Iterator[str]:
        """Name the members of which the last digit of the weights decides."""
        counts = self.members["unresolved"]
        if counts.any():
            listed = ", ".join(f"{name} {count}" for name, count in counts[counts > 0].items())
            yield f"fixed points whose kind or place the last digit of the weights decides, in no other count: {listed}"
        open_exponents = self.members.index[~resolved_exponents(self.members, "silence")]
        if len(open_exponents):
            yield (
                f"exponents that it moves by more than {EXPONENT_TOLERANCE:g}, left out: {', '.join(open_exponents)}"
            )


def resolved_exponents(members: pd.DataFrame, drive: str) -> pd.Series:
    """Return of which members (member,) the leading exponent does not depend on the last digit of their weights."""
    return members[f"exponent_change_{drive}"] <= EXPONENT_TOLERANCE


def analyse_dynamics(portrait: xr.Dataset) -> Dynamics:
    """Analyse fixed and slow points, their stability and Lyapunov exponents, as evaluation with --dynamics found them.

    Raises
    ------
    AnalysisError
        If a Jacobian is not finite; the message names the member.

    Examples
    --------
    >>> from emt import dynamics_file
    >>> dynamics = analyse_dynamics(dynamics_file.load("demo/own_gru/dynamics/seq24.nc"))
    >>> dynamics
    Dynamics: 4 members: median numbers of points: ...
    >>> {"kind", "spectral_radius", "transient_growth"} <= set(dynamics.points.columns)
    True
    """
    names = [f"model-{number}" for number in portrait["member"].values]
    matrices = portrait["jacobian"].values.astype(float)
    owners = portrait["owner"].values
    if not np.isfinite(matrices).all():
        bad = int(owners[~np.isfinite(matrices).all(axis=(1, 2))][0])
        raise AnalysisError(f"model-{bad}: expected finite Jacobians; found NaN or infinity")
    eigenvalues, vectors = sorted_modes(matrices)
    points = _point_table(portrait, matrices, eigenvalues, vectors)
    members = _member_table(portrait, names, points)
    about = portraits.about(portrait)
    return Dynamics(
        label=about.get("experiment") or about.get("model", {}).get("type", "population"),
        members=members,
        population=_population_table(members),
        points=points,
        eigenvalues=eigenvalues,
        exponents=_exponent_table(portrait, names),
        planes=tuple(_planes(portrait, names, eigenvalues, vectors)),
    )


def sorted_modes(matrices: NDArray[np.float64]) -> tuple[NDArray[np.complex128], NDArray[np.complex128]]:
    """Return eigenvalues (point, mode) by descending modulus, and eigenvectors (point, state, mode).

    Examples
    --------
    >>> eigenvalues, vectors = sorted_modes(np.array([[[0.5, 0.0], [0.0, -2.0]]]))
    >>> eigenvalues.real.tolist(), np.abs(vectors[0, :, 0]).tolist()
    ([[-2.0, 0.5]], [0.0, 1.0])
    """
    values, vectors = np.linalg.eig(matrices)
    order = np.argsort(-np.abs(values), axis=-1, kind="stable")
    vectors = np.take_along_axis(vectors, order[:, None], axis=-1)
    return np.take_along_axis(values, order, axis=-1).astype(complex), vectors.astype(complex)


def non_normality(matrices: NDArray[np.float64], eigenvalues: NDArray[np.complex128]) -> NDArray[np.float64]:
    """Return Henrici's departure from normality relative to the norm, sqrt(1 − Σ|λ|² / ‖J‖_F²), (point,).

    Zero for normal matrices, whose eigenvectors are orthogonal; one for nilpotent ones (Henrici 1962;
    Trefethen & Embree 2005, §48). NaN for J = 0.

    Examples
    --------
    A rotation is normal, a shift is as far from it as can be:

    >>> matrices = np.array([[[0.0, -1.0], [1.0, 0.0]], [[0.0, 1.0], [0.0, 0.0]]])
    >>> non_normality(matrices, np.linalg.eigvals(matrices)).round(6).tolist()
    [0.0, 1.0]
    """
    norm = np.square(matrices).sum(axis=(-2, -1))
    modes = np.square(np.abs(eigenvalues)).sum(axis=-1)
    return np.sqrt(
        np.clip(1 - np.divide(modes, norm, out=np.full_like(norm, np.nan), where=norm > 0), 0, None)
    )


def transient_growth(
    matrices: NDArray[np.float64], eigenvalues: NDArray[np.complex128]
) -> NDArray[np.float64]:
    """Return max_t ‖(J / max(ρ, 1))ᵗ‖₂ over t = 0 and t = 2ᵏ, 3 · 2ᵏ up to 384, (point,).

    How much a perturbation near a stable point can grow before it decays; 1 where nothing grows. Above
    spectral radius ρ = 1 it is growth beyond that of the leading mode.

    Examples
    --------
    A shift with the gain 3 takes a state to one three times as long, and then to zero:

    >>> matrices = np.array([[[0.0, 3.0], [0.0, 0.0]], [[0.5, 0.0], [0.0, 0.5]]])
    >>> transient_growth(matrices, np.linalg.eigvals(matrices)).tolist()
    [3.0, 1.0]
    """
    radius = np.abs(eigenvalues).max(axis=-1, initial=1.0)
    scaled = matrices / radius[:, None, None]
    powers = np.stack([scaled, scaled @ scaled @ scaled])
    largest = np.ones(len(matrices))
    for _ in range(GROWTH_DOUBLINGS + 1):
        finite = np.isfinite(powers).all(axis=(-2, -1))
        norms = np.linalg.norm(np.where(finite[..., None, None], powers, 0.0), ord=2, axis=(-2, -1))
        largest = np.maximum(largest, np.where(finite, norms, np.inf).max(axis=0))
        with np.errstate(over="ignore", invalid="ignore"):  # growth beyond the range of numbers is infinite
            powers = powers @ powers
    return largest


def _point_table(
    portrait: xr.Dataset,
    matrices: NDArray[np.float64],
    eigenvalues: NDArray[np.complex128],
    vectors: NDArray[np.complex128],
) -> pd.DataFrame:
    moduli = np.abs(eigenvalues)
    unstable = (moduli > 1 + UNIT_TOLERANCE).sum(axis=-1)
    owners = portrait["owner"].values
    about = portraits.about(portrait)
    errors, place_error = eigenvalue_errors(matrices, vectors), _place_error(portrait, matrices)
    neutral = (np.abs(moduli - 1) <= UNIT_TOLERANCE).sum(axis=-1)
    # Along a neutral direction points are a continuum, whose places need not be told apart.
    placed = (place_error <= about["merge_distance"]) | (neutral > 0)
    sure = placed & (np.abs(moduli - (1 + UNIT_TOLERANCE)) > errors).all(axis=-1)
    kind = np.where(unstable == 0, KINDS[0], np.where(unstable == moduli.shape[-1], KINDS[2], KINDS[1]))
    slow = portrait["speed"].values >= about["fixed_speed"]
    columns = {
        "kind": np.where(slow, "slow", np.where(sure, kind, KINDS[3])),
        "unstable": unstable,
        "neutral": neutral,
        "spectral_radius": moduli.max(axis=-1, initial=0),
        **{name: portrait[name].values for name in ("speed", "hits", "distance")},
        "non_normality": non_normality(matrices, eigenvalues),
        "transient_growth": transient_growth(matrices, eigenvalues),
        "input_gain": np.linalg.norm(portrait["input_jacobian"].values.astype(float), ord=2, axis=(-2, -1)),
        "eigenvalue_error": errors.max(axis=-1, initial=0),
        "place_error": place_error,
    }
    table = pd.DataFrame({"model_name": [f"model-{number}" for number in owners], **columns})
    table.insert(1, "point", table.groupby("model_name").cumcount() + 1)
    return table.set_index(["model_name", "point"])


def _place_error(portrait: xr.Dataset, matrices: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return by how much each point may be elsewhere, in spreads of its member's states, (point,)."""
    spread = portrait["spread"].sel(member=portrait["owner"]).values
    errors = place_errors(matrices, portrait["position"].values, portrait["speed"].values)
    return np.divide(errors, spread, out=np.full_like(errors, np.inf), where=spread > 0)


def _exponent_table(portrait: xr.Dataset, names: list[str]) -> pd.DataFrame:
    """Return each exponent's mean and range over sequences, by (model_name, drive, rank)."""
    exponents = portrait["exponent"].values
    index = pd.MultiIndex.from_product(
        [names, portraits.DRIVES, range(1, exponents.shape[-1] + 1)], names=["model_name", "drive", "rank"]
    )
    over = {
        name: f(exponents, axis=2).ravel()
        for name, f in (("mean", np.mean), ("low", np.min), ("high", np.max))
    }
    change = portrait["exponent_change"].values.max(axis=2).ravel()
    return pd.DataFrame(over, index=index).assign(sequences=exponents.shape[2], change=change)


def _member_table(portrait: xr.Dataset, names: list[str], points: pd.DataFrame) -> pd.DataFrame:
    counts = pd.crosstab(points.index.get_level_values("model_name"), points["kind"])
    counts = counts.reindex(index=names, columns=[*KINDS, "slow"], fill_value=0)
    fixed = points[points["kind"] != "slow"]
    growth = fixed.groupby("model_name")["transient_growth"].max().reindex(names)
    columns = {
        "searches": portraits.about(portrait)["searches"],
        "found": portrait["found"].values,
        "hits": points["hits"].groupby("model_name").sum().reindex(names, fill_value=0).to_numpy(),
        "stable": counts["stable"].to_numpy(),
        "saddles": counts["saddle"].to_numpy(),
        "repellers": counts["repeller"].to_numpy(),
        "unresolved": counts["unresolved"].to_numpy(),
        "slow": counts["slow"].to_numpy(),
        "transient_growth": growth.to_numpy(),
    }
    for place, drive in enumerate(portraits.DRIVES):
        means = portrait["exponent"].values[:, place].mean(axis=1)
        columns |= {
            f"exponent_{drive}": means[:, 0],
            f"exponent_change_{drive}": portrait["exponent_change"].values[:, place, :, 0].max(axis=1),
            f"positive_{drive}": (means > 0).sum(axis=1),
        }
    return pd.DataFrame(columns, index=pd.Index(names, name="model_name"))


def _population_table(members: pd.DataFrame) -> pd.DataFrame:
    rows = {}
    known = members.copy()
    for drive in portraits.DRIVES:
        known[f"exponent_{drive}"] = known[f"exponent_{drive}"].where(resolved_exponents(members, drive))
    for name in members.columns.drop("searches"):
        interval = mean_interval(known[name], bounds=_range_of(name))
        rows[name] = {"mean": interval.estimate, "low": interval.low, "high": interval.high, "n": interval.n}
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("quantity")


def _range_of(name: str) -> tuple[float, float]:
    """Return the smallest and the largest possible value of a member's number: counts, growth, exponents."""
    if name.startswith("exponent") and "change" not in name:
        return UNBOUNDED
    return (1.0, np.inf) if name == "transient_growth" else (0.0, np.inf)


def _planes(
    portrait: xr.Dataset,
    names: list[str],
    eigenvalues: NDArray[np.complex128],
    vectors: NDArray[np.complex128],
) -> Iterator[MemberPlane]:
    owners, positions = portrait["owner"].values, portrait["position"].values
    for place, number in enumerate(portrait["member"].values):
        own = owners == number
        visited = portrait["visited"].values[place].astype(float)
        mean = visited.mean(axis=0)
        _, singular, axes = np.linalg.svd(visited - mean, full_matrices=False)
        axes = np.pad(axes, ((0, max(0, 2 - len(axes))), (0, 0)))
        variance = np.pad(singular**2, (0, len(axes) - len(singular)))
        yield MemberPlane(
            model_name=names[place],
            visited=(visited - mean) @ axes.T,
            points=(positions[own] - mean) @ axes.T,
            directions=_unstable_directions(eigenvalues[own], vectors[own]) @ axes.T,
            variance_ratio=variance / max(variance.sum(), np.finfo(float).tiny),
        )


def _unstable_directions(
    eigenvalues: NDArray[np.complex128], vectors: NDArray[np.complex128]
) -> NDArray[np.float64]:
    """Return the leading unstable eigenvectors, unit length, (point, direction, state), NaN for the others.

    A complex pair spans the plane of its real and its imaginary part.
    """
    real = np.where(eigenvalues[:, None].imag < 0, vectors.imag, vectors.real)
    leading = np.moveaxis(real, -1, 1)[:, :MOST_DIRECTIONS]
    length = np.linalg.norm(leading, axis=-1, keepdims=True)
    unstable = np.abs(eigenvalues[:, :MOST_DIRECTIONS, None]) > 1 + UNIT_TOLERANCE
    return np.where(unstable, leading / np.maximum(length, np.finfo(float).tiny), np.nan)

"""Attractors with known Jacobians: a line, a ring, a non-normal pair, and three latches whose points a search finds."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emt import dynamics_file
from emt.commands.known_systems.answers import Answer, analyse
from emt.commands.known_systems.populations import in_random_basis

FIXED, SLOW = 1e-14, 1e-4


def plant_points(jacobians: NDArray[np.float64], positions: NDArray[np.float64]) -> Any:
    """Return the file contents of one member with fixed points at ``positions`` (point, state) and these Jacobians."""
    n, size = positions.shape
    variables = {
        "found": np.array([n]),
        "spread": np.ones(1),
        "visited": np.random.default_rng(0).normal(size=(1, 30, size)),
        "owner": np.ones(n, dtype=int),
        "position": positions,
        "speed": np.full(n, 1e-20),
        "hits": np.ones(n, dtype=int),
        "distance": np.zeros(n),
        "jacobian": jacobians,
        "input_jacobian": np.tile(np.eye(size)[:, :2], (n, 1, 1)),
        "exponent": np.full((1, 2, 1, size), -0.5),
        "exponent_change": np.zeros((1, 2, 1, size)),
    }
    about = {
        "experiment": "known",
        "model": {"type": "rnn"},
        "states": {"hidden": size},
        "held": [],
        "searches": n,
    }
    about |= {"fixed_speed": FIXED, "slow_speed": SLOW, "merge_distance": 1e-2}
    return dynamics_file.make(variables, [1], about)


def line_attractor() -> Iterator[Answer]:
    """Five points on a line in four dimensions with eigenvalues 1, .5, .6, .7 in a random basis.

    One direction is neutral, none unstable, and the spectral radius is 1.
    """
    rng = np.random.default_rng(12)
    matrix = in_random_basis(np.diag([1.0, 0.5, 0.6, 0.7]), rng)
    positions = np.linspace(-1, 1, 5)[:, None] * rng.normal(size=4)
    points = analyse("dynamics", plant_points(np.stack([matrix] * 5), positions)).points
    yield Answer("dynamics", "neutral directions of a line attractor", 1.0, points["neutral"].mean(), 0.0)
    yield Answer("dynamics", "its unstable directions", 0.0, points["unstable"].max(), 0.0)
    yield Answer("dynamics", "its spectral radius", 1.0, points["spectral_radius"].max(), 1e-9)


def ring_attractor() -> Iterator[Answer]:
    """Six points on a ring, each with a neutral tangent and two directions that shrink by .5 and .8.

    Jacobians are R diag(.5, 1, .8) Rᵀ with R turning the radius to the point: symmetric, so they are normal
    and nothing grows on its way.
    """
    angles = 2 * np.pi * np.arange(6) / 6
    turns = np.stack([[[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]] for a in angles])
    jacobians = turns @ np.diag([0.5, 1.0, 0.8]) @ turns.transpose(0, 2, 1)
    result = analyse("dynamics", plant_points(jacobians, turns[:, :, 0]))
    points = result.points
    yield Answer("dynamics", "stable points of a ring attractor", 6.0, result.members["stable"].iloc[0], 0.0)
    yield Answer("dynamics", "their neutral directions", 1.0, points["neutral"].mean(), 0.0)
    # √(1 - Σ|λ|² / ‖J‖²) takes the root of the rounding of a difference near 0.
    yield Answer("dynamics", "their departure from normality", 0.0, points["non_normality"].max(), 1e-6)
    yield Answer("dynamics", "their transient growth", 1.0, points["transient_growth"].max(), 1e-9)


def non_normal_pair() -> Iterator[Answer]:
    """One point with J = [[.5, 1], [0, .5]]: Henrici's departure √(1 - .5 / 1.5), and growth before decay.

    Jᵗ = .5ᵗ [[1, 2t], [0, 1]] has the norm .5ᵗ (t + √(t² + 1)), which falls from t = 1 on: .5 (1 + √2) is the
    largest.
    """
    matrix = np.array([[[0.5, 1.0], [0.0, 0.5]]])
    points = analyse("dynamics", plant_points(matrix, np.zeros((1, 2)))).points
    yield Answer(
        "dynamics", "departure from normality", np.sqrt(2 / 3), points["non_normality"].iloc[0], 1e-9
    )
    yield Answer(
        "dynamics", "transient growth", (1 + np.sqrt(2)) / 2, points["transient_growth"].iloc[0], 1e-9
    )


def latches() -> Iterator[Answer]:
    """Three separate latches h ← tanh(2 h), by hand in an Elman network: a flip-flop of three bits.

    Each latch rests at 0, where its slope is 2, and at ±h, h = tanh(2 h) = .957504, where it is 2 (1 - h²) =
    .166372. So there are 27 fixed points: 2³ = 8 stable ones, one repeller, 27 - 9 = 18 saddles; each latch
    is at 0 in nine of them, so there are 27 unstable directions in all. The search of ``emt evaluate
    --dynamics`` finds them.
    """
    from emt.commands.known_systems.latches import HELD, find_latches

    result = analyse("dynamics", plant_points(*find_latches()))
    row, points = result.members.iloc[0], result.points
    yield Answer("dynamics", "fixed points of three latches", 27.0, row["found"], 0.0)
    for kind, expected in {"stable": 8.0, "saddles": 18.0, "repellers": 1.0}.items():
        yield Answer("dynamics", f"{kind} of three latches", expected, row[kind], 0.0)
    yield Answer("dynamics", "unstable directions of all", 27.0, points["unstable"].sum(), 0.0)
    slowest = points["spectral_radius"].min()
    yield Answer("dynamics", "slope where bits are held", 2 * (1 - HELD**2), slowest, 1e-6)

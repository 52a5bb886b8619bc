"""Members with planted fixed and slow points."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from emt import dynamics_file


@pytest.fixture
def make_portrait() -> Callable[..., Any]:
    """Return a function that makes a portrait of members whose point k has k unstable directions, the last being slow.

    Recorded states lie on a circle in the first two numbers of the state, points on a smaller one.
    """

    def make(members: int = 3, points: int = 4, *, size: int = 5, seed: int = 0) -> Any:
        rng = np.random.default_rng(seed)
        n = members * points
        angle = np.linspace(0, 2 * np.pi, 40, endpoint=False)
        circle = np.zeros((members, 40, size))
        circle[..., 0], circle[..., 1] = np.cos(angle), np.sin(angle)
        place = np.tile(np.arange(points), members)
        frames = [rng.normal(size=(size, size)) for _ in range(n)]
        modes = [np.where(np.arange(size) < min(k, size), 1.2, 0.6 + 0.05 * np.arange(size)) for k in place]
        variables = {
            "found": np.full(members, points),
            "spread": np.ones(members),
            "visited": circle + 0.05 * rng.normal(size=circle.shape),
            "owner": np.repeat(2 * np.arange(members) + 1, points),
            "position": 0.5 * circle[0, place] + 0.01 * rng.normal(size=(n, size)),
            "speed": np.where(place == points - 1, 1e-6, 1e-20),
            "hits": 1 + place,
            "distance": np.full(n, 0.5),
            "jacobian": np.reshape(
                [f @ np.diag(m) @ np.linalg.inv(f) for f, m in zip(frames, modes, strict=True)],
                (n, size, size),
            ),
            "input_jacobian": rng.normal(size=(n, size, 2)),
            "exponent": -np.sort(rng.exponential(size=(members, 2, 4, size)), axis=-1),
            "exponent_change": np.full((members, 2, 4, size), 1e-7),
        }
        about = {
            "experiment": "planted",
            "model": {"type": "lstm"},
            "states": {"hidden": 2, "cell": size - 2},
            "held": [],
            "searches": 50,
            "fixed_speed": 1e-14,
            "slow_speed": 1e-4,
            "merge_distance": 1e-2,
        }
        return dynamics_file.make(variables, [2 * i + 1 for i in range(members)], about)

    return make

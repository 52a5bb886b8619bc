"""Networks of one's own with known spectra and fixed points, recorded as a user records them."""

from collections.abc import Iterator

import numpy as np

from analysis.population import from_summary
from emt.commands.known_systems.answers import Answer, analyse

HELD = 0.957504024079
"""h = tanh(2 h), the rest of a latch."""


def own_networks() -> Iterator[Answer]:
    """A torch RNN whose W_hh is a rotation by 40 degrees times .9, and a latch h ← tanh(2 h + x) as a step function.

    The spectrum of the first is .9 e^{±i 40°}. The latch rests at 0, where its slope is 2, and at ±h with
    h = tanh(2 h) = .957504, where it is 2 (1 - h²): three fixed points, one of them unstable, which the search
    must find. The same states given as arrays, with the rotation as ``step_matrix``, have the same spectrum.
    """
    import torch

    import emt

    angle = np.radians(40.0)
    rotation = 0.9 * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    layer = torch.nn.RNN(1, 2, batch_first=True)
    with torch.no_grad():
        dict(layer.named_parameters())["weight_hh_l0"].copy_(torch.tensor(rotation))
    trials = emt.trials(np.random.default_rng(3).normal(size=(6, 20, 1)))
    run = emt.from_torch(layer, trials)
    given = emt.from_arrays(run.recording["hidden"].to_numpy(), step_matrix=rotation[None])
    for source, recorded in {"torch RNN": run, "arrays": given}.items():
        [values] = from_summary(recorded.summary()).eigenvalues
        radius = analyse("eigenvalue", from_summary(recorded.summary())).statistics["spectral_radius"].iloc[0]
        yield Answer("eigenvalue", f"spectral radius, {source}", 0.9, radius, 1e-6)
        turned = np.degrees(np.abs(np.angle(values))).max()
        yield Answer("eigenvalue", f"angle of its rotation, {source}", 40.0, turned, 1e-4)

    def latch(x: torch.Tensor, state: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        state = torch.tanh(2 * state + x)
        return state, state

    own = emt.from_cells(latch, lambda batch: torch.zeros(batch, 1), trials)
    result = analyse("dynamics", own.dynamics())
    yield Answer("dynamics", "fixed points of a latch, own step", 3.0, result.members["found"].iloc[0], 0.0)
    yield Answer("dynamics", "its unstable directions", 1.0, result.points["unstable"].sum(), 0.0)
    slope = result.points["spectral_radius"].min()
    yield Answer("dynamics", "its slope where it rests", 2 * (1 - HELD**2), slope, 1e-6)


def own_memory() -> Iterator[Answer]:
    """A delta memory of orthogonal keys that keeps half at each step, logged by its step function.

    Keys are unit vectors e_t, so that nothing is erased but a key's own write. A read with e_0 after step t finds
    0.5ᵗ of the first write; one with the key of its own step finds all of that.
    """
    import torch

    import emt
    from analysis.memory.replay import match_grids

    def step(key: torch.Tensor, memory: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        value = key[:, :3] + 1
        memory = 0.5 * memory
        memory = memory + (value - (memory @ key[..., None])[..., 0])[..., None] * key[:, None]
        emt.log_write("delta", key, value, erase=1.0, keep=0.5)
        for query in (torch.eye(6)[:1].expand(len(key), 6), key):
            emt.log_read("delta", query, (memory @ query[..., None])[..., 0])
        return value, memory

    trials = emt.trials(np.eye(6)[None].repeat(2, axis=0))
    run = emt.from_cells(
        step, lambda batch: torch.zeros(batch, 3, 6), trials, hidden="output", held=["state"]
    )
    weight = match_grids(run.recording, "delta").mean_weight[0, 0]
    yield Answer("match", "weight of a write 5 steps ago, own memory", 0.5**5, weight[5, 0, 0], 1e-6)
    yield Answer("match", "weight of the write of the step itself", 1.0, weight[5, 1, 5], 1e-6)

"""Linear networks that solve a task exactly in a known basis, with what they record."""

from typing import Any

import numpy as np

from emt import trace
from emt.tasks.variable_binding import VariableBinding


def plant_variables(
    task: VariableBinding,
    *,
    members: int = 2,
    trials: int = 17,
    horizon: int = 13,
    condition: float = 3.0,
    weight_noise: float = 0.0,
    circuit_noise: float = 0.0,
    rolled: bool = False,
    clock: float = 0.0,
    split: int = 0,
    units: int = 29,
) -> tuple[Any, np.ndarray, np.ndarray]:
    """Return a trace of linear networks that keep the task's variables in a random basis, the bases and the variables.

    The variables are the window's positions whose values last. The basis Q (unit, variable) has singular
    values from 1 down to 1 / ``condition``; W = Q Φ Q⁺ and C, the newest rows of Q⁺, get entries of relative
    size ``weight_noise`` more, and so does Φ by ``circuit_noise``. States are those of the exact circuit, or
    with ``rolled`` those that W makes of the first complete window, noise and all. ``clock`` adds what all
    trials share at a step. With ``split`` the state is in two tensors, the first of that many units.
    """
    length = task.lengths[0]
    batch = task.test_batch(0, length, horizon, trials)
    operator = task.operator(length)
    size, width = operator.shape
    companion = np.vstack([np.eye(size - width, size, k=width), operator.T])
    lasting = np.linalg.matrix_power(companion, size).any(axis=0)
    variables = _roll_out(batch, companion, width)[..., lasting]
    companion, size = companion[np.ix_(lasting, lasting)], int(lasting.sum())
    rng = np.random.default_rng(3)
    bases, states, matrices, readouts = [], [], [], []
    for _ in range(members):
        left, right = (np.linalg.qr(rng.normal(size=(n, n)))[0][:, :size] for n in (units, size))
        q = left * np.geomspace(1, 1 / condition, size) @ right.T
        dual = right * np.geomspace(1, condition, size) @ left.T
        circuit = _noisy(companion, circuit_noise, rng)
        noisy = [_noisy(a, weight_noise, rng) for a in (q @ circuit @ dual, dual[-width:])]
        shared = clock * rng.normal(size=(batch.steps, units))
        bases.append(q)
        states.append(
            (_rolled(variables @ q.T, noisy[0]) if rolled else np.nan_to_num(variables) @ q.T) + shared
        )
        matrices.append(noisy[0])
        readouts.append(noisy[1][:, : split or units])
    hidden = np.stack(states).astype(np.float32)
    parts = {"hidden": hidden[..., : split or units]} | ({"cell": hidden[..., split:]} if split else {})
    axes = ("member", "batch", "time")
    arrays = {
        "inputs": (("batch", "time", "channel"), batch.padded_inputs(task.input_channels)[0]),
        "targets": (("batch", "time", "target"), batch.targets[0]),
        "scored": (("batch", "time"), batch.scored[0].astype(np.int8)),
        "outputs": ((*axes, "output"), np.broadcast_to(batch.targets[0], (members, *batch.targets[0].shape))),
        "operator": (("window", "target"), operator),
        "step_matrix": (("member", "state", "from_state"), np.stack(matrices)),
        "readout": (("member", "output", "unit"), np.stack(readouts)),
    }
    arrays |= {name: (("batch", "time"), event[0]) for name, event in batch.events.items()}
    arrays |= {
        name: ((*axes, "unit" if name == "hidden" else "cell_unit"), part) for name, part in parts.items()
    }
    about = {"model": {"type": "planted"}, "experiment": "planted", "states": list(parts), "accuracy": "sign"}
    recording = trace.make(arrays, [2 * k + 1 for k in range(members)], about)
    return recording, np.stack(bases), variables


def _noisy(exact: np.ndarray, share: float, rng: np.random.Generator) -> np.ndarray:
    return exact + share * np.sqrt(np.mean(exact**2)) * rng.normal(size=exact.shape) if share else exact


def _rolled(states: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Return states (trial, time, unit) that follow the first complete ones by a matrix; zeros before."""
    complete = np.isfinite(states).all(axis=(0, 2))
    rolled = np.nan_to_num(states)
    for step in np.flatnonzero(complete)[1:]:
        rolled[:, step] = rolled[:, step - 1] @ matrix.T
    return rolled


def _roll_out(batch: Any, companion: np.ndarray, width: int) -> np.ndarray:
    """Return the window at each step (trial, time, s·d): inputs first, then powers of Φ; NaN where it is incomplete."""
    inputs, events = batch.inputs[0], {name: event[0] for name, event in batch.events.items()}
    windows = np.full((len(inputs), batch.steps, len(companion)), np.nan)
    for row, number in np.ndindex(len(inputs), int(events["trial"].max()) + 1):
        steps = np.flatnonzero(events["trial"][row] == number)
        shown = steps[events["written"][row, steps] >= 0]
        window = inputs[row, shown, :width].ravel()
        for answer in steps[events["phase"][row, steps] == 1]:
            window = companion @ window
            windows[row, answer] = window
    return windows

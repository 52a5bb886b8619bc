"""Linear networks that solve a task exactly in a known basis, with what they record."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from analysis.evaluation.summary import TrainedMember
from analysis.variables.companion import companion_matrix
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

    The variables are the window's positions whose values last. The basis Q (unit, variable) has singular values from 1
    down to 1 / ``condition``; W = Q Φ Q⁺ and C, the newest rows of Q⁺, get entries of relative size ``weight_noise``
    more, and so does Φ by ``circuit_noise``. States are those of the exact circuit, or with ``rolled`` those that W
    makes of the first complete window, noise and all. ``clock`` adds what all trials share at a step. With ``split``
    the state is in two tensors, the first of that many units.
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
        states.append((_rolled(variables @ q.T, noisy[0]) if rolled else np.nan_to_num(variables) @ q.T) + shared)
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
    arrays |= {name: ((*axes, "unit" if name == "hidden" else "cell_unit"), part) for name, part in parts.items()}
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


@pytest.fixture
def make_circuits() -> Callable[..., Any]:
    """Return `plant_variables` for a task with the options given (default: repeat copy, s = 5, d = 3)."""

    def make(task: dict[str, Any] | None = None, **options: Any) -> tuple[Any, np.ndarray, np.ndarray]:
        return plant_variables(VariableBinding(**({"seq_length": 5, "input_dim": 3} | (task or {}))), **options)

    return make


Plant = Callable[..., TrainedMember]


def selection_operator(positions: list[int], signs: list[float], length: int) -> NDArray[np.float64]:
    operator = np.zeros((length * len(positions), len(positions)))
    operator[positions, np.arange(len(positions))] = signs
    return operator


def repeat_copy(length: int, width: int) -> NDArray[np.float64]:
    return selection_operator(list(range(width)), [1.0] * width, length)


def simulate(circuit_matrix, readout, basis, batch, length, operator, horizon, rng):
    """Roll out h_{t+1} = W h_t from states that hold random windows; targets come from the operator alone."""
    width = operator.shape[1]
    windows = rng.choice([-1.0, 1.0], (batch, length * width))
    hidden = [windows @ basis.T]
    for _ in range(horizon):
        hidden.append(hidden[-1] @ circuit_matrix.T)
    targets = [windows[:, -width:]]
    for _ in range(horizon):
        windows = np.hstack([windows[:, width:], windows @ operator])
        targets.append(windows[:, -width:])
    states = np.stack(hidden, axis=1)
    return states, states @ readout.T, np.stack(targets, axis=1)


def plant_circuit(
    units: int = 24,
    length: int = 3,
    width: int = 2,
    *,
    operator: NDArray[np.float64] | None = None,
    oblique: float = 0.0,
    noise: float = 0.0,
    bulk: float = 0.0,
    batch: int = 4,
    horizon: int = 11,
    seed: int = 0,
    name: str = "model-3",
) -> TrainedMember:
    """Return W = Q Φ Q⁺ + a block of spectral radius about ``bulk`` outside + noise, C = (newest block) Q⁺."""
    rng = np.random.default_rng(seed)
    operator = repeat_copy(length, width) if operator is None else operator
    size = length * width
    frame = np.linalg.qr(rng.normal(size=(units, units)))[0]
    q, outside = frame[:, :size], frame[:, size:]
    if units < size:
        q = rng.normal(size=(units, size)) / np.sqrt(units)
    q = q @ (np.eye(size) + oblique * rng.normal(size=(size, size)) / np.sqrt(size))
    dual = np.linalg.pinv(q)
    recurrent = q @ companion_matrix(operator, length) @ dual
    rest = outside.shape[1]
    recurrent += bulk * outside @ rng.normal(size=(rest, rest)) @ outside.T / np.sqrt(max(rest, 1))
    recurrent += noise * rng.normal(size=(units, units)) / np.sqrt(units)
    readout = dual[-width:]
    hidden, outputs, targets = simulate(recurrent, readout, q, batch, length, operator, horizon, rng)
    scored = np.ones(hidden.shape[:2], dtype=bool)
    scored[:, 0] = False
    arrays = (recurrent, readout, hidden, outputs, targets, scored)
    for array in arrays:
        array.setflags(write=False)
    return TrainedMember(name, recurrent, readout, None, hidden, np.zeros((batch, horizon + 1, width)), *arrays[3:])


@pytest.fixture
def plant() -> Plant:
    return plant_circuit

"""Linear networks that solve a task exactly in a known basis, with what they record."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from analysis.evaluation.summary import TrainedMember
from analysis.variables.companion import companion_matrix
from emt.commands.known_systems.variables import plant_variables
from emt.tasks.variable_binding import VariableBinding


@pytest.fixture
def make_circuits() -> Callable[..., Any]:
    """Return `plant_variables` for a task with the options given (default: repeat copy, s = 5, d = 3)."""

    def make(task: dict[str, Any] | None = None, **options: Any) -> tuple[Any, np.ndarray, np.ndarray]:
        return plant_variables(
            VariableBinding(**({"seq_length": 5, "input_dim": 3} | (task or {}))), **options
        )

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
    return TrainedMember(
        name, recurrent, readout, None, hidden, np.zeros((batch, horizon + 1, width)), *arrays[3:]
    )


@pytest.fixture
def plant() -> Plant:
    return plant_circuit

"""Traces with given hidden states, for analyses that look at states alone."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from emt import trace


def plant_states(hidden: NDArray[np.float64], **events: NDArray[np.int64]) -> Any:
    """Return a trace of members with these states (member, batch, time, unit), and events (batch, time) of trials.

    Nothing else of it means anything.
    """
    members, batch, time, _ = hidden.shape
    rng = np.random.default_rng(0)
    zeros = np.zeros((members, batch, time, 1))
    variables = {
        "inputs": (("batch", "time", "channel"), rng.normal(size=(batch, time, 2))),
        "targets": (("batch", "time", "target"), zeros[0]),
        "scored": (("batch", "time"), np.ones((batch, time), np.int8)),
        "outputs": ((*trace.MEMBER_TIME, "output"), zeros),
        "hidden": ((*trace.MEMBER_TIME, "unit"), hidden),
        **{name: (trace.EVENT, event) for name, event in events.items()},
    }
    numbers = list(range(1, members + 1))
    return trace.make(variables, numbers, {"model": {"type": "known"}, "experiment": "known"})


def plant_answers(outputs: NDArray[np.float64], targets: NDArray[np.float64]) -> Any:
    """Return a trace of members with these outputs (member, batch, time, output) and no states, right by their sign.

    ``targets`` are (batch, time, target).
    """
    members, batch, time, _ = outputs.shape
    variables: dict[str, Any] = {
        "inputs": (("batch", "time", "channel"), np.zeros((batch, time, 0))),
        "targets": (("batch", "time", "target"), targets),
        "scored": (("batch", "time"), np.ones((batch, time), np.int8)),
        "outputs": ((*trace.MEMBER_TIME, "output"), outputs),
        "hidden": ((*trace.MEMBER_TIME, "unit"), np.zeros((members, batch, time, 0))),
    }
    return trace.make(
        variables, list(range(1, members + 1)), {"model": {"type": "known"}, "accuracy": "sign"}
    )


def random_frame(
    rows: int, columns: int, rng: np.random.Generator, *, centred: bool = False
) -> NDArray[np.float64]:
    """Return orthonormal columns (row, column), each of mean zero if ``centred``."""
    numbers = rng.normal(size=(rows, columns))
    return np.asarray(np.linalg.qr(numbers - numbers.mean(axis=0) if centred else numbers)[0])

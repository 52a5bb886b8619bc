"""What networks of one's own write to their associative memories and read from them, logged while they are recorded.

A step function that `emt.from_cells` records, or a module that `emt.from_torch` records, calls `log_write` and
`log_read` where it uses its memory; `log_dictionary` says that a memory returns values of similar keys. Outside
a recording all three return at once. `emt.own.memory_proof` proves that what was logged is what the memory did.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from emt.errors import UserError

Array = NDArray[Any]
Rate = float | Tensor


def log_write(
    memory: str,
    key: Tensor,
    value: Tensor,
    *,
    strength: Rate = 1.0,
    erase: Rate = 0.0,
    keep: Rate = 1.0,
    erase_query: Tensor | None = None,
    erase_key: Tensor | None = None,
    step: int | None = None,
) -> None:
    """Log what a step does to an associative memory M (value × key), which starts empty.

    The step is M ← M (diag(keep) − erase · x yᵀ) + strength · value keyᵀ, with x = ``erase_query`` and
    y = ``erase_key``, or x = keep ∘ key and y = key if they are not given (`emt.memory_nodes`).

    Parameters
    ----------
    memory
        its name
    key, value
        (batch, key) and (batch, value), or with several heads (batch, head, key) and (batch, head, value)
    strength, erase, keep
        a number, (batch,) or (batch, head); keep also by key channel, (batch, key) or (batch, head, key). A row
        that writes nothing to a dictionary has the strength 0
    erase_query, erase_key
        as key; both or neither
    step
        number of the time step, from 0: needed in a module that runs its own loop; `emt.from_cells` counts

    Raises
    ------
    UserError
        If an array has other axes, or the memory is written twice in a step.

    Examples
    --------
    A memory that adds twice the input under the input as its key:

    >>> def step(x, memory):
    ...     emt.log_read("pairs", x, (memory @ x[:, :, None])[..., 0])
    ...     emt.log_write("pairs", x, 2 * x)
    ...     return x, memory + 2 * x[:, :, None] * x[:, None]
    >>> shown = emt.trials(np.eye(3)[None])  # three keys, one after the other
    >>> start = lambda batch: torch.zeros(batch, 3, 3)
    >>> run = emt.from_cells(step, start, shown, hidden="output", held=["state"])
    >>> replay_memory(run.recording, "pairs", [1])[0, 0, 0].diagonal().tolist()  # after the second step
    [2.0, 2.0, 0.0]
    """
    if (calls := _RUN.get()) is not None:
        rates = {"write_strength": strength, "write_erase": erase, "write_keep": keep}
        calls.write(memory, key, value, rates, (erase_query, erase_key), step)


def log_read(memory: str, query: Tensor, value: Tensor, *, step: int | None = None) -> None:
    """Log what an associative memory returned for a query, before or after the write of the step as it is called.

    Parameters
    ----------
    memory
        its name
    query, value
        (batch, key) and (batch, value), or with several heads (batch, head, …); the value as the memory
        returned it, before anything is done to it
    step
        as in `log_write`

    Raises
    ------
    UserError
        If an array has other axes.

    Examples
    --------
    A memory that is read, in the second step, with the key of the first:

    >>> def step(x, memory):
    ...     key, query = x[:, :2], x[:, 2:]
    ...     read = (memory @ query[:, :, None])[..., 0]
    ...     emt.log_read("pairs", query, read)
    ...     emt.log_write("pairs", key, key)
    ...     return read, memory + key[:, :, None] * key[:, None]
    >>> shown = emt.trials([[[1.0, 0, 0, 0], [0, 1, 1, 0]]])
    >>> start = lambda batch: torch.zeros(batch, 2, 2)
    >>> run = emt.from_cells(step, start, shown, hidden="output", held=["state"])
    >>> match_grids(run.recording, "pairs").mean_weight[0, 0, 1, 0]  # of the first write; the second comes later
    array([ 1., nan])
    """
    if (calls := _RUN.get()) is not None:
        calls.read(memory, query, value, step)


def log_dictionary(
    memory: str,
    *,
    similarity: Literal["cosine", "l1", "l2", "dot"],
    recall: Literal["nearest", "kernel", "softmax"] = "nearest",
    capacity: int | None = None,
    scale: float | None = None,
) -> None:
    """Say that a memory is a dictionary: it returns the values of keys that are similar to the query.

    Parameters
    ----------
    memory
        its name
    similarity
        how a query is compared with keys
    recall
        the value of the nearest key, or an average: by a "kernel", 1 / (distance² + 0.001), or by "softmax"
    capacity
        how many writes it holds, the last ones (default: all)
    scale
        of "softmax": what similarities are multiplied by

    Raises
    ------
    UserError
        If it was declared otherwise before.

    Examples
    --------
    A dictionary in which each input is written and found again at once:

    >>> def step(x, state):
    ...     emt.log_dictionary("episodes", similarity="cosine")
    ...     emt.log_write("episodes", x, x)
    ...     emt.log_read("episodes", x, x)
    ...     return x, state
    >>> start = lambda batch: torch.zeros(batch, 1)
    >>> shown = emt.trials(np.eye(2)[None])
    >>> run = emt.from_cells(step, start, shown, hidden="output", held=["state"])
    >>> match_grids(run.recording, "episodes").mean_weight[0, 0, :, 0].tolist()  # (read, write)
    [[1.0, nan], [0.0, 1.0]]
    """
    if (calls := _RUN.get()) is not None:
        rule = {"similarity": similarity, "recall": recall, "capacity": capacity, "scale": scale}
        calls.declare(memory, {name: value for name, value in rule.items() if value is not None})


@dataclass
class MemoryCalls:
    """What was logged of one memory in a run.

    Attributes
    ----------
    rule
        Of a dictionary; empty of a linear memory.
    writes
        Variables (batch, …) by step.
    reads
        Queries and values (batch, …) by step, in the order of calls.
    orders
        Whether reads come "before" or "after" the write of a step, and the first step at which they do.
    """

    rule: dict[str, Any] = field(default_factory=dict)
    writes: dict[int, dict[str, Array]] = field(default_factory=dict)
    reads: dict[int, list[tuple[Array, Array]]] = field(default_factory=dict)
    orders: dict[str, int] = field(default_factory=dict)


class RunCalls:
    """What a network logged in one run over trials of one length.

    Parameters
    ----------
    rows, steps
        Trials and steps of the run.
    """

    def __init__(self, rows: int, steps: int) -> None:
        self.rows, self.steps = rows, steps
        self.now: int | None = None
        self.memories: dict[str, MemoryCalls] = {}

    def write(
        self,
        memory: str,
        key: Tensor,
        value: Tensor,
        rates: dict[str, Rate],
        erasing: tuple[Tensor | None, Tensor | None],
        step: int | None,
    ) -> None:
        """Keep one write; see `log_write`."""
        known, at = self._memory(memory), self._step(memory, step)
        if at in known.writes:
            raise _refusal(memory, f"is written twice at step {at}")
        if (erasing[0] is None) != (erasing[1] is None):
            raise _refusal(memory, "expected erase_query and erase_key together; got one of them")
        keys, values = self._vector(memory, "key", key), self._vector(memory, "value", value)
        self._same_axes(memory, "value", values, "key", keys)
        variables = {"write_key": keys, "write_value": values}
        for name, given in zip(("erase_query", "erase_key"), erasing, strict=True):
            if given is not None:
                variables[name] = self._vector(memory, name, given)
                if variables[name].shape != keys.shape:
                    got = variables[name].shape
                    raise _refusal(memory, f"expected {name} {keys.shape}, as its key; got {got}")
        variables |= {name: self._rate(memory, name, given, keys) for name, given in rates.items()}
        known.writes[at] = variables
        if at in known.reads:
            known.orders.setdefault("before", at)

    def read(self, memory: str, query: Tensor, value: Tensor, step: int | None) -> None:
        """Keep one read; see `log_read`."""
        known, at = self._memory(memory), self._step(memory, step)
        queries, values = self._vector(memory, "query", query), self._vector(memory, "value", value)
        self._same_axes(memory, "value", values, "query", queries)
        known.reads.setdefault(at, []).append((queries, values))
        if at in known.writes:
            known.orders.setdefault("after", at)

    def declare(self, memory: str, rule: dict[str, Any]) -> None:
        """Keep the rule of a dictionary; see `log_dictionary`."""
        known = self._memory(memory)
        if known.rule and known.rule != rule:
            raise _refusal(memory, f"is declared as {known.rule}, and then as {rule}")
        known.rule = rule

    def _memory(self, name: str) -> MemoryCalls:
        if not (isinstance(name, str) and name and name.replace("_", "").isalnum()):
            raise UserError(f"must be a name of letters, digits and _; got {name!r}", parameter="memory")
        return self.memories.setdefault(name, MemoryCalls())

    def _step(self, memory: str, given: int | None) -> int:
        at = self.now if given is None else int(given)
        if at is None:
            raise _refusal(
                memory, "expected step=t, the number of the time step, in a loop of a module's own"
            )
        if not 0 <= at < self.steps:
            raise _refusal(memory, f"expected a step from 0 to {self.steps - 1}; got {at}")
        return at

    def _vector(self, memory: str, what: str, given: Any) -> Array:
        if not isinstance(given, Tensor) or given.ndim not in (2, 3) or len(given) != self.rows:
            got = tuple(given.shape) if isinstance(given, Tensor) else type(given).__name__
            raise _refusal(
                memory, f"expected {what} (batch {self.rows}, {what}), or with a head before; got {got}"
            )
        array = _array(given)
        if not np.isfinite(array).all():
            raise _refusal(memory, f"expected a finite {what}; got NaN or infinity")
        return array

    @staticmethod
    def _same_axes(memory: str, what: str, one: Array, other: str, two: Array) -> None:
        if one.shape[:-1] != two.shape[:-1]:
            raise _refusal(
                memory,
                f"expected {what} and {other} with the same batch and heads; got {one.shape}, {two.shape}",
            )

    @staticmethod
    def _rate(memory: str, name: str, given: Any, keys: Array) -> Array:
        """Return a rate (batch[, head]), of the keep also (batch[, head], key)."""
        what, axes = name.removeprefix("write_"), keys.shape[:-1]
        array = _array(given) if isinstance(given, Tensor) else np.asarray(given, dtype=keys.dtype)
        if array.shape == (*axes, 1):
            array = array[..., 0]
        if array.shape == axes[:1]:
            array = array.reshape(*axes[:1], *(1,) * (len(axes) - 1))
        if array.shape in ((), axes, (*axes[:1], *(1,) * (len(axes) - 1))):
            array = np.broadcast_to(array, axes)
        elif name != "write_keep" or array.shape != keys.shape:
            expected = f"a number, {axes[:1]} or {axes}" if len(axes) > 1 else f"a number or {axes}"
            by_key = f", or {keys.shape} by key channel" if name == "write_keep" else ""
            raise _refusal(memory, f"expected {what} to be {expected}{by_key}; got {array.shape}")
        if not np.isfinite(array).all():
            raise _refusal(memory, f"expected a finite {what}; got NaN or infinity")
        return array


_RUN: ContextVar[RunCalls | None] = ContextVar("memory_calls", default=None)


@contextmanager
def logging(rows: int, steps: int) -> Iterator[RunCalls]:
    """Keep what a network logs in a run over trials of one length."""
    calls = RunCalls(rows, steps)
    token = _RUN.set(calls)
    try:
        yield calls
    finally:
        _RUN.reset(token)


def count_step(step: int) -> None:
    """Say which step the calls that follow belong to, while a step function is recorded."""
    if (calls := _RUN.get()) is not None:
        calls.now = step


def _array(tensor: Tensor) -> Array:
    """Return a copy, which stays as it is if the network changes its tensor; half precision becomes float32."""
    values = tensor.detach().cpu()
    return np.array((values if values.dtype == torch.float64 else values.float()).numpy())


def _refusal(memory: str, what: str) -> UserError:
    return UserError(f"memory {memory!r}: {what}")

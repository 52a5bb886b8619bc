"""How a run is told of edits of its memories (`emt.ops.memory_edit`): beside what its batch says, in the context.

So that no model has another signature, an edit's tensors are in the context as ``edit/<memory>/<name>``, and a
context that is cut in time has what belongs to those steps. Without them every model takes the path that it always
takes. Why the model has to know, and a state that is rewritten between two steps does not do: several reads of one
step cannot be told apart there, nor a read after a write from the write; what is read by a memory that is divided
by its norm depends on what is left in it; and a second edited write of a recurrent memory is another one than that of
the run without edits.
"""

from typing import Any

import torch
from torch import Tensor

from emt.models.base import Context
from emt.ops.memory_edit import MemoryEdit

__all__ = ["EDITS", "MemoryEdit", "context_with", "edit_of", "without"]

EDITS: tuple[str, ...] = ("scale", "skip", "freeze", "value", "key", "hide", "add")
"""What all memories with a log can have changed; ``Model.edits`` names what a model can."""


def edit_of(context: Context | None, memory: str) -> MemoryEdit | None:
    """Return the edit of a memory that a context has; None without."""
    found = {name: (context or {}).get(_key(memory, name)) for name in MemoryEdit._fields}
    return None if all(part is None for part in found.values()) else MemoryEdit(**found)


def context_with(context: Context, edits: dict[str, MemoryEdit]) -> dict[str, Tensor]:
    """Return a context with edits of memories, by their names."""
    given = {
        _key(memory, name): part
        for memory, edit in edits.items()
        for name, part in edit._asdict().items()
        if part is not None
    }
    return {**context, **given}


def without(values: Tensor, silent: Tensor | None) -> Tensor:
    """Return values (member, batch, time, …), NaN at silent steps (member, batch, time)."""
    if silent is None:
        return values
    return values.masked_fill(silent.reshape(*silent.shape, *[1] * (values.ndim - 3)), torch.nan)


def _key(memory: str, name: Any) -> str:
    return f"edit/{memory}/{name}"

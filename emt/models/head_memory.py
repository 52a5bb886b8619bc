"""The linear memories of a layer's heads: run together, carried from batch to batch, and logged as a trace has them."""

from collections.abc import Mapping

import torch
from torch import Tensor

from emt.models.base import Log
from emt.models.blocks import Makers
from emt.ops import linear_memory, normalised_delta
from emt.ops.memory_edit import MemoryEdit, along


class HeadMemory:
    """A matrix (value, key) for each head, without decay.

    Attributes
    ----------
    state_dims
        The state's tensor and its axes: with a head axis if it has several heads.
    """

    def __init__(self, heads: int, value: int, key: int) -> None:
        self.shape = (heads, value, key)
        self.state_dims = {"memory": ("head", "value", "key")[heads == 1 :]}

    def zero_state(self, like: Tensor) -> dict[str, Tensor]:
        """Return empty memories, (member, batch, …)."""
        return {"memory": like.new_zeros(*like.shape[:2], *self.shape[self.shape[0] == 1 :])}

    def run(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        beta: Tensor | None,
        state: Mapping[str, Tensor] | None,
        writes: Tensor | None,
        *,
        normalised: bool = False,
        edit: MemoryEdit | None = None,
    ) -> tuple[Tensor, Makers, Log]:
        """Write and read at every step; see `emt.ops.linear_memory.forms`.

        Parameters
        ----------
        query, key, value
            (member, batch, time, head, channel).
        beta
            β of the delta rule, which erases and writes, (member, batch, time, head); None: values are added.
        state
            What it holds before the first step; None: nothing.
        writes
            Steps that write, (member, batch, time); None: all.
        normalised
            Whether a memory larger than one is divided by its norm (`normalised_delta`).
        edit
            What is changed of writes and reads; None: nothing.

        Returns
        -------
        reads, last, log
            (member, batch, time, head, value), what makes the state after the last step, and the log.
        """
        edit = MemoryEdit() if edit is None else edit.with_head(self.shape[0])
        own_value = edit.value_of(value)
        key, writes = edit.key_of(key), writing(writes, edit)
        strength = beta
        if writes is not None:
            there = writes.unsqueeze(-1).to(query).expand(query.shape[:4])
            strength = there if beta is None else beta * there
        erase = None if beta is None else strength
        held = None
        if state is not None:
            held = state["memory"] if self.shape[0] > 1 else state["memory"].unsqueeze(2)
        q, k, v = (x.transpose(2, 3) for x in (query, key, own_value))
        b, c = (None if x is None else x.transpose(2, 3) for x in (erase, strength))
        log_keep = None
        if normalised and b is not None:
            hold = None if edit.hold is None else edit.hold.transpose(2, 3)
            reads, memory, log_keep = normalised_delta(q, k, v, b, held, hold)
        else:
            reads, memory = linear_memory(q, k, v, None, b, c, held)
        reads = reads.transpose(2, 3)
        hidden, blind = edit.hidden(own_value), edit.blind
        if hidden is not None and blind is not None:
            c = c if log_keep is None or c is None else c * log_keep.exp()
            missed, _ = linear_memory(q, k, hidden.transpose(2, 3), log_keep, b, c)
            reads = reads - along(blind[..., 0], reads) * missed.transpose(2, 3)
        if edit.add is not None:
            reads = reads + edit.add.squeeze(4).to(reads)
        log = head_log(query, key, own_value, reads, writes)
        if log_keep is not None:
            log["write_keep"] = log_keep.transpose(2, 3).exp()
        if strength is not None:
            log["write_strength"] = log["write_keep"] * strength
        if erase is not None:
            log["write_erase"] = erase
        return reads, {"memory": lambda: memory if self.shape[0] > 1 else memory.squeeze(2)}, log


def writing(writes: Tensor | None, edit: MemoryEdit) -> Tensor | None:
    """Return which steps write, (member, batch, time); None where all do."""
    if edit.silent is None:
        return writes
    return ~edit.silent if writes is None else writes & ~edit.silent


def head_log(query: Tensor, key: Tensor, value: Tensor, reads: Tensor, writes: Tensor | None) -> Log:
    """Return the log of memories that add each value at strength one and keep all; arguments as of `HeadMemory.run`."""
    one = query.new_ones(()).expand(query.shape[:4])
    silent = None if writes is None else ~writes[..., None, None]
    log = {
        name: x if silent is None else x.masked_fill(silent, torch.nan)
        for name, x in (("write_key", key), ("write_value", value))
    }
    log |= {"write_strength": one, "write_erase": torch.zeros_like(one), "write_keep": one}
    return log | {"read_query": query.unsqueeze(4), "read_value": reads.unsqueeze(4)}

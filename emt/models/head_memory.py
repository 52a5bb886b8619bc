"""The linear memories of a layer's heads: run together, carried from batch to batch, and logged as a trace has them."""

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from emt.models.base import Log
from emt.models.blocks import Makers
from emt.ops import LinearMemoryRun, linear_memory, normalised_delta
from emt.ops.memory_edit import MemoryEdit, along


class Rates(NamedTuple):
    """What each step keeps, erases and writes, as `emt.ops.linear_memory.forms` has it.

    Attributes
    ----------
    log_keep
        log w, (member, batch, time, head), or with a decay for each channel of the key (…, key); None: all is kept.
    erase
        b, (member, batch, time, head); None: 0, or 1 with vectors of its own.
    strength
        c, (member, batch, time, head); None: 1.
    erase_query, erase_key
        x and y, (member, batch, time, head, key), both or neither.
    """

    log_keep: Tensor | None = None
    erase: Tensor | None = None
    strength: Tensor | None = None
    erase_query: Tensor | None = None
    erase_key: Tensor | None = None

    def only(self, writes: Tensor | None, moves: Tensor | None, like: Tensor) -> "Rates":
        """Return rates of which steps write, and which may keep less than all, (member, batch, time); None for all.

        ``like`` has the axes and the type of queries.
        """
        log_keep, erase, strength = self.log_keep, self.erase, self.strength
        if moves is not None and log_keep is not None:
            log_keep = torch.where(moves.view(*moves.shape, *[1] * (log_keep.ndim - 3)), log_keep, 0.0)
        if writes is not None:
            there = writes.unsqueeze(-1).to(like).expand(like.shape[:4])
            strength = there if strength is None else strength * there
            if erase is not None or self.erase_query is not None:
                erase = there if erase is None else erase * there
        return self._replace(log_keep=log_keep, erase=erase, strength=strength)


class HeadMemory:
    """A matrix (value, key) for each head.

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
        rates: Rates,
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
        rates
            What steps keep, erase and write.
        state
            What it holds before the first step; None: nothing.
        writes
            Steps that write, (member, batch, time); None: all. The others change nothing.
        normalised
            Whether a memory larger than one is divided by its norm (`normalised_delta`, which takes b alone).
        edit
            What is changed of writes and reads; None: nothing.

        Returns
        -------
        reads, last, log
            (member, batch, time, head, value), what makes the state after the last step, and the log.
        """
        edit = MemoryEdit() if edit is None else edit.with_head(self.shape[0])
        key, value = edit.key_of(key), edit.value_of(value)
        writes, moves = writing(writes, edit), moving(writes, edit)
        rates = rates.only(writes, moves, query)
        held = None
        if state is not None:
            held = state["memory"] if self.shape[0] > 1 else state["memory"].unsqueeze(2)
        q, k, v = (x.transpose(2, 3) for x in (query, key, value))
        if normalised and rates.erase is not None:
            hold = None if edit.hold is None else edit.hold.transpose(2, 3)
            reads, memory, log_keep = normalised_delta(q, k, v, rates.erase.transpose(2, 3), held, hold)
            log_keep = log_keep.transpose(2, 3)
            rates = Rates(log_keep, rates.erase, rates.erase * log_keep.exp())
        else:
            reads, memory = _run(q, k, v, rates, held)
        reads = reads.transpose(2, 3)
        hidden, blind = edit.hidden(value), edit.blind
        if hidden is not None and blind is not None:
            missed, _ = _run(q, k, hidden.transpose(2, 3), rates, None)
            reads = reads - along(blind[..., 0], reads) * missed.transpose(2, 3)
        if edit.add is not None:
            reads = reads + edit.add.squeeze(4).to(reads)
        log = head_log(query, key, value, reads, writes) | _logged(rates)
        return reads, {"memory": lambda: memory if self.shape[0] > 1 else memory.squeeze(2)}, log


def _run(q: Tensor, k: Tensor, v: Tensor, rates: Rates, memory: Tensor | None) -> LinearMemoryRun:
    """Run memories (member, batch, head, value, key) over vectors (member, batch, head, time, channel)."""
    log_keep, erase, strength, x, y = (None if rate is None else rate.transpose(2, 3) for rate in rates)
    return linear_memory(q, k, v, log_keep, erase, strength, memory, erase_query=x, erase_key=y)


def _logged(rates: Rates) -> Log:
    """Return what a trace has of rates."""
    erases = rates.erase
    if erases is None and rates.erase_query is not None:
        erases = rates.erase_query.new_ones(()).expand(rates.erase_query.shape[:4])
    named = {
        "write_keep": None if rates.log_keep is None else rates.log_keep.exp(),
        "write_erase": erases,
        "write_strength": rates.strength,
        "erase_query": rates.erase_query,
        "erase_key": rates.erase_key,
    }
    return {name: rate for name, rate in named.items() if rate is not None}


def moving(writes: Tensor | None, edit: MemoryEdit) -> Tensor | None:
    """Return which steps may keep less than all, (member, batch, time): those that are there and not frozen."""
    if edit.freeze is None:
        return writes
    return ~edit.freeze if writes is None else writes & ~edit.freeze


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

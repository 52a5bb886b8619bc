"""Softmax attention as a memory: a dictionary that returns an average of values, and holds the last ones written."""

from collections.abc import Mapping
from functools import partial

import torch
from torch import Tensor
from torch.nn.functional import pad, scaled_dot_product_attention

from emt.models.base import Log
from emt.models.blocks import Makers
from emt.models.head_memory import head_log, writing
from emt.ops.memory_edit import MemoryEdit, along


class SoftmaxMemory:
    """r_t = Σ_i softmax_i(q_t·k_i / √d) v_i over the last writes up to step t.

    Parameters
    ----------
    heads, value, key
        Heads, and sizes of values and keys.
    capacity
        Writes that are held.
    scale
        What products are multiplied by; None: 1 / √d.

    Attributes
    ----------
    state_dims
        The state's tensors and their axes.
    rule
        The rule as a trace has it.
    """

    def __init__(self, heads: int, value: int, key: int, capacity: int, scale: float | None = None) -> None:
        self.heads, self.value, self.key, self.capacity = heads, value, key, capacity
        self.scale = key**-0.5 if scale is None else scale
        self.state_dims = {
            "keys": ("slot", "head", "key"),
            "values": ("slot", "head", "value"),
            "held": ("slot",),
        }
        self.rule = {
            "kind": "dictionary",
            "reads": "after",
            "similarity": "dot",
            "recall": "softmax",
            "scale": self.scale,
            "capacity": capacity,
        }

    def zero_state(self, like: Tensor) -> dict[str, Tensor]:
        """Return a dictionary without writes, (member, batch, slot, …)."""
        each = (*like.shape[:2], self.capacity)
        return {
            "keys": like.new_zeros(*each, self.heads, self.key),
            "values": like.new_zeros(*each, self.heads, self.value),
            "held": torch.zeros(each, dtype=torch.bool, device=like.device),
        }

    def run(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        state: Mapping[str, Tensor] | None,
        writes: Tensor | None,
        edit: MemoryEdit | None = None,
    ) -> tuple[Tensor, Makers, Log]:
        """Write and then read at every step.

        Parameters
        ----------
        query, key, value
            (member, batch, time, head, channel).
        state
            What it holds before the first step; None: nothing.
        writes
            Steps that write, (member, batch, time); None: all.
        edit
            What is changed of writes and reads; None: nothing.

        Returns
        -------
        reads, last, log
            (member, batch, time, head, value), 0 where nothing is held; what makes the state after the last
            step; and the log.
        """
        edit = MemoryEdit() if edit is None else edit.with_head(self.heads)
        key, value, writes = edit.key_of(key), edit.value_of(value), writing(writes, edit)
        steps, everywhere = query.shape[2], query.new_ones(query.shape[:3], dtype=torch.bool)
        held, keys, values = everywhere if writes is None else writes, key, value
        if state is not None:
            held = torch.cat([state["held"].bool(), held], dim=2)
            keys, values = (
                torch.cat([state[n].to(x), x], dim=2) for n, x in (("keys", key), ("values", value))
            )
        q, k, v = (x.flatten(0, 1).transpose(1, 2) for x in (query, keys, values))
        simple = state is None and writes is None and steps <= self.capacity and edit.hide is None
        mask = None if simple else self._found(held, steps).flatten(0, 1).unsqueeze(1)
        shown = self._shown(edit, held.shape[2])
        if mask is None:
            reads = scaled_dot_product_attention(q, k, v, is_causal=True, scale=self.scale)
        else:
            # A finite number, so that a read that finds nothing has finite gradients.
            mask = mask if shown is None else mask & (shown > 0)
            bias = torch.zeros_like(mask, dtype=q.dtype) if shown is None else shown.to(q).log()
            bias = bias.masked_fill(~mask, -1e9)
            reads = scaled_dot_product_attention(q, k, v, bias, scale=self.scale) * mask.any(
                dim=-1, keepdim=True
            )
        reads = reads.transpose(1, 2).unflatten(0, query.shape[:2])
        reads = reads if edit.add is None else reads + edit.add.squeeze(4).to(reads)
        last = newest(held, self.capacity, keys=keys, values=values)
        return reads, last, head_log(query, key, value, reads, writes)

    def _found(self, held: Tensor, steps: int) -> Tensor:
        """Return which writes a read finds, (member, batch, time, slot and time)."""
        written = held.cumsum(dim=2)
        age = written[:, :, -steps:, None] - written[:, :, None, :]
        before = torch.ones(steps, held.shape[2], dtype=torch.bool, device=held.device)
        return held[:, :, None] & before.tril(held.shape[2] - steps) & (age < self.capacity)

    def _shown(self, edit: MemoryEdit, slots: int) -> Tensor | None:
        """Return which share of each slot a read sees, (row, 1, time, slot and time); None for all of all."""
        if edit.hide is None or edit.blind is None:
            return None
        hide = pad(edit.hide, (slots - edit.hide.shape[2], 0))
        return (1 - edit.blind[..., :1] * hide.unsqueeze(2)).flatten(0, 1).unsqueeze(1)


def newest(held: Tensor, capacity: int, **written: Tensor) -> Makers:
    """Return what makes a state of the last writes, the newest in the last slot.

    Parameters
    ----------
    held
        Which steps wrote, (member, batch, time).
    capacity
        Slots; those that are not needed are zero, and the first ones.
    written
        What was written, (member, batch, time, …) by name.
    """

    def of(x: Tensor) -> Tensor:
        missing = capacity - held.shape[2]
        if missing > 0:
            x = torch.cat([x.new_zeros(*x.shape[:2], missing, *x.shape[3:]), x], dim=2)
        order = torch.cat([held.new_zeros(*held.shape[:2], max(missing, 0)), held], dim=2)
        order = order.byte().sort(dim=2, stable=True).indices[:, :, -capacity:]
        index = order.reshape(*order.shape, *[1] * (x.ndim - 3)).expand(*order.shape, *x.shape[3:])
        return x.gather(2, index)

    makers = {name: partial(lambda x: of(x * along(held, x)), x) for name, x in written.items()}
    return {**makers, "held": lambda: of(held)}

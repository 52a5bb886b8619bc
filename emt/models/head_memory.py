"""The linear memories of a layer's heads: run together, carried from batch to batch, and logged as a trace has them."""

from collections.abc import Mapping

import torch
from torch import Tensor

from emt.models.base import Log
from emt.models.blocks import Makers
from emt.ops import linear_memory, normalised_delta


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
        erase: Tensor | None,
        strength: Tensor | None,
        state: Mapping[str, Tensor] | None,
        writes: Tensor | None,
        *,
        normalised: bool = False,
    ) -> tuple[Tensor, Makers, Log]:
        """Write and read at every step; see `emt.ops.linear_memory.forms`.

        Parameters
        ----------
        query, key, value
            (member, batch, time, head, channel).
        erase, strength
            b and c, (member, batch, time, head); None for 0 and 1.
        state
            What it holds before the first step; None: nothing.
        writes
            Steps that write, (member, batch, time); None: all.
        normalised
            Whether a memory larger than one is divided by its norm (`normalised_delta`).

        Returns
        -------
        reads, last, log
            (member, batch, time, head, value), what makes the state after the last step, and the log.
        """
        if writes is not None:
            there = writes.unsqueeze(-1).to(query)
            erase = None if erase is None else erase * there
            strength = there.expand(query.shape[:4]) if strength is None else strength * there
        held = None
        if state is not None:
            held = state["memory"] if self.shape[0] > 1 else state["memory"].unsqueeze(2)
        q, k, v, b, c = (
            None if x is None else x.transpose(2, 3) for x in (query, key, value, erase, strength)
        )
        assert q is not None
        assert k is not None
        assert v is not None
        log_keep = None
        if normalised and b is not None:
            reads, memory, log_keep = normalised_delta(q, k, v, b, held)
        else:
            reads, memory = linear_memory(q, k, v, None, b, c, held)
        reads = reads.transpose(2, 3)
        one = query.new_ones(()).expand(query.shape[:4])
        keep = one if log_keep is None else log_keep.transpose(2, 3).exp()
        nothing = None if writes is None else ~writes[..., None, None]
        log = {
            name: x if nothing is None else x.masked_fill(nothing, torch.nan)
            for name, x in (("write_key", key), ("write_value", value))
        }
        log |= {
            "write_strength": keep * (one if strength is None else strength),
            "write_erase": torch.zeros_like(one) if erase is None else erase,
            "write_keep": keep,
            "read_query": query.unsqueeze(4),
            "read_value": reads.unsqueeze(4),
        }
        return reads, {"memory": lambda: memory if self.shape[0] > 1 else memory.squeeze(2)}, log

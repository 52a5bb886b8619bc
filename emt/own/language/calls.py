"""One call of a recurrence in the terms of a linear memory, and that recurrence computed from these terms alone."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from emt.errors import UserError


@dataclass(frozen=True)
class Call:
    """What one call of a recurrence did: M_t = M_{t-1} (diag(w) - b x yᵀ) + c v kᵀ, then a read with q.

    The terms are those of `emt.memory_nodes`. All tensors are in single precision, with the axes (batch, time, head).

    Attributes
    ----------
    heads
        Numbers of the heads, as the model counts them.
    key, value, query
        k, v and q, (…, key), (…, value) and (…, key).
    strength, erase, keep
        c, b and w, (…); w also (…, key).
    erase_query, erase_key
        x and y, (…, key), or None for w ∘ k and k.
    output
        What the call returns, (…, value), as a function of what is read, both in double precision.
    returned
        What it did return, (…, value).
    tolerance
        Largest difference of the two that rounding explains, relative to the largest output of the call.
    mixes
        Over how many tokens a write mixes by what precedes the call in its layer.
    edits
        What of its writes can be changed (`emt.own.language.edits`).
    """

    heads: tuple[int, ...]
    key: Tensor
    value: Tensor
    strength: Tensor
    erase: Tensor
    keep: Tensor
    query: Tensor
    output: Callable[[Tensor], Tensor]
    returned: Tensor
    erase_query: Tensor | None = None
    erase_key: Tensor | None = None
    tolerance: float = 1e-5
    mixes: int = 1
    edits: tuple[str, ...] = ()

    def log(self, read: Tensor) -> dict[str, Tensor]:
        """Return what a trace stores of the call and of what was read (…, value), by name: a step has one read."""
        own = {"erase_query": self.erase_query, "erase_key": self.erase_key}
        return {
            "write_key": self.key,
            "write_value": self.value,
            "write_strength": self.strength,
            "write_erase": self.erase,
            "write_keep": self.keep,
            "read_query": self.query.unsqueeze(3),
            "read_value": read.float().unsqueeze(3),
            **{name: tensor for name, tensor in own.items() if tensor is not None},
        }


@dataclass(frozen=True)
class Chosen:
    """Which parts of a model are logged; None for all.

    Attributes
    ----------
    layers
        Numbers of layers.
    heads
        Numbers of heads.
    channels
        Of a memory that has one for each channel: how many of them, at even distances, or which.
    """

    layers: Sequence[int] | None = None
    heads: Sequence[int] | None = None
    channels: int | Sequence[int] | None = None

    def of_heads(self, count: int) -> list[int]:
        """Return which of so many heads are logged."""
        return _checked("heads", range(count) if self.heads is None else self.heads, count)

    def of_channels(self, count: int) -> list[int]:
        """Return which of so many channels are logged."""
        if not isinstance(self.channels, int):
            return _checked("channels", range(count) if self.channels is None else self.channels, count)
        if self.channels < 1:
            raise UserError(f"must be at least 1; got {self.channels}", parameter="channels")
        number = min(self.channels, count)
        return [place * count // number for place in range(number)]


def _checked(what: str, wanted: Sequence[int], count: int) -> list[int]:
    if not len(wanted):
        raise UserError("expected at least one number; got none", parameter=what)
    for number in wanted:
        if not 0 <= number < count:
            raise UserError(f"expected numbers from 0 to {count - 1}; got {number}", parameter=what)
    return list(wanted)


def read_values(call: Call) -> Tensor:
    """Return what each read finds, (batch, time, head, value) in double precision, from the log as it is stored."""
    batch, steps, heads, keys = call.key.shape
    content = call.key.new_zeros(batch * heads, call.value.shape[-1], keys, dtype=torch.float64)
    found = torch.empty(*call.value.shape, dtype=torch.float64, device=call.key.device)
    erases = bool(call.erase.any())
    for t in range(steps):
        at_step = lambda x, t=t: x[:, t].flatten(0, 1).double()  # noqa: E731
        k, v, c, w, q = map(at_step, (call.key, call.value, call.strength, call.keep, call.query))
        w = w if w.ndim == k.ndim else w[:, None]
        added, along = [c[:, None] * v], [k]
        if erases:
            x = w * k if call.erase_query is None else at_step(call.erase_query)
            added.append(-at_step(call.erase)[:, None] * (content @ x[..., None])[..., 0])
            along.append(k if call.erase_key is None else at_step(call.erase_key))
        # In place, and both products at once: the time goes into passes over the contents.
        content.mul_(w[:, None]).baddbmm_(torch.stack(added, dim=-1), torch.stack(along, dim=1))
        found[:, t] = (content @ q[..., None])[..., 0].unflatten(0, (batch, heads))
    return found

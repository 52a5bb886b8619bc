"""What is changed of the writes and reads of an associative memory while it runs.

For a linear memory, v_i kᵀ_i being its writes with strength c and erasure b, and W_ti the weight of write i in a read:

    write  (k_i, v_i, c_i, b_i) → (k'_i, s_i v'_i, (1 − skip_i) c_i, (1 − skip_i) b_i)            (1)
    read   r_t → r_t − blind_t Σ_i hide_i W_ti v_i + add_t                                        (2)

What is hidden from some reads stays in the memory, is erased as it is there, and is read by all others. Since a
memory is linear in the values that are written, the sum of (2) is what the same memory, with the same keys,
erasure and decay, holds of the values hide_i v_i. In a dictionary a hidden slot is not among those that are
compared, and what is left of their weights sums to one.
"""

from typing import NamedTuple

import torch
from torch import Tensor


class MemoryEdit(NamedTuple):
    """Changes of one memory; None changes nothing.

    Attributes
    ----------
    scale
        s, factor of a write's value; what it erases stays. (member, batch, time).
    skip
        Steps that neither write nor erase, bool (member, batch, time). What is kept of the memory stays as it is.
    freeze
        Steps that leave the memory as it is, bool (member, batch, time).
    value, key
        v' and k', as a trace has them, NaN where a write keeps its own.
    hide
        Share of each write that blind reads miss, (member, batch, time).
    blind
        Which reads are blind, 1 or 0, (member, batch, time, read).
    add
        What is added to what is read, as a trace has it.
    hold
        What memories are divided by where that is their norm, (member, batch, time, …); NaN where it is free.
    """

    scale: Tensor | None = None
    skip: Tensor | None = None
    freeze: Tensor | None = None
    value: Tensor | None = None
    key: Tensor | None = None
    hide: Tensor | None = None
    blind: Tensor | None = None
    add: Tensor | None = None
    hold: Tensor | None = None

    @property
    def silent(self) -> Tensor | None:
        """Steps that write nothing, (member, batch, time); None where all may."""
        if self.skip is None or self.freeze is None:
            return self.freeze if self.skip is None else self.skip
        return self.skip | self.freeze

    @property
    def touches_writes_only(self) -> bool:
        """Whether reads, and what a memory is divided by, are as they are without the edit."""
        return self.add is None and self.hold is None and (self.hide is None or self.blind is None)

    def key_of(self, key: Tensor) -> Tensor:
        """Return k' of keys (member, batch, time, …)."""
        return replaced(key, self.key)

    def value_of(self, value: Tensor) -> Tensor:
        """Return s v' of values (member, batch, time, …)."""
        value = replaced(value, self.value)
        return value if self.scale is None else value * along(self.scale, value)

    def unless_skipped(self, rate: Tensor) -> Tensor:
        """Return rates or vectors (member, batch, time, …), zero at skipped steps."""
        return rate if self.skip is None else rate * along(~self.skip, rate)

    def hidden(self, value: Tensor) -> Tensor | None:
        """Return what blind reads miss of values (member, batch, time, …); None where they miss nothing."""
        return None if self.hide is None or self.blind is None else value * along(self.hide, value)

    def with_head(self, heads: int) -> "MemoryEdit":
        """Return the edit with an axis head after (member, batch, time), which that of a single head lacks."""
        if heads > 1:
            return self
        by_head = {name: getattr(self, name) for name in ("value", "key", "add", "hold")}
        return self._replace(
            **{n: None if part is None else part.unsqueeze(3) for n, part in by_head.items()}
        )

    def at(self, step: int) -> "MemoryEdit":
        """Return the part of one step, (member, batch, …)."""
        return MemoryEdit(*(None if part is None else part[:, :, step] for part in self))

    def read(self, read: Tensor, missed: Tensor | None, place: int = 0) -> Tensor:
        """Return what a read of one step returns, (member, batch, value), for what is hidden of it; equation (2)."""
        if missed is not None and self.blind is not None:
            read = read - self.blind[..., place, None].to(read) * missed
        return read if self.add is None else read + self.add[..., place, :].to(read)


def along(number: Tensor, like: Tensor) -> Tensor:
    """Return numbers (member, batch, time) with the axes of a tensor (member, batch, time, …)."""
    return number.to(like.dtype).reshape(*number.shape, *[1] * (like.ndim - number.ndim))


def replaced(own: Tensor, given: Tensor | None) -> Tensor:
    """Return what is given, where it is not NaN."""
    return own if given is None else torch.where(given.isnan(), own, given.to(own))

"""What memories wrote in a run, and how the state changes where a write had held something else.

A linear memory is the sum of its writes, each with its key as later steps have left it. So a write with the
value v' instead of v is c (v' − v) kᵀ added to the state right after it; what later steps keep and erase of
that follows by itself. v' = 0 removes the write and leaves what it erased erased. In a dictionary the newest
slot gets another value, or is empty.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from emt import memory_nodes
from emt.errors import UserError
from emt.models.base import Log, Model, State


@dataclass(frozen=True)
class Writes:
    """The log of one memory; heads always have an axis.

    Attributes
    ----------
    kind
        "linear" or "dictionary".
    tensors
        Where the state holds it: a matrix, or ``held``, ``keys`` and ``values``.
    key
        (member, batch, time, head, factor, key), 0 where nothing is written.
    value
        (member, batch, time, head, value), likewise.
    strength, erase
        c and b, (member, batch, time, head).
    keep
        w, (member, batch, time, head, key or 1).
    look, take
        x and y, (member, batch, time, head, key); None: w ∘ k and k.
    gain, kept
        Numbers by entry, (member, 1, 1, value, key), or 1; ``kept`` counts at steps that forget.
    forgets
        Which steps have a keep, (member, batch, time, head).
    query
        Of the last reads, (member, batch, time, head, read, factor, key).
    written
        Which steps write, (member, batch, time).
    """

    kind: str
    tensors: tuple[str, ...]
    key: Tensor
    value: Tensor
    strength: Tensor
    erase: Tensor
    keep: Tensor
    look: Tensor | None
    take: Tensor | None
    gain: Tensor | float
    kept: Tensor | float
    forgets: Tensor
    query: Tensor
    written: Tensor

    def key_at(self, step: int) -> Tensor:
        """Return k of a step, (member, batch, head, key), the tensor product of its factors."""
        return product(self.key[:, :, step])

    def change_at(self, step: int, value: Tensor) -> Tensor:
        """Return c (v' − v) kᵀ for other values v' (member, batch, head, value): (member, batch, head, value, key)."""
        scaled = self.strength[:, :, step, :, None] * (value - self.value[:, :, step])
        return self.gain * scaled.unsqueeze(-1) * self.key_at(step).unsqueeze(-2)

    def advance(self, change: Tensor, step: int) -> Tensor:
        """Return what a step leaves of a change (member, batch, head, value, key) of the memory."""
        keep, key = self.keep[:, :, step], self.key_at(step)
        look = keep * key if self.look is None else self.look[:, :, step]
        take = key if self.take is None else self.take[:, :, step]
        erased = torch.einsum("mbhvk,mbhk->mbhv", change, look) * self.erase[:, :, step, :, None]
        kept = torch.where(self.forgets[:, :, step, :, None, None], change.new_ones(()) * self.kept, 1.0)
        return change * keep.unsqueeze(-2) * kept - erased.unsqueeze(-1) * take.unsqueeze(-2)

    def norms(self) -> Tensor:
        """Return the size of each write, |c v kᵀ| over heads, (member, batch, time); of a dictionary that of v."""
        sizes = self.value.norm(dim=-1)
        if self.kind == "linear":
            sizes = self.strength.abs() * sizes * self.key.norm(dim=-1).prod(dim=-1)
        return sizes.square().sum(dim=-1).sqrt()

    def add_to(self, state: State, change: Tensor) -> dict[str, Tensor]:
        """Return the matrix of a state with a change added."""
        [name] = self.tensors
        whole = change if state[name].ndim == 5 else change.squeeze(2)
        return {name: state[name] + whole.to(state[name])}


def writes_of(model: Model, log: Log) -> dict[str, Writes]:
    """Return what each memory of a model wrote, by the name of its node in the log.

    Raises
    ------
    UserError
        If the model keeps no memory that is logged.
    """
    if not model.memories:
        raise UserError("writes: the model has no associative memory with a log", parameter="kinds")
    return {name: _writes_of(model, log, name) for name in model.memories}


def _writes_of(model: Model, log: Log, name: str) -> Writes:
    prefix = f"memory/{name}/"
    held = {n.removeprefix(prefix): tensor for n, tensor in log.items() if n.startswith(prefix)}
    axes = memory_nodes.name_axes({n: tensor.ndim for n, tensor in held.items()})
    shaped = {n: _with_axes(tensor, axes[n], n) for n, tensor in held.items()}
    written = torch.isfinite(shaped["write_key"]).all(dim=-1).all(dim=-1).any(dim=-1)
    clean = {n: torch.nan_to_num(t, nan=1.0 if n == "write_keep" else 0.0) for n, t in shaped.items()}
    there = written.unsqueeze(-1)
    return Writes(
        kind=str(model.memories[name]["kind"]),
        tensors=_tensors(model, name),
        key=clean["write_key"],
        value=clean["write_value"],
        strength=clean["write_strength"] * there,
        erase=clean["write_erase"] * there,
        keep=clean["write_keep"],
        look=clean.get("erase_query"),
        take=clean.get("erase_key"),
        gain=clean.get("gain", 1.0),
        kept=clean.get("keep", 1.0),
        forgets=torch.isfinite(shaped["write_keep"]).any(dim=-1),
        query=clean["read_query"],
        written=written,
    )


def _with_axes(tensor: Tensor, axes: tuple[str, ...], name: str) -> Tensor:
    """Return a variable with the axes head and, for keys and queries, factor, of length one where it lacks them."""
    entries = name in memory_nodes.ENTRIES
    if "head" not in axes:
        tensor = tensor.unsqueeze(1 if entries else 3)
    if entries:
        return tensor.unsqueeze(1)
    if name in ("write_key", "read_query") and "factor" not in axes:
        tensor = tensor.unsqueeze(-2)
    if name == "write_keep" and "key" not in axes:
        tensor = tensor.unsqueeze(-1)
    return tensor


def _tensors(model: Model, name: str) -> tuple[str, ...]:
    """Return the tensors of the state that hold a memory: a matrix, or what a dictionary holds."""
    held = [n for n in model.held_state if model.state_dims[n]]
    own = held if len(model.memories) == 1 else [n for n in held if n.endswith(f"_{name}")]
    if model.memories[name]["kind"] == "dictionary":
        own = [n for start in ("held", "keys", "values") for n in own if n.startswith(start)]
    return tuple(own)


def product(key: Tensor) -> Tensor:
    """Return the tensor product of factors (…, factor, key), (…, key)."""
    whole = key[..., 0, :]
    for factor in range(1, key.shape[-2]):
        whole = (whole.unsqueeze(-1) * key[..., factor, :].unsqueeze(-2)).flatten(-2)
    return whole

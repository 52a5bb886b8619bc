"""What memories wrote in a run, from its log."""

from dataclasses import dataclass

import torch
from torch import Tensor

from emt import memory_nodes
from emt.errors import UserError
from emt.models.base import Log, Model


@dataclass(frozen=True)
class Writes:
    """The log of one memory; heads always have an axis.

    Attributes
    ----------
    kind
        "linear" or "dictionary".
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
    by_entry
        Whether gain and keep differ between entries of the memory.
    query
        Of reads, (member, batch, time, head, read, factor, key).
    written
        Which steps write, (member, batch, time).
    """

    kind: str
    key: Tensor
    value: Tensor
    strength: Tensor
    erase: Tensor
    keep: Tensor
    look: Tensor | None
    take: Tensor | None
    by_entry: bool
    query: Tensor
    written: Tensor

    def key_at(self, step: int) -> Tensor:
        """Return k of a step, (member, batch, head, key), the tensor product of its factors."""
        return product(self.key[:, :, step])

    def norms(self) -> Tensor:
        """Return the size of each write, |c v kᵀ| over heads, (member, batch, time); of a dictionary that of v."""
        sizes = self.value.norm(dim=-1)
        if self.kind == "linear":
            sizes = self.strength.abs() * sizes * self.key.norm(dim=-1).prod(dim=-1)
        return sizes.square().sum(dim=-1).sqrt()


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
        key=clean["write_key"],
        value=clean["write_value"],
        strength=clean["write_strength"] * there,
        erase=clean["write_erase"] * there,
        keep=clean["write_keep"],
        look=clean.get("erase_query"),
        take=clean.get("erase_key"),
        by_entry="gain" in clean or "keep" in clean,
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


def product(key: Tensor) -> Tensor:
    """Return the tensor product of factors (…, factor, key), (…, key)."""
    whole = key[..., 0, :]
    for factor in range(1, key.shape[-2]):
        whole = (whole.unsqueeze(-1) * key[..., factor, :].unsqueeze(-2)).flatten(-2)
    return whole

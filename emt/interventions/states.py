"""Edits of the carried state between two steps of a run.

An edit takes the whole state and returns the tensors that it changes. Sources are other sequences of the
batch: ``rows`` gives for each sequence the one whose content it gets.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import torch
from torch import Tensor

from emt.errors import UserError
from emt.models.base import Model, State

StateEdit = Callable[[State], Mapping[str, Tensor]]
"""A function from the state before a step to the tensors (member, batch, …) that replace those of the same name."""


def unchanged() -> StateEdit:
    """Return the edit that changes nothing: its run is cut where that of another edit is."""
    return lambda state: {}


def set_to(values: Mapping[str, Tensor]) -> StateEdit:
    """Return the edit that sets tensors to given ones, (member, batch, …)."""
    return lambda state: {name: value.to(state[name]) for name, value in values.items()}


def zero(names: Sequence[str]) -> StateEdit:
    """Return the edit that sets tensors to zero; networks may never have seen such a state."""
    return lambda state: {name: torch.zeros_like(state[name]) for name in names}


def mean(names: Sequence[str]) -> StateEdit:
    """Return the edit that sets tensors to their mean over the batch; networks may never have seen such a state.

    The edit raises UserError at tensors of flags or counts, which have no mean.
    """
    return partial(_mean, names)


def _mean(names: Sequence[str], state: State) -> dict[str, Tensor]:
    if flags := [name for name in names if not state[name].is_floating_point()]:
        raise UserError(f"expected states of real numbers for a mean; {flags[0]!r} has none")
    return {name: state[name].mean(dim=1, keepdim=True).expand_as(state[name]) for name in names}


def shuffle(names: Sequence[str], rows: Tensor) -> StateEdit:
    """Return the edit that gives each sequence the tensors of another one of its batch.

    What the tensors hold of this sequence is lost, and their distribution stays what it was.

    Parameters
    ----------
    names
        Tensors of the state.
    rows
        For each sequence its source, (batch,).
    """
    return lambda state: {name: state[name][:, rows.to(state[name].device)] for name in names}


def transplant(names: Sequence[str], source: State, rows: Tensor) -> StateEdit:
    """Return the edit that gives each sequence the tensors of a sequence of another run (`shuffle` for its own)."""
    return lambda state: {name: source[name][:, rows.to(source[name].device)] for name in names}


def subspace(name: str, basis: Tensor, dual: Tensor, change: Callable[[Tensor], Tensor]) -> StateEdit:
    """Return the edit h' = h + Ψ change(D h): only what lies in a subspace of one tensor changes.

    Parameters
    ----------
    name
        A tensor of the state with one axis, (member, batch, unit).
    basis, dual
        Ψ (member, unit, variable), and D (member, variable, unit) that reads the variables.
    change
        What the read variables (member, batch, variable) change by.
    """

    def edit(state: State) -> dict[str, Tensor]:
        h = state[name]
        read = torch.einsum("mvu,mbu->mbv", dual.to(h), h)
        return {name: h + torch.einsum("muv,mbv->mbu", basis.to(h), change(read))}

    return edit


def parts_of(model: Model) -> dict[str, tuple[str, ...]]:
    """Return which tensors make up the parts of a model's state: ``moving``, ``memory``, and ``all`` of it.

    A model without a memory has the part ``all`` alone. Counts of steps, equal in all sequences, are left
    out.
    """
    zero_state = model.zero_state(model.like.new_zeros(model.members, 1, 1))
    counts = [n for n, dims in model.state_dims.items() if not dims and not zero_state[n].is_floating_point()]
    moving = tuple(n for n in model.state_dims if n not in model.held_state and n not in counts)
    memory = tuple(n for n in model.state_dims if n in model.held_state and n not in counts)
    return {"moving": moving, "memory": memory, "all": (*moving, *memory)} if memory else {"all": moving}

"""What a model's log will hold, found out with two tokens before anything is recorded."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from emt.errors import UserError
from emt.own.language.calls import Call, Chosen
from emt.own.language.readers import BACKEND, READERS
from emt.own.language.rebinding import watched
from emt.own.language.tokens import Text

MOST_LOGGED = 2 * 10**9
"""Bytes of a log."""

Layout = Mapping[str, Mapping[str, tuple[int, ...]]]
"""For each node its variables, and the numbers that a step of them has."""


def same_layout(models: Sequence[nn.Module], text: Text, chosen: Chosen) -> Layout:
    """Return what each step of the logs of some models will hold.

    Raises
    ------
    UserError
        If models differ, call no recurrence that is known here, or have no such layers.
    """
    layouts = [_layout(model, text, Chosen(None, chosen.heads, chosen.channels)) for model in models]
    for number, layout in enumerate(layouts, 1):
        if layout != layouts[0]:
            raise UserError(
                f"expected members of one architecture; model {number} has memories of other sizes than model 1 "
                "(make two runs and compare them)",
                parameter="models",
            )
    if chosen.layers is None:
        return layouts[0]
    known = sorted({_layer(node) for node in layouts[0]})
    if not len(chosen.layers):
        raise UserError("expected at least one number; got none", parameter="layers")
    for layer in chosen.layers:
        if layer not in known:
            raise UserError(
                f"expected layers with a memory, {', '.join(map(str, known))}; got {layer}",
                parameter="layers",
            )
    return {node: sizes for node, sizes in layouts[0].items() if _layer(node) in chosen.layers}


def check_size(layout: Layout, rows: int, steps: int) -> int:
    """Return the bytes of a log of so many rows and steps.

    Raises
    ------
    UserError
        If they are too many; the message says how many layers would fit.
    """
    sizes = {
        node: 4 * rows * steps * sum(int(torch.Size(shape).numel()) for shape in variables.values())
        for node, variables in layout.items()
    }
    total = sum(sizes.values())
    if total > MOST_LOGGED:
        fit = int(MOST_LOGGED // max(sizes.values()))
        raise UserError(
            f"expected a log of at most {MOST_LOGGED / 1e9:.1f} GB; {len(sizes)} layers need {total / 1e9:.1f} "
            f"({fit} fit{'' if fit else ': name some heads, or give fewer tokens'})",
            parameter="layers",
        )
    return total


def _layout(model: Any, text: Text, chosen: Chosen) -> Layout:
    found: dict[str, dict[str, tuple[int, ...]]] = {}

    def seen(node: str, call: Call) -> None:
        found[node] = {name: tuple(tensor.shape[2:]) for name, tensor in call.log(call.value).items()}

    ids = torch.tensor(text.ids[:1, : min(2, int(text.lengths[0]))], device=next(model.parameters()).device)
    with watched(model, chosen, seen):
        model(input_ids=ids, use_cache=False)
    if not found:
        raise UserError(
            f"expected a model that calls a recurrence known here ({', '.join([*READERS, BACKEND])}); "
            f"{type(model).__name__} calls none",
            parameter="models",
        )
    return found


def _layer(node: str) -> int:
    return int(node.removeprefix("layer").partition("_")[0])

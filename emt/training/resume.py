"""What a stack needs to go on training in another process: its weights, its optimiser, and where its members stand."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from emt import tensor_file
from emt.training.curriculum import MemberProgress
from emt.training.stack import Stack

OF_MEMBERS = ("steps", "frozen", "averaged")
"""What an optimiser keeps for each member, (member,)."""


def resume_state(stack: Stack) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return everything that `restore` needs: tensors by name, and plain values."""
    tensors: dict[str, Tensor] = {}
    for name, parameter in stack.model.named_parameters():
        slots = stack.optimizer.slots(parameter)
        tensors |= {f"weight.{name}": parameter.detach()} | {f"{slot}.{name}": s for slot, s in slots.items()}
    tensors |= {name: getattr(stack.optimizer, name) for name in OF_MEMBERS}
    tensors |= {f"state.{name}": s for name, s in stack.state.items()}
    tensors |= {name: torch.tensor(array) for name, array in stack.progress._asdict().items()}
    tensors |= stack.best.state_dict() if stack.best is not None else {}
    return {k: v.cpu().contiguous() for k, v in tensors.items()}, {
        "step": stack.step,
        "numbers": stack.numbers,
    }


def resume_file(tensors: Mapping[str, Tensor], about: Mapping[str, Any]) -> bytes:
    """Return the content of a resume file, with a checksum of everything in it."""
    return tensor_file.to_bytes({name: t.numpy() for name, t in tensors.items()}, json.dumps(about))


def read_resume_state(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return tensors and plain values of a `resume_file`.

    Raises
    ------
    ValueError
        If the file is damaged, or was written before there were checksums.
    """
    arrays, about = tensor_file.from_bytes(path.read_bytes(), checked=True)
    # Copies are aligned, as what a run computes with is: sums over unaligned memory round otherwise.
    return {name: torch.tensor(array) for name, array in arrays.items()}, json.loads(about or "")


def restore(stack: Stack, tensors: Mapping[str, Tensor], about: Mapping[str, Any]) -> None:
    """Let a stack at step 0 go on from a `resume_state`; members that had left by then leave this stack too.

    Raises
    ------
    KeyError
        With the name of what is missing, if the state was saved by another version.
    ValueError
        If the state is not one of this stack: the message names the first tensor of another shape or kind.
    """
    numbers, step = about["numbers"], about["step"]
    if not set(numbers) <= set(stack.numbers) or not 0 <= step <= stack.total_steps:
        expected = f"models among {stack.numbers} and a step up to {stack.total_steps}"
        raise ValueError(f"expected {expected}; got {numbers} and {step}")
    stack.keep(np.isin(stack.numbers, numbers))
    _check_shapes(stack, tensors)
    _restore_weights(stack, tensors)
    stack.curriculum.progress = MemberProgress._make(tensors[name].numpy() for name in MemberProgress._fields)
    carried = {n.removeprefix("state."): s for n, s in tensors.items() if n.startswith("state.")}
    stack.state = {name: s.to(stack.device) for name, s in carried.items()}
    if stack.best is not None:
        stack.best.load_state_dict(tensors)
    stack.step = step


def _check_shapes(stack: Stack, tensors: Mapping[str, Tensor]) -> None:
    """Refuse what has another shape or kind than the stack's own; carried states are those of the step before."""
    for name, own in resume_state(stack)[0].items():
        found = tensors[name]
        if (found.shape, found.dtype) != (own.shape, own.dtype):
            expected = f"{tuple(own.shape)} of {own.dtype}"
            raise ValueError(f"{name}: expected {expected}; got {tuple(found.shape)} of {found.dtype}")


def _restore_weights(stack: Stack, tensors: Mapping[str, Tensor]) -> None:
    optimizer = stack.optimizer
    for name, parameter in stack.model.named_parameters():
        device = parameter.device
        parameter.data = tensors[f"weight.{name}"].to(device)
        slots = {slot: tensors[f"{slot}.{name}"].to(device) for slot in optimizer.slot_names}
        optimizer.state[parameter] = slots
    for name in OF_MEMBERS:
        setattr(optimizer, name, tensors[name])

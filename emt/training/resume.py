"""What a stack needs to go on training in another process: its weights, its optimiser, and where its members stand."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from emt.training.curriculum import MemberProgress
from emt.training.stack import Stack


def resume_state(stack: Stack) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return everything that `restore` needs: tensors by name, and plain values."""
    tensors: dict[str, Tensor] = {}
    for name, parameter in stack.model.named_parameters():
        slots = stack.optimizer.slots(parameter)
        tensors |= {f"weight.{name}": parameter.detach()} | {f"{slot}.{name}": s for slot, s in slots.items()}
    tensors |= {"steps": stack.optimizer.steps, "frozen": stack.optimizer.frozen}
    tensors |= {f"state.{name}": s for name, s in stack.state.items()}
    tensors |= {name: torch.from_numpy(array) for name, array in stack.progress._asdict().items()}
    tensors |= stack.best.state_dict() if stack.best is not None else {}
    return {k: v.cpu().contiguous() for k, v in tensors.items()}, {"step": stack.step, "numbers": stack.numbers}


def restore(stack: Stack, tensors: Mapping[str, Tensor], about: Mapping[str, Any]) -> None:
    """Let a stack at step 0 go on from a `resume_state`; members that had left by then leave this stack too.

    Raises
    ------
    KeyError
        With the name of what is missing, if the state was saved by another version.
    """
    stack.keep(np.isin(stack.numbers, about["numbers"]))
    _restore_weights(stack, tensors)
    stack.curriculum.progress = MemberProgress._make(tensors[name].numpy() for name in MemberProgress._fields)
    carried = {n.removeprefix("state."): s for n, s in tensors.items() if n.startswith("state.")}
    stack.state = {name: s.to(stack.device) for name, s in carried.items()}
    if stack.best is not None:
        stack.best.load_state_dict(tensors)
    stack.step = int(about["step"])


def _restore_weights(stack: Stack, tensors: Mapping[str, Tensor]) -> None:
    optimizer = stack.optimizer
    for name, parameter in stack.model.named_parameters():
        device = parameter.device
        parameter.data = tensors[f"weight.{name}"].to(device)
        optimizer.state[parameter] = {slot: tensors[f"{slot}.{name}"].to(device) for slot in optimizer.SLOTS}
    optimizer.steps, optimizer.frozen = tensors["steps"], tensors["frozen"]

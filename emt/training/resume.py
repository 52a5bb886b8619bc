"""What a stack needs to go on training in another process: its weights, its optimiser, and where its members stand."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save
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
    return {k: v.cpu().contiguous() for k, v in tensors.items()}, {
        "step": stack.step,
        "numbers": stack.numbers,
    }


def resume_file(tensors: Mapping[str, Tensor], about: Mapping[str, Any]) -> bytes:
    """Return the content of a resume file, with a checksum of everything in it."""
    text = json.dumps(about)
    return save(dict(tensors), metadata={"about": text, "sha256": _checksum(tensors, text)})


def read_resume_state(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return tensors and plain values of a `resume_file`.

    Raises
    ------
    safetensors.SafetensorError, KeyError, TypeError, ValueError
        If the file is damaged, or was written before there were checksums.
    """
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
        # Clones are aligned, as what a run computes with is: sums over unaligned memory round otherwise.
        tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
    if metadata.get("sha256") != _checksum(tensors, metadata["about"]):
        raise ValueError("its checksum does not match its content")
    return tensors, json.loads(metadata["about"])


def _checksum(tensors: Mapping[str, Tensor], about: str) -> str:
    digest = hashlib.sha256(about.encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)};".encode())
        digest.update(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


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

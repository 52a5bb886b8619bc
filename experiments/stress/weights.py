"""Weight files of other programs: safetensors, checkpoints, and the pickle within a checkpoint."""

import argparse
import io
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.random import Generator
from safetensors.torch import save

import emt
from emt.files import write_bytes
from experiments.stress.kind import Kind, damage


def _network() -> torch.nn.Module:
    network = torch.nn.ModuleDict({"rnn": torch.nn.GRU(3, 5, 2), "head": torch.nn.Linear(5, 2)})
    with torch.no_grad():
        for place, parameter in enumerate(network.parameters()):
            parameter.copy_(torch.arange(parameter.numel()).view(parameter.shape) / 7 + place)
    return network


def make_checkpoint(folder: Path) -> Path:
    """Write a checkpoint as Lightning does, with objects among what its user gave."""
    given = {"options": argparse.Namespace(rate=0.1, path=Path("x")), "class": torch.nn.GRU}
    content = io.BytesIO()
    torch.save({"hyper_parameters": given, "state_dict": _network().state_dict(), "epoch": 3}, content)
    write_bytes(folder / "model.ckpt", content.getvalue())
    return folder / "model.ckpt"


def make_safetensors(folder: Path) -> Path:
    """Write the weights as the library of that name does."""
    write_bytes(folder / "model.safetensors", save(dict(_network().state_dict())))
    return folder / "model.safetensors"


def read_weights(path: Path) -> dict[str, Any]:
    """Return all tensors, and what the network of them does."""
    weights = emt.load_weights(path)
    network = weights.network()
    with torch.no_grad():
        outputs = network(torch.ones(1, 4, 3))
    return {name: np.array(tensor.tolist()) for name, tensor in weights.items()} | {
        "outputs": np.array(outputs.tolist())
    }


def within_the_pickle(content: bytes, random: Generator) -> bytes:
    """Return a checkpoint whose pickle is damaged, with checksums of the archive that fit."""
    return _rewritten(content, lambda name, data: damage(data, random) if name.endswith("data.pkl") else data)


def _rewritten(content: bytes, change: Callable[[str, bytes], bytes]) -> bytes:
    written = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(written, "w") as new:
        for info in old.infolist():
            new.writestr(info.filename, change(info.filename, old.read(info)))
    return written.getvalue()


KINDS: tuple[Kind, ...] = (
    Kind("torch checkpoint", make_checkpoint, read_weights),
    # Neither has a checksum; other numbers, or other names, are no fault. A crash, a call and no end are.
    Kind("pickle of a checkpoint", make_checkpoint, read_weights, vouched=False, mutate=within_the_pickle),
    Kind("safetensors of others", make_safetensors, read_weights, vouched=False),
)

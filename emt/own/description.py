"""What a run's folder says of each network instead of its weights: its class, and their hash."""

import hashlib
from typing import Any

import torch
from torch import Tensor, nn

from emt.record import to_array


def describe_network(network: Any) -> dict[str, Any]:
    """Return a network's class, and the hash of its weights, None where it is a plain function."""
    return {"class": _class_of(network), "sha256": _weights_hash(network)}


def _class_of(network: Any) -> str:
    kind = type(network) if isinstance(network, nn.Module) else network
    return f"{getattr(kind, '__module__', '')}.{getattr(kind, '__qualname__', type(kind).__name__)}"


def _weights_hash(network: Any) -> str | None:
    if not isinstance(network, nn.Module):
        return None
    tensors = {n: t for n, t in network.state_dict().items() if isinstance(t, Tensor)}
    found = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        found.update(name.encode())
        # As bytes: numpy has no bfloat16. One tensor at a time: language models fill the memory.
        found.update(to_array(tensor.contiguous().flatten().view(torch.uint8)).data)
    return found.hexdigest()

"""Tensors of published programs' networks under the names, and in the orientation, of this project.

Names and orientations are those of the programs: a linear layer (out, in), and an ``nn.Embedding`` (token, channel),
the other way round than an embedding stands in files of this project. A square embedding is turned too, since the
program is known by its other names; one whose channels are not those that the next layer takes is refused.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import pad

from emt.errors import UserError

Arrays = dict[str, NDArray[np.float32]]


class Network(NamedTuple):
    """A network of this project.

    Attributes
    ----------
    weights
        Arrays under the names of this project.
    model, task
        Options that follow from the file.
    """

    weights: Arrays
    model: dict[str, Any]
    task: dict[str, Any] = {}


def _array(tensor: Tensor) -> NDArray[np.float32]:
    array: NDArray[np.float32] = tensor.float().contiguous().numpy()
    return array


def _embedding(weights: Mapping[str, Tensor], name: str, taker: str) -> Tensor:
    """Return an nn.Embedding (token, channel) as a linear layer (channel, token)."""
    table, channels = weights[name], weights[taker].shape[1]
    if table.ndim != 2 or table.shape[1] != channels:
        raise UserError(
            f"{name}: expected (token, {channels}), as {taker} takes {channels} channels; got {tuple(table.shape)}"
        )
    return table.t()


def _retrieval(weights: Mapping[str, Tensor], renamed: Mapping[str, str]) -> Network:
    """Return a network of fastweights_ar: its head keeps its names."""
    names = {**renamed, **{name: name for name in weights if name.startswith("head.")}}
    taker = next(name for name, ours in renamed.items() if ours == "rnn.weight_ih_l0")
    units = next(name for name, ours in renamed.items() if ours == "rnn.weight_hh_l0")
    table = _embedding(weights, "emb.weight", taker)
    arrays = {ours: _array(weights[theirs]) for theirs, ours in names.items()} | {
        "embedding.weight": _array(table)
    }
    return Network(arrays, {"hidden_dim": weights[units].shape[1], "embedding_dim": table.shape[0]})


def irnn(weights: Mapping[str, Tensor], given: Mapping[str, Any]) -> Network:
    """Convert the rectified network of fastweights_ar."""
    inner = {"U.weight": "rnn.weight_ih_l0", "W.weight": "rnn.weight_hh_l0", "W.bias": "rnn.bias_hh_l0"}
    return _retrieval(weights, inner)


def fast_weights(weights: Mapping[str, Tensor], given: Mapping[str, Any]) -> Network:
    """Convert the network with fast weights of fastweights_ar."""
    norm = {"ln.weight": "norm.weight", "ln.bias": "norm.bias"}
    return _retrieval(weights, {"U.weight": "rnn.weight_ih_l0", "W.weight": "rnn.weight_hh_l0", **norm})


def retrieval_lstm(weights: Mapping[str, Tensor], given: Mapping[str, Any]) -> Network:
    """Convert the LSTM with a two-layer head of fastweights_ar."""
    return _retrieval(weights, {n: n.replace("lstm.", "rnn.") for n in weights if n.startswith("lstm.")})


def dnd_lstm(weights: Mapping[str, Tensor], given: Mapping[str, Any]) -> Network:
    """Convert the agent of dnd-lstm."""
    arrays = {
        f"rnn.{kind}_{ours}": _array(weights[f"{theirs}.{kind}"])
        for theirs, ours in (("i2h", "ih"), ("h2h", "hh"))
        for kind in ("weight", "bias")
    }
    heads = [[weights[f"a2c.{head}.{kind}"] for head in ("actor", "critic")] for kind in ("weight", "bias")]
    arrays |= {
        f"readout.{k}": _array(torch.cat(both)) for k, both in zip(("weight", "bias"), heads, strict=True)
    }
    evidence, odd = divmod(weights["i2h.weight"].shape[1], 2)
    if odd:
        raise UserError(
            f"i2h.weight: expected as many inputs of evidence as of context; got {2 * evidence + 1} in all"
        )
    return Network(arrays, {"hidden_dim": weights["h2h.weight"].shape[1]}, {"evidence": evidence})


def fwm(weights: Mapping[str, Tensor], given: Mapping[str, Any]) -> Network:
    """Convert the catbAbI network of Fast-Weight-Memory."""
    cell = {
        name.removeprefix("rnn.cells.0."): w for name, w in weights.items() if name.startswith("rnn.cells.0.")
    }
    units, size = cell["lstm.W_hh"].shape[1], cell["linear.weight"].shape[1]
    bias = cell["lstm.bias"].clone()
    # The program adds 1 to its forget gate, the second of i, f, z, o; here that is part of the bias.
    bias[units : 2 * units] += 1
    both = {**weights, "W_ih": cell["lstm.W_ih"]}
    table = _embedding(both, "embedding.weight", "W_ih")
    tensors = {
        "embedding.weight": table,
        "lstm.weight_ih_l0": cell["lstm.W_ih"],
        "lstm.weight_hh_l0": cell["lstm.W_hh"],
        "lstm.bias_ih_l0": bias,
        "head.weight": weights["linear.weight"],
    }
    tensors |= {
        f"{n.lower()}.{kind}": cell[f"W_{n}.{kind}"] for n in ("write", "read") for kind in ("weight", "bias")
    }
    tensors |= {f"output.{kind}": cell[f"linear.{kind}"] for kind in ("weight", "bias")}
    reads, rest = divmod(cell["W_read.weight"].shape[0], size)
    if rest or cell["W_write.weight"].shape[0] != 3 * size + 1:
        raise UserError(
            f"W_read, W_write: expected factors of keys of the size of values, {size}; got others"
        )
    sizes = {"hidden_dim": units, "embedding_dim": table.shape[0], "memory_dim": size, "reads": reads - 1}
    return Network({n: _array(t) for n, t in tensors.items()}, sizes)


def ethereal(weights: Mapping[str, Tensor], given: Mapping[str, Any]) -> Network:
    """Convert the plastic network of memory_encoding."""
    layers = sorted({name.rpartition(".")[0] for name in weights if name.startswith("linear_layers.")})
    last = [
        "i2o",
        *(["self_grad"] if given.get("self_grad") and given.get("updater", "dfa") == "dfa" else []),
    ]
    plastic = [*layers, *(["i2h"] if given.get("enable_recurrence", True) else [])]
    masked = [*plastic, *(last if given.get("compatibility") else [])]
    arrays: Arrays = {}
    for place in (*plastic, *last):
        mask = weights[f"{place}.mask"]
        if mask.dtype != torch.bool or weights[f"{place}.candidate_weights"].shape[1:] != mask.shape:
            raise UserError(
                f"{place}.mask: expected true or false for each weight; got {mask.dtype} {tuple(mask.shape)}"
            )
        # Copies of a batch's items are merged, and plastic entries wiped, when the next sequence starts.
        arrays[f"{place}.weight"] = _array(
            weights[f"{place}.candidate_weights"].mean(dim=0).masked_fill(mask, 0)
        )
        arrays[f"{place}.bias"] = _array(weights[f"{place}.bias"])
    for place in masked:
        # Here a mask has a column for the bias, too, which no step forgets.
        arrays[f"{place}.mask"] = _array(pad(weights[f"{place}.mask"], (0, 1)))
    for place in plastic:
        arrays[f"{place}.feedback_weights"] = _array(weights[f"{place}.feedback_weights"].t())
    first = weights[f"{layers[0]}.mask"]
    model = {
        "hidden_dim": weights["i2h.bias"].shape[0],
        "layers": len(layers),
        "plast_clip": _one_value(weights, [f"{place}.plasticity" for place in plastic], plastic, 1.0),
        "forget_rate": _one_value(weights, [f"{place}.forgetting_factor" for place in masked], masked, 0.0),
        "plast_proportion": round(float(first.float().mean()), 4),
    }
    return Network(arrays, model)


def _one_value(weights: Mapping[str, Tensor], names: list[str], places: list[str], elsewhere: float) -> float:
    """Return the one value that tensors have at masks; elsewhere they have another."""
    masks = [weights[f"{place}.mask"] for place in places]
    inside = torch.cat([weights[name][mask] for name, mask in zip(names, masks, strict=True)]).unique()
    outside = torch.cat([weights[name][~mask] for name, mask in zip(names, masks, strict=True)])
    if len(inside) > 1 or (outside != elsewhere).any():
        raise UserError(
            f"{names[0]}: expected one value at all masked entries and {elsewhere:g} elsewhere; got others "
            "(the program changes them with --normalize, and forgets more entries where few are plastic)"
        )
    # Of single precision, as the option was typed.
    return float(np.format_float_positional(np.float32(inside[0])) if len(inside) else elsewhere)


def simple_rnn(weights: Mapping[str, Tensor], given: Mapping[str, Any]) -> Network:
    """Convert the plain network of memory_encoding."""
    layers = {name.rpartition(".")[0] for name in weights if name.startswith("linear_layers.")}
    used = {
        n: w for n, w in weights.items() if given.get("enable_recurrence", True) or not n.startswith("i2h.")
    }
    model = {"hidden_dim": weights["i2h.bias"].shape[0], "layers": len(layers)}
    return Network({name: _array(tensor) for name, tensor in used.items()}, model)

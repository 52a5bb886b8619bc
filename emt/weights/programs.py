"""Single networks of published programs, recognised by the names in their weight files.

Names and orientations are those of the programs: a linear layer (out, in), and an ``nn.Embedding`` (token, channel),
the other way round than an embedding stands in files of this project. A square embedding is turned too, since the
program is known by its other names; one whose channels are not those that the next layer takes is refused.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import pad

from emt.errors import UserError
from emt.weights.load import Weights

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


class Program(NamedTuple):
    """A published program.

    Attributes
    ----------
    name
        Of its repository.
    model_type, task
        What its network and its task are called here.
    names
        Pattern of the names in its weight files; each of ``marks`` is among them.
    convert
        From tensors, and options of the model that were given, to a network.
    unsaid
        Options that decide what the network computes and that no file says.
    """

    name: str
    model_type: str
    task: str
    names: str
    marks: tuple[str, ...]
    convert: Callable[[Mapping[str, Tensor], Mapping[str, Any]], Network]
    unsaid: tuple[str, ...] = ()


def recognise(weights: Weights, path: Any) -> tuple[Program, Weights]:
    """Return the program that saved these weights, and the weights without what stands before its names.

    Raises
    ------
    UserError
        If it is none of those known here.
    """
    for program in PROGRAMS:
        for start in (
            name.removesuffix(program.marks[0]) for name in weights if name.endswith(program.marks[0])
        ):
            own = {
                name.removeprefix(start): value for name, value in weights.items() if name.startswith(start)
            }
            if set(program.marks) <= set(own) and all(re.fullmatch(program.names, name) for name in own):
                return program, Weights(own)
    known = ", ".join(dict.fromkeys(program.name for program in PROGRAMS))
    raise UserError(
        f"{path}: expected weights of a network of {known}; got {', '.join(list(weights)[:8])} "
        "(emt.load_weights(path).network() builds others for emt.from_torch)"
    )


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


def _irnn(weights: Mapping[str, Tensor], given: Mapping[str, Any]) -> Network:
    inner = {"U.weight": "rnn.weight_ih_l0", "W.weight": "rnn.weight_hh_l0", "W.bias": "rnn.bias_hh_l0"}
    return _retrieval(weights, inner)


def _fast_weights(weights: Mapping[str, Tensor], given: Mapping[str, Any]) -> Network:
    norm = {"ln.weight": "norm.weight", "ln.bias": "norm.bias"}
    return _retrieval(weights, {"U.weight": "rnn.weight_ih_l0", "W.weight": "rnn.weight_hh_l0", **norm})


def _retrieval_lstm(weights: Mapping[str, Tensor], given: Mapping[str, Any]) -> Network:
    return _retrieval(weights, {n: n.replace("lstm.", "rnn.") for n in weights if n.startswith("lstm.")})


def _dnd_lstm(weights: Mapping[str, Tensor], given: Mapping[str, Any]) -> Network:
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


def _fwm(weights: Mapping[str, Tensor], given: Mapping[str, Any]) -> Network:
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


def _ethereal(weights: Mapping[str, Tensor], given: Mapping[str, Any]) -> Network:
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


def _simple(weights: Mapping[str, Tensor], given: Mapping[str, Any]) -> Network:
    layers = {name.rpartition(".")[0] for name in weights if name.startswith("linear_layers.")}
    used = {
        n: w for n, w in weights.items() if given.get("enable_recurrence", True) or not n.startswith("i2h.")
    }
    model = {"hidden_dim": weights["i2h.bias"].shape[0], "layers": len(layers)}
    return Network({name: _array(tensor) for name, tensor in used.items()}, model)


_HEAD = r"head\.[02]\.(weight|bias)"
_HEADS = ("emb.weight", "head.0.weight", "head.0.bias", "head.2.weight", "head.2.bias")
_STEPWISE = ("enable_recurrence", "input_mode", "positional_encoding_dim")
PROGRAMS = (
    Program(
        "fastweights_ar",
        "irnn",
        "associative_retrieval",
        rf"emb\.weight|U\.weight|W\.(weight|bias)|{_HEAD}",
        (*_HEADS, "U.weight", "W.weight", "W.bias"),
        _irnn,
    ),
    Program(
        "fastweights_ar",
        "fw",
        "associative_retrieval",
        rf"emb\.weight|[UW]\.weight|ln\.(weight|bias)|{_HEAD}",
        (*_HEADS, "U.weight", "W.weight", "ln.weight", "ln.bias"),
        _fast_weights,
        ("eta", "lam", "inner_steps"),
    ),
    Program(
        "fastweights_ar",
        "ar_lstm",
        "associative_retrieval",
        rf"emb\.weight|lstm\.(weight|bias)_(ih|hh)_l0|{_HEAD}",
        (*_HEADS, *(f"lstm.{kind}_{part}_l0" for kind in ("weight", "bias") for part in ("ih", "hh"))),
        _retrieval_lstm,
    ),
    Program(
        "dnd-lstm",
        "dnd_lstm",
        "contextual_choice",
        r"(i2h|h2h|a2c\.(actor|critic))\.(weight|bias)",
        tuple(
            f"{n}.{kind}" for n in ("i2h", "h2h", "a2c.actor", "a2c.critic") for kind in ("weight", "bias")
        ),
        _dnd_lstm,
        ("similarity", "key", "capacity"),
    ),
    Program(
        "Fast-Weight-Memory",
        "fwm",
        "catbabi",
        r"embedding\.weight|linear\.weight|rnn\.cells\.0\.(lstm\.(W_ih|W_hh|bias)|(W_write|W_read|linear)\.(weight|bias))",
        (
            *("embedding.weight", "linear.weight"),
            *(f"rnn.cells.0.lstm.{n}" for n in ("W_ih", "W_hh", "bias")),
            *(
                f"rnn.cells.0.{n}.{kind}"
                for n in ("W_write", "W_read", "linear")
                for kind in ("weight", "bias")
            ),
        ),
        _fwm,
        ("variant",),
    ),
    Program(
        "memory_encoding",
        "ethereal",
        "characters",
        r"(linear_layers\.\d+|i2h|i2o|self_grad)\.\w+",
        tuple(
            f"{place}.{part}"
            for place in ("linear_layers.0", "i2h", "i2o")
            for part in (
                "candidate_weights",
                "bias",
                "mask",
                "plasticity",
                "forgetting_factor",
                "feedback_weights",
            )
        ),
        _ethereal,
        ("updater", "eta", "residual_connection", *_STEPWISE, "compatibility"),
    ),
    Program(
        "memory_encoding",
        "ethereal_rnn",
        "characters",
        r"(linear_layers\.\d+|i2h|i2o)\.(weight|bias)",
        tuple(
            f"{place}.{part}" for place in ("linear_layers.0", "i2h", "i2o") for part in ("weight", "bias")
        ),
        _simple,
        ("updater", *_STEPWISE),
    ),
)
"""Programs whose networks are models of this project; of several that fit the first is meant."""

"""Published programs whose networks are models of this project, recognised by the names in their weight files."""

import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from torch import Tensor

from emt.errors import UserError
from emt.weights import conversions
from emt.weights.conversions import Network
from emt.weights.load import Weights


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
        conversions.irnn,
    ),
    Program(
        "fastweights_ar",
        "fw",
        "associative_retrieval",
        rf"emb\.weight|[UW]\.weight|ln\.(weight|bias)|{_HEAD}",
        (*_HEADS, "U.weight", "W.weight", "ln.weight", "ln.bias"),
        conversions.fast_weights,
        ("eta", "lam", "inner_steps"),
    ),
    Program(
        "fastweights_ar",
        "ar_lstm",
        "associative_retrieval",
        rf"emb\.weight|lstm\.(weight|bias)_(ih|hh)_l0|{_HEAD}",
        (*_HEADS, *(f"lstm.{kind}_{part}_l0" for kind in ("weight", "bias") for part in ("ih", "hh"))),
        conversions.retrieval_lstm,
    ),
    Program(
        "dnd-lstm",
        "dnd_lstm",
        "contextual_choice",
        r"(i2h|h2h|a2c\.(actor|critic))\.(weight|bias)",
        tuple(
            f"{n}.{kind}" for n in ("i2h", "h2h", "a2c.actor", "a2c.critic") for kind in ("weight", "bias")
        ),
        conversions.dnd_lstm,
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
        conversions.fwm,
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
        conversions.ethereal,
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
        conversions.simple_rnn,
        ("updater", *_STEPWISE),
    ),
)
"""Programs whose networks are models of this project; of several that fit the first is meant."""

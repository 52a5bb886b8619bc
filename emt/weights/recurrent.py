"""A recurrent network from its weights: kind and sizes follow from shapes."""

import re
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

from torch import Tensor, float32, nn

from emt.errors import UserError

KINDS = {1: nn.RNN, 3: nn.GRU, 4: nn.LSTM}
"""Recurrent layers by their gates, blocks of units in the rows of ``weight_hh``."""

_FIRST = re.compile(r"(?P<stem>(?:.*\.)?)weight_hh_l0")


class RecurrentNetwork(nn.Module):
    """A recurrent layer and a linear readout of its states.

    Attributes
    ----------
    rnn
        The layer, batch first.
    readout
        From its states to the outputs.
    """

    def __init__(self, rnn: nn.RNNBase, readout: nn.Linear) -> None:
        super().__init__()
        self.rnn, self.readout = rnn, readout

    def forward(self, x: Tensor) -> Tensor:
        """Return outputs (batch, time, output) for inputs (batch, time, channel)."""
        outputs: Tensor = self.readout(self.rnn(x)[0])
        return outputs


def build_network(
    weights: Mapping[str, Tensor],
    recurrent: str | None,
    readout: str | None,
    nonlinearity: Literal["tanh", "relu"] | None,
) -> nn.Module:
    """Return the network of a weight file; see `emt.weights.load.Weights.network`."""
    stem = _stem(weights, recurrent)
    rnn = _layer(weights, stem, nonlinearity)
    units = rnn.proj_size or rnn.hidden_size
    name = _readout(weights, stem, units) if readout is None else readout
    if name is None:
        return rnn
    return RecurrentNetwork(rnn, _linear(weights, name, units))


def _stem(weights: Mapping[str, Tensor], recurrent: str | None) -> str:
    stems = [match["stem"] for name in weights if (match := _FIRST.fullmatch(name))]
    shown = ", ".join(stem.removesuffix(".") or "no name" for stem in stems)
    if recurrent is not None:
        stem = f"{recurrent}." if recurrent else ""
        if stem not in stems:
            raise UserError(f"expected one of {shown or 'none'}; got {recurrent!r}", parameter="recurrent")
        return stem
    if len(stems) != 1:
        raise UserError(
            f"expected one recurrent layer, whose weights end in weight_hh_l0; found {shown}: name one"
            if stems
            else f"expected a recurrent layer, whose weights end in weight_hh_l0; found {_listed(list(weights))}",
            parameter="recurrent",
        )
    return stems[0]


def _listed(names: list[str], most: int = 12) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


class _Sizes(NamedTuple):
    """Of a recurrent layer, as nn.LSTM takes them."""

    kind: Any
    inputs: int
    units: int
    levels: int
    projection: int
    biased: bool


def _layer(
    weights: Mapping[str, Tensor], stem: str, nonlinearity: Literal["tanh", "relu"] | None
) -> nn.RNNBase:
    own = {name.removeprefix(stem): tensor for name, tensor in weights.items() if _belongs(name, stem)}
    if any(name.endswith("_reverse") for name in own):
        raise UserError(
            f"{stem}weight_hh_l0_reverse: expected a layer that runs forwards; a bidirectional one knows the end",
            parameter="recurrent",
        )
    sizes = _sizes(own, stem)
    options: dict[str, Any] = {"proj_size": sizes.projection} if sizes.projection else {}
    if sizes.kind is nn.RNN:
        if nonlinearity not in ("tanh", "relu"):
            raise UserError(
                'expected "tanh" or "relu", which the file of an nn.RNN does not say; got '
                f"{'none' if nonlinearity is None else repr(nonlinearity)}",
                parameter="nonlinearity",
            )
        options["nonlinearity"] = nonlinearity
    elif nonlinearity is not None:
        raise UserError(
            f"only an nn.RNN has one; got weights of an nn.{sizes.kind.__name__}", parameter="nonlinearity"
        )
    made: nn.RNNBase = sizes.kind(
        sizes.inputs, sizes.units, sizes.levels, bias=sizes.biased, batch_first=True, **options
    )
    _fill(made, own, stem)
    return made


def _belongs(name: str, stem: str) -> bool:
    return (
        name.startswith(stem)
        and re.fullmatch(r"(weight|bias)_(ih|hh|hr)_l\d+(_reverse)?", name.removeprefix(stem)) is not None
    )


def _sizes(own: Mapping[str, Tensor], stem: str) -> _Sizes:
    levels = sum(re.fullmatch(r"weight_hh_l\d+", name) is not None for name in own)
    recurrent, inputs, projected = own["weight_hh_l0"], own.get("weight_ih_l0"), own.get("weight_hr_l0")
    for name, tensor in (("weight_hh_l0", recurrent), ("weight_ih_l0", inputs), ("weight_hr_l0", projected)):
        if tensor is None and name == "weight_ih_l0":
            raise UserError(f"expected {stem}weight_ih_l0 beside {stem}weight_hh_l0; found none")
        if tensor is not None and (tensor.ndim != 2 or not tensor.numel()):
            raise UserError(f"{stem}{name}: expected a matrix; got {tuple(tensor.shape)}")
    assert inputs is not None
    units = recurrent.shape[1] if projected is None else projected.shape[1]
    gates, rest = divmod(recurrent.shape[0], units)
    if rest or gates not in KINDS or (projected is not None and gates != 4):
        raise UserError(
            f"{stem}weight_hh_l0: expected as many rows as columns (nn.RNN), three times as many (nn.GRU) or four "
            f"times (nn.LSTM); got {tuple(recurrent.shape)}"
        )
    projection = 0 if projected is None else projected.shape[0]
    return _Sizes(KINDS[gates], inputs.shape[1], units, levels, projection, "bias_ih_l0" in own)


def _fill(module: nn.Module, values: Mapping[str, Tensor], stem: str) -> None:
    """Set all parameters of a module, in the file's type and in single precision at least."""
    expected = module.state_dict()
    for name in {**expected, **values}:
        shapes = [None if name not in of else tuple(of[name].shape) for of in (expected, values)]
        if shapes[0] != shapes[1]:
            raise UserError(
                f"{stem}{name}: expected {shapes[0] or 'no such weights'}; got {shapes[1] or 'none'}"
            )
        if not values[name].is_floating_point():
            raise UserError(f"{stem}{name}: expected real numbers; got {values[name].dtype}")
    kind = next(iter(values.values())).dtype
    module.to(kind if kind.itemsize >= 4 else float32)
    module.load_state_dict(values)


def _readout(weights: Mapping[str, Tensor], stem: str, units: int) -> str | None:
    """Return the name of the one matrix that could read the states out; None without one."""
    found = [
        name
        for name, tensor in weights.items()
        if tensor.ndim == 2
        and tensor.shape[1] == units
        and not _belongs(name, stem)
        # An embedding (token, channel) has as many columns where channels are as many as units.
        and not re.search("emb|wte", name, re.IGNORECASE)
    ]
    if len(found) > 1:
        raise UserError(
            f"expected one matrix with {units} columns beside {stem.removesuffix('.') or 'the layer'}; found "
            f"{_listed(found)}: name one",
            parameter="readout",
        )
    return found[0] if found else None


def _linear(weights: Mapping[str, Tensor], name: str, units: int) -> nn.Linear:
    matrix = weights.get(name)
    if matrix is None or matrix.ndim != 2 or matrix.shape[1] != units:
        raise UserError(
            f"expected the name of a matrix with {units} columns; got {name!r}"
            + ("" if matrix is None else f" {tuple(matrix.shape)}"),
            parameter="readout",
        )
    stem, _, last = name.rpartition("weight")
    bias = weights.get(f"{stem}bias") if not last else None
    values = {"weight": matrix} if bias is None else {"weight": matrix, "bias": bias}
    linear = nn.Linear(units, matrix.shape[0], bias=bias is not None)
    _fill(linear, values, stem)
    return linear

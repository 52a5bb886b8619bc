"""torch modules that contain one recurrent layer: hooks put its state in and take it out."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from emt.errors import UserError
from emt.models.base import State
from emt.own.networks import OwnNetworks, Pass, with_second_derivatives

LAYERS = (nn.RNN, nn.GRU, nn.LSTM)
PROBE = 5, 3
"""Trials and steps of the run that shows how a network takes inputs and gives outputs."""


class Modules(OwnNetworks):
    """Networks with one nn.RNN, nn.GRU or nn.LSTM inside, or such layers themselves.

    The state is that of the layer: ``hidden`` is h of its last level, ``hidden_l0`` … of those below; an LSTM
    has ``cell`` and ``cell_l0`` … too.

    Parameters
    ----------
    networks
        One for each member.
    recurrent
        Path of the recurrent layer in a network; needed where it holds several.
    readouts
        For each network a function of its hidden states (batch, time, unit) that gives its outputs; None for
        what the network returns, which for a layer itself is no output.
    """

    kind = "from_torch"
    one_each = ("networks", "readouts")

    def __init__(
        self,
        networks: Sequence[nn.Module],
        seeds: Sequence[int],
        example: NDArray[Any],
        are_ids: bool,
        silence: NDArray[Any] | None,
        recurrent: str | None,
        readouts: Sequence[Callable[[Tensor], Tensor]] | None,
    ) -> None:
        super().__init__(networks, seeds, example, are_ids, silence)
        self.path = find_layer(networks[0], recurrent)
        self.readouts = None if readouts is None else list(readouts)
        self.cast = nn.ModuleList(r for r in readouts or () if isinstance(r, nn.Module))
        check_alike(networks, self.path)
        layer = self.layer(0)
        self.is_bare = layer is networks[0]
        self.levels, self.has_cell = layer.num_layers, isinstance(layer, nn.LSTM)
        below = [f"_l{level}" for level in range(self.levels - 1)]
        cell_axis = "cell_unit" if layer.proj_size else "unit"
        self.state_dims = {f"hidden{level}": ("unit",) for level in ("", *below)}
        if self.has_cell:
            self.state_dims |= {f"cell{level}": (cell_axis,) for level in ("", *below)}
        self.batch_first, self.outputs_at = True, "every step"
        self._look()

    @property
    def is_map_of_hidden(self) -> bool:
        """Whether a step is h_t = f(W_hh h_{t−1} + …) of one matrix."""
        return isinstance(self.layer(0), nn.RNN) and self.levels == 1

    @property
    def _kinds(self) -> tuple[str, ...]:
        return ("hidden", "cell") if self.has_cell else ("hidden",)

    def layer(self, place: int) -> Any:
        """Return a network's recurrent layer."""
        network: Any = self.networks[place]
        return network.get_submodule(self.path) if self.path else network

    def run(self, place: int, x: Tensor, state: State | None) -> Pass:
        """Run a network over inputs (batch, time, channel); see `OwnNetworks.run`."""
        result, calls = self._call(place, self.shown(x), self.batch_first, state)
        hidden = self._over_time(place, calls)
        if self.readouts is not None:
            outputs = self.readouts[place](hidden)
        elif self.is_bare:
            outputs = hidden[..., :0]
        else:
            outputs = self._outputs(_tensor_of(result), *hidden.shape[:2])
        ends = [self._by_name(call.last) for call in calls]
        states = {"hidden": hidden}
        if len(ends) == hidden.shape[1]:
            # A layer that is called step by step shows all of its state.
            states |= {n: torch.stack([end[n] for end in ends], dim=1) for n in ends[0] if n != "hidden"}
        return Pass(outputs, ends[-1], states)

    def first_state(self, place: int) -> dict[str, Tensor]:
        """Return the state that a network gives its layer at first, (1, …) by name: zeros if it gives none."""
        with torch.no_grad():
            x = self.shown(self.example.expand(1, 1, -1))
            _, calls = self._call(place, x, self.batch_first, None)
        first, last = calls[0].first, calls[0].last
        if first is None:
            return {name: torch.zeros_like(value) for name, value in self._by_name(last).items()}
        return self._by_name(first)

    def plain(self, place: int, x: Tensor) -> Tensor | None:
        """Return what a network returns without hooks, (batch, …) as it comes; None for a layer itself."""
        shown = self.shown(x)
        result = self.networks[place](shown if self.batch_first else shown.transpose(0, 1))
        return _tensor_of(result)

    def _call(
        self, place: int, shown: Tensor, batch_first: bool, state: State | None
    ) -> tuple[Any, list["_Call"]]:
        tap = _Tap(None if state is None else self._joined(state))
        layer = self.layer(place)
        handles = (
            layer.register_forward_pre_hook(tap.before, with_kwargs=True),
            layer.register_forward_hook(tap.after),
        )
        try:
            with with_second_derivatives():
                result = self.networks[place](shown if batch_first else shown.transpose(0, 1))
        finally:
            for handle in handles:
                handle.remove()
        if not tap.calls:
            raise UserError(
                f"expected a network that calls its layer {self.path!r}; it does not", parameter="networks"
            )
        return result, tap.calls

    def _look(self) -> None:
        """Find out how the networks take inputs and give outputs, from a short run of the first one."""
        rows, steps = PROBE
        if self.is_bare:
            self.batch_first = self.layer(0).batch_first
        errors = []
        for first in (True, False) if not self.is_bare else (self.batch_first,):
            try:
                with torch.no_grad():
                    result, calls = self._call(
                        0, self.shown(self.example.expand(rows, steps, -1)), first, None
                    )
            except UserError:
                raise
            except Exception as error:
                errors.append(f"{type(error).__name__}: {error}")
                continue
            seen = self._over_time(0, calls).shape[:2]
            if seen == (rows, steps):
                self.batch_first = first
                if not self.is_bare and self.readouts is None:
                    self._look_at_outputs(_tensor_of(result))
                return
            errors.append(f"its layer saw {seen[0]} trials of {seen[1]} steps")
        raise UserError(
            f"expected networks that take inputs of {rows} trials and {steps} steps, {tuple(self.example.shape)} "
            f"each, and hand their layer each step once; {errors[0]}",
            parameter="networks",
        )

    def _look_at_outputs(self, result: Tensor) -> None:
        rows, steps = PROBE
        time_first = (rows, steps) if self.batch_first else (steps, rows)
        if result.ndim >= 2 and tuple(result.shape[:2]) == time_first:
            # One number a step, or a vector of as many numbers as there were steps? Other steps tell.
            with torch.no_grad():
                shorter, _ = self._call(
                    0, self.shown(self.example.expand(rows, steps - 1, -1)), self.batch_first, None
                )
            if _tensor_of(shorter).shape != result.shape:
                return
        if result.ndim == 2 and result.shape[0] == rows:
            self.outputs_at = "the last step"
            return
        raise UserError(
            f"expected outputs of {rows} trials at {steps} steps, or at the last one; got {tuple(result.shape)}",
            parameter="networks",
        )

    def _outputs(self, result: Tensor, rows: int, steps: int) -> Tensor:
        if self.outputs_at == "the last step":
            return result
        ordered = result if self.batch_first else result.transpose(0, 1)
        return ordered.reshape(rows, steps, -1)

    def _over_time(self, place: int, calls: Sequence["_Call"]) -> Tensor:
        """Return the layer's outputs of all its calls, (batch, time, unit)."""
        batch_first = self.layer(place).batch_first
        return torch.cat([c.output if batch_first else c.output.transpose(0, 1) for c in calls], dim=1)

    def _by_name(self, layer_state: Any) -> dict[str, Tensor]:
        """Return a layer's (h, c), or h, (level, batch, unit), by the names of the state."""
        tensors = dict(zip(self._kinds, layer_state if self.has_cell else (layer_state,), strict=True))
        named = {}
        for name, levels in tensors.items():
            named[name] = levels[-1]
            named |= {f"{name}_l{k}": level for k, level in enumerate(levels[:-1])}
        return named

    def _joined(self, state: State) -> Any:
        parts = [
            torch.stack([*(state[f"{name}_l{k}"] for k in range(self.levels - 1)), state[name]])
            for name in self._kinds
        ]
        return tuple(parts) if self.has_cell else parts[0]


class _Call:
    """One call of a layer: the state it was given, what it returned for each step, and its state after."""

    def __init__(self, first: Any, output: Tensor, last: Any) -> None:
        self.first, self.output, self.last = first, output, last


class _Tap:
    """Hooks of a layer: put a state in at the first call, keep what each call gave."""

    def __init__(self, state: Any) -> None:
        self.state = state
        self.given: Any = None
        self.calls: list[_Call] = []

    def before(self, layer: nn.Module, args: Any, kwargs: Any) -> Any:
        inputs = args[0] if args else kwargs["input"]
        self.given = args[1] if len(args) > 1 else kwargs.get("hx")
        if not isinstance(inputs, Tensor) or inputs.ndim != 3:
            kind = f"{inputs.ndim} axes" if isinstance(inputs, Tensor) else type(inputs).__name__
            raise UserError(
                f"expected a network that hands its recurrent layer a tensor of three axes; got {kind} "
                "(rows of one length are run together, so nothing needs packing)",
                parameter="networks",
            )
        if self.state is not None and not self.calls:
            return (inputs, self.state), {}
        return None

    def after(self, layer: nn.Module, args: Any, result: Any) -> None:
        self.calls.append(_Call(self.given, *result))


def find_layer(network: nn.Module, recurrent: str | None) -> str:
    """Return the path of the one recurrent layer in a network, "" where it is one itself.

    Raises
    ------
    UserError
        If there is none, or several and none is named, or the layer runs backwards.
    """
    found = {path: part for path, part in network.named_modules() if isinstance(part, LAYERS)}
    if recurrent is not None:
        if recurrent not in found:
            raise UserError(
                f"expected one of {', '.join(found) or 'none'}; got {recurrent!r}", parameter="recurrent"
            )
        found = {recurrent: found[recurrent]}
    what = f"expected one recurrent layer (nn.RNN, nn.GRU, nn.LSTM) in {type(network).__name__}"
    if not found:
        raise UserError(
            f"{what}; found none: for a step function use emt.from_cells, for a memory in a loop emt.log_write",
            parameter="recurrent",
        )
    if len(found) > 1:
        raise UserError(f"{what}; found {', '.join(found)}: name one", parameter="recurrent")
    [(path, layer)] = found.items()
    if layer.bidirectional:
        raise UserError(
            f"{path or type(layer).__name__}: expected a layer that runs forwards; a bidirectional one knows the end "
            "(its states can be given to emt.from_arrays)",
            parameter="recurrent",
        )
    return path


def check_alike(networks: Sequence[nn.Module], path: str) -> None:
    """Refuse members whose recurrent layers are not of one kind and size.

    Raises
    ------
    UserError
    """
    described = []
    for number, network in enumerate(networks, 1):
        try:
            layer: Any = network.get_submodule(path) if path else network
            described.append(f"{type(layer).__name__} of {layer.num_layers} x {layer.hidden_size} units")
        except AttributeError:
            raise UserError(
                f"expected members of one architecture; network {number} has no layer {path!r}",
                parameter="networks",
            ) from None
        if described[-1] != described[0]:
            raise UserError(
                f"expected members of one architecture; network {number} has {described[-1]}, "
                f"network 1 has {described[0]} (make two runs and compare them)",
                parameter="networks",
            )


def linear_readout(
    network: nn.Module, hidden: NDArray[Any], outputs: NDArray[Any]
) -> NDArray[np.float64] | None:
    """Return W (output, unit) of the linear layer that gives these outputs of these states (state, …); None without.

    A layer is taken for the readout where its outputs are the network's to 1e-4 of the largest.
    """
    for part in network.modules():
        if isinstance(part, nn.Linear) and part.weight.shape == (outputs.shape[-1], hidden.shape[-1]):
            weight = part.weight.detach().cpu().double().numpy()
            bias = 0 if part.bias is None else part.bias.detach().cpu().double().numpy()
            if np.abs(hidden @ weight.T + bias - outputs).max() <= 1e-4 * np.abs(outputs).max():
                return weight
    return None


def _tensor_of(result: Any) -> Tensor:
    """Return the first tensor of what a network returns."""
    if isinstance(result, Tensor):
        return result
    values = (
        result.values() if hasattr(result, "values") else result if isinstance(result, list | tuple) else ()
    )
    for value in values:
        if isinstance(value, Tensor):
            return value
    raise UserError(
        f"expected networks that return a tensor; got {type(result).__name__}", parameter="networks"
    )

"""Step functions: any function of an input and a state that returns an output and the next state."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from emt import trace
from emt.errors import UserError
from emt.models.base import State
from emt.own.memory_calls import count_step
from emt.own.networks import Network, OwnNetworks, Pass


class Cells(OwnNetworks):
    """Step functions ``step(x (batch, channel), state) -> (output (batch, output), state)``.

    Parameters
    ----------
    steps
        One for each member; a module or any other callable.
    starts
        For each member a function of the number of trials that returns the initial state: a tensor, a tuple
        or a dict of tensors (batch, …). They are called ``state``, ``state_0`` …, or as the dict calls them.
    hidden
        Which of them a trace calls ``hidden``, or "output"; None for the first.
    held
        Names of those that Jacobians hold constant and traces do not store: contents of memories.
    """

    kind = "from_cells"
    one_each = ("networks", "starts")

    def __init__(
        self,
        steps: Sequence[Network],
        seeds: Sequence[int],
        example: NDArray[Any],
        are_ids: bool,
        silence: NDArray[Any] | None,
        starts: Sequence[Callable[[int], Any]],
        hidden: str | None,
        held: Sequence[str],
    ) -> None:
        super().__init__(steps, seeds, example, are_ids, silence)
        self.starts = list(starts)
        first = named(self.starts[0](1))
        self.hidden = next(iter(first)) if hidden is None else hidden
        self._check(first, held)
        self.names = {name: "hidden" if name == self.hidden else name for name in first}
        axes = {name: ("unit",) if name == self.hidden else _axes(name, t) for name, t in first.items()}
        self.state_dims = {self.names[name]: axes[name] for name in first}
        self.held_state = tuple(held)

    def run(self, place: int, x: Tensor, state: State | None) -> Pass:
        """Run a cell over inputs (batch, time, channel); see `OwnNetworks.run`."""
        shown, step = self.shown(x), self.networks[place]
        current = self._start(place, x) if state is None else self._unnamed(state)
        outputs, states = [], []
        for t in range(shown.shape[1]):
            count_step(t)
            output, following = _checked(step(shown[:, t], current), current)
            outputs.append(output)
            current = following
            states.append(self._named(current))
        over_time = {name: torch.stack([s[name] for s in states], dim=1) for name in self.state_dims}
        joined = torch.stack(outputs, dim=1)
        if self.hidden == "output":
            over_time["hidden"] = joined
        return Pass(joined, states[-1], over_time)

    def first_state(self, place: int) -> dict[str, Tensor]:
        """Return a cell's initial state, (1, …) by name."""
        return self._named(self._start(place, self.example.expand(1, 1, -1)))

    def _start(self, place: int, x: Tensor) -> Any:
        """Return the initial state of as many trials as inputs have, in their float type and on their device."""
        raw = self.starts[place](len(x))
        values = {
            name: t.to(x) if t.is_floating_point() else t.to(x.device) for name, t in named(raw).items()
        }
        return self._like(raw, values)

    def _named(self, raw: Any) -> dict[str, Tensor]:
        found = named(raw)
        if set(found) != set(self.names):
            raise UserError(
                f"expected a step that returns the parts of the state it is given ({', '.join(self.names)}); "
                f"got {', '.join(found)}",
                parameter="steps",
            )
        return {self.names[name]: tensor for name, tensor in found.items()}

    def _unnamed(self, state: State) -> Any:
        raw = self.starts[0](1)
        return self._like(raw, {name: state[own] for name, own in self.names.items()})

    @staticmethod
    def _like(raw: Any, values: Mapping[str, Tensor]) -> Any:
        """Return tensors by name in the form of a raw state."""
        if isinstance(raw, Tensor):
            return values["state"]
        if isinstance(raw, Mapping):
            return dict(values)
        parts = tuple(values.values())
        return type(raw)(*parts) if hasattr(raw, "_fields") else parts

    def _check(self, first: Mapping[str, Tensor], held: Sequence[str]) -> None:
        known = ", ".join(first)
        taken = {*trace.REQUIRED, *trace.OPTIONAL, "outputs", *({"hidden"} - {self.hidden})}
        if clash := ", ".join(name for name in first if name in taken):
            raise UserError(
                f"expected names that recordings do not use themselves; got {clash}", parameter="start"
            )
        for name in held:
            if name not in first:
                raise UserError(f"expected one of {known}; got {name!r}", parameter="held")
        if self.hidden == "output":
            return
        if self.hidden not in first or first[self.hidden].ndim != 2 or self.hidden in held:
            flat = [name for name, tensor in first.items() if tensor.ndim == 2 and name not in held]
            got = f"{self.hidden!r}"
            if self.hidden in first:
                got += f" (batch, {', '.join(map(str, first[self.hidden].shape[1:]))})"
            raise UserError(
                f"expected one of {', '.join([*flat, 'output'])} with axes (batch, unit); got {got}",
                parameter="hidden",
            )


def _checked(returned: Any, before: Any) -> tuple[Tensor, Any]:
    """Return a step's output and its next state.

    Raises
    ------
    UserError
        If it did not return these, or a state of another shape.
    """
    if not isinstance(returned, tuple) or len(returned) != 2 or not isinstance(returned[0], Tensor):
        hint = " (where the state is the output: lambda x, h: (h := cell(x, h), h))"
        got = type(returned).__name__
        raise UserError(
            f"expected a step that returns (output, next state); got {got}{hint}", parameter="steps"
        )
    old, new = named(before), named(returned[1])
    for name in old.keys() & new.keys():
        if old[name].shape != new[name].shape:
            shapes = [tuple(state[name].shape) for state in (old, new)]
            raise UserError(
                f"expected a step that keeps the shape of the state; {name} {shapes[0]} becomes {shapes[1]}",
                parameter="steps",
            )
    return returned


def named(raw: Any) -> dict[str, Tensor]:
    """Return the tensors of a state by name.

    Raises
    ------
    UserError
        If it is no tensor (batch, …), tuple or dict of such.
    """
    if isinstance(raw, Tensor):
        parts: dict[str, Any] = {"state": raw}
    elif isinstance(raw, Mapping):
        parts = {str(name): tensor for name, tensor in raw.items()}
    elif isinstance(raw, tuple):
        parts = {f"state_{k}": tensor for k, tensor in enumerate(raw)}
    else:
        raise UserError(
            f"expected a state of tensors (batch, …), one or a tuple or dict; got {type(raw).__name__}",
            parameter="start",
        )
    for name, tensor in parts.items():
        if not isinstance(tensor, Tensor) or tensor.ndim < 1:
            got = type(tensor).__name__ if not isinstance(tensor, Tensor) else "a single number"
            raise UserError(f"expected a state of tensors (batch, …); got {name}: {got}", parameter="start")
    return parts


def _axes(name: str, tensor: Tensor) -> tuple[str, ...]:
    return tuple(f"{name}_{axis}" for axis in range(1, tensor.ndim))

"""Somebody's own networks as a `Model`: a loop over them, with their weights as they are.

Inputs that are ids of tokens pass through as one real number each, so that steps, Jacobians and exponents
need no second form; a network gets them as integers again.
"""

import contextlib
import copy
from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from emt.errors import UserError
from emt.models.base import Context, Log, Model, State

Network = Callable[..., Any]


@dataclass(frozen=True)
class Pass:
    """One network's run over a sequence.

    Attributes
    ----------
    outputs
        (batch, time, output), or of the last step only (batch, output).
    last
        The state after the last step, (batch, …) by name.
    states
        Those states that the run shows at every step, (batch, time, …) by name; ``hidden`` among them.
    """

    outputs: Tensor
    last: dict[str, Tensor]
    states: dict[str, Tensor]


class OwnNetworks(Model):
    """Networks of one architecture that were trained elsewhere; nothing of theirs is changed.

    Parameters
    ----------
    networks
        One for each member.
    seeds
        Their seeds; empty if unknown.
    example
        An input of one step: (channel,), or (1,) with an id.
    are_ids
        Whether inputs are ids.
    silence
        The input of a step without input, (channel,); None if unknown, which it is for ids until it is said.

    Attributes
    ----------
    kind
        The function that records such networks.
    one_each
        Lists of something for each member.
    steps_known
        Whether the state is all that a step needs. A memory that a module keeps itself is no part of it.
    """

    kind: str
    one_each: ClassVar[tuple[str, ...]] = ("networks",)
    steps_known: bool = True
    example: Tensor
    silent: Tensor | None
    recurrent_name = None
    readout_name = None

    def __init__(
        self,
        networks: Sequence[Network],
        seeds: Sequence[int],
        example: NDArray[Any],
        are_ids: bool,
        silence: NDArray[Any] | None,
    ) -> None:
        # Random draws of a search for fixed points have a stream for each member.
        super().__init__(seeds or range(len(networks)))
        self.torch_names = {}
        self.networks = list(networks)
        # Registered, so that they are copied, cast and moved together with this stack.
        self.registered = nn.ModuleList(network for network in networks if isinstance(network, nn.Module))
        probe = next(self.registered.parameters(), torch.empty(0))
        probe = probe if probe.is_floating_point() else torch.empty(0, device=probe.device)
        self.register_buffer("example", torch.tensor(example).to(probe), persistent=False)
        self.register_buffer(
            "silent", None if silence is None else torch.tensor(silence).to(probe), persistent=False
        )
        self.are_ids = are_ids

    def of_member(self, place: int) -> "OwnNetworks":
        """Return a stack of one of the networks."""
        one = copy.copy(self)
        one._modules = dict(self._modules)
        one.seeds = (self.seeds[place],)
        for name in self.one_each:
            if (several := getattr(self, name)) is not None:
                setattr(one, name, [several[place]])
        one.registered = nn.ModuleList(n for n in one.networks if isinstance(n, nn.Module))
        return one

    @property
    def members(self) -> int:
        """Number of networks."""
        return len(self.networks)

    @property
    def like(self) -> Tensor:
        """An empty tensor in the networks' float type, on their device."""
        return self.example.new_empty(0)

    def silence(self, channels: int) -> Tensor:
        """Return the input of a step without input, (member, channel).

        Raises
        ------
        UserError
            If inputs are ids and nobody said which stands for no input.
        """
        if self.silent is None:
            raise UserError("expected the id of the token that stands for no input", parameter="silence")
        return self.silent.expand(self.members, -1)

    def zero_state(self, like: Tensor) -> State:
        """Return each network's own initial state, (member, batch, …)."""
        rows = like.shape[1]
        firsts = [self.first_state(place) for place in range(self.members)]
        return {
            name: torch.stack(
                [_of_type(first[name], like).expand(rows, *first[name].shape[1:]) for first in firsts]
            )
            for name in self.state_dims
        }

    def forward(
        self, x: Tensor, state: State | None = None, steps: int | None = None, context: Context | None = None
    ) -> tuple[Tensor, State, Log]:
        """Run the networks one after the other; see `Model.forward`."""
        given = [None if state is None else {n: s[m] for n, s in state.items()} for m in range(self.members)]
        passes = [self.run(place, x[place], given[place]) for place in range(self.members)]
        outputs = torch.stack([p.outputs for p in passes])
        last = {name: torch.stack([p.last[name] for p in passes]) for name in self.state_dims}
        return outputs, last, {n: torch.stack([p.states[n] for p in passes]) for n in passes[0].states}

    def shown(self, x: Tensor) -> Tensor:
        """Return inputs (batch, time, channel) as a network takes them: ids as integers (batch, time)."""
        return x[..., 0].round().long() if self.are_ids else x

    @abstractmethod
    def run(self, place: int, x: Tensor, state: State | None) -> Pass:
        """Run the network at ``place`` over inputs (batch, time, channel), from its own initial state unless given."""

    @abstractmethod
    def first_state(self, place: int) -> dict[str, Tensor]:
        """Return a network's initial state, (1, …) by name."""


def _of_type(tensor: Tensor, like: Tensor) -> Tensor:
    return tensor.to(like) if tensor.is_floating_point() else tensor.to(like.device)


@contextlib.contextmanager
def in_evaluation_mode(networks: Sequence[Network]) -> Iterator[None]:
    """Set modules to evaluation mode, and all their flags back at the end."""
    modules = [part for network in networks if isinstance(network, nn.Module) for part in network.modules()]
    flags = [part.training for part in modules]
    try:
        for part in modules:
            part.training = False
        yield
    finally:
        for part, flag in zip(modules, flags, strict=True):
            part.training = flag


@contextlib.contextmanager
def with_second_derivatives() -> Iterator[None]:
    """Let recurrent layers have gradients in evaluation mode, which NVIDIA's kernels do not offer."""
    with torch.backends.cudnn.flags(enabled=torch.backends.cudnn.enabled and not torch.is_grad_enabled()):
        yield


def as_list(what: str, given: Any) -> list[Any]:
    """Return one thing, or several, as a list.

    Raises
    ------
    UserError
        If there is none.
    """
    several = (
        list(given)
        if isinstance(given, Sequence | nn.ModuleList) and not isinstance(given, nn.Sequential)
        else [given]
    )
    if not several:
        raise UserError("expected at least one network; got none", parameter=what)
    return several


def check_seeds(seeds: Sequence[int], members: int) -> Sequence[int]:
    """Return seeds, one for each network or none.

    Raises
    ------
    UserError
    """
    if len(seeds) not in (0, members):
        raise UserError(f"expected one for each of {members} networks; got {len(seeds)}", parameter="seeds")
    return seeds

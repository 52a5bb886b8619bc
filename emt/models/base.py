"""What a model offers: members stacked along the first axis of each parameter, one forward path, plain weight files.

A lone model is a population of one. Weights apply from the right, ``x (member, batch, in) @ W (member, in,
out)``, so that a model reads like the equation for one member.
"""

from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from emt.errors import RegistrationError
from emt.streams import stream

State = Mapping[str, Tensor]
"""The carried state: tensors (member, batch, …) by name. Expensive tensors may be computed on access."""

Context = Mapping[str, Tensor]
"""What a model needs of a batch besides its inputs: tensors (member, batch, time) by name; and edits of memories."""

Stepper = Callable[[Tensor, Context], Tensor]
"""Does the next step at each call: inputs (member, batch, 1, channel), context → outputs (member, batch, 1, output)."""

Log = dict[str, Tensor]
"""What a forward pass reports: tensors (member, batch, time, …) by name."""


class UnitWeights(NamedTuple):
    """Weights of the units of a recurrent layer, for networks whose readout is linear in the states.

    Attributes
    ----------
    recurrence
        From units, (member, gate, unit, from_unit).
    incoming
        From inputs and from biases, (member, gate, unit, source).
    acts, signed, blocks
        Which changes of units change nothing (`emt.trace.Symmetry`).
    """

    recurrence: Tensor
    incoming: Tensor
    acts: Literal["sign", "scale", "permutation"]
    signed: tuple[int, ...] = ()
    blocks: tuple[int, ...] = ()


class Factored(NamedTuple):
    """Outputs that have not been computed: of a readout with many outputs, a loss takes some at a time.

    Attributes
    ----------
    hidden
        What is read out, h, (member, batch, time, unit).
    table, bias
        E (member, output, unit) and b (member, output): outputs are E h + b.
    """

    hidden: Tensor
    table: Tensor
    bias: Tensor

    def outputs(self) -> Tensor:
        """Return the outputs, (member, batch, time, output)."""
        rows = torch.baddbmm(self.bias.unsqueeze(1), self.hidden.flatten(1, 2), self.table.mT)
        return rows.unflatten(1, self.hidden.shape[1:3])


class Model(nn.Module):
    """A stack of equal architectures: every parameter and every buffer has a leading member axis.

    Attributes
    ----------
    state_dims
        Names of the state's tensors and of their axes after (member, batch). Where none is called ``hidden``, the log
        has one all the same: what the readout sees of the state, (member, batch, time, unit).
    held_state
        State tensors that Jacobians hold at their value: contents of associative memories, in the order of
        ``memories``, in whose place a trace has the log of writes; counts of steps; and scales of contents.
    smooth_state
        Those of ``held_state`` whose next contents have derivatives by all of the state.
    memories
        Associative memories by name, each with its rule as a trace describes it. What they do is in the
        forward pass's log as ``memory/<name>/<variable>``, with the variables and axes of a trace
        (`emt.trace`).
    torch_names
        For each parameter the name it has in a member's weight file, and for each buffer that is stored there
        too. Matrices are stored as (out, in). Files may lack such buffers: they are drawn from the seed.
    norm_names
        Names of what `norms` returns.
    edits
        What of its memories' writes and reads can be changed in a run (`emt.models.memory_edits`): names of
        `emt.ops.memory_edit.MemoryEdit`.
    context
        What `forward` needs of the batch besides its inputs: names of the batch's events; "needed_steps", the
        steps whose outputs are used; "factored", which says that outputs may be given as `Factored`; and
        "targets" for models that learn from them
        (`Batch.training_targets`): ids of the correct classes, -1 if nothing is scored, or vectors that
        outputs should equal, NaN if nothing is scored.
    noise_step
        The training step that random masks are drawn for; None where nothing is random, as in evaluation.
    own_gradients
        Whether the model has a learning rule of its own, which needs no graph: given targets, and wherever
        gradients are enabled, its log has a ``gradient/<parameter>`` (member, …) for each of its parameters,
        and training takes these in place of the gradients of the loss. Other models may log an ``added_loss``
        (member,), which training adds to the loss and evaluation does not.
    recurrent_name, readout_name
        Names in the weight file of W_hh, where the state follows h_t = f(W_hh h_{t-1} + …), and of the linear
        readout.
    """

    state_dims: dict[str, tuple[str, ...]]
    held_state: tuple[str, ...] = ()
    smooth_state: tuple[str, ...] = ()
    memories: dict[str, dict[str, Any]] = {}
    norm_names: tuple[str, ...] = ()
    edits: tuple[str, ...] = ()
    context: ClassVar[tuple[str, ...]] = ()
    noise_step: int | None = None
    torch_names: dict[str, str]
    own_gradients: ClassVar[bool] = False
    recurrent_name: ClassVar[str | None] = None
    readout_name: ClassVar[str | None] = "readout.weight"

    def __init__(self, seeds: Sequence[int]) -> None:
        super().__init__()
        self.seeds = tuple(seeds)

    @property
    def members(self) -> int:
        """Number of members in the stack."""
        return next(self.parameters()).shape[0]

    @property
    def like(self) -> Tensor:
        """An empty tensor in the model's float type, on its device."""
        return next(self.parameters()).new_empty(0)

    def silence(self, channels: int) -> Tensor:
        """Return the input of a step without input, (member, channel)."""
        return self.like.new_zeros(self.members, channels)

    @abstractmethod
    def zero_state(self, like: Tensor) -> State:
        """Return the state before the first step, in the float type of ``like``, (member, batch, …)."""
        raise NotImplementedError

    def activations(self, segment: int) -> int:
        """Return how many numbers a step of a segment of so many steps depends on besides its input, at most."""
        return sum(tensor.numel() for tensor in self.zero_state(self.like.new_empty(1, 1)).values())

    @abstractmethod
    def forward(
        self, x: Tensor, state: State | None = None, steps: int | None = None, context: Context | None = None
    ) -> tuple[Tensor, State, Log]:
        """Run the members over a sequence.

        Parameters
        ----------
        x
            Inputs (member, batch, time, channel), or ids of tokens (member, batch, time), -1 after a row's
            last one.
        state
            Carried state; zeros if None.
        steps
            Number of time steps; inputs after those of ``x`` are zero.
        context
            What the class attribute ``context`` names, each (member, batch, time). Outputs at other steps
            than "needed_steps" may be anything, and where only the last step is needed those at others may
            be left out: (member, batch, 1, output).

        Returns
        -------
        outputs, state, log
            Outputs (member, batch, time, output); the state after the last step; the recorded tensors.
        """
        raise NotImplementedError

    def norms(self, state: State, members: Sequence[int]) -> dict[str, Tensor]:
        """Return further norms of members at these stack positions, from their state after a batch, (member,) each.

        They are written into norms.csv beside the norms of gradients and weights that all models have.
        """
        return {}

    def stepper(self, steps: int) -> Stepper:
        """Return what does one step after the other from the state zero, ``steps`` at most, without gradient.

        Its outputs are those of `forward` over the inputs of all steps. Models that need not build their whole
        state for that have a way of their own.
        """
        return Steps(self)

    def parameter_of(
        self, name: str, shape: tuple[int, ...], draw: Callable[..., NDArray[np.float64]]
    ) -> nn.Parameter:
        """Return a stacked parameter: ``draw(generator, shape)`` for each member from its own stream."""
        values = [draw(stream(f"weights.{name}", seed, "train", 0), shape) for seed in self.seeds]
        return nn.Parameter(torch.tensor(np.stack(values).astype(np.float32, order="C")))

    def export(self, member: int) -> dict[str, NDArray[np.float32]]:
        """Return the weights of stack position ``member`` under the names and orientation of torch's modules."""
        weights = {
            name: p[member].detach().cpu() for name, p in (*self.named_parameters(), *self._stored_buffers())
        }
        return {
            self.torch_names[n]: np.ascontiguousarray(w.t().numpy() if w.ndim == 2 else w.numpy())
            for n, w in weights.items()
        }

    def unit_weights(self) -> UnitWeights | None:
        """Return the weights of the members' units as they act; None where no symmetry of units is known."""
        return None

    def spared(self) -> list[nn.Parameter]:
        """Return the parameters on which a penalty of weights does not act."""
        return []

    def _stored_buffers(self) -> list[tuple[str, Tensor]]:
        return [(name, buffer) for name, buffer in self.named_buffers() if name in self.torch_names]

    def load(self, member: int, weights: Mapping[str, NDArray[np.float32]]) -> None:
        """Set the parameters at stack position ``member`` from a weight file's arrays.

        Raises
        ------
        ValueError
            If names or shapes are not this architecture's.
        """
        names = {self.torch_names[n]: p for n, p in self.named_parameters()}
        buffers = {self.torch_names[n]: b for n, b in self._stored_buffers()}
        if not set(names) <= set(weights) <= {*names, *buffers}:
            raise ValueError(f"expected the weights {sorted(names)}; got {sorted(weights)}")
        stored: dict[str, Tensor] = {**names, **{n: b for n, b in buffers.items() if n in weights}}
        for name, tensor in stored.items():
            array = np.asarray(weights[name])
            if not np.issubdtype(array.dtype, np.floating):
                raise ValueError(f"{name}: expected real numbers; got {array.dtype}")
            value = torch.tensor(array.astype(np.float32))
            value = value.t() if value.ndim == 2 else value
            if value.shape != tensor.shape[1:]:
                expected, got = tuple(tensor.shape[1:]), tuple(value.shape)
                raise ValueError(f"{name}: expected shape {expected} (in, out); got {got}")
            tensor.data[member] = value


def check_model(model: Any, name: str) -> None:
    """Refuse a model that lacks what `Model` lists.

    Raises
    ------
    RegistrationError
        Naming the members that are missing, or the parameters that have no member axis or no name in weight
        files.
    """
    where = f"model {name!r}: expected {type(model).__name__}"
    if not isinstance(model, Model):
        raise RegistrationError(f"{where} to be a Model (emt/models/base.py)")
    attributes = [member for member in ("state_dims", "torch_names") if not hasattr(model, member)]
    missing = attributes + [m for m in dir(type(model)) if _is_abstract(getattr(type(model), m))]
    if missing:
        raise RegistrationError(f"{where} to have {', '.join(missing)} (emt/models/base.py says what)")
    parameters = dict(model.named_parameters())
    if not parameters:
        raise RegistrationError(f"{where} to have parameters; got none")
    for tensor_name, tensor in (parameters | dict(model.named_buffers())).items():
        if tensor.shape[:1] != (len(model.seeds),):
            shape = f"({len(model.seeds)}, …), the first axis for members"
            raise RegistrationError(
                f"{where} to have {tensor_name!r} in the shape {shape}; got {tuple(tensor.shape)}"
            )
    unnamed = [n for n in parameters if n not in model.torch_names]
    if unnamed:
        raise RegistrationError(
            f"{where} to have a name in torch_names for the parameters {', '.join(unnamed)}"
        )


def _is_abstract(member: Any) -> bool:
    return getattr(member, "__isabstractmethod__", False)


class Steps:
    """One step after the other, by carrying the state.

    Parameters
    ----------
    forward
        The model, or another function of inputs, state, steps and context.
    """

    def __init__(self, forward: Callable[..., tuple[Tensor, State, Log]]) -> None:
        self.forward = forward
        self.state: State | None = None

    @torch.no_grad()
    def __call__(self, x: Tensor, context: Context) -> Tensor:
        """Return the outputs of the next step."""
        outputs, self.state, _ = self.forward(x, self.state, 1, context)
        return outputs


class LazyState(Mapping[str, Tensor]):
    """A state whose tensors are made when they are asked for, from functions by name."""

    def __init__(self, makers: Mapping[str, Callable[[], Tensor]]) -> None:
        self._makers = {name: cache(maker) for name, maker in makers.items()}

    def __getitem__(self, name: str) -> Tensor:
        return self._makers[name]()

    def __iter__(self) -> Iterator[str]:
        return iter(self._makers)

    def __len__(self) -> int:
        return len(self._makers)


def as_channels(x: Tensor, weight: Tensor) -> Tensor:
    """Return inputs (member, batch, time, channel) for a weight (member, channel, out); ids become one-hot."""
    return x if x.is_floating_point() else (x[..., None] == torch.arange(weight.shape[1]).to(x)).to(weight)


def uniform(bound: float) -> Callable[..., NDArray[np.float64]]:
    """Return a draw from U(−bound, bound), torch's default for recurrent and linear layers with bound 1/√units."""
    return lambda generator, shape: generator.uniform(-bound, bound, shape)


def normal(generator: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Return a draw from N(0, 1), torch's default for embeddings."""
    return generator.standard_normal(shape)


def constant(value: float) -> Callable[..., NDArray[np.float64]]:
    """Return a draw that is ``value`` everywhere."""
    return lambda generator, shape: np.full(shape, value)


def identity(scale: float) -> Callable[..., NDArray[np.float64]]:
    """Return a draw that is ``scale`` times the identity (Le, Jaitly & Hinton 2015)."""
    return lambda generator, shape: scale * np.eye(*shape)


def orthogonal(generator: np.random.Generator, shape: tuple[int, int]) -> NDArray[np.float64]:
    """Return a (semi-)orthogonal matrix from the Haar measure, (n, k·n) as k square blocks (Saxe et al. 2014)."""
    size = shape[0]
    blocks = []
    for _ in range(shape[1] // size):
        q, r = np.linalg.qr(generator.standard_normal((size, size)))
        blocks.append(q * np.sign(np.diag(r)))
    return np.concatenate(blocks, axis=1)

"""Any function of a batch of states as a map that `emt.dynamics.points` searches, and what it must keep to."""

import copy
import warnings
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from emt.errors import UserError

StepFunction = Callable[..., Tensor]
"""(batch, unit) → (batch, unit); with inputs (batch, channel), (batch, unit) → (batch, unit), as torch's cells."""

ROWS = 2**14
"""States times units of one pass: with more, gradients leave a CPU's cache."""

PROBED_ROWS = 3
"""Starts on which a step is tried before the search."""

ROW_TOLERANCE = 1e-9
"""Largest difference between a row's next state in a batch and alone, relative to the largest number in it."""


@dataclass(frozen=True)
class FunctionMap:
    """A step function at constant input, of one member: positions are (1, point, unit).

    Attributes
    ----------
    step
        Computes in float64.
    inputs
        (channel,), or None for a step of the state alone.
    """

    step: StepFunction
    inputs: Tensor | None

    def following(self, states: Tensor) -> Tensor:
        """Return F(h) of states (point, unit)."""
        if self.inputs is None:
            return self.step(states)
        return self.step(self.inputs.expand(len(states), -1), states)

    def displacement(self, position: Tensor) -> Tensor:
        """Return F(h) − h."""
        return self.following(position[0])[None] - position

    def linearised(self, position: Tensor) -> tuple[Tensor, Tensor]:
        """Return F(h) − h and ∂F/∂h, (1, point, unit, unit)."""
        pairs = [self._linearise(block) for block in position[0].split(block_size(position.shape[-1]))]
        following, jacobian = (torch.cat(parts) for parts in zip(*pairs, strict=True))
        return following[None] - position, jacobian[None]

    @torch.enable_grad()
    def _linearise(self, states: Tensor) -> tuple[Tensor, Tensor]:
        """Return F(h) and ∂F/∂h of states (point, unit).

        Points do not see each other, so the gradient of the sum over points of one number of F(h) is a row of all
        Jacobians; all rows are one batched backward pass.
        """
        units = states.shape[1]
        at = states.detach().requires_grad_()
        following = self.following(at)
        rows = torch.eye(units, dtype=at.dtype, device=at.device)[:, None].expand(-1, len(at), -1)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                (by_row,) = torch.autograd.grad(
                    following, at, rows, is_grads_batched=True, allow_unused=True, materialize_grads=True
                )
        except (RuntimeError, UserWarning):
            # An operation that torch cannot batch, such as a backward pass written by hand that works in place.
            return following.detach(), self._by_copies(states)
        return following.detach(), by_row.transpose(0, 1)

    @torch.enable_grad()
    def _by_copies(self, states: Tensor) -> Tensor:
        """Return ∂F/∂h by as many copies of each state as it has numbers, and one plain backward pass."""
        points, units = states.shape
        copies = states.repeat_interleave(units, dim=0).detach().requires_grad_()
        diagonal = self.following(copies).unflatten(0, (points, units)).diagonal(dim1=1, dim2=2)
        (by_row,) = torch.autograd.grad(diagonal.sum(), copies)
        return by_row.unflatten(0, (points, units))


def block_size(units: int) -> int:
    """Return how many states are worked on at a time."""
    return max(16, ROWS // units)


def in_float64(step: StepFunction) -> tuple[StepFunction, torch.device]:
    """Return a step that computes in float64, and where: of a module a copy in evaluation mode, else the function."""
    if not isinstance(step, nn.Module):
        return step, torch.device("cpu")
    copied = copy.deepcopy(step).double().eval().requires_grad_(False)
    place = next((tensor.device for tensor in [*step.parameters(), *step.buffers()]), torch.device("cpu"))
    return copied, place


def check_map(function: FunctionMap, starts: Tensor) -> None:
    """Try a step on a few starts (start, unit) and refuse one that cannot be searched.

    Raises
    ------
    UserError
        If it does not compute states of the same shape in float64, cannot be differentiated, is random, or mixes
        the rows of a batch.
    """
    probe = starts[:PROBED_ROWS].detach().requires_grad_()
    following = _call(function, probe)
    _check_result(following, tuple(probe.shape))
    following, again = following.detach(), _call(function, probe).detach()
    if apart := _difference(again, following):
        raise _refused(
            f"expected the same result whenever it is called; two calls differ by {apart:.0e} (dropout, or something "
            "it remembers?)"
        )
    alone = torch.cat([_call(function, row[None]).detach() for row in probe])
    if not (apart := _difference(alone, following)) <= ROW_TOLERANCE:
        raise _refused(f"expected the rows of a batch not to change each other; they do, by {apart:.0e}")


def _difference(states: Tensor, others: Tensor) -> float:
    """Return the largest difference, relative to the largest number where that is above 1."""
    return float((states - others).abs().max() / others.abs().max().clamp(min=1))


def _check_result(following: object, shape: tuple[int, ...]) -> None:
    """Refuse what is no batch of states of this shape, in float64 and differentiable."""
    wanted = f"expected the next state, a tensor (batch, unit) = {shape}"
    if not isinstance(following, Tensor):
        hint = "a state of several parts is one tensor: torch.cat([h, c], -1)"
        raise _refused(f"{wanted}; got {type(following).__name__}; {hint}")
    if following.shape != shape:
        raise _refused(f"{wanted}; got {tuple(following.shape)}")
    if following.dtype != torch.float64:
        raise _wrong_precision(str(following.dtype).removeprefix("torch."))
    if not following.requires_grad:
        raise _refused(
            "expected a step that torch differentiates; its result does not depend on the state (detach, no_grad or "
            "numpy in it?)"
        )


def _call(function: FunctionMap, states: Tensor) -> Tensor:
    with torch.enable_grad():
        try:
            return function.following(states)
        except RuntimeError as error:
            # "expected m1 and m2 to have the same dtype", "expected scalar type Double but found Float"
            if "dtype" in str(error) or "scalar type" in str(error):
                raise _wrong_precision("an error where both meet") from error
            raise


def _wrong_precision(got: str) -> UserError:
    return _refused(
        f"expected a step that computes in float64 when its input is; got {got} (make it an nn.Module, or cast its "
        "weights)"
    )


def _refused(message: str) -> UserError:
    return UserError(message, parameter="step")

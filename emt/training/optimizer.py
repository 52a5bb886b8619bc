"""Gradient descent over stacked members: each member keeps its own step count, gradient norm and fate."""

import contextlib
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence

import torch
from torch import Tensor

AVERAGE = "average"
"""Slot of the mean of a parameter's values in averaged gradient descent."""

VECTOR = 16
"""Numbers that a processor handles at once, or a multiple of them."""


class MemberOptimizer(torch.optim.Optimizer):
    """An optimiser with gradient clipping, member by member, as if each were trained alone.

    Every parameter has a leading member axis. Lightning's own clipping and torch's optimisers would share
    norm and step count over the stack.

    Parameters
    ----------
    params
        Stacked parameters, (member, …) each; those that require no gradient stay as they are.
    learning_rate
        Step size, one for all members or one for each.
    gradient_clip
        Largest norm of a member's whole gradient; 0 leaves gradients as they are.
    l2_penalty
        Weight of the L2 penalty, added to the gradient after clipping (as torch's ``weight_decay``).
    epsilon
        What Adam adds to the root of the mean square; others have no use for it.
    warmup_steps
        Steps over which step sizes rise in a line to ``learning_rate``.
    average_rate
        Step size of averaged gradient descent, to which members may switch (`begin_average`); None if they never do.
    spared
        Parameters on which the penalty does not act.

    Attributes
    ----------
    SLOTS
        Names of what is kept for each parameter, tensors of its shape; of all members, ``slot_names``.
    rates
        Step size of each member in the stack.
    pace
        What step sizes are multiplied with in the next step, (member,).
    averaged
        Steps of averaged gradient descent that each member has done, -1 before its switch, (member,).
    """

    SLOTS: tuple[str, ...] = ()

    def __init__(
        self,
        params: Iterable[Tensor],
        learning_rate: float | Sequence[float],
        gradient_clip: float = 0.0,
        l2_penalty: float = 0.0,
        epsilon: float = 1e-8,
        warmup_steps: int = 0,
        average_rate: float | None = None,
        spared: Iterable[Tensor] = (),
    ) -> None:
        super().__init__(params, {})
        self._spared = set(map(id, spared))
        self.gradient_clip, self.l2_penalty, self.epsilon = gradient_clip, l2_penalty, epsilon
        self.warmup_steps, self.average_rate = warmup_steps, average_rate
        self.slot_names = (*self.SLOTS, *(() if average_rate is None else (AVERAGE,)))
        members = self._stacked()[0].shape[0]
        rates = [learning_rate] * members if isinstance(learning_rate, float | int) else learning_rate
        self.rates = [float(rate) for rate in rates]
        self.frozen = torch.zeros(members, dtype=torch.bool)
        self.steps = torch.zeros(members, dtype=torch.float64)
        self.norms = torch.zeros(members, dtype=torch.float64)
        self.pace = torch.ones(members, dtype=torch.float64)
        self.averaged = torch.full((members,), -1)

    def _stacked(self) -> list[Tensor]:
        return [p for group in self.param_groups for p in group["params"]]

    def slots(self, parameter: Tensor) -> dict[str, Tensor]:
        """Return what is kept for a parameter, by name; zeros before the first step."""
        state: dict[str, Tensor] = self.state[parameter]
        if not state:
            state |= {name: torch.zeros_like(parameter) for name in self.slot_names}
        return state

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Update all members that are not frozen; a member whose gradient is not finite is frozen instead."""
        if closure is not None:
            with torch.enable_grad():
                closure()
        parameters = [p for p in self._stacked() if p.requires_grad]
        gradients = [p.grad.contiguous() if p.grad is not None else torch.zeros_like(p) for p in parameters]
        norms = member_norms(gradients)
        self.norms = norms.cpu().double()
        self.frozen |= ~torch.isfinite(self.norms)
        if self.frozen.all():
            return
        self.steps += ~self.frozen
        if self.gradient_clip:
            scale = (self.gradient_clip / (norms + 1e-6)).clamp(max=1.0)
            torch._foreach_mul_(gradients, [_along(scale, g) for g in gradients])
        if self.l2_penalty:
            acted_on = [i for i, p in enumerate(parameters) if id(p) not in self._spared]
            torch._foreach_add_(
                [gradients[i] for i in acted_on], [parameters[i] for i in acted_on], alpha=self.l2_penalty
            )
        kept = ([self.slots(p)[name] for p in parameters] for name in self.slot_names)
        stacked = (parameters, gradients, *kept)
        for (rate, averaged), members in self._alike():
            parts = [self._parts(tensors, members) for tensors in stacked]
            if averaged < 0:
                self._descend(rate, *parts[: 2 + len(self.SLOTS)])
            else:
                self._descend_plainly(rate, *parts[:2])
                # The mean of all weights from the second step on.
                torch._foreach_lerp_(parts[-1], parts[0], 1 / max(1, averaged))
        self.averaged += (self.averaged >= 0) & ~self.frozen

    def warmth(self, step: float) -> float:
        """Return the share of the learning rate that the step with this number, from 1, is taken at."""
        return min(1.0, step / self.warmup_steps) if self.warmup_steps else 1.0

    def _descend(
        self, rate: float, parameters: list[Tensor], gradients: list[Tensor], *slots: list[Tensor]
    ) -> None:
        """Move parameters against gradients, which have the penalty's; lists are of parts of members that move."""
        raise NotImplementedError

    def _descend_plainly(self, rate: float, parameters: list[Tensor], gradients: list[Tensor]) -> None:
        """Move parameters against their gradients, which have the penalty's, w ← w − η g."""
        torch._foreach_add_(parameters, gradients, alpha=-rate)

    def _alike(self) -> Iterator[tuple[tuple[float, int], list[int]]]:
        """Yield step size and averaged steps, and the members in a row that have these and are not frozen."""
        warmth, pace, averaged = (
            self.warmth(self.steps.max().item()),
            self.pace.tolist(),
            self.averaged.tolist(),
        )

        def step_of(member: int) -> tuple[float, int]:
            rate = warmth * self.rates[member] if averaged[member] < 0 else self.average_rate or 0.0
            return pace[member] * rate, averaged[member]

        moving = (~self.frozen).nonzero().flatten().tolist()
        for step, members in itertools.groupby(moving, key=step_of):
            yield step, list(members)

    def begin_average(self, positions: Tensor) -> None:
        """Let the members at these stack positions switch to averaged gradient descent, if they have not yet."""
        self.averaged[positions] = self.averaged[positions].clamp(min=0)

    @contextlib.contextmanager
    def averages(self) -> Iterator[None]:
        """Put each member's average in the place of its weights, if it has one, and the weights back at the end."""
        self._exchange()
        try:
            yield
        finally:
            self._exchange()

    @torch.no_grad()
    def _exchange(self) -> None:
        chosen = (self.averaged > 0).nonzero().flatten()
        if not len(chosen):
            return
        for parameter in self._stacked():
            index, slots = chosen.to(parameter.device), self.slots(parameter)
            weights, slots[AVERAGE][index] = slots[AVERAGE][index], parameter[index]
            parameter[index] = weights

    def _parts(self, tensors: Iterable[Tensor], members: list[int]) -> list[Tensor]:
        """Return the parts of stacked tensors that belong to some members, views.

        The fused kernel works in whole vectors and rounds a rest otherwise: only where each member's numbers
        are whole vectors does a member get the same bits from the stack as alone.
        """
        first, last = members[0], members[-1] + 1
        together = last - first == len(members)
        return [
            part
            for t in tensors
            for part in (
                [t[first:last]] if together and t[0].numel() % VECTOR == 0 else [t[m] for m in members]
            )
        ]

    @torch.no_grad()
    def keep(self, positions: Tensor) -> None:
        """Keep only the members at these stack positions, parameters included."""
        for parameter in self._stacked():
            index = positions.to(parameter.device)
            self.state[parameter] = {name: slot[index] for name, slot in self.slots(parameter).items()}
            parameter.data, parameter.grad = parameter.data[index], None
        self.steps, self.frozen = self.steps[positions], self.frozen[positions]
        self.norms = self.norms[positions]
        self.pace, self.averaged = self.pace[positions], self.averaged[positions]
        self.rates = [self.rates[position] for position in positions.tolist()]


class MemberSGD(MemberOptimizer):
    """Plain gradient descent; parameters as in `MemberOptimizer`."""

    def _descend(
        self, rate: float, parameters: list[Tensor], gradients: list[Tensor], *slots: list[Tensor]
    ) -> None:
        self._descend_plainly(rate, parameters, gradients)


def member_norms(tensors: Iterable[Tensor]) -> Tensor:
    """Return the Euclidean norm of all numbers that a member has in tensors (member, …), (member,)."""
    norms = torch.stack([torch.linalg.vector_norm(t.flatten(1), dim=1) for t in tensors], dim=1)
    return torch.linalg.vector_norm(norms, dim=1)


def _along(per_member: Tensor, like: Tensor) -> Tensor:
    return per_member.view(-1, *[1] * (like.ndim - 1))

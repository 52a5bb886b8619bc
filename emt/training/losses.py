"""Losses that tasks name, each with its accuracy; one number for each member."""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

from emt.models.base import Factored
from emt.ops.wide_readout import wide_cross_entropy


class Scoring(NamedTuple):
    """What outputs are scored against.

    Attributes
    ----------
    targets
        (member, batch, time, output), or ids (member, batch, time), -1 if there is none.
    scored
        The steps that enter the loss, (member, batch, time), bool.
    judged
        The steps that enter the accuracy, (member, batch, time), bool.
    draws
        Uniform numbers in [0, 1), (member, batch, time), for losses that sample; None where the task gives
        none.
    actions, rewards
        What was done, ids, and what it brought, (member, batch, time); None where nothing was done.
    """

    targets: Tensor
    scored: Tensor
    judged: Tensor
    draws: Tensor | None = None
    actions: Tensor | None = None
    rewards: Tensor | None = None

    def at_the_end(self) -> "Scoring":
        """Return this of the last step alone."""
        return Scoring(*(None if x is None else x[:, :, -1:] for x in self))  # type: ignore[arg-type]


LEAST = 1e-8
"""Added to the probability of each action."""

LossFunction = Callable[..., tuple[Tensor, Tensor]]
"""(outputs (member, batch, time, output), scoring, options of the task by name) → loss and accuracy, (member,) each."""


def mean_squared_error(outputs: Tensor, scoring: Scoring) -> tuple[Tensor, Tensor]:
    """Return each member's mean squared error and share of matching signs; zero, also −0.0, has a positive sign."""
    targets, scored, judged, *_ = scoring
    squares = (outputs - targets).square() * scored[..., None]
    matches = ((outputs >= 0) == (targets >= 0)) & judged[..., None]
    width = outputs.shape[-1]
    return squares.sum(dim=(1, 2, 3)) / (counts(scored) * width), matches.sum(dim=(1, 2, 3)) / (
        counts(judged) * width
    )


def half_squares(outputs: Tensor, scoring: Scoring) -> tuple[Tensor, Tensor]:
    """Return each member's mean of ½ ‖y − one-hot target‖², and share of right choices: the largest, first of equals.

    Half a sum over outputs (Schlag et al. 2021, arXiv:2102.11174): nothing costs ½, a wrong one-hot answer 1.
    """
    targets, scored, judged, *_ = scoring
    given, classes = outputs[scored], _classes(targets[scored])
    answered = given.gather(-1, classes.unsqueeze(-1)).squeeze(-1)
    # ‖y − e‖² = ‖y‖² − 2 y·e + 1, without the one-hot vectors.
    costs = (given.square().sum(dim=-1) + 1) / 2 - answered
    right = outputs[judged].argmax(dim=-1) == _classes(targets[judged])
    return _mean(costs, scored), _mean(right.to(outputs), judged)


def cross_entropy(outputs: Tensor | Factored, scoring: Scoring) -> tuple[Tensor, Tensor]:
    """Return each member's mean cross entropy of logits, and share of right choices: the largest, first of equals.

    Logits that are given as `Factored` are never held all at once.
    """
    if isinstance(outputs, Factored):
        return _factored_cross_entropy(outputs, scoring)
    targets, scored, judged, *_ = scoring
    # Few steps are scored: only these are looked at.
    surprise = functional.cross_entropy(outputs[scored], _classes(targets[scored]), reduction="none")
    right = outputs[judged].argmax(dim=-1) == _classes(targets[judged])
    return _mean(surprise, scored), _mean(right.to(outputs), judged)


def _factored_cross_entropy(outputs: Factored, scoring: Scoring) -> tuple[Tensor, Tensor]:
    hidden, table, bias = outputs
    targets, scored, judged, *_ = scoring
    used, classes = scored | judged, _classes(targets)
    weights = scored.to(hidden) / counts(scored)[:, None, None]
    losses, accuracies = [], []
    for m in range(len(hidden)):
        chosen = used[m]
        loss, _, right = wide_cross_entropy(
            hidden[m, chosen], table[m], bias[m], classes[m, chosen], weights[m, chosen]
        )
        losses.append(loss)
        accuracies.append((right & judged[m, chosen]).sum())
    return torch.stack(losses), torch.stack(accuracies).to(hidden) / counts(judged)


def actor_critic(
    outputs: Tensor,
    scoring: Scoring,
    *,
    discount: float = 0.0,
    entropy: float = 0.0,
    normalise_returns: bool = False,
) -> tuple[Tensor, Tensor]:
    """Return each member's advantage actor–critic loss and the share of right choices (Mnih et al. 2016).

    With the action a_t sampled from p, reward 1 where it is right, the return R_t = Σ_k γ^k reward_{t+k} and
    the value v_t, a constant in the first term, a row's loss is the sum over its scored steps of

        −log p(a_t) (R_t − v_t) − β Σ_a −p(a) log p(a) − const. + smooth_l1(v_t, R_t),

    and a member's the mean over rows. The policy's terms only stand for their gradient, and the constant
    makes them zero: what is returned is the loss of the value.

    Parameters
    ----------
    outputs
        Logits of the actions and then, last, the value.
    scoring
        Without draws the most probable action is taken, first of equals.
    discount, entropy
        γ and β.
    normalise_returns
        Whether a row's returns are scaled to mean 0 and sample deviation 1.
    """
    targets, scored, judged, draws, *_ = scoring
    log_p, value = outputs.detach()[..., :-1].log_softmax(dim=-1), outputs.detach()[..., -1]
    actions = _choose(log_p, draws)
    one_hot = targets.is_floating_point()
    right = (
        targets.gather(-1, actions.unsqueeze(-1)).squeeze(-1) if one_hot else (actions == targets).to(value)
    )
    returns = _returns(right * scored, discount, normalise_returns)
    loss = _ActorCritic.apply(outputs, log_p, actions, returns, scored.to(value) / outputs.shape[1], entropy)
    return loss, (right * judged).sum(dim=(1, 2)) / counts(judged)


def _returns(rewards: Tensor, discount: float, normalise: bool) -> Tensor:
    """Return Σ_k γ^k reward_{t+k}, (member, batch, time)."""
    returns = rewards
    if discount:
        lag = torch.arange(rewards.shape[2], dtype=rewards.dtype, device=rewards.device)
        lag = lag[:, None] - lag
        returns = rewards @ torch.where(lag >= 0, discount ** lag.clamp(min=0), 0.0)
    if normalise:
        mean, deviation = returns.mean(dim=2, keepdim=True), returns.std(dim=2, keepdim=True)
        returns = (returns - mean) / (deviation + torch.finfo(torch.float32).eps)
    return returns


class _ActorCritic(torch.autograd.Function):
    """The value's loss (member,) and the gradient of the policy's and its in closed form.

    On little data autograd's bookkeeping costs the most.
    """

    @staticmethod
    def forward(
        ctx: Any,
        outputs: Tensor,
        log_p: Tensor,
        actions: Tensor,
        returns: Tensor,
        weight: Tensor,
        entropy: float,
    ) -> Tensor:
        value, chosen = outputs[..., -1], actions.unsqueeze(-1)
        advantage, p = returns - value, log_p.exp()
        loss = functional.smooth_l1_loss(value, returns, reduction="none")
        d_outputs = torch.empty_like(outputs)
        # ∂(−log p_a) = p − one at a; ∂(−H) = p (log p + H).
        d_logits = torch.mul(p, advantage.unsqueeze(-1), out=d_outputs[..., :-1])
        d_logits.scatter_add_(-1, chosen, -advantage.unsqueeze(-1))
        torch.clamp(-advantage, -1, 1, out=d_outputs[..., -1])
        if entropy:
            surprise = (p * log_p).sum(dim=-1, keepdim=True)
            d_logits += entropy * p * (log_p - surprise)
        ctx.save_for_backward(d_outputs.mul_(weight.unsqueeze(-1)))
        return (loss * weight).sum(dim=(1, 2))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_loss: Tensor) -> tuple[Tensor | None, ...]:
        (d_outputs,) = ctx.saved_tensors
        return d_outputs * d_loss[:, None, None, None], None, None, None, None, None


def advantage(
    outputs: Tensor,
    scoring: Scoring,
    *,
    discount: float,
    entropy: float,
    value_weight: float,
    pooled: bool,
) -> tuple[Tensor, Tensor]:
    """Return minus each member's mean return, with the gradient of `advantage_loss`, and the share of right choices.

    What is to be made small is minus the return, the sum of an episode's rewards, undiscounted; the loss only stands
    for its gradient. A choice is right where the most probable action, first of equals, is the target.

    Parameters
    ----------
    outputs
        Logits of the actions and then, last, the value.
    scoring
        With actions and rewards.
    discount, entropy, value_weight, pooled
        As in `advantage_loss`.
    """
    actions, rewards = scoring.actions, scoring.rewards
    assert actions is not None
    assert rewards is not None
    loss = advantage_loss(
        outputs,
        actions,
        rewards,
        discount=discount,
        entropy=entropy,
        value_weight=value_weight,
        pooled=pooled,
    )
    right = (outputs[..., :-1].argmax(dim=-1) == _classes(scoring.targets)) & scoring.judged
    accuracy = right.sum(dim=(1, 2)) / counts(scoring.judged)
    return loss - loss.detach() - rewards.sum(dim=2).mean(dim=1), accuracy


def advantage_loss(
    outputs: Tensor,
    actions: Tensor,
    rewards: Tensor,
    *,
    discount: float,
    entropy: float,
    value_weight: float,
    pooled: bool,
) -> Tensor:
    """Return each member's advantage actor-critic loss of what was done, (member,) (Mnih et al. 2016).

    With p_t the softmax of the logits plus 1e-8, normalised, the action a_t that was done, the return R_t = Σ_k γ^k
    reward_{t+k}, and the value v_t, a constant in the first term, it is the mean over rows and steps of

        −log p_t(a_t) (R_t − v_t) − β H(p_t) + w (R_t − v_t)².

    Parameters
    ----------
    outputs
        Logits of the actions and then, last, the value.
    actions, rewards
        (member, batch, time).
    discount, entropy, value_weight
        γ, β and w.
    pooled
        Whether R_t − v_t is the mean over all pairs of a return and a value of the batch's rows at step t, each row's
        return for the policy, as in the program of Schlag et al. (2021): values then learn the batch's mean return.
    """
    p = outputs[..., :-1].softmax(dim=-1) + LEAST
    log_p = (p / p.sum(dim=-1, keepdim=True)).log()
    done = log_p.gather(-1, actions.unsqueeze(-1)).squeeze(-1)
    unsure = -(log_p.exp() * log_p).sum(dim=-1)
    value, returns = outputs[..., -1], _returns(rewards.to(outputs), discount, normalise=False)
    if pooled:
        baseline = value.mean(dim=1, keepdim=True)
        # mean_ij (R_j − v_i)² = Var R + Var v + (mean R − mean v)²
        errors = returns.var(dim=1, correction=0) + value.var(dim=1, correction=0)
        errors = errors + (returns.mean(dim=1) - baseline.squeeze(1)).square()
    else:
        baseline, errors = value, (returns - value).square().mean(dim=1)
    policy = (-done * (returns - baseline).detach() - entropy * unsure).mean(dim=1)
    return (policy + value_weight * errors).mean(dim=1)


def _choose(log_p: Tensor, draws: Tensor | None) -> Tensor:
    """Return actions (member, batch, time), sampled from p if there are draws, else the likeliest."""
    if draws is None:
        return log_p.argmax(dim=-1)
    return (log_p[..., :-1].exp().cumsum(dim=-1) <= draws.unsqueeze(-1)).sum(dim=-1)


def counts(steps: Tensor) -> Tensor:
    """Return each member's number of such steps, (member,); one if there are none, so that a mean of none is 0."""
    return steps.sum(dim=(1, 2)).clamp(min=1)


def _classes(targets: Tensor) -> Tensor:
    return targets.argmax(dim=-1) if targets.is_floating_point() else targets.long()


def _mean(values: Tensor, steps: Tensor) -> Tensor:
    """Return the mean over each member's steps of ``values``, which stand in the order of ``steps``'s true entries."""
    member = steps.nonzero()[:, 0]
    return values.new_zeros(len(steps)).index_add(0, member, values) / counts(steps)


LOSSES: dict[str, LossFunction] = {
    "mse": mean_squared_error,
    "half_squares": half_squares,
    "cross_entropy": cross_entropy,
    "actor_critic": actor_critic,
    "advantage": advantage,
}

"""Lyapunov spectra: how fast small perturbations of the moving state grow along a run (Benettin et al. 1980)."""

import math

import torch
from torch import Tensor

from emt.jacobians import jacobians, moving_state
from emt.models.base import Context, Model, State
from emt.streams import stream

SETTLING = 0.2
"""Share of a run's steps in which perturbations only turn into place."""


def steady_weights(steps: int) -> Tensor:
    """Return weights (time,) for a long run at rest or in a cycle: zero in its first half, then a Hann window.

    Perturbations that grow nearly alike take long to part. Those that turn, as complex eigenvalues make them,
    grow more at some angles than at others: ends of an even mean, that stop anywhere in a turn, leave an
    error of order 1/steps, ends that fade nearly none (as in Das et al. 2017).
    """
    place = 2 * (torch.arange(steps, dtype=torch.float64) + 0.5) / steps - 1
    return torch.sin(math.pi * place).square() * (place > 0)


def lyapunov_exponents(
    model: Model,
    state: State,
    inputs: Tensor,
    context: Context | None = None,
    *,
    count: int | None = None,
    weights: Tensor | None = None,
) -> Tensor:
    """Return the leading Lyapunov exponents along each run, in nats per step, (member, batch, exponent), descending.

    Perturbations are carried along by the Jacobians and made orthogonal after each step by a QR
    decomposition; the exponents are means of log |R_ii|. Memories change as they do in the run, their
    contents are not perturbed, and where a trial draws a new initial state a perturbation continues.

    Parameters
    ----------
    model
        The members.
    state
        Where the run starts, (member, batch, …).
    inputs
        (member, batch, time, channel).
    context
        What the model is told beside, each (member, batch, time).
    count
        How many exponents; None for all, as many as the moving state has numbers.
    weights
        How much each step counts, (time,); None counts all alike but the first, of which `SETTLING` is the
        share.
    """
    return changed_exponents(model, state, inputs, context, count=count, weights=weights, changes=(0.0,))[0]


@torch.no_grad()
def changed_exponents(
    model: Model,
    state: State,
    inputs: Tensor,
    context: Context | None = None,
    *,
    changes: tuple[float, ...],
    count: int | None = None,
    weights: Tensor | None = None,
) -> Tensor:
    """Return `lyapunov_exponents` along the same runs for other Jacobians too, (change, member, batch, exponent).

    For each of ``changes``, c, they are those of J + c ‖J‖_F E in place of each Jacobian J, E being a random
    matrix of norm ‖E‖_F = 1, always the same: what small errors of weights do to exponents.
    """
    size, steps = sum(moving_state(model, state).values()), inputs.shape[2]
    count = size if count is None else min(count, size)
    draws = stream("dynamics.perturbation", 0, "test", 0).standard_normal((size, count))
    runs = (len(changes), *inputs.shape[:2])
    perturbation = torch.linalg.qr(torch.tensor(draws).to(inputs))[0].expand(*runs, -1, -1)
    growth = inputs.new_zeros(*runs, count)
    shift = _shifts(changes, size).to(inputs)
    weights = torch.arange(steps) >= int(SETTLING * steps) if weights is None else weights
    shares = (weights.double() / weights.sum()).tolist()
    for t, share in enumerate(shares):
        by_state, _ = jacobians(model, state, inputs[:, :, t])
        norm = torch.linalg.matrix_norm(by_state)[..., None, None]
        perturbation, triangle = torch.linalg.qr((by_state + norm * shift) @ perturbation)
        if share > 0:  # zero times the logarithm of zero is not a number
            growth += share * triangle.diagonal(dim1=-2, dim2=-1).abs().log()
        now = {name: values[:, :, t : t + 1] for name, values in (context or {}).items()}
        _, state, _ = model(inputs[:, :, t : t + 1], state, None, now)
    return growth.sort(dim=-1, descending=True).values


def _shifts(changes: tuple[float, ...], size: int) -> Tensor:
    """Return what is added to a Jacobian of norm 1 for each change, (change, 1, 1, size, size)."""
    direction = torch.tensor(stream("dynamics.change", 0, "test", 0).standard_normal((size, size)))
    return (
        torch.tensor(changes, dtype=direction.dtype)[:, None, None, None, None] * direction / direction.norm()
    )

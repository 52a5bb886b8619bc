"""Lyapunov spectra: how fast small perturbations of the moving state grow along a run (Benettin et al. 1980)."""

import torch
from torch import Tensor

from emt.jacobians import jacobians, moving_state
from emt.models.base import Cues, Model, State
from emt.streams import stream

SETTLING = 0.2
"""Share of a run's steps in which perturbations only turn into place."""


@torch.no_grad()
def lyapunov_exponents(
    model: Model, state: State, inputs: Tensor, cues: Cues | None = None, *, count: int | None = None
) -> Tensor:
    """Return the leading Lyapunov exponents along each run, in nats per step, (member, batch, exponent), descending.

    Perturbations are carried along by the Jacobians and made orthogonal after each step by a QR decomposition; the
    exponents are the means of log |R_ii|. Memories change as they do in the run, their contents are not perturbed, and
    where a trial draws a new initial state a perturbation goes on.

    Parameters
    ----------
    model
        The members.
    state
        Where the run starts, (member, batch, …).
    inputs
        (member, batch, time, channel).
    cues
        What the model is told beside, each (member, batch, time).
    count
        How many exponents; None for all, as many as the moving state has numbers.
    """
    size, steps = sum(moving_state(model, state).values()), inputs.shape[2]
    count = size if count is None else min(count, size)
    draws = stream("dynamics.perturbation", 0, "test", 0).standard_normal((size, count))
    perturbation = torch.linalg.qr(torch.from_numpy(draws).to(inputs))[0].expand(*inputs.shape[:2], -1, -1)
    growth, settling = inputs.new_zeros(*inputs.shape[:2], count), int(SETTLING * steps)
    for t in range(steps):
        by_state, _ = jacobians(model, state, inputs[:, :, t])
        perturbation, triangle = torch.linalg.qr(by_state @ perturbation)
        if t >= settling:
            growth += triangle.diagonal(dim1=-2, dim2=-1).abs().log()
        now = {name: cue[:, :, t : t + 1] for name, cue in (cues or {}).items()}
        _, state, _ = model(inputs[:, :, t : t + 1], state, None, now)
    return (growth / (steps - settling)).sort(dim=-1, descending=True).values

"""Cross entropy of a readout with many outputs: logits in pieces, of which only one is held at a time.

For rows h_i (of a batch, at all steps) and a table E, with weights w_i of the rows,

    z_i = E h_i + b,   ℓ_i = log Σ_k exp z_ik − z_i,target,   L = Σ_i w_i ℓ_i                             (1)
    ∂L/∂z_i = w_i (softmax z_i − one-hot of the target)                                                    (2)

With 33,278 words a batch of 80 rows of 70 steps has 745 MB of logits and as much gradient. Gradients are those of (2)
times h and E, and are made in the forward pass while the logits of a piece are there.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

PIECE = 1 << 21
"""Logits of a piece, 8 MB: larger ones are not faster."""


def wide_cross_entropy(
    hidden: Tensor, table: Tensor, bias: Tensor, target: Tensor, weight: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the weighted sum of cross entropies (1), which is once differentiable, and what it is made of.

    Parameters
    ----------
    hidden
        (row, unit).
    table, bias
        E (output, unit) and b (output,).
    target
        Ids, (row,).
    weight
        w, (row,).

    Returns
    -------
    loss, losses, right
        L, a number; ℓ (row,), without gradient; whether the largest logit is the target's, (row,).

    Examples
    --------
    >>> table, bias, target = torch.zeros(5, 2), torch.zeros(5), torch.tensor([3])
    >>> loss, _, _ = wide_cross_entropy(torch.zeros(1, 2), table, bias, target, torch.ones(1))
    >>> round(float(loss), 4)  # ln 5
    1.6094
    """
    learns = torch.is_grad_enabled() and any(x.requires_grad for x in (hidden, table, bias))
    loss, losses, right = _WideCrossEntropy.apply(hidden, table, bias, target, weight, learns)
    return loss, losses, right


def wide_cross_entropy_whole(
    hidden: Tensor, table: Tensor, bias: Tensor, target: Tensor, weight: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Equation (1) with all logits at once; arguments and result as in :func:`wide_cross_entropy`."""
    logits = hidden @ table.mT + bias
    losses = logits.logsumexp(dim=1) - logits.gather(1, target[:, None]).squeeze(1)
    return (weight * losses).sum(), losses.detach(), logits.argmax(dim=1) == target


class _WideCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, table: Tensor, bias: Tensor, target: Tensor, weight: Tensor, learns: bool
    ) -> tuple[Tensor, Tensor, Tensor]:
        gradients = [torch.zeros_like(x) for x in (hidden, table, bias)] if learns else []
        losses, right = hidden.new_empty(len(hidden)), torch.empty_like(target, dtype=torch.bool)
        rows = max(1, PIECE // len(table))
        for start in range(0, len(hidden), rows):
            piece = slice(start, start + rows)
            h, chosen = hidden[piece], target[piece, None]
            logits = torch.addmm(bias, h, table.mT)
            largest, answered = logits.amax(dim=1, keepdim=True), logits.gather(1, chosen)
            # Places of the largest cost more than the largest: looked for where the target may be one.
            may = (answered == largest).squeeze(1).nonzero().squeeze(1)
            right[piece] = False
            right[start + may] = logits[may].argmax(dim=1) == chosen[may].squeeze(1)
            answered -= largest
            # Exponentials take the most time: here once, and in place.
            total = logits.sub_(largest).exp_().sum(dim=1, keepdim=True)
            losses[piece] = (total.log() - answered).squeeze(1)
            if learns:
                w = weight[piece, None]
                d_logits = logits.mul_(w / total).scatter_add_(1, chosen, -w)
                d_hidden, d_table, d_bias = gradients
                torch.mm(d_logits, table, out=d_hidden[piece])
                d_table.addmm_(d_logits.mT, h)
                d_bias += d_logits.sum(dim=0)
        ctx.save_for_backward(*gradients)
        ctx.mark_non_differentiable(losses, right)
        return (weight * losses).sum(), losses, right

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_loss: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
        return *(d_loss * gradient for gradient in ctx.saved_tensors), None, None, None

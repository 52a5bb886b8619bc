"""Losses that tasks name, each with its accuracy; one number for each member."""

from collections.abc import Callable

from torch import Tensor

LossFunction = Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]


def mean_squared_error(outputs: Tensor, targets: Tensor, scored: Tensor) -> tuple[Tensor, Tensor]:
    """Return each member's mean squared error and share of matching signs over the scored steps.

    Parameters
    ----------
    outputs, targets
        (member, batch, time, output).
    scored
        (member, batch, time), bool.

    Returns
    -------
    loss, accuracy
        (member,) each. Zero, also −0.0, counts as a positive sign.
    """
    count = scored.sum(dim=(1, 2)) * outputs.shape[-1]
    mask = scored[..., None]
    squares = (outputs - targets).square() * mask
    matches = ((outputs >= 0) == (targets >= 0)) & mask
    return squares.sum(dim=(1, 2, 3)) / count, matches.sum(dim=(1, 2, 3)) / count


def cross_entropy(outputs: Tensor, targets: Tensor, scored: Tensor) -> tuple[Tensor, Tensor]:
    """Return each member's mean cross entropy and share of right choices over the scored steps.

    Parameters
    ----------
    outputs
        Logits (member, batch, time, output).
    targets
        One-hot (member, batch, time, output).
    scored
        (member, batch, time), bool.

    Returns
    -------
    loss, accuracy
        (member,) each. The choice is the largest output, the first of equal ones.
    """
    # Few steps are scored: only these are looked at.
    member, chosen, wanted = scored.nonzero()[:, 0], outputs[scored], targets[scored]
    surprise = -(wanted * chosen.log_softmax(dim=-1)).sum(dim=-1)
    right = (chosen.argmax(dim=-1) == wanted.argmax(dim=-1)).to(surprise)
    sums = [surprise.new_zeros(len(scored)).index_add(0, member, values) for values in (surprise, right)]
    count = scored.sum(dim=(1, 2))
    return sums[0] / count, sums[1] / count


LOSSES: dict[str, LossFunction] = {"mse": mean_squared_error, "cross_entropy": cross_entropy}

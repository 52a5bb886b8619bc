"""The fast-weight network of `emt.ops.fast_weights`, whose writes and reads are edited (`emt.ops.memory_edit`)."""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import layer_norm

from emt.ops.fast_weights import EPSILON, FastWeightsRun
from emt.ops.memory_edit import MemoryEdit, replaced


class EditedRun(NamedTuple):
    """What a fast-weight network did whose matrix was edited: ``run``, and what was written (member, batch, time, …).

    ``key`` and ``value`` as they were written, ``strength`` η, 0 at silent steps, ``keep`` λ, 1 at frozen ones;
    ``matrix`` is A after the last step, (member, batch, unit, unit).
    """

    run: FastWeightsRun
    key: Tensor
    value: Tensor
    strength: Tensor
    keep: Tensor
    matrix: Tensor


@torch.no_grad()
def fast_weights_edited(
    drive: Tensor,
    w_rec: Tensor,
    gain: Tensor,
    bias: Tensor,
    eta: float,
    lam: float,
    inner_steps: int,
    h0: Tensor | None,
    a0: Tensor | None,
    edit: MemoryEdit,
) -> EditedRun:
    """Run a fast-weight network whose writes and reads are edited, by equation (5), without gradients.

    The arguments are those of `fast_weights`, and the edit. What A_0 holds is hidden from no read.
    """
    members, batch, steps, units = drive.shape
    h = drive.new_zeros(members, batch, units) if h0 is None else h0
    keys, values, hidden = (drive.new_zeros(steps, members, batch, units) for _ in range(3))
    weights = drive.new_zeros(steps, members, batch, 1)
    strength, keep = (drive.new_full((members, batch, steps), rate) for rate in (eta, lam))
    if edit.silent is not None:
        strength = strength.masked_fill(edit.silent, 0.0)
    if edit.freeze is not None:
        keep = keep.masked_fill(edit.freeze, 1.0)
    hide = None if edit.hide is None else edit.hide.to(drive).permute(2, 0, 1).unsqueeze(-1)
    start = drive.new_ones(members, batch, 1)
    queries, returned = [], []
    for t in range(steps):
        u, own = torch.baddbmm(drive[:, :, t], h, w_rec), edit.at(t)
        h = torch.relu(u)
        for place in range(inner_steps):
            read_weights = (keys[:t] * h).sum(-1, keepdim=True) * weights[:t]
            if hide is not None and own.blind is not None:
                read_weights = read_weights * (1 - hide[:t] * own.blind[..., place, None].to(hide))
            read = (values[:t] * read_weights).sum(0)
            if a0 is not None:
                read = read + start * (h.unsqueeze(-2) @ a0.mT).squeeze(-2)
            queries.append(h)
            returned.append(own.read(read, None, place))
            normal = layer_norm(u + returned[-1], (units,), eps=EPSILON)
            h = torch.relu(normal * gain.unsqueeze(1) + bias.unsqueeze(1))
        hidden[t], keys[t], values[t] = h, replaced(h, own.key), own.value_of(h)
        weights[:t] *= keep[:, :, t, None]
        weights[t] = strength[:, :, t, None]
        start = start * keep[:, :, t, None]
    matrix = torch.einsum("tmbi,tmbj->mbij", weights * values, keys)
    matrix = matrix if a0 is None else matrix + start.unsqueeze(-1) * a0
    shape = members, batch, steps, inner_steps, units
    reads = (
        (torch.stack(r) if r else drive.new_empty(0, *h.shape)).movedim(0, 2).reshape(shape)
        for r in (queries, returned)
    )
    run = FastWeightsRun(hidden.permute(1, 2, 0, 3), *reads)
    key, value = (x.permute(1, 2, 0, 3) for x in (keys, values))
    return EditedRun(run, key, value, strength, keep, matrix)

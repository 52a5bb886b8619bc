"""The fast-weight network of a whole population: the equations step by step, and an exact form without the matrix.

For each member and batch item (Ba et al. 2016, "Using fast weights to attend to the recent past", equations 1
and 2), LN being layer normalisation over the units, with gain and bias:

    u_t = x_t W_in + h_{t-1} W_rec                                      (1)
    s_0 = relu(u_t),  s_{i+1} = relu(LN(u_t + A_t s_i)),  h_t = s_S     (2)
    A_{t+1} = λ A_t + η h_t h_tᵀ                                        (3)

The matrix is the sum of what was written, so reading it is attending to the hidden states since A_0:

    A_t = λ^t A_0 + η Σ_{j<t} λ^(t-1-j) h_j h_jᵀ                        (4)
    A_t s = λ^t A_0 s + η Σ_{j<t} λ^(t-1-j) h_j (h_j·s)                 (5)
"""

import itertools
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.functional import layer_norm

EPSILON = 1e-5
"""Added to the variance in the layer normalisation."""

_relu_backward = torch.ops.aten.threshold_backward
_norm_backward = torch.ops.aten.native_layer_norm_backward


class FastWeightsRun(NamedTuple):
    """What a fast-weight network did.

    ``hidden`` (member, batch, time, unit); and of each inner step, without gradients, the ``queries`` s_i and
    the ``values`` A_t s_i that the matrix returned, (member, batch, time, read, unit).
    """

    hidden: Tensor
    queries: Tensor
    values: Tensor


def fast_weights_steps(
    drive: Tensor,
    w_rec: Tensor,
    gain: Tensor,
    bias: Tensor,
    eta: float,
    lam: float,
    inner_steps: int = 1,
    h0: Tensor | None = None,
    a0: Tensor | None = None,
) -> FastWeightsRun:
    """Equations (1) to (3), one step after the other; arguments and result as in :func:`fast_weights`."""
    members, batch, steps, units = drive.shape
    h = drive.new_zeros(members, batch, units) if h0 is None else h0
    a = drive.new_zeros(members, batch, units, units) if a0 is None else a0
    hidden, queries, values = [], [], []
    for t in range(steps):
        u = drive[:, :, t] + h @ w_rec
        h = torch.relu(u)
        for _ in range(inner_steps):
            queries.append(h)
            values.append((a @ h.unsqueeze(-1)).squeeze(-1))
            normal = layer_norm(u + values[-1], (units,), eps=EPSILON)
            h = torch.relu(normal * gain.unsqueeze(1) + bias.unsqueeze(1))
        hidden.append(h)
        a = lam * a + eta * h.unsqueeze(-1) * h.unsqueeze(-2)
    shape = members, batch, steps, inner_steps, units
    reads = (
        torch.cat(r).view(-1, *h.shape) if r else drive.new_empty(0, *h.shape) for r in (queries, values)
    )
    return FastWeightsRun(
        torch.stack(hidden, dim=2), *(r.detach().movedim(0, 2).reshape(shape) for r in reads)
    )


def fast_weights(
    drive: Tensor,
    w_rec: Tensor,
    gain: Tensor,
    bias: Tensor,
    eta: float,
    lam: float,
    inner_steps: int = 1,
    h0: Tensor | None = None,
    a0: Tensor | None = None,
) -> FastWeightsRun:
    """Run a fast-weight network over a sequence; gradients are exact, once differentiable.

    The cost of equation (5) grows with the steps since A_0, that of a product with the matrix with the units.
    So a sequence of more steps than units is cut, and the matrix (4) built between its pieces.

    Parameters
    ----------
    drive
        What the inputs add to each unit, x_t W_in, (member, batch, time, unit).
    w_rec
        Slow weights (member, unit, unit), applied from the right.
    gain, bias
        Of the layer normalisation, (member, unit).
    eta, lam
        Fast learning rate η and decay λ.
    inner_steps
        S, the reads of a step. Without reads there is no layer normalisation either.
    h0, a0
        Hidden state (member, batch, unit) and matrix (member, batch, unit, unit) before the first step; None
        means zero, and costs nothing.
    """
    steps, units = drive.shape[2:]
    pieces = drive.split(steps if steps <= units else -(-units // 2), dim=2)
    h, a = h0, a0
    runs: list[tuple[Tensor, ...]] = []
    for piece in pieces:
        if runs:
            h, a = runs[-1][0][:, :, -1], fast_matrix(runs[-1][0], eta, lam, a)
        runs.append(_Attention.apply(piece, w_rec, gain, bias, h, a, eta, lam, inner_steps))
    return FastWeightsRun(*(torch.cat(parts, dim=2) for parts in zip(*runs, strict=True)))


def fast_matrix(hidden: Tensor, eta: float, lam: float, a0: Tensor | None = None) -> Tensor:
    """Return the matrix after all steps of ``hidden``, (member, batch, unit, unit), by equation (4)."""
    written = (hidden * _decays(eta, lam, hidden.shape[2], hidden)).transpose(2, 3) @ hidden
    return written if a0 is None else written.add(a0, alpha=lam ** hidden.shape[2])


class _Arguments(NamedTuple):
    """What `_Attention` is applied to, in this order; in the backward pass, whether each is wanted, or its gradient."""

    drive: Any = None
    w_rec: Any = None
    gain: Any = None
    bias: Any = None
    h0: Any = None
    a0: Any = None
    eta: Any = None
    lam: Any = None
    inner: Any = None


class _Saved(NamedTuple):
    """What the backward pass needs of the sequence: ``layers`` and ``sums`` as `_Attention.forward` makes them."""

    w_rec: Tensor
    gain: Tensor
    a0: Tensor | None
    layers: Tensor
    sums: Tensor


class _Read(NamedTuple):
    """What it needs of one read: weights of the past steps, the normalised sum with its mean and inverse deviation."""

    weights: Tensor
    normal: Tensor
    mean: Tensor
    scale: Tensor


class _Attention(torch.autograd.Function):
    """Equations (1), (2) and (5): (hidden, queries, values). Inside, time comes first, so that steps are whole blocks.

    Products with batches of small matrices are slow in torch; sums of elementwise products, step before step,
    are not.
    """

    @staticmethod
    def forward(
        ctx: Any,
        drive: Tensor,
        w_rec: Tensor,
        gain: Tensor,
        bias: Tensor,
        h0: Tensor | None,
        a0: Tensor | None,
        eta: float,
        lam: float,
        inner: int,
    ) -> tuple[Tensor, ...]:
        members, batch, steps, units = drive.shape
        # For each step s_0 to s_S, which is h; and before the first step h_0.
        layers = drive.new_empty(steps + 1, inner + 1, members, batch, units)
        layers[0, inner] = 0 if h0 is None else h0
        hidden = layers[1:, inner]
        values, sums = (drive.new_empty(steps, inner, members, batch, units) for _ in range(2))
        decays, gain, bias = (
            _decays(eta, lam, steps, drive)[..., None, None],
            gain.unsqueeze(1),
            bias.unsqueeze(1),
        )
        reads: list[_Read] = []
        for t in range(steps):
            past, s = hidden[:t], layers[t + 1].unbind()
            u = torch.baddbmm(drive[:, :, t], layers[t, inner], w_rec)
            torch.clamp_min(u, 0, out=s[0])
            for i, (value, total) in enumerate(zip(values[t].unbind(), sums[t].unbind(), strict=True)):
                weights = (past * s[i]).sum(-1, keepdim=True).mul_(decays[steps - t :])
                torch.sum(past * weights, 0, out=value)
                if a0 is not None:
                    value.add_(_times(s[i], a0.mT), alpha=lam**t)
                torch.add(u, value, out=total)
                normal, mean, scale = torch.native_layer_norm(total, (units,), None, None, EPSILON)
                torch.clamp_min(torch.addcmul(bias, gain, normal), 0, out=s[i + 1])
                reads.append(_Read(weights, normal, mean, scale))
        ctx.constants = eta, lam
        ctx.save_for_backward(*_Saved(w_rec, gain, a0, layers, sums), *itertools.chain(*reads))
        returned = [r.permute(2, 3, 0, 1, 4) for r in (layers[1:, :inner], values)]
        ctx.mark_non_differentiable(*returned)
        return hidden.permute(1, 2, 0, 3), *returned

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_hidden: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
        count = len(_Saved._fields)
        w_rec, gain, a0, layers, sums = _Saved(*ctx.saved_tensors[:count])
        of_reads, size = ctx.saved_tensors[count:], len(_Read._fields)
        reads = [_Read(*of_reads[place : place + size]) for place in range(0, len(of_reads), size)]
        eta, lam = ctx.constants
        (steps, inner), units = sums.shape[:2], sums.shape[-1]
        hidden = layers[1:, inner]
        decays = _decays(eta, lam, steps, hidden)[..., None, None]
        # Gradients: dy before the last relu of (2), dz before the normalisation, which is also that of the value read.
        dh = torch.cat([torch.zeros_like(layers[:1, 0]), d_hidden.permute(2, 0, 1, 3)])
        du, dy, dv = torch.zeros_like(hidden), torch.empty_like(sums), torch.empty_like(sums)
        for t in reversed(range(steps)):
            past, d_past, s, ds, d = hidden[:t], dh[1 : t + 1], layers[t + 1].unbind(), dh[t + 1], du[t]
            for i in reversed(range(inner)):
                read = reads[t * inner + i]
                dn = _relu_backward.grad_input(ds, s[i + 1], 0, grad_input=dy[t, i]) * gain
                dz = _norm_backward(
                    dn, sums[t, i], (units,), read.mean, read.scale, None, None, [True, False, False]
                )[0]
                d += dz
                d_weights = (past * dz).sum(-1, keepdim=True).mul_(decays[steps - t :])
                ds = (past * d_weights).sum(0)
                d_past.addcmul_(read.weights, dz).addcmul_(d_weights, s[i])
                if a0 is not None:
                    ds += _times(torch.mul(dz, lam**t, out=dv[t, i]), a0)
            d += _relu_backward(ds, s[0], 0)
            dh[t].baddbmm_(d, w_rec.mT)
        normal = torch.stack([read.normal for read in reads]).view_as(dy) if reads else dy
        d_a0 = None if a0 is None else torch.einsum("trmbi,trmbj->mbij", dv, layers[1:, :inner])
        before, after = (v.transpose(0, 1).flatten(1, 2) for v in (layers[:-1, inner], du))
        return _Arguments(
            drive=du.permute(1, 2, 0, 3),
            w_rec=before.mT @ after,
            gain=(dy * normal).sum((0, 1, 3)),
            bias=dy.sum((0, 1, 3)),
            h0=dh[0] if _Arguments(*ctx.needs_input_grad).h0 else None,
            a0=d_a0,
        )


def _decays(eta: float, lam: float, steps: int, like: Tensor) -> Tensor:
    """η λ^(T-1-j) for each step j of T, (time, 1)."""
    return torch.tensor([eta * lam**k for k in reversed(range(steps))], dtype=like.dtype, device=like.device)[
        :, None
    ]


def _times(rows: Tensor, matrices: Tensor) -> Tensor:
    """One row times one matrix for each member and batch item; torch is several times slower at columns."""
    return (rows.unsqueeze(-2) @ matrices).squeeze(-2)

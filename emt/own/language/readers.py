"""Readers: what each function that computes a recurrence in `transformers` writes, keeps, erases and asks.

=====================  ====================================================================================
gated delta rule, KDA  k, q of unit length if the call says so, q / √K; output = read (Yang et al. 2024,
                       arXiv:2412.06464; Kimi Team 2025, arXiv:2510.26692)
Mamba-2                k = B, v = x, q = C, c = dt, w = exp(A dt); output = read + D x (Dao & Gu 2024,
                       arXiv:2405.21060)
Mamba                  the same in each channel, with a w for each entry of B; output = (read + D x) silu(z)
                       (Gu & Dao 2023, arXiv:2312.00752)
RWKV-7                 erases what it looks up at a, at b: M (diag(w) + a bᵀ) + v kᵀ; output = read (Peng et
                       al. 2025, arXiv:2503.14456)
mLSTM of xLSTM         c = exp(i), w = σ(f), q / √K; output = read / (max(|n q|, 1) + ε exp(m)), n the sum of
                       keys as they are kept and m the running stabiliser (Beck et al. 2024, arXiv:2405.04517)
=====================  ====================================================================================

Readers bind arguments by the names of the functions' parameters. They compute in single precision, whatever the
model's is.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid, silu, softplus

from emt.own.language.calls import Call, Chosen, read_values

Reader = Callable[..., Call]

UNIT_LENGTH = 1e-6
"""What is added to the square of a key's length before it is divided by that length."""


def gated_delta(
    chosen: Chosen,
    returned: Any,
    *,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    g: Tensor,
    beta: Tensor,
    use_qk_l2norm_in_kernel: bool = False,
    scale: float | None = None,
    **_: Any,
) -> Call:
    """Read a gated delta rule with one decay for each head, or (KDA) for each of its key channels."""
    heads = chosen.of_heads(value.shape[2])
    q, k = (_of_heads(x, value.shape[2], heads) for x in (query, key))
    if use_qk_l2norm_in_kernel:
        q, k = (x * torch.rsqrt((x * x).sum(-1, keepdim=True) + UNIT_LENGTH) for x in (q, k))
    b = _single(beta)[:, :, heads]
    return Call(
        heads=tuple(heads),
        key=k,
        value=_single(value)[:, :, heads],
        strength=b,
        erase=b,
        keep=_single(g)[:, :, heads].exp(),
        query=q * (k.shape[-1] ** -0.5 if scale is None else scale),
        output=_as_read,
        returned=_first(returned)[:, :, heads],
    )


def mamba2(
    chosen: Chosen,
    returned: Any,
    *,
    hidden_states: Tensor,
    dt: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None = None,
    dt_bias: Tensor | None = None,
    dt_softplus: bool = False,
    dt_limit: tuple[float, float] = (0.0, float("inf")),
    **_: Any,
) -> Call:
    """Read a Mamba-2 scan: of inputs (batch, time, head, value), B and C (batch, time, group, key)."""
    count = hidden_states.shape[2]
    heads = chosen.of_heads(count)
    x = _single(hidden_states)[:, :, heads]
    step = _step_sizes(_single(dt), dt_bias, dt_softplus).clamp(*dt_limit)[:, :, heads]
    skip = 0.0 if D is None else _single(D)[heads].double().reshape(len(heads), -1) * x.double()
    return Call(
        heads=tuple(heads),
        key=_of_heads(B, count, heads),
        value=x,
        strength=step,
        erase=torch.zeros_like(step),
        keep=(_single(A)[heads] * step).exp(),
        query=_of_heads(C, count, heads),
        output=lambda read: read + skip,
        returned=_first(returned)[:, :, heads],
    )


def mamba(
    chosen: Chosen,
    returned: Any,
    *,
    hidden_states: Tensor,
    dt: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None = None,
    z: Tensor | None = None,
    delta_bias: Tensor | None = None,
    delta_softplus: bool = False,
    **_: Any,
) -> Call:
    """Read a Mamba scan, (batch, channel, time): a memory of one value for each chosen channel."""
    places = chosen.of_channels(hidden_states.shape[1])
    of_time = lambda x: _single(x)[:, places].transpose(1, 2)  # noqa: E731
    x = of_time(hidden_states)
    step = _step_sizes(of_time(dt), None if delta_bias is None else delta_bias[places], delta_softplus)
    skip = 0.0 if D is None else (_single(D)[places].double() * x.double())[..., None]
    gate = 1.0 if z is None else silu(of_time(z).double())[..., None]
    key, query = (_single(x).transpose(1, 2)[:, :, None].expand(-1, -1, len(places), -1) for x in (B, C))
    return Call(
        heads=tuple(places),
        key=key,
        value=x[..., None],
        strength=step,
        erase=torch.zeros_like(step),
        keep=(_single(A)[places] * step[..., None]).exp(),
        query=query,
        output=lambda read: (read + skip) * gate,
        returned=_first(returned)[:, places].transpose(1, 2)[..., None],
    )


def rwkv7(
    chosen: Chosen,
    returned: Any,
    *,
    receptance: Tensor,
    decay: Tensor,
    key: Tensor,
    value: Tensor,
    a: Tensor,
    b: Tensor,
    **_: Any,
) -> Call:
    """Read RWKV-7's recurrence; what it writes mixes each token with the one before."""
    heads = chosen.of_heads(value.shape[2])
    r, w, k, v, looked_up, taken = (_single(x)[:, :, heads] for x in (receptance, decay, key, value, a, b))
    one = torch.ones_like(k[..., 0])
    return Call(
        heads=tuple(heads),
        key=k,
        value=v,
        strength=one,
        erase=-one,
        keep=w,
        query=r,
        output=_as_read,
        returned=_first(returned)[:, :, heads],
        erase_query=looked_up,
        erase_key=taken,
        mixes=2,
    )


def mlstm(
    chosen: Chosen,
    returned: Any,
    *,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    igate: Tensor,
    fgate: Tensor,
    eps: float = 1e-6,
    **_: Any,
) -> Call:
    """Read an mLSTM, (batch, head, time, …), whose gates are given before their nonlinearity."""
    heads = chosen.of_heads(value.shape[1])
    q, k, v, i, f = (_single(x)[:, heads].transpose(1, 2) for x in (query, key, value, igate, fgate))
    call = Call(
        heads=tuple(heads),
        key=k,
        value=v,
        strength=i.exp(),
        erase=torch.zeros_like(i),
        keep=f.sigmoid(),
        query=q * k.shape[-1] ** -0.5,
        output=_as_read,
        returned=_first(returned)[:, heads].transpose(1, 2),
        tolerance=5e-5,
    )
    total = read_values(replace(call, value=torch.ones_like(v[..., :1])))
    divisor = total.abs().clamp(min=1.0) + eps * _stabiliser(i, f).exp()[..., None]
    return replace(call, output=lambda read: read / divisor)


def _stabiliser(i: Tensor, f: Tensor) -> Tensor:
    """Return m_t = max(log σ(f_t) + m_{t-1}, i_t), (batch, time, head), from 0 on."""
    log_keep, i = logsigmoid(f.double()), i.double()
    m, steps = torch.zeros_like(i[:, 0]), []
    for t in range(i.shape[1]):
        m = torch.maximum(log_keep[:, t] + m, i[:, t])
        steps.append(m)
    return torch.stack(steps, dim=1)


def _single(tensor: Tensor) -> Tensor:
    return tensor.detach().float()


def _first(returned: Any) -> Tensor:
    """Return the outputs, which come first where a function also returns its last state."""
    outputs: Tensor = returned[0] if isinstance(returned, tuple) else returned
    return outputs.detach()


def _of_heads(x: Tensor, count: int, heads: list[int]) -> Tensor:
    """Return (batch, time, head, …) of chosen heads, where groups of heads share what is given."""
    shared = count // x.shape[2]
    return _single(x)[:, :, [head // shared for head in heads]]


def _step_sizes(dt: Tensor, bias: Tensor | None, through_softplus: bool) -> Tensor:
    dt = dt if bias is None else dt + _single(bias)
    return softplus(dt) if through_softplus else dt


def _as_read(read: Tensor) -> Tensor:
    return read


READERS: Mapping[str, Reader] = {
    "torch_chunk_gated_delta_rule": gated_delta,
    "torch_recurrent_gated_delta_rule": gated_delta,
    "chunk_kimi_delta_attention": gated_delta,
    "recurrent_kimi_delta_attention": gated_delta,
    "mamba2_chunk_scan": mamba2,
    "mamba_selective_scan": mamba,
    "rwkv7_recurrent": rwkv7,
}
"""The functions that are read, by name."""

UNREAD = (
    "mamba2_selective_state_update",
    "mamba_selective_state_update",
    "mamba_inner_fn",
    "mamba2_split_conv1d_scan_combined",
)
"""Functions that do the work of others in one step, for generation or on some hardware, and are not read."""

BACKEND = "xLSTMBackend"
"""Class of the modules that compute the mLSTM of xLSTM."""

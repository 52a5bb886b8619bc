"""Equations of linear memories' cells for one member, step by step, with the weights of a file.

Each takes the weights of a layer's mixer by name, matrices from the right, and its inputs x (row, time, unit).
"""

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid, silu, softplus

Weights = dict[str, Tensor]


def weights_of(model, member):
    """Return a member's weights in double precision, as leaves, matrices from the right."""
    weights = {n: torch.from_numpy(w).double() for n, w in model.export(member).items()}
    return {n: (w.T if w.ndim == 2 else w).clone().requires_grad_() for n, w in weights.items()}


def norm(x, gain):
    return gain * x / (x.square().mean(-1, keepdim=True) + 1e-5).sqrt()


def convolved(x, filters, bias=0.0):
    """Return Σ_j f_j ∘ x_{t−J+1+j} + b, with zeros before the first step."""
    padded = torch.cat([x.new_zeros(len(x), len(filters) - 1, x.shape[2]), x], dim=1)
    windows = [padded[:, t : t + len(filters)] for t in range(x.shape[1])]
    return torch.stack([(filters * window).sum(1) for window in windows], dim=1) + bias


def through_layers(weights: Weights, ids, mix) -> Tensor:
    """Return outputs (row, time, output) of a block model for ids (row, time).

    ``mix(w, x, layer)`` mixes the steps of a layer with the weights of its mixer.
    """
    h = weights["embedding.weight"][ids]
    layer = 1
    while f"layer{layer}.norm.weight" in weights:
        name = f"layer{layer}."
        own = {
            n.removeprefix(f"{name}mixer."): w for n, w in weights.items() if n.startswith(f"{name}mixer.")
        }
        h = h + mix(own, norm(h, weights[f"{name}norm.weight"]), layer)
        if f"{name}mlp.in.weight" in weights:
            inner = norm(h, weights[f"{name}mlp.norm.weight"]) @ weights[f"{name}mlp.in.weight"]
            gate, up = inner.chunk(2, dim=-1)
            h = h + (silu(gate) * up) @ weights[f"{name}mlp.out.weight"]
        layer += 1
    return norm(h, weights["norm.weight"]) @ weights["readout.weight"]


def unit(x):
    return x / (x.square().sum(-1, keepdim=True) + 1e-6).sqrt()


def projected(w, x, sizes, heads):
    """Return silu(conv(x W + b)) in parts, (row, time, head, channel) each."""
    z = x @ w["in.weight"]
    if "conv.weight" in w:
        z = convolved(z, w["conv.weight"], w.get("conv.bias", 0.0))
    parts = silu(z).split(sizes, dim=-1)
    return [part.unflatten(-1, (n, -1)) for part, n in zip(parts, heads, strict=True)]


def times(matrix, vector):
    return torch.einsum("rhvk,rhk->rhv", matrix, vector)


def outer(value, key):
    return torch.einsum("rhv,rhk->rhvk", value, key)


def each(rate):
    """Return numbers (row, head) for matrices."""
    return rate[..., None, None]


def gated_deltanet(w, x, *, heads, max_beta=1.0):
    """M ← α M;  M ← M + β (v − M k) kᵀ;  r = M q / √d;  norm(r) ∘ silu(x W_g)."""
    width, inner = w["in.weight"].shape[0], w["gate.weight"].shape[1]
    q, k, v = projected(w, x, [width, width, inner], [heads] * 3)
    beta = max_beta * torch.sigmoid(x @ w["beta.weight"])
    keep = torch.exp(-w["log_rate"].exp() * softplus(x @ w["step.weight"] + w["step.bias"]))
    memory, reads = x.new_zeros(len(x), heads, v.shape[3], k.shape[3]), []
    for t in range(x.shape[1]):
        memory = each(keep[:, t]) * memory
        missing = v[:, t] - times(memory, unit(k[:, t]))
        memory = memory + each(beta[:, t]) * outer(missing, unit(k[:, t]))
        reads.append(times(memory, unit(q[:, t])) / k.shape[3] ** 0.5)
    read = norm(torch.stack(reads, dim=1), w["read_norm.weight"])
    return (read.flatten(2) * silu(x @ w["gate.weight"])) @ w["out.weight"]


def mamba2(w, x, *, heads):
    """M ← exp(−e^A Δ) M + Δ x Bᵀ;  y = M C + D x;  norm(y ∘ silu(z))."""
    inner = w["gate.weight"].shape[1]
    size = (w["in.weight"].shape[1] - inner) // 2
    v, b, c = projected(w, x, [inner, size, size], [heads, 1, 1])
    b, c = b.expand(-1, -1, heads, -1), c.expand(-1, -1, heads, -1)
    step = softplus(x @ w["step.weight"] + w["step.bias"])
    keep = torch.exp(-w["log_rate"].exp() * step)
    memory, outputs = x.new_zeros(len(x), heads, v.shape[3], size), []
    for t in range(x.shape[1]):
        memory = each(keep[:, t]) * memory + each(step[:, t]) * outer(v[:, t], b[:, t])
        outputs.append(times(memory, c[:, t]) + w["passing"][:, None] * v[:, t])
    y = torch.stack(outputs, dim=1).flatten(2)
    return norm(y * silu(x @ w["gate.weight"]), w["read_norm.weight"]) @ w["out.weight"]


def mlstm(w, x, *, heads):
    """C ← f C + e^ι v kᵀ, n ← f n + e^ι k;  h = C q / max(|n·q|, 1), in units in which no exponential overflows."""
    u, z = x @ w["in.weight"], x @ w["gate.weight"]
    c = silu(convolved(u, w["conv.weight"], w["conv.bias"]) if "conv.weight" in w else u)
    q, k, v = (y @ torch.block_diag(*w[f"{n}.blocks"]) for y, n in ((c, "query"), (c, "key"), (u, "value")))
    each_input = torch.cat([q, k, v], dim=-1)
    write = each_input @ w["input_gate.weight"] + w["input_gate.bias"]
    keep = logsigmoid(each_input @ w["forget_gate.weight"] + w["forget_gate.bias"])
    q, k, v = (part.unflatten(-1, (heads, -1)) for part in (q, k, v))
    memory, total, m, found = x.new_zeros(len(x), heads, v.shape[3], k.shape[3]), 0.0, x.new_zeros(()), []
    for t in range(x.shape[1]):
        last, m = m, torch.maximum(keep[:, t] + m, write[:, t])
        kept, written = (keep[:, t] + last - m).exp(), (write[:, t] - m).exp()
        key = k[:, t] / k.shape[3] ** 0.5
        memory = each(kept) * memory + each(written) * outer(v[:, t], key)
        total = kept[..., None] * total + written[..., None] * key
        normaliser = torch.maximum((total * q[:, t]).sum(-1).abs(), (-m).exp())
        found.append(times(memory, q[:, t]) / (normaliser[..., None] + 1e-6))
    h = torch.stack(found, dim=1)
    centred = h - h.mean(-1, keepdim=True)
    normed = centred / (centred.square().mean(-1, keepdim=True) + 1e-5).sqrt()
    return ((normed.flatten(2) * w["read_norm.weight"] + w["skip"] * c) * silu(z)) @ w["out.weight"]


def kda(w, x, *, heads, max_beta=1.0):
    """M ← M diag(w);  M ← M + β (v − M k) kᵀ;  r = M q / √d;  norm(r) ∘ σ(x G₁ G₂)."""
    width = w["in.weight"].shape[0]
    q, k, v = projected(w, x, [width] * 3, [heads] * 3)
    beta = max_beta * torch.sigmoid(x @ w["beta.weight"])
    step = softplus(x @ w["step_in.weight"] @ w["step.weight"] + w["step.bias"]).unflatten(-1, (heads, -1))
    keep = torch.exp(-w["log_rate"].exp()[:, None] * step)
    memory, reads = x.new_zeros(len(x), heads, v.shape[3], k.shape[3]), []
    for t in range(x.shape[1]):
        memory = memory * keep[:, t, :, None]
        missing = v[:, t] - times(memory, unit(k[:, t]))
        memory = memory + each(beta[:, t]) * outer(missing, unit(k[:, t]))
        reads.append(times(memory, unit(q[:, t])) / k.shape[3] ** 0.5)
    read = norm(torch.stack(reads, dim=1), w["read_norm.weight"]).flatten(2)
    return (read * torch.sigmoid(x @ w["gate_in.weight"] @ w["gate.weight"])) @ w["out.weight"]


class RWKV7:
    """M ← M (diag(w) − κ̂ (κ̂ ∘ a)ᵀ) + v k̃ᵀ, in every layer; it keeps the values of the first."""

    def __init__(self, heads):
        self.heads, self.first = heads, None

    def __call__(self, w, x, layer):
        before = torch.cat([torch.zeros_like(x[:, :1]), x[:, :-1]], dim=1)
        mixes = w["mix"] if "mix" in w else torch.zeros(6, x.shape[2], dtype=x.dtype)
        x_r, x_w, x_k, x_v, x_a, x_g = (x + mix * (before - x) for mix in mixes)
        r, k, v = x_r @ w["receptance.weight"], x_k @ w["key.weight"], x_v @ w["value.weight"]
        if layer == 1:
            self.first = v
        else:
            mix = x_v @ w["value_mix.in.weight"] @ w["value_mix.out.weight"] + w["value_mix.out.bias"]
            v = v + (self.first - v) * mix.sigmoid()
        logit = torch.tanh(x_w @ w["decay.in.weight"]) @ w["decay.out.weight"] + w["decay.out.bias"]
        keep = torch.exp(-(torch.tensor(-0.5, dtype=x.dtype).exp()) * logit.sigmoid())
        a = (x_a @ w["rate.in.weight"] @ w["rate.out.weight"] + w["rate.out.bias"]).sigmoid()
        g = (x_g @ w["gate.in.weight"]).sigmoid() @ w["gate.out.weight"]
        looked_up = (k * w["erase_scale"]).unflatten(-1, (self.heads, -1))
        looked_up = looked_up / looked_up.norm(dim=-1, keepdim=True)
        k = k * (1 + (a - 1) * w["rate_share"])
        r, k, v, keep, a = (z.unflatten(-1, (self.heads, -1)) for z in (r, k, v, keep, a))
        memory, reads = torch.zeros(len(x), self.heads, v.shape[3], k.shape[3], dtype=x.dtype), []
        for t in range(x.shape[1]):
            found = times(memory, looked_up[:, t])
            memory = memory * keep[:, t, :, None] - outer(found, looked_up[:, t] * a[:, t])
            memory = memory + outer(v[:, t], k[:, t])
            reads.append(times(memory, r[:, t]))
        read = torch.stack(reads, dim=1)
        centred = read - read.mean(-1, keepdim=True)
        normed = centred / (centred.square().mean(-1, keepdim=True) + 64e-5).sqrt()
        passed = (r * k * w["passing"].unflatten(-1, (self.heads, -1))).sum(-1, keepdim=True) * v
        mixed = normed.flatten(2) * w["norm_gain"] + w["norm_bias"] + passed.flatten(2)
        return (mixed * g) @ w["out.weight"]

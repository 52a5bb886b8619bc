"""Cells of the general rule against the layers of `transformers` and its kin, with weights copied."""

import pytest
import torch
from torch.nn.functional import conv1d, layer_norm, pad, silu

from emt.models import MODELS
from emt.models.blocks import Sequences
from emt.options import load

transformers = pytest.importorskip("transformers", reason="the extra 'hf' is not installed")

SEEDS, BATCH, TIME, UNITS = (11, 1011), 3, 80, 24
NORM = {"rms_norm_eps": 1e-5}


def mixer_of(name, layers=1, **options):
    """Return mixers of a model whose weights are all drawn, and their inputs (member, batch, time, unit)."""
    model = load(MODELS, name, "model_type")(SEEDS, 5, 4, hidden_dim=UNITS, layers=layers, **options)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.2 * torch.randn(parameter.shape, generator=generator)
    x = torch.randn(len(SEEDS), BATCH, TIME, UNITS, generator=generator)
    return list(model.mixers), x


def weights_of(mixer, member):
    """Return a member's weights as a file has them: matrices as (out, in)."""
    weights = {mixer.torch_names[n]: p[member].detach() for n, p in mixer.named_parameters()}
    return {n: w.T if w.ndim == 2 else w for n, w in weights.items()}


def filled(module, weights):
    """Return a module with these weights and no others, in evaluation mode."""
    module.load_state_dict(weights, strict=True)
    return module.eval()


def assert_like(mixer, x, layer_of):
    mixed = mixer(x, None, Sequences(None, SEEDS, None)).outputs
    assert mixed.std() > 1e-2
    for member in range(len(SEEDS)):
        layer = layer_of(weights_of(mixer, member))
        torch.testing.assert_close(mixed[member], layer(x[member]), rtol=0, atol=1e-5)


@torch.no_grad()
def test_gated_deltanet_is_the_layer_of_qwen3_next():
    from transformers.models.qwen3_next.modeling_qwen3_next import Qwen3NextGatedDeltaNet

    heads, key, value = 3, 8, 16
    sizes = {"linear_key_head_dim": key, "linear_value_head_dim": value}
    numbers = {"linear_num_key_heads": heads, "linear_num_value_heads": heads}
    kinds = {"num_hidden_layers": 1, "layer_types": ["linear_attention"]}
    config = transformers.Qwen3NextConfig(hidden_size=UNITS, **sizes, **numbers, **kinds, **NORM)

    def layer_of(w):
        q, k, v = (
            part.unflatten(0, (heads, -1))
            for part in w["in.weight"].split([heads * key, heads * key, heads * value])
        )
        gate, beta, step = (
            w[n].unflatten(0, (heads, -1)) for n in ("gate.weight", "beta.weight", "step.weight")
        )
        copied = {
            "in_proj_qkvz.weight": torch.cat([q, k, v, gate], dim=1).flatten(0, 1),
            "in_proj_ba.weight": torch.cat([beta, step], dim=1).flatten(0, 1),
            "conv1d.weight": w["conv.weight"].unsqueeze(1),
            "dt_bias": w["step.bias"],
            "A_log": w["log_rate"],
            "norm.weight": w["read_norm.weight"],
            "out_proj.weight": w["out.weight"],
        }
        return filled(Qwen3NextGatedDeltaNet(config, 0), copied)

    [mixer], x = mixer_of("gated_deltanet", heads=heads)
    assert_like(mixer, x, layer_of)


@torch.no_grad()
def test_mamba2_is_the_layer_of_mamba2():
    from transformers.models.mamba2.modeling_mamba2 import Mamba2Mixer

    heads, key = 3, 10
    config = transformers.Mamba2Config(
        hidden_size=UNITS,
        num_heads=heads,
        head_dim=2 * UNITS // heads,
        state_size=key,
        n_groups=1,
        num_hidden_layers=1,
        chunk_size=16,
        layer_norm_epsilon=1e-5,
    )

    def layer_of(w):
        copied = {
            "in_proj.weight": torch.cat([w["gate.weight"], w["in.weight"], w["step.weight"]]),
            "conv1d.weight": w["conv.weight"].unsqueeze(1),
            "conv1d.bias": w["conv.bias"],
            "dt_bias": w["step.bias"],
            "A_log": w["log_rate"],
            "D": w["passing"],
            "norm.weight": w["read_norm.weight"],
            "out_proj.weight": w["out.weight"],
        }
        return filled(Mamba2Mixer(config, 0), copied)

    [mixer], x = mixer_of("mamba2", heads=heads, state_size=key)
    assert_like(mixer, x, layer_of)


@torch.no_grad()
def test_kda_is_the_layer_of_kimi_linear():
    from transformers.models.kimi_linear.modeling_kimi_linear import KimiLinearDeltaAttention

    heads, size = 3, UNITS // 3
    kinds = {"num_hidden_layers": 1, "layer_types": ["linear_attention"]}
    sizes = {"linear_num_heads": heads, "linear_head_dim": size}
    config = transformers.KimiLinearConfig(hidden_size=UNITS, **sizes, **kinds, **NORM)

    def layer_of(w):
        q, k, v = w["in.weight"].chunk(3)
        copied = {
            "q_proj.weight": q,
            "k_proj.weight": k,
            "v_proj.weight": v,
            "conv1d.weight": w["conv.weight"].unsqueeze(1),
            "forget_gate.f_a_proj.weight": w["step_in.weight"],
            "forget_gate.f_b_proj.weight": w["step.weight"],
            "forget_gate.dt_bias": w["step.bias"],
            "forget_gate.A_log": w["log_rate"].view(1, 1, heads, 1),
            "b_proj.weight": w["beta.weight"],
            "g_a_proj.weight": w["gate_in.weight"],
            "g_b_proj.weight": w["gate.weight"],
            "o_norm.weight": w["read_norm.weight"],
            "o_proj.weight": w["out.weight"],
        }
        return filled(KimiLinearDeltaAttention(config, 0), copied)

    [mixer], x = mixer_of("kda", heads=heads)
    assert_like(mixer, x, layer_of)


@torch.no_grad()
def test_rwkv7_is_the_layer_of_rwkv7_hf():
    library = pytest.importorskip("rwkv7_hf.modeling_rwkv7", reason="rwkv7-hf is not installed")
    heads, rank = 3, 5
    size = UNITS // heads
    ranks = {f"{gate}_low_rank_dim": rank for gate in ("decay", "gate", "a", "v")}
    # The authors' code adds 64e-5 whatever the size of a head.
    config = library.RWKV7Config(
        hidden_size=UNITS, head_dim=size, num_hidden_layers=2, norm_eps=64e-5 / size, vocab_size=8, **ranks
    )

    def layer_of(w, place):
        mixes = dict(zip("rwkvag", w["mix"].T, strict=True))
        copied = {f"x_{letter}": mix.view(1, 1, -1) for letter, mix in mixes.items()}
        copied |= {"k_k": w["erase_scale"], "k_a": w["rate_share"], "r_k": w["passing"].view(heads, size)}
        names = {"r": "receptance", "k": "key", "v": "value", "o": "out"}
        copied |= {f"{letter}_proj.weight": w[f"{name}.weight"] for letter, name in names.items()}
        gates = {"w": "decay", "a": "rate", "g": "gate"} | ({"v": "value_mix"} if place else {})
        for letter, name in gates.items():
            copied |= {f"{letter}_lora.lora.0.weight": w[f"{name}.in.weight"]}
            copied |= {f"{letter}_lora.lora.2.weight": w[f"{name}.out.weight"]}
            copied |= {f"{letter}_lora.lora.2.bias": w[f"{name}.out.bias"]} if letter != "g" else {}
        copied |= {"g_norm.weight": w["norm_gain"], "g_norm.bias": w["norm_bias"]}
        return filled(library.RWKV7TimeMix(config, place), copied)

    mixers, x = mixer_of("rwkv7", layers=2, heads=heads, gate_rank=rank)
    empty, before = torch.zeros(BATCH, heads, size, size), torch.zeros(BATCH, UNITS)
    everywhere = torch.ones(BATCH, TIME, dtype=torch.bool)
    first = mixers[0](x, None, Sequences(None, SEEDS, None))
    second = mixers[1](x, None, Sequences(None, SEEDS, None, first_values=first.values))
    for member in range(len(SEEDS)):
        values = torch.zeros(())
        for place, mixed in enumerate((first, second)):
            layer = layer_of(weights_of(mixers[place], member), place)
            wanted, _, _, values = layer(x[member], empty, before, values, everywhere)
            torch.testing.assert_close(mixed.outputs[member], wanted, rtol=0, atol=1e-5)
            assert wanted.std() > 1e-2


@torch.no_grad()
def test_mlstm_is_the_function_of_xlstm():
    """Whose layer, that of xLSTM 7B, has no convolution: what is around the function is written out."""
    from transformers.models.xlstm.modeling_xlstm import mlstm_chunkwise_native_autograd

    heads = 3

    def layer_of(w):
        def layer(x):
            u, gate = x @ w["in.weight"].T, x @ w["gate.weight"].T
            taps = w["conv.weight"].unsqueeze(1)
            c = silu(conv1d(pad(u.mT, (3, 0)), taps, w["conv.bias"], groups=len(taps)).mT)
            given = (c, "query"), (c, "key"), (u, "value")
            parts = [y @ torch.block_diag(*w[f"{name}.blocks"]) for y, name in given]
            gates = [
                torch.cat(parts, dim=-1) @ w[f"{name}_gate.weight"].T + w[f"{name}_gate.bias"]
                for name in ("input", "forget")
            ]
            vectors = [part.unflatten(-1, (heads, -1)).transpose(1, 2) for part in parts]
            h = mlstm_chunkwise_native_autograd(*vectors, *(g.mT for g in gates), chunk_size=16)
            h = layer_norm(h, h.shape[-1:]).transpose(1, 2).flatten(2) * w["read_norm.weight"]
            return ((h + w["skip"] * c) * silu(gate)) @ w["out.weight"].T

        return layer

    [mixer], x = mixer_of("mlstm", heads=heads)
    assert_like(mixer, x, layer_of)

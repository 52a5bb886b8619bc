"""Tiny language models of `transformers` from their configs; their gates and decays are drawn, not those of a start."""

import pytest
import torch

VOCABULARY = 64

_DECODER = {
    "vocab_size": VOCABULARY,
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "intermediate_size": 64,
    "pad_token_id": None,
}
_HYBRID = {"layer_types": ["linear_attention", "full_attention"], "head_dim": 32}
_DELTA = {"linear_num_value_heads": 4, "linear_key_head_dim": 16, "linear_value_head_dim": 24}
_EXPERTS = {
    "moe_intermediate_size": 32,
    "num_experts": 4,
    "num_experts_per_tok": 2,
    "shared_expert_intermediate_size": 32,
}
_MAMBA2 = {"mamba_n_heads": 8, "mamba_d_head": 16, "mamba_d_state": 20, "mamba_n_groups": 2}

CONFIGS = {
    "qwen3_next": (
        "Qwen3NextConfig",
        _DECODER
        | _HYBRID
        | _DELTA
        | {"linear_num_key_heads": 2, "num_experts": 0, "mlp_only_layers": [0, 1]},
    ),
    "qwen3_5": ("Qwen3_5TextConfig", _DECODER | _HYBRID | _DELTA | {"linear_num_key_heads": 2}),
    "qwen3_5_moe": (
        "Qwen3_5MoeTextConfig",
        _DECODER | _HYBRID | _DELTA | _EXPERTS | {"linear_num_key_heads": 2},
    ),
    "lara_mini": ("LaraMiniConfig", _DECODER | _HYBRID | _DELTA | _EXPERTS | {"linear_num_key_heads": 2}),
    "bailing_hybrid": (
        "BailingHybridConfig",
        _DECODER
        | {"layer_types": _HYBRID["layer_types"], "head_dim": 16, "num_mtp_layers": 0}
        | {"moe_intermediate_size": 32, "num_local_experts": 4, "num_experts_per_tok": 2}
        | {"n_group": 1, "topk_group": 1, "kv_lora_rank": 16, "qk_rope_head_dim": 8}
        | {"qk_nope_head_dim": 16, "v_head_dim": 16},
    ),
    "olmo_hybrid": (
        "OlmoHybridConfig",
        _DECODER | {"layer_types": _HYBRID["layer_types"], **_DELTA, "linear_num_key_heads": 4},
    ),
    "kimi_linear": (
        "KimiLinearConfig",
        _DECODER | {"layer_types": _HYBRID["layer_types"], "linear_num_heads": 4, "linear_head_dim": 16},
    ),
    "mamba2": (
        "Mamba2Config",
        {
            "vocab_size": VOCABULARY,
            "hidden_size": 48,
            "num_hidden_layers": 2,
            "num_heads": 6,
            "head_dim": 16,
            "state_size": 20,
            "n_groups": 2,
            "chunk_size": 16,
            "pad_token_id": None,
        },
    ),
    "mamba": (
        "MambaConfig",
        {
            "vocab_size": VOCABULARY,
            "hidden_size": 40,
            "num_hidden_layers": 2,
            "state_size": 12,
            "pad_token_id": None,
        },
    ),
    "xlstm": (
        "xLSTMConfig",
        {
            "vocab_size": VOCABULARY,
            "hidden_size": 128,
            "num_hidden_layers": 2,
            "num_blocks": 2,
            "num_heads": 4,
            "chunk_size": 16,
            "pad_token_id": None,
        },
    ),
    "rwkv7": (
        "RWKV7Config",
        {
            "vocab_size": VOCABULARY,
            "hidden_size": 64,
            "num_hidden_layers": 2,
            "head_dim": 16,
            "intermediate_size": 96,
            "decay_low_rank_dim": 8,
            "gate_low_rank_dim": 8,
            "a_low_rank_dim": 8,
            "v_low_rank_dim": 8,
            "pad_token_id": None,
        },
    ),
    "bamba": ("BambaConfig", _DECODER | _MAMBA2 | {"attn_layer_indices": [1]}),
    "granitemoehybrid": (
        "GraniteMoeHybridConfig",
        _DECODER
        | _MAMBA2
        | {"layer_types": ["mamba", "attention"], "shared_intermediate_size": 64, "num_local_experts": 0},
    ),
    "falcon_h1": ("FalconH1Config", _DECODER | _MAMBA2 | {"head_dim": 32, "mamba_d_ssm": 128}),
    "nemotron_h": (
        "NemotronHConfig",
        {name: value for name, value in _DECODER.items() if name != "num_hidden_layers"}
        | {"layers_block_type": ["mamba", "attention"], "head_dim": 32, "mamba_num_heads": 8}
        | {"mamba_head_dim": 16, "ssm_state_size": 20, "n_groups": 2},
    ),
    "zamba2": (
        "Zamba2Config",
        _DECODER
        | {"num_hidden_layers": 3, "layers_block_type": ["mamba", "hybrid", "hybrid"], "num_mem_blocks": 1}
        | {"mamba_d_state": 20, "mamba_ngroups": 2, "n_mamba_heads": 8},
    ),
    "zamba": (
        "ZambaConfig",
        _DECODER
        | {"num_hidden_layers": 3, "layers_block_type": ["mamba", "hybrid", "hybrid"]}
        | {"mamba_d_state": 12, "mamba_dt_rank": 4},
    ),
    "jamba": (
        "JambaConfig",
        _DECODER
        | {"hidden_size": 32, "attn_layer_period": 2, "attn_layer_offset": 1, "num_experts": 1}
        | {"mamba_d_state": 12},
    ),
    "falcon_mamba": (
        "FalconMambaConfig",
        {
            "vocab_size": VOCABULARY,
            "hidden_size": 40,
            "num_hidden_layers": 2,
            "state_size": 12,
            "pad_token_id": None,
        },
    ),
    "llama": ("LlamaConfig", _DECODER),
}
"""For each family the class of its configs, and what makes one small."""

GATES = ("A_log", "dt_bias", "dt_proj.bias", "igate", "fgate")
MIXES = (".x_r", ".x_w", ".x_k", ".x_v", ".x_a", ".x_g", ".k_k", ".k_a", ".D")


def language_model(family, seed=0, **changes):
    """Return a small model of a family; the test is skipped where the library that has it is not installed."""
    transformers = pytest.importorskip("transformers", reason="the extra 'hf' is not installed")
    name, settings = CONFIGS[family]
    torch.manual_seed(seed)
    if family == "rwkv7":
        library = pytest.importorskip("rwkv7_hf.modeling_rwkv7", reason="rwkv7-hf is not installed")
        return drawn(library.RWKV7ForCausalLM(library.RWKV7Config(**{**settings, **changes})))
    config = getattr(transformers, name)(**{**settings, **changes})
    return drawn(transformers.AutoModelForCausalLM.from_config(config))


def drawn(model):
    """Change a model's gates, decays and skips, and its matrices a little, by random numbers; return it."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            own = any(word in name for word in GATES) or name.endswith(MIXES)
            if own or (parameter.ndim == 1 and "bias" in name and "norm" not in name):
                # Memories then last for some steps, where those of a start forget all but the last.
                parameter += 0.5 * torch.randn_like(parameter) - 2.0 * name.endswith("A_log")
            elif parameter.ndim == 2:
                parameter += 0.05 * torch.randn_like(parameter)
    return model


def random_text(rows=3, steps=20, seed=0, vocabulary=VOCABULARY):
    """Return ids (row, step) whose second half repeats the first."""
    half = torch.randint(1, vocabulary, (rows, steps // 2), generator=torch.Generator().manual_seed(seed))
    return torch.cat([half, half], 1)

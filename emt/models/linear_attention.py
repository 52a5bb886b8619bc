"""Linear attention as a memory that is written to (Katharopoulos et al. 2020; Schlag et al. 2021, arXiv:2102.11174).

    q, k, v = x W (with a convolution silu(conv(x W)));  φ maps keys and queries to features

sum    M_t = M_{t-1} + [v_t; 1] φ(k_t)ᵀ,   r_t = M_t φ(q_t),   o_t = (r without its last entry) / (last entry + 10⁻⁶)
delta  k̂ = φ(k)/Σφ(k), q̂ = φ(q)/Σφ(q):   M_t = M_{t-1} + β_t (v_t − M_{t-1} k̂_t) k̂_tᵀ,   o_t = M_t q̂_t
fwm    M_t = (M_{t-1} + β_t (v_t − M_{t-1} φ(k_t)) φ(k_t)ᵀ) / max(1, ‖·‖),   o_t = LN(M_t φ(q_t))

for each head, with β_t = σ(x_t W_β), an output map, and the surroundings of `emt.models.blocks`.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import layer_norm

from emt.errors import UserError
from emt.models.base import Model
from emt.models.blocks import BlockModel, Mixed, Mixer, Sequences, head_size, scaled_normal
from emt.models.features import FeatureMap
from emt.models.head_memory import HeadMemory, Rates
from emt.models.layers import linear
from emt.models.memory_edits import EDITS
from emt.models.memory_mixer import MemoryMixer
from emt.models.projections import Projections

EPSILON = 1e-6
"""Added to sums that are divided by."""


class LinearAttention(BlockModel):
    """Linear attention: a linear memory with features of keys in each layer.

    Parameters
    ----------
    conv_size
        tokens that keys, values and queries are mixed from; 0: no convolution.
    features
        elu + 1; dpfp, products of neighbours (2 nu for each channel); favor, random ones; or tanh (fwm only).
    nu
        of dpfp.
    random_features
        m of favor, of which each counts twice.
    write_rule
        add; delta, replace what a key had; or fwm, which also keeps the memory's norm at one or below.
    """

    memories = {"fast": {"kind": "linear", "reads": "after"}}

    def __init__(
        self,
        seeds: Sequence[int],
        input_channels: int,
        output_channels: int,
        *,
        conv_size: Annotated[int, Field(ge=0)] = 4,
        features: Literal["elu", "dpfp", "favor", "tanh"] = "elu",
        nu: Annotated[int, Field(ge=1)] = 1,
        random_features: Annotated[int, Field(ge=1)] = 64,
        write_rule: Literal["sum", "delta", "fwm"] = "sum",
        **others: Any,
    ) -> None:
        super().__init__(seeds, input_channels, output_channels, **others)
        size = head_size(self.hidden_dim, self.heads)
        require_positive(features, write_rule)

        def build(name: str) -> Mixer:
            parts = [(self.heads, size)] * 3
            projections = Projections(self, name, self.hidden_dim, parts, conv_size, self.scale)
            feature_map = FeatureMap(features, size, nu, random_features, name)
            return LinearMixer(self, name, projections, feature_map, write_rule, self.scale)

        self.add_layers(build)
        if write_rule == "fwm":
            self.edits = (*EDITS, "hold")


class LinearMixer(MemoryMixer):
    """One of the three rules, for any features."""

    memory: HeadMemory

    def __init__(
        self,
        model: Model,
        name: str,
        projections: Projections,
        features: FeatureMap,
        write_rule: str,
        scale: float,
    ) -> None:
        width, heads, summed = projections.weight.shape[1], projections.parts[0][0], write_rule == "sum"
        memory = HeadMemory(heads, features.channels + summed, features.count)
        rule = {"kind": "linear", "reads": "after"} | ({"normaliser": "last"} if summed else {})
        super().__init__(projections, memory, rule)
        self.features, self.write_rule = features, write_rule
        self.w_out = model.parameter_of(f"{name}.out", (width, width), scaled_normal(scale))
        self.torch_names["w_out"] = "out.weight"
        self.w_beta = None
        if not summed:
            self.w_beta = model.parameter_of(f"{name}.beta", (width, heads), scaled_normal(scale))
            self.torch_names["w_beta"] = "beta.weight"

    def forward(self, x: Tensor, state: Mapping[str, Tensor] | None, sequences: Sequences) -> Mixed:
        """Mix inputs; see `Mixer.forward`."""
        (q, k, v), states = self.projections(x, state)
        phi = self.features.of(q, sequences.seeds, sequences.noise_step)
        q, k = phi(q), phi(k)
        beta = None if self.w_beta is None else torch.sigmoid(linear(x, self.w_beta))
        normalised = self.write_rule == "fwm"
        if self.write_rule == "sum":
            v = torch.cat([v, torch.ones_like(v[..., :1])], dim=-1)
        if self.write_rule == "delta":
            q, k = q / (q.sum(dim=-1, keepdim=True) + EPSILON), sums_to_one(k)
        reads, last, log = self.memory.run(
            q,
            k,
            v,
            Rates(erase=beta, strength=beta),
            state,
            sequences.present,
            normalised=normalised,
            edit=sequences.edit,
        )
        if self.write_rule == "sum":
            reads = reads[..., :-1] / (reads[..., -1:] + EPSILON)
        if normalised:
            reads = layer_norm(reads, reads.shape[-1:])
        return Mixed(linear(reads.flatten(3), self.w_out), last, states, log)


def require_positive(features: str, write_rule: str) -> None:
    """Refuse features of both signs under a rule that divides by their sum.

    Raises
    ------
    UserError
        For tanh without fwm.
    """
    if features == "tanh" and write_rule != "fwm":
        raise UserError(
            f"must be elu, dpfp or favor with --write_rule {write_rule}; got tanh", parameter="features"
        )


def sums_to_one(features: Tensor) -> Tensor:
    """Return features (…, feature) divided by their sum; zeros, which products of relus may be, stay zeros."""
    return features / features.sum(dim=-1, keepdim=True).clamp(min=EPSILON)

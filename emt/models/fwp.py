"""The fast weight programmer of pairs (Schlag, Irie & Schmidhuber 2021, arXiv:2102.11174): one memory and nothing else.

    k_t = [onehot(value); E(key)] W_k + b_k,   q_t = E(key) W_q + b_q,   v_t = onehot(value),   β_t = σ([…] W_β + b_β)

sum    M_t = M_{t-1} + [v_t; 1] φ(k_t)ᵀ,   y_t = (r without its last entry) / (last entry + 10⁻⁶),  r = M_t φ(q_t)
delta  k̂ = φ(k)/Σφ(k), q̂ = φ(q)/(Σφ(q) + 10⁻⁶):   M_t = M_{t-1} + β_t (v_t − M_{t-1} k̂_t) k̂_tᵀ,   y_t = M_t q̂_t
fwm    M_t = (M_{t-1} + β_t (v_t − M_{t-1} φ(k_t)) φ(k_t)ᵀ) / max(1, ‖·‖),   y_t = LN(M_t φ(q_t))
softmax y_t = Σ_i softmax_i(q_t·k_i/√d) v_i

Keys see their values. An id K (value + 1) + key is a pair, an id below K a query, which writes nothing
(`emt.tasks.key_value_pairs`). E has ⌊2.2 K⌋ columns. A read after the last write needs no matrix: the query is
swept back through the writes.
"""

from collections.abc import Callable, Sequence
from typing import Annotated, Literal, NamedTuple

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import layer_norm, one_hot, pad

from emt.errors import UserError
from emt.models.base import Context, LazyState, Log, Model, State, normal, uniform
from emt.models.features import FeatureMap
from emt.models.head_memory import HeadMemory, Rates
from emt.models.layers import at_ends, embed, lengthen
from emt.models.linear_attention import EPSILON, require_positive, sums_to_one
from emt.models.memory_edits import EDITS, edit_of
from emt.models.softmax_memory import SoftmaxMemory
from emt.ops import last_read_weights, normalised_delta_answer
from emt.ops.memory_edit import MemoryEdit


class Pairs(NamedTuple):
    """What steps hold: keys and values, as ids (member, batch, time), -1 for none, or as channels; and who writes."""

    keys: Tensor
    values: Tensor
    writes: Tensor


class FastWeightProgrammer(Model):
    """Fast weight programmer of key-value pairs: one linear memory or softmax attention, without anything around it.

    Parameters
    ----------
    hidden_dim
        d, size of keys and queries before their features.
    features
        elu + 1 (linear attention); dpfp, products of neighbours (2 nu d); favor, random (2 random_features);
        tanh, under fwm only; or softmax: attention, without features.
    nu
        of dpfp.
    random_features
        of favor.
    write_rule
        add; delta, replace what a key had; or fwm, which also keeps the memory's norm at one or below.
    capacity
        writes that softmax attention holds, the last ones.
    """

    held_state: tuple[str, ...] = ("memory",)
    memories = {"fast": {"kind": "linear", "reads": "after"}}
    context = ("needed_steps",)
    readout_name = None

    def __init__(
        self,
        seeds: Sequence[int],
        input_channels: int,
        output_channels: int,
        *,
        hidden_dim: Annotated[int, Field(ge=1)] = 64,
        features: Literal["elu", "dpfp", "favor", "tanh", "softmax"] = "elu",
        nu: Annotated[int, Field(ge=1)] = 1,
        random_features: Annotated[int, Field(ge=1)] = 64,
        write_rule: Literal["sum", "delta", "fwm"] = "sum",
        capacity: Annotated[int, Field(ge=1)] = 1200,
    ) -> None:
        super().__init__(seeds)
        self.values, self.write_rule = output_channels, write_rule
        self.keys = -(-input_channels // (output_channels + 1))
        self.features = None
        if features != "softmax":
            require_positive(features, write_rule)
            self.features = FeatureMap(features, hidden_dim, nu, random_features, "fwp")
        elif write_rule != "sum":
            raise UserError(f"must be sum with --features softmax; got {write_rule}", parameter="write_rule")
        self.edits = (*EDITS, "hold") if write_rule == "fwm" else EDITS
        self._make_memory(hidden_dim, capacity)
        self._make_parameters(hidden_dim)

    def _make_memory(self, size: int, capacity: int) -> None:
        if self.features is None:
            self.softmax = SoftmaxMemory(1, self.values, size, capacity)
            self.memories = {"fast": self.softmax.rule}
            self.held_state = tuple(self.softmax.state_dims)
            self.state_dims = {"hidden": ("unit",), **self.softmax.state_dims}
            return
        self.smooth_state = self.held_state
        self.memory = HeadMemory(1, self.values + (self.write_rule == "sum"), self.features.count)
        if self.write_rule == "sum":
            self.memories = {"fast": {**type(self).memories["fast"], "normaliser": "last"}}
        self.state_dims = {"hidden": ("unit",), **self.memory.state_dims}

    def _make_parameters(self, size: int) -> None:
        """Make parameters: torch's defaults, but W_k and W_q from U(±1/√64), and with softmax from Xavier's."""
        columns = int(2.2 * self.keys)
        inputs = columns + self.values
        bounds = {"w_key": 64**-0.5, "w_query": 64**-0.5}
        if self.features is None:
            bounds = {"w_key": (6 / (inputs + size)) ** 0.5, "w_query": (6 / (columns + size)) ** 0.5}
        self.embedding = self.parameter_of("embedding", (self.keys, columns), normal)
        self.w_key = self.parameter_of("w_key", (inputs, size), uniform(bounds["w_key"]))
        self.b_key = self.parameter_of("b_key", (size,), uniform(inputs**-0.5))
        self.w_query = self.parameter_of("w_query", (columns, size), uniform(bounds["w_query"]))
        self.b_query = self.parameter_of("b_query", (size,), uniform(columns**-0.5))
        self.w_beta = self.b_beta = None
        if self.write_rule != "sum":
            self.w_beta = self.parameter_of("w_beta", (inputs, 1), uniform(inputs**-0.5))
            self.b_beta = self.parameter_of("b_beta", (1,), uniform(inputs**-0.5))
        self.torch_names = {"embedding": "embedding.weight"}
        for kind in ("key", "query", "beta"):
            self.torch_names |= {f"w_{kind}": f"{kind}.weight", f"b_{kind}": f"{kind}.bias"}

    def zero_state(self, like: Tensor) -> State:
        """Return an answer of zeros, (member, batch, unit), and an empty memory."""
        memory = self.softmax if self.features is None else self.memory
        hidden = like.new_zeros(*like.shape[:2], self.values)
        return {"hidden": hidden, **memory.zero_state(like)}

    def forward(
        self, x: Tensor, state: State | None = None, steps: int | None = None, context: Context | None = None
    ) -> tuple[Tensor, State, Log]:
        """Run the members over a sequence; see `Model.forward`. The hidden state is the answer."""
        x = lengthen(x, steps)
        pairs = self._pairs(x)
        w_embedded, w_value = self.embedding @ self.w_key[:, self.values :], self.w_key[:, : self.values]
        key = embed(pairs.keys, w_embedded, self.b_key) + embed(pairs.values, w_value)
        beta = self._strength(pairs)
        edit = edit_of(context, "fast")
        asked = edit is None and self._asked_at_the_end(pairs, state, context)
        of_queries = pairs.keys[:, :, -1:] if asked else pairs.keys
        query = embed(of_queries, self.embedding @ self.w_query, self.b_query)
        if asked:
            answer = self._asked(query.squeeze(2), key, beta, pairs).unsqueeze(2)
            return answer, {}, {"hidden": answer}
        query, key = self._features_of(query, key)
        reads, last, log = self._run(query, key, beta, pairs, state, edit)
        outputs = self._answer(reads)
        first = torch.zeros_like(outputs[:, :, 0]) if state is None else state["hidden"]
        last = {"hidden": lambda: at_ends(x, outputs, first), **last}
        log = {f"memory/fast/{name}": variable.squeeze(3) for name, variable in log.items()}
        return outputs, LazyState(last), {"hidden": outputs, **log}

    def _pairs(self, x: Tensor) -> Pairs:
        """Take steps apart: ids, or channels of which there is one for each id."""
        if not x.is_floating_point():
            value = torch.div(x, self.keys, rounding_mode="floor") - 1
            there = x >= 0
            keys = torch.where(there, x % self.keys, -1)
            return Pairs(keys, torch.where(there, value, -1), there & (value >= 0))
        table = pad(x, (0, self.keys * (self.values + 1) - x.shape[-1]))
        table = table.unflatten(-1, (self.values + 1, self.keys))
        values = table[..., 1:, :].sum(dim=-1)
        return Pairs(table.sum(dim=-2), values, (values != 0).any(dim=-1))

    def _strength(self, pairs: Pairs) -> Tensor | None:
        """Return β, (member, batch, time); None under the rule without it."""
        if self.w_beta is None or self.b_beta is None:
            return None
        embedded, of_values = self.embedding @ self.w_beta[:, self.values :], self.w_beta[:, : self.values]
        logits = embed(pairs.keys, embedded, self.b_beta) + embed(pairs.values, of_values)
        return torch.sigmoid(logits.squeeze(-1))

    def _asked_at_the_end(self, pairs: Pairs, state: State | None, context: Context | None) -> bool:
        """Whether only the answer at the last step is needed, from an empty memory, so that none has to be built."""
        needed = (context or {}).get("needed_steps")
        if needed is None or state is not None or bool(needed[..., :-1].any()):
            return False
        # Under fwm a step that does not write divides nothing, which the form without a memory does not know.
        before = pairs.writes[..., :-1]
        return self.write_rule != "fwm" or (
            before.shape[2] > 1 and bool(before.all() & ~pairs.writes[..., -1].any())
        )

    def _features_of(self, query: Tensor, key: Tensor) -> tuple[Tensor, Tensor]:
        """Return what is written under keys and what is asked with queries, vectors (member, batch, time, channel)."""
        if self.features is not None:
            phi = self.features.of(key, self.seeds, self.noise_step)
            query, key = phi(query), phi(key)
        if self.write_rule == "delta":
            query, key = query / (query.sum(dim=-1, keepdim=True) + EPSILON), sums_to_one(key)
        return query, key

    def _asked(self, query: Tensor, key: Tensor, beta: Tensor | None, pairs: Pairs) -> Tensor:
        """Return the answer to a query (member, batch, channel) after the last write, (member, batch, value)."""
        writes = pairs.writes
        if beta is not None:
            queries, key = self._features_of(query.unsqueeze(2), key)
            query = queries.squeeze(2)
            if self.write_rule == "fwm":
                before = (key[:, :, :-1], self._vectors(pairs.values[:, :, :-1], key), beta[:, :, :-1])
                return normalised_delta_answer(query, *before)
            beta = beta * writes
            return self._sum(last_read_weights(query, key, None, beta, beta), pairs.values)
        if self.features is None:
            scaled = (key @ query.unsqueeze(-1)).squeeze(-1) * key.shape[-1] ** -0.5
            # A finite number, so that rows that write nothing have finite gradients.
            weights = scaled.masked_fill(~writes, -1e9).softmax(dim=-1) * writes
        else:
            products = self.features.products(query, key, self.seeds, self.noise_step) * writes
            weights = products / (products.sum(dim=-1, keepdim=True) + EPSILON)
        return self._sum(weights, pairs.values)

    def _vectors(self, values: Tensor, like: Tensor) -> Tensor:
        """Return values as vectors, (member, batch, time, value), of the type of ``like``."""
        return values if values.is_floating_point() else one_hot(values.clamp(min=0), self.values).to(like)

    def _sum(self, weights: Tensor, values: Tensor) -> Tensor:
        """Return Σ_t W_t v_t, (member, batch, value)."""
        if values.is_floating_point():
            return (weights.unsqueeze(2) @ values).squeeze(2)
        answer = weights.new_zeros(*weights.shape[:2], self.values)
        return answer.scatter_add(-1, values.clamp(min=0), weights * (values >= 0))

    def _run(
        self,
        query: Tensor,
        key: Tensor,
        beta: Tensor | None,
        pairs: Pairs,
        state: State | None,
        edit: MemoryEdit | None,
    ) -> tuple[Tensor, dict[str, Callable[[], Tensor]], Log]:
        """Write and read at every step; what is read has an axis for its one head."""
        values = self._vectors(pairs.values, key)
        if self.features is not None and self.write_rule == "sum":
            values = torch.cat([values, torch.ones_like(values[..., :1])], dim=-1)
        q, k, v = (vectors.unsqueeze(3) for vectors in (query, key, values))
        beta = None if beta is None else beta.unsqueeze(3)
        if self.features is None:
            return self.softmax.run(q, k, v, state, pairs.writes, edit)
        normalised, rates = self.write_rule == "fwm", Rates(erase=beta, strength=beta)
        return self.memory.run(q, k, v, rates, state, pairs.writes, normalised=normalised, edit=edit)

    def _answer(self, reads: Tensor) -> Tensor:
        """Return the answer (member, batch, time, value) that was read (member, batch, time, head, …)."""
        reads = reads.squeeze(3)
        if self.features is None or self.write_rule == "delta":
            return reads
        if self.write_rule == "fwm":
            return layer_norm(reads, reads.shape[-1:])
        return reads[..., :-1] / (reads[..., -1:] + EPSILON)

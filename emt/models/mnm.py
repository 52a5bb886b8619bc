"""Metalearned Neural Memory, plastic (Munkhdalai et al. 2019, arXiv:1907.09720): a network is the memory of an LSTM.

    (h, c)_t = LSTM([x_t E, r_{t-1}]);   z_t = tanh(h_t A + b) = rate vector and, for each head, (k^w, v^w, k^r)
    β_t = σ(rate · w + b');   f(k) = W_3 tanh(W_2 tanh(W_1 k)),  n units each;   (g_1, g_2, g_3) = v^w G + b''
    W_l ← W_l − (2 β_t / (heads n)) Σ_heads (a_l − g_l) a_{l-1}ᵀ,   a_0 = k^w, a_1, a_2, a_3 from f before the write
    r_t = mean over heads of f(k^r) after it;   y_t = ([h_t, r_t] O + b) W_s + d

and training adds, times ``meta_weight``, the mean square of f(k^w) − v^w right after each write. The equations are
those of two public implementations of the paper. They leave four things open, which are options or choices here:
heads, sizes of LSTM and embedding, dropout (none), and the first W_l, which are trained unless ``fixed_memory`` (in
those programs they are random numbers that are neither trained nor saved).

Each layer is a linear memory of what was written, added to its first weights: key a_{l-1}, value g_l − a_l, strength
2 β_t / n, and a read's query is what the layers below made of k^r.
"""

from collections.abc import Sequence
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from emt.models.base import Context, Log, Model, State, constant, normal, uniform
from emt.models.layers import at_ends, embed, lengthen, linear
from emt.models.memory_edits import EDITS, edit_of, without
from emt.ops.memory_edit import MemoryEdit
from emt.ops.neural_memory import LAYERS, Memory, Step, Weights, neural_memory

NAMES = tuple(f"layer{number}" for number in range(1, LAYERS + 1))


class NeuralMemory(Model):
    """LSTM with a metalearned neural memory: three layers whose weights it writes at every step.

    Parameters
    ----------
    hidden_dim
        units of the LSTM.
    embedding_dim
        size of the embedding.
    memory_dim
        units of each layer of the memory: it has three times the square of memory_dim.
    heads
        keys that are written, and read, at each step; only the writes of one head are logged.
    meta_weight
        weight in the loss of how far the memory misses what was just written.
    fixed_memory
        keep the memory's first weights as they are drawn; they are saved all the same.
    """

    state_dims = {
        "hidden": ("unit",),
        "cell": ("unit",),
        "recalled": ("recalled_unit",),
        **{f"memory_{name}": ("value", "key") for name in NAMES},
    }
    held_state = tuple(f"memory_{name}" for name in NAMES)
    memories = {name: {"kind": "linear", "reads": "after"} for name in NAMES}
    edits = EDITS
    context = ("needed_steps",)
    readout_name = None
    torch_names = {
        "embedding": "embedding.weight",
        "w_in": "lstm.weight_ih_l0",
        "w_rec": "lstm.weight_hh_l0",
        "bias": "lstm.bias_ih_l0",
        "w_out": "output.weight",
        "b_out": "output.bias",
        "head": "head.weight",
        "b_head": "head.bias",
        **{f"w_{part}": f"{part}.weight" for part in ("interact", "rate", "target")},
        **{f"b_{part}": f"{part}.bias" for part in ("interact", "rate", "target")},
        **{f"memory.{place}": f"memory.{name}.weight" for place, name in enumerate(NAMES)},
    }

    w_interact: nn.Parameter
    b_interact: nn.Parameter
    w_rate: nn.Parameter
    b_rate: nn.Parameter
    w_target: nn.Parameter
    b_target: nn.Parameter
    w_out: nn.Parameter
    b_out: nn.Parameter

    def __init__(
        self,
        seeds: Sequence[int],
        input_channels: int,
        output_channels: int,
        *,
        hidden_dim: Annotated[int, Field(ge=1)] = 256,
        embedding_dim: Annotated[int, Field(ge=1)] = 256,
        memory_dim: Annotated[int, Field(ge=1)] = 100,
        heads: Annotated[int, Field(ge=1)] = 1,
        meta_weight: Annotated[float, Field(ge=0)] = 1.0,
        fixed_memory: bool = False,
    ) -> None:
        super().__init__(seeds)
        self.size, self.meta_weight = memory_dim, meta_weight
        gates, units, inner = 4 * hidden_dim, uniform(hidden_dim**-0.5), uniform(memory_dim**-0.5)
        self.embedding = self.parameter_of("embedding", (input_channels, embedding_dim), normal)
        self.w_in = self.parameter_of("w_in", (embedding_dim + memory_dim, gates), units)
        self.w_rec = self.parameter_of("w_rec", (hidden_dim, gates), units)
        self.bias = self.parameter_of("bias", (gates,), units)
        shapes = {
            "interact": (hidden_dim, (1 + 3 * heads) * memory_dim),
            "rate": (memory_dim, 1),
            "target": (memory_dim, LAYERS * memory_dim),
            "out": (hidden_dim + memory_dim, hidden_dim),
        }
        for name, (inputs, outputs) in shapes.items():
            draw = uniform(inputs**-0.5)
            for part, shape in {"w": (inputs, outputs), "b": (outputs,)}.items():
                setattr(self, f"{part}_{name}", self.parameter_of(f"{part}_{name}", shape, draw))
        self.head = self.parameter_of("head", (hidden_dim, output_channels), units)
        self.b_head = self.parameter_of("b_head", (output_channels,), constant(0.0))
        square = (memory_dim, memory_dim)
        self.memory = nn.ParameterList(self.parameter_of(f"memory.{name}", square, inner) for name in NAMES)
        self.memory.requires_grad_(not fixed_memory)
        if heads > 1:
            # A step writes several times, of which a log has no more than one.
            self.memories, self.edits = {}, ()

    def zero_state(self, like: Tensor) -> State:
        """Return zeros, (member, batch, …) each: of the memory what has been written to its first weights."""
        rows, units, size = like.shape[:2], self.w_rec.shape[1], self.size
        shapes = {"hidden": (units,), "cell": (units,), "recalled": (size,)}
        return {name: like.new_zeros(*rows, *shapes.get(name, (size, size))) for name in self.state_dims}

    def activations(self, segment: int) -> int:
        """Return the numbers in the LSTM's states and the memory; what was recalled follows from these."""
        return super().activations(segment) - self.size

    def forward(
        self, x: Tensor, state: State | None = None, steps: int | None = None, context: Context | None = None
    ) -> tuple[Tensor, State, Log]:
        """Run the members over a sequence; see `Model.forward`. Memories are logged if all outputs are needed."""
        x = lengthen(x, steps)
        state = self.zero_state(self.like.new_empty(x.shape[:2])) if state is None else state
        present = None if x.is_floating_point() or bool((x >= 0).all()) else x >= 0
        written = tuple(state[name] for name in self.held_state)
        start = Memory(state["hidden"], state["cell"], state["recalled"], written)
        edits = [edit_of(context, name) for name in NAMES]
        embedding = self.embedding @ self.w_in[:, : -self.size]
        run, last = neural_memory(self._weights(), embed(x, embedding, self.bias), start, present, edits)
        outputs = linear(torch.cat([run.hidden, run.recalled], dim=-1), self.w_out, self.b_out)
        log: Log = {"hidden": run.hidden, "cell": run.cell, "recalled": run.recalled}
        after = {name: at_ends(x, values, state[name]) for name, values in log.items()}
        after |= zip(self.held_state, last.layers, strict=True)
        log["added_loss"] = self.meta_weight * self._missed(run.miss, present)
        if self.memories and ("needed_steps" not in (context or {}) or any(e is not None for e in edits)):
            log |= self._memory_log(run, present, edits)
        return linear(outputs, self.head, self.b_head), after, log

    def _weights(self) -> Weights:
        recurrent = torch.cat([self.w_rec, self.w_in[:, -self.size :]], dim=1)
        return Weights(
            recurrent,
            (self.w_interact, self.b_interact),
            (self.w_rate, self.b_rate),
            (self.w_target, self.b_target),
            tuple(self.memory),
        )

    def _missed(self, miss: Tensor, present: Tensor | None) -> Tensor:
        """Return the mean over the steps that exist, (member,)."""
        there = torch.ones_like(miss) if present is None else present.to(miss)
        return (miss * there).sum(dim=(1, 2)) / there.sum(dim=(1, 2)).clamp(min=1)

    def _memory_log(self, run: Step, present: Tensor | None, edits: Sequence[MemoryEdit | None]) -> Log:
        """Return what each layer wrote and read, as a trace has it; NaN where nothing was written."""
        log: Log = {}
        absent = None if present is None else ~present
        one = torch.ones_like(run.strength)
        for place, (name, edit) in enumerate(zip(NAMES, edits, strict=True)):
            key, value, query, read = (
                tensor[:, :, :, place, 0] for tensor in (run.keys, run.values, run.queries, run.reads)
            )
            silent = None if edit is None else edit.silent
            variables = {
                "write_key": without(key, silent),
                "write_value": without(value, silent),
                "write_strength": run.strength,
                "write_erase": 0 * one,
                "write_keep": one,
                "read_query": query.unsqueeze(3),
                "read_value": read.unsqueeze(3),
            }
            variables = {n: without(tensor, absent) for n, tensor in variables.items()}
            variables["base"] = self.memory[place].mT
            log |= {f"memory/{name}/{n}": tensor for n, tensor in variables.items()}
        return log

"""Fast Weight Memory (Schlag, Munkhdalai & Schmidhuber 2021, arXiv:2011.07831): an LSTM that writes and reads a memory.

    h_t = LSTM(x_t E, h_{t-1});  [k1, k2, v]_t = tanh(h_t W_write + b),  β_t = σ(h_t w_β + b_β)
    F_t = (F_{t-1} + γ_t (v_t − F_{t-1} key_t) key_tᵀ) / max(1, ‖·‖),  key = k1 ⊗ k2
    [n_0, e_1, …, e_N]_t = h_t W_read + b, tanh of e;  n_i = LN(F_t (n_{i-1} ⊗ e_i))
    y_t = (h_t + n_N W_o + b_o) W_s

Computed without the memory between its ends, see `emt.ops.fwm.forms`. The authors' programs differ from the
paper and from each other, see `emt.models.fwm_memory.VARIANTS`. LSTM biases act as one unless they are torch's two;
the forget gate's offset is in its initial value.
"""

from collections.abc import Sequence
from typing import Annotated, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from emt.models.base import Context, Log, State, Stepper, normal, uniform
from emt.models.fwm_memory import VARIANTS, WithFastWeights
from emt.models.layers import at_ends, embed, lengthen, linear
from emt.ops.fwm.acting import WriteList
from emt.ops.lstm_drive import lstm_of_drive


class FastWeightMemory(WithFastWeights):
    """LSTM with a Fast Weight Memory that it writes to at every step and then reads several times in a row.

    Parameters
    ----------
    hidden_dim
        units of the LSTM.
    embedding_dim
        size of the embedding; the variant meta_rl has none.
    memory_dim
        size of a value, and of each of the two factors of a key: the memory has memory_dim³ entries.
    reads
        reads per step; each query contains the result of the previous read.
    variant
        the paper's equations, or those of its authors' programs: for catbAbI as published, or with the residual
        that the program has when it is not told otherwise, for language models, and for meta-reinforcement
        learning.
    keys
        tensor product of the two factors, or both side by side: then the memory has twice the square of
        memory_dim.
    norm_epsilon
        added to the variance of what is read in its layer normalisation; 1e-5 is published. The smaller it is, the
        more is made of small differences between reads, and the less does a training repeat.
    """

    state_dims = {"hidden": ("unit",), "cell": ("unit",), "fast_weights": ("value", "key")}
    context = ("needed_steps",)
    readout_name = None
    torch_names = {
        "embedding": "embedding.weight",
        "w_in": "lstm.weight_ih_l0",
        "w_rec": "lstm.weight_hh_l0",
        "bias": "lstm.bias_ih_l0",
        "b_rec": "lstm.bias_hh_l0",
        **WithFastWeights.memory_names,
        "head": "head.weight",
        "b_head": "head.bias",
    }

    def __init__(
        self,
        seeds: Sequence[int],
        input_channels: int,
        output_channels: int,
        *,
        hidden_dim: Annotated[int, Field(ge=1)] = 256,
        embedding_dim: Annotated[int, Field(ge=1)] = 256,
        memory_dim: Annotated[int, Field(ge=1)] = 32,
        reads: Annotated[int, Field(ge=1)] = 3,
        variant: Literal["catbabi", "catbabi_residual", "paper", "language_model", "meta_rl"] = "catbabi",
        keys: Literal["product", "concatenated"] = "product",
        norm_epsilon: Annotated[float, Field(gt=0)] = 1e-5,
    ) -> None:
        super().__init__(seeds)
        self.size, self.variant, self.factors = (
            memory_dim,
            VARIANTS[variant],
            {"product": 2, "concatenated": 1}[keys],
        )
        self.epsilon = norm_epsilon
        units = uniform(hidden_dim**-0.5)
        rows, embeds = 4 * hidden_dim, self.variant.embeds
        forget, width = self.variant.forget_offset, embedding_dim if embeds else input_channels
        start = (lambda _, shape: _forget_gate(shape, forget)) if embeds else units
        self.embedding = self.parameter_of("embedding", (input_channels, width), normal) if embeds else None
        self.w_in = self.parameter_of("w_in", (width, rows), units)
        self.w_rec = self.parameter_of("w_rec", (hidden_dim, rows), units)
        self.bias = self.parameter_of("bias", (rows,), start)
        self.b_rec = None if embeds else self.parameter_of("b_rec", (rows,), units)
        self.add_memory(hidden_dim, reads)
        self.head = self.parameter_of(
            "head", (hidden_dim, output_channels), _xavier_normal if embeds else units
        )
        self.b_head = None if embeds else self.parameter_of("b_head", (output_channels,), units)

    def zero_state(self, like: Tensor) -> State:
        """Return zeros, (member, batch, unit) twice and (member, batch, value, key)."""
        zeros = like.new_zeros(*like.shape[:2], self.w_rec.shape[1])
        return {"hidden": zeros, "cell": zeros.clone(), "fast_weights": self.empty_memory(like)}

    def forward(
        self, x: Tensor, state: State | None = None, steps: int | None = None, context: Context | None = None
    ) -> tuple[Tensor, State, Log]:
        """Run the members over a sequence; see `Model.forward`. Without a needed output nothing is read."""
        h0, c0, memory = (None, None, None) if state is None else (state[name] for name in self.state_dims)
        x = lengthen(x, steps)
        hidden, cell = lstm_of_drive(self._drive(x), self.w_rec, h0, c0)
        found, asking, asked, memory, log = self.remember(hidden, x, memory, context)
        outputs = self._outputs(found, asking)
        states = {"hidden": hidden, "cell": cell}
        before = self.zero_state(hidden) if state is None else state
        last = {name: at_ends(x, value, before[name]) for name, value in states.items()}
        last["fast_weights"] = memory
        if asked is not None:
            everywhere = outputs.new_zeros(*hidden.shape[:3], outputs.shape[-1])
            outputs = everywhere.scatter(2, asked.unsqueeze(-1).expand_as(outputs), outputs)
        return outputs, last, states | log

    def stepper(self, steps: int) -> Stepper:
        """Return what does one step after the other; see `Model.stepper`. The memory is a list of writes."""
        memory, last = WriteList(steps, self.epsilon), dict[str, Tensor | None](h=None, c=None)

        @torch.no_grad()
        def step(x: Tensor, context: Context) -> Tensor:
            hidden, cell = lstm_of_drive(self._drive(x), self.w_rec, last["h"], last["c"])
            last.update(h=hidden[:, :, 0], c=cell[:, :, 0])
            written = (*self._writes(hidden, x), *self._queries(hidden))
            return self._outputs(memory(*(tensor[:, :, 0] for tensor in written)).unsqueeze(2), hidden)

        return step

    def _drive(self, x: Tensor) -> Tensor:
        """Return what inputs add to each gate, (member, batch, time, 4 unit), with time before batch in memory."""
        table = self.w_in if self.embedding is None else self.embedding @ self.w_in
        bias = self.bias if self.b_rec is None else self.bias + self.b_rec
        return embed(x.transpose(1, 2), table, bias).transpose(1, 2)

    def _outputs(self, found: Tensor, hidden: Tensor) -> Tensor:
        """Return y of n_N (member, batch, query, value) and h (member, batch, query, unit)."""
        # W_o and W_s have nothing between them, and the product of the two is small.
        bias = (self.b_out.unsqueeze(1) @ self.head).squeeze(1)
        bias = bias if self.b_head is None else bias + self.b_head
        outputs = linear(found, self.w_out @ self.head, bias)
        return outputs + linear(hidden, self.head) if self.variant.residual else outputs


def _forget_gate(shape: tuple[int, ...], offset: float) -> NDArray[np.float64]:
    """Return zeros, and ``offset`` for the second of four gates."""
    gates = np.zeros((4, shape[0] // 4))
    gates[1] = offset
    return gates.ravel()


def _xavier_normal(generator: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Return a draw from N(0, 2 / (in + out)), Glorot & Bengio (2010)."""
    return generator.standard_normal(shape) * (2 / sum(shape)) ** 0.5

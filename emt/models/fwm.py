"""Fast Weight Memory (Schlag, Munkhdalai & Schmidhuber 2021, arXiv:2011.07831): an LSTM that writes and reads a memory.

    h_t = LSTM(x_t E, h_{t-1});  [k1, k2, v]_t = tanh(h_t W_write + b),  β_t = σ(h_t w_β + b_β)
    F_t = (F_{t-1} + γ_t (v_t − F_{t-1} key_t) key_tᵀ) / max(1, ‖·‖),  key = k1 ⊗ k2
    [n_0, e_1, …, e_N]_t = h_t W_read + b, tanh of e;  n_i = LN(F_t (n_{i-1} ⊗ e_i))
    y_t = (h_t + n_N W_o + b_o) W_s

Computed without the memory between its ends, see `emt.ops.fwm.forms`. The authors' programs differ from the
paper and from each other, see `VARIANTS`. LSTM biases act as one unless they are torch's two; the forget gate's
offset is in its initial value.
"""

from collections.abc import Sequence
from typing import Annotated, Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from emt.models.base import Context, Log, Model, State, Stepper, normal, uniform
from emt.models.layers import at_ends, embed, lengthen, linear
from emt.models.memory_edits import EDITS, edit_of, without
from emt.ops.fwm.acting import WriteList
from emt.ops.fwm.edited import fwm_edited
from emt.ops.fwm.forms import FWMRun, fwm
from emt.ops.lstm_drive import lstm_of_drive
from emt.ops.memory_edit import MemoryEdit


class Variant(NamedTuple):
    """Where published forms differ.

    Attributes
    ----------
    divides
        Whether γ is β over the size of a value, not β.
    strength_offset, forget_offset
        Added before the sigmoid of β and of the LSTM's forget gate.
    squashes_first, squashes_partners
        Whether n_0 and e are a tanh.
    residual
        Whether h_t is added to what was read.
    embeds
        Whether inputs are embedded. If not, LSTM and head are torch's modules on the inputs as they are: two biases
        of the LSTM, which learn at twice the speed of one, a bias of the head, and torch's initial values.
    """

    divides: bool
    strength_offset: float
    forget_offset: float
    squashes_first: bool
    squashes_partners: bool
    residual: bool
    embeds: bool


VARIANTS = {
    "paper": Variant(False, 0.0, 0.0, True, True, True, True),
    "catbabi": Variant(True, 1.0, 1.0, False, True, False, True),
    "catbabi_residual": Variant(True, 1.0, 1.0, False, True, True, True),
    "language_model": Variant(False, 1.0, 0.0, True, True, True, True),
    "meta_rl": Variant(True, 1.0, 0.0, False, False, True, False),
}


class FastWeightMemory(Model):
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
    """

    state_dims = {"hidden": ("unit",), "cell": ("unit",), "fast_weights": ("value", "key")}
    held_state = smooth_state = ("fast_weights",)
    memories = {"fwm": {"kind": "linear", "reads": "after"}}
    edits = (*EDITS, "hold")
    context = ("needed_steps",)
    readout_name = None
    torch_names = {
        "embedding": "embedding.weight",
        "w_in": "lstm.weight_ih_l0",
        "w_rec": "lstm.weight_hh_l0",
        "bias": "lstm.bias_ih_l0",
        "b_rec": "lstm.bias_hh_l0",
        "w_write": "write.weight",
        "b_write": "write.bias",
        "w_read": "read.weight",
        "b_read": "read.bias",
        "w_out": "output.weight",
        "b_out": "output.bias",
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
    ) -> None:
        super().__init__(seeds)
        self.size, self.variant, self.factors = (
            memory_dim,
            VARIANTS[variant],
            {"product": 2, "concatenated": 1}[keys],
        )
        units, inner = uniform(hidden_dim**-0.5), uniform(memory_dim**-0.5)
        projection = uniform((6 / (hidden_dim + memory_dim)) ** 0.5)
        rows, embeds = 4 * hidden_dim, self.variant.embeds
        forget, width = self.variant.forget_offset, embedding_dim if embeds else input_channels
        start = (lambda _, shape: _forget_gate(shape, forget)) if embeds else units
        self.embedding = self.parameter_of("embedding", (input_channels, width), normal) if embeds else None
        self.w_in = self.parameter_of("w_in", (width, rows), units)
        self.w_rec = self.parameter_of("w_rec", (hidden_dim, rows), units)
        self.bias = self.parameter_of("bias", (rows,), start)
        self.b_rec = None if embeds else self.parameter_of("b_rec", (rows,), units)
        self.w_write = self.parameter_of("w_write", (hidden_dim, 3 * memory_dim + 1), projection)
        self.b_write = self.parameter_of("b_write", (3 * memory_dim + 1,), units)
        self.w_read = self.parameter_of("w_read", (hidden_dim, (reads + 1) * memory_dim), projection)
        self.b_read = self.parameter_of("b_read", ((reads + 1) * memory_dim,), units)
        self.w_out = self.parameter_of("w_out", (memory_dim, hidden_dim), inner)
        self.b_out = self.parameter_of("b_out", (hidden_dim,), inner)
        self.head = self.parameter_of(
            "head", (hidden_dim, output_channels), _xavier_normal if embeds else units
        )
        self.b_head = None if embeds else self.parameter_of("b_head", (output_channels,), units)

    def zero_state(self, like: Tensor) -> State:
        """Return zeros, (member, batch, unit) twice and (member, batch, value, key)."""
        batch, units = like.shape[:2], self.w_rec.shape[1]
        keys = self.size**2 if self.factors == 2 else 2 * self.size
        shapes = {"hidden": (units,), "cell": (units,), "fast_weights": (self.size, keys)}
        return {name: like.new_zeros(*batch, *shape) for name, shape in shapes.items()}

    def forward(
        self, x: Tensor, state: State | None = None, steps: int | None = None, context: Context | None = None
    ) -> tuple[Tensor, State, Log]:
        """Run the members over a sequence; see `Model.forward`. Without a needed output nothing is read."""
        h0, c0, memory = (None, None, None) if state is None else (state[name] for name in self.state_dims)
        x = lengthen(x, steps)
        hidden, cell = lstm_of_drive(self._drive(x), self.w_rec, h0, c0)
        keys, values, strength = self._writes(hidden, x)
        edit = edit_of(context, "fwm")
        if edit is not None:
            keys, values, strength = self._edited(keys, values, strength, edit)
        # An edited run is logged, and so read at every step.
        asked = None if edit is not None else _needed_steps(context, x.shape[2])
        asking = hidden if asked is None else _gather(hidden, asked)
        first, partners = self._queries(asking)
        if edit is None or edit.touches_writes_only:
            run = fwm(keys, values, strength, first, partners, memory, asked)
        else:
            run = fwm_edited(keys, values, strength, first, partners, memory, edit)
        outputs = self._outputs(run.outputs, asking)
        states = {"hidden": hidden, "cell": cell}
        before = self.zero_state(hidden) if state is None else state
        last = {name: at_ends(x, value, before[name]) for name, value in states.items()} | {
            "fast_weights": run.memory
        }
        if asked is None:
            log = self._memory_log(keys, values, strength, run, x)
            if edit is not None:
                names = ("memory/fwm/write_key", "memory/fwm/write_value")
                log |= {name: without(log[name], edit.silent) for name in names}
            return outputs, last, states | log
        everywhere = outputs.new_zeros(*hidden.shape[:3], outputs.shape[-1])
        return everywhere.scatter(2, asked.unsqueeze(-1).expand_as(outputs), outputs), last, states

    def stepper(self, steps: int) -> Stepper:
        """Return what does one step after the other; see `Model.stepper`. The memory is a list of writes."""
        memory, last = WriteList(steps), dict[str, Tensor | None](h=None, c=None)

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

    def _writes(self, hidden: Tensor, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return factors of keys (member, batch, time, factor, key), values and γ, which is 0 after the last token."""
        *pair, value, strength = _project(hidden, self.w_write, self.b_write).split(
            [*[self.size] * 3, 1], dim=-1
        )
        keys = (
            torch.stack(pair, dim=3).tanh()
            if self.factors == 2
            else torch.cat(pair, dim=-1).tanh().unsqueeze(3)
        )
        strength = torch.sigmoid(strength.squeeze(-1) + self.variant.strength_offset)
        if self.variant.divides:
            strength = strength / self.size
        return keys, value.tanh(), strength if x.is_floating_point() else strength * (x >= 0)

    def _edited(
        self, keys: Tensor, values: Tensor, strength: Tensor, edit: MemoryEdit
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return factors of keys, values and γ as they are written."""
        if edit.key is not None and self.factors == 1:
            edit = edit._replace(key=edit.key.unsqueeze(3))
        silent = edit.silent
        strength = strength if silent is None else strength.masked_fill(silent, 0.0)
        return edit.key_of(keys), edit.value_of(values), strength

    def _queries(self, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """Return n_0 (member, batch, query, value) and e (member, batch, query, read, value)."""
        first, *partners = _project(hidden, self.w_read, self.b_read).split(self.size, dim=-1)
        first = first.tanh() if self.variant.squashes_first else first
        together = torch.stack(partners, dim=3)
        return first, together.tanh() if self.variant.squashes_partners else together

    def _memory_log(self, keys: Tensor, values: Tensor, strength: Tensor, run: FWMRun, x: Tensor) -> Log:
        """Return what is written into the memory and read from it, as a trace has it; NaN after the last token."""
        queries = run.queries if self.factors == 2 else run.queries.squeeze(4)
        log = {
            "write_key": keys if self.factors == 2 else keys.squeeze(3),
            "write_value": values,
            "write_strength": strength / run.rescale,
            "write_erase": strength,
            "write_keep": 1 / run.rescale,
            "read_query": queries,
            "read_value": run.values,
        }
        if not x.is_floating_point() and (absent := x < 0).any():
            log = {
                n: t.masked_fill(absent.reshape(*x.shape, *[1] * (t.ndim - 3)), torch.nan)
                for n, t in log.items()
            }
        return {f"memory/fwm/{name}": tensor for name, tensor in log.items()}


def _needed_steps(context: Context | None, steps: int) -> Tensor | None:
    """Return the needed steps of each row, (member, batch, query), followed by others in rows that need fewer.

    None where nothing is said, or as many as there are.
    """
    if context is None or "needed_steps" not in context:
        return None
    needed = context["needed_steps"]
    most = int(needed.sum(dim=-1).max())
    return (
        None
        if most == steps
        else needed.byte().sort(dim=-1, descending=True, stable=True).indices[..., :most]
    )


def _project(hidden: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Return h W + b, (member, batch, time, out), of hidden states that lie in memory with time before batch."""
    return linear(hidden.transpose(1, 2), weight, bias).transpose(1, 2)


def _gather(hidden: Tensor, steps: Tensor) -> Tensor:
    return hidden.gather(2, steps.unsqueeze(-1).expand(*steps.shape, hidden.shape[-1]))


def _forget_gate(shape: tuple[int, ...], offset: float) -> NDArray[np.float64]:
    """Return zeros, and ``offset`` for the second of four gates."""
    gates = np.zeros((4, shape[0] // 4))
    gates[1] = offset
    return gates.ravel()


def _xavier_normal(generator: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Return a draw from N(0, 2 / (in + out)), Glorot & Bengio (2010)."""
    return generator.standard_normal(shape) * (2 / sum(shape)) ** 0.5

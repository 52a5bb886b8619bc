"""Fast weights (Ba et al. 2016, arXiv:1610.06258): a matrix A that each hidden state is written into.

    u_t = x_t E W_in + h_{t-1} W_rec
    s_0 = relu(u_t),  s_{i+1} = relu(LN(u_t + A_t s_i)) for S inner steps,  h_t = s_S
    A_{t+1} = λ A_t + η h_t h_tᵀ

with the embedding and head of `emt.models.layers`. Computed without the matrix, see `emt.ops.fast_weights`.
"""

from collections.abc import Sequence
from functools import partial
from typing import Annotated, Literal

from pydantic import Field
from torch import Tensor

from emt.models.base import Context, LazyState, Log, Model, State, constant, identity, normal, uniform
from emt.models.layers import Head, LinearHead, embed, lengthen
from emt.models.memory_edits import EDITS, edit_of, without
from emt.ops.fast_weights import FastWeightsRun, fast_matrix, fast_weights
from emt.ops.fast_weights_edited import fast_weights_edited
from emt.ops.memory_edit import MemoryEdit

IDENTITY_SCALE = 0.05


class FastWeights(Model):
    """Recurrent network with fast weights, layer normalisation, an embedding and a two-layer head.

    Parameters
    ----------
    hidden_dim
        units of the recurrent layer; the matrix has its square of numbers.
    embedding_dim
        size of the embedding.
    freeze_embedding
        keep the embedding at its initial values.
    eta
        fast learning rate: how strongly a hidden state is written; 0 turns fast weights off.
    lam
        decay: share of the matrix that is left after a step.
    inner_steps
        reads of the matrix in one step.
    head
        two layers with 100 units between them, as Ba et al., or a linear map without a bias, as Schlag et al. 2021.
    """

    state_dims = {"hidden": ("unit",), "fast_weights": ("unit_out", "unit_in")}
    held_state = smooth_state = ("fast_weights",)
    memories = {"fast": {"kind": "linear", "reads": "before"}}
    edits = EDITS
    context = ("needed_steps",)
    readout_name = None
    torch_names = {
        "embedding": "embedding.weight",
        "w_in": "rnn.weight_ih_l0",
        "w_rec": "rnn.weight_hh_l0",
        "gain": "norm.weight",
        "bias": "norm.bias",
        **Head.torch_names,
    }

    def __init__(
        self,
        seeds: Sequence[int],
        input_channels: int,
        output_channels: int,
        *,
        hidden_dim: Annotated[int, Field(ge=1)] = 50,
        embedding_dim: Annotated[int, Field(ge=1)] = 100,
        freeze_embedding: bool = False,
        eta: float = 0.5,
        lam: float = 0.9,
        inner_steps: Annotated[int, Field(ge=1)] = 1,
        head: Literal["two_layers", "linear"] = "two_layers",
    ) -> None:
        super().__init__(seeds)
        self.eta, self.lam, self.inner_steps = eta, lam, inner_steps
        self.embedding = self.parameter_of("embedding", (input_channels, embedding_dim), normal)
        self.embedding.requires_grad_(not freeze_embedding)
        self.w_in = self.parameter_of("w_in", (embedding_dim, hidden_dim), uniform(hidden_dim**-0.5))
        self.w_rec = self.parameter_of("w_rec", (hidden_dim, hidden_dim), identity(IDENTITY_SCALE))
        self.gain = self.parameter_of("gain", (hidden_dim,), constant(1.0))
        self.bias = self.parameter_of("bias", (hidden_dim,), constant(0.0))
        kind = Head if head == "two_layers" else LinearHead
        self.head: Head | LinearHead = kind(self, hidden_dim, output_channels)
        self.torch_names = {**self.torch_names, **kind.torch_names}

    def zero_state(self, like: Tensor) -> State:
        """Return zeros, (member, batch, unit) and (member, batch, unit, unit)."""
        batch, units = like.shape[:2], self.w_rec.shape[-1]
        return {"hidden": like.new_zeros(*batch, units), "fast_weights": like.new_zeros(*batch, units, units)}

    def forward(
        self, x: Tensor, state: State | None = None, steps: int | None = None, context: Context | None = None
    ) -> tuple[Tensor, State, Log]:
        """Run the members over a sequence; see `Model.forward`."""
        h0, a0 = (None, None) if state is None else (state["hidden"], state["fast_weights"])
        drive = embed(lengthen(x, steps), self.embedding @ self.w_in)
        rule, edit = (self.eta, self.lam), edit_of(context, "fast")
        if edit is not None:
            return self._edited(drive, h0, a0, edit, context)
        run = fast_weights(drive, self.w_rec, self.gain, self.bias, *rule, self.inner_steps, h0, a0)
        matrix = partial(fast_matrix, run.hidden, *rule, a0)
        # Training on single sequences never asks for the matrix.
        last = LazyState({"hidden": lambda: run.hidden[:, :, -1], "fast_weights": matrix})
        return self.head(run.hidden, context), last, {"hidden": run.hidden, **self._memory_log(run)}

    def _edited(
        self, drive: Tensor, h0: Tensor | None, a0: Tensor | None, edit: MemoryEdit, context: Context | None
    ) -> tuple[Tensor, State, Log]:
        parameters = self.w_rec, self.gain, self.bias, self.eta, self.lam, self.inner_steps
        run, *written, matrix = fast_weights_edited(drive, *parameters, h0, a0, edit)
        log = self._memory_log(run)
        names = [f"memory/fast/write_{name}" for name in ("key", "value", "strength", "keep")]
        log |= dict(zip(names, written, strict=True))
        for name in names[:2]:
            log[name] = without(log[name], edit.silent)
        last = {"hidden": run.hidden[:, :, -1], "fast_weights": matrix}
        return self.head(run.hidden, context), last, {"hidden": run.hidden, **log}

    def _memory_log(self, run: FastWeightsRun) -> Log:
        """Return what is written into the matrix and read from it, as a trace has it."""
        constants = {"write_strength": self.eta, "write_erase": 0.0, "write_keep": self.lam}
        each = run.hidden.shape[:3]
        writes = {name: run.hidden.new_full((), value).expand(each) for name, value in constants.items()}
        writes |= {"write_key": run.hidden, "write_value": run.hidden}
        reads = {"read_query": run.queries, "read_value": run.values}
        return {f"memory/fast/{name}": tensor for name, tensor in {**writes, **reads}.items()}

"""AWD-LSTM (Merity, Keskar & Socher 2018, arXiv:1708.02182): an LSTM for language with all its regularisation.

    x_0 = mask_i · E' token,  h_l = LSTM_l(x_{l-1}; mask_w W_hh),  x_l = mask_h h_l,  y = h_L,  z = E (mask_o y) + b

E' is E without some of its rows; the last layer has the size of the embedding, and reads out with E itself, undropped.
Masks are drawn anew for each training step, are the same at all steps of a segment, and scale up what they leave.
Beside the cross entropy, training makes α mean (mask_o y)² + β mean (y_t − y_{t-1})² small.
"""

from collections.abc import Sequence
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from emt.models.base import Context, Factored, Log, Model, State, constant, uniform
from emt.models.layers import at_ends, dropped, embed, lengthen, linear_by_time
from emt.models.stacked_lstm import LSTMLayer, layer_names
from emt.ops.lstm_drive import lstm_of_drive


class AWDLSTM(Model):
    """LSTM layers with a tied readout, dropout of five kinds, and penalties of activations and of their changes.

    The defaults are those of WikiText-2 in the logs of Schlag et al. (2021, appendix H).

    Parameters
    ----------
    hidden_dim
        units of each layer but the last.
    layers
        LSTM layers.
    embedding_dim
        size of the embedding, and units of the last layer.
    token_dropout
        share of the vocabulary that has no embedding in a training step.
    input_dropout
        share of the embedding's units that a sequence lacks in a training step.
    layer_dropout
        share of the units that each layer but the last keeps to itself in a training step.
    output_dropout
        share of the last layer's units that are not read out in a training step.
    recurrent_dropout
        share of each layer's recurrent weights that are zero in a training step.
    activation_penalty
        weight of the mean square of what is read out.
    change_penalty
        weight of the mean square of its change from word to word.
    """

    state_dims = {"hidden": ("unit",), "cell": ("unit",)}
    context = ("factored",)
    readout_name = None
    torch_names = {
        "embedding": "embedding.weight",
        "decoder": "decoder.weight",
        "b_decoder": "decoder.bias",
        **layer_names(two_biases=True),
    }

    def __init__(
        self,
        seeds: Sequence[int],
        input_channels: int,
        output_channels: int,
        *,
        hidden_dim: Annotated[int, Field(ge=1)] = 1150,
        layers: Annotated[int, Field(ge=1, le=8)] = 3,
        embedding_dim: Annotated[int, Field(ge=1)] = 400,
        token_dropout: Annotated[float, Field(ge=0, lt=1)] = 0.1,
        input_dropout: Annotated[float, Field(ge=0, lt=1)] = 0.7,
        layer_dropout: Annotated[float, Field(ge=0, lt=1)] = 0.25,
        output_dropout: Annotated[float, Field(ge=0, lt=1)] = 0.4,
        recurrent_dropout: Annotated[float, Field(ge=0, lt=1)] = 0.61,
        activation_penalty: Annotated[float, Field(ge=0)] = 2.0,
        change_penalty: Annotated[float, Field(ge=0)] = 1.0,
    ) -> None:
        super().__init__(seeds)
        self.token_dropout, self.input_dropout, self.layer_dropout = (
            token_dropout,
            input_dropout,
            layer_dropout,
        )
        self.output_dropout, self.recurrent_dropout = output_dropout, recurrent_dropout
        self.activation_penalty, self.change_penalty = activation_penalty, change_penalty
        start = uniform(0.25)
        self.embedding = self.parameter_of("embedding", (input_channels, embedding_dim), start)
        self.sizes = (*[hidden_dim] * (layers - 1), embedding_dim)
        inputs = (embedding_dim, *self.sizes[:-1])
        self.stack = nn.ModuleList(
            LSTMLayer(self, i, *size, two_biases=True)
            for i, size in enumerate(zip(inputs, self.sizes, strict=True))
        )
        self.decoder = None
        if input_channels != output_channels:
            # Where what is named is not what is read, nothing can be tied.
            self.decoder = self.parameter_of("decoder", (output_channels, embedding_dim), start)
        self.b_decoder = self.parameter_of("b_decoder", (output_channels,), constant(0.0))

    def zero_state(self, like: Tensor) -> State:
        """Return zeros, (member, batch, unit) each: the units of all layers, one layer after the other."""
        shape = (*like.shape[:2], sum(self.sizes))
        return {"hidden": like.new_zeros(shape), "cell": like.new_zeros(shape)}

    def forward(
        self, x: Tensor, state: State | None = None, steps: int | None = None, context: Context | None = None
    ) -> tuple[Tensor, State, Log]:
        """Run the members over a sequence; see `Model.forward`. With ``factored`` outputs are `Factored`."""
        x = lengthen(x, steps)
        state = self.zero_state(self.embedding.new_empty(x.shape[:2])) if state is None else state
        hidden, cells = self._layers(x, state)
        log: Log = {"hidden": torch.cat(hidden, dim=-1), "cell": torch.cat(cells, dim=-1)}
        last = {name: at_ends(x, log[name], state[name]) for name in ("hidden", "cell")}
        y, further, memory_log = self.top(hidden[-1], x, state, context)
        shown = self._dropped(y, "output", self.output_dropout)
        if self.noise_step is not None:
            penalty = self.penalty(x, y, shown)
            # The reported loss has none of it, the gradient has.
            log["added_loss"] = penalty - penalty.detach()
        table = self.embedding if self.decoder is None else self.decoder
        outputs = Factored(shown, table, self.b_decoder)
        whole = outputs if "factored" in (context or {}) else outputs.outputs()
        return whole, last | further, log | memory_log  # type: ignore[return-value]

    def top(
        self, hidden: Tensor, x: Tensor, state: State, context: Context | None
    ) -> tuple[Tensor, dict[str, Tensor], Log]:
        """Return y of the last layer's states, further states after the last step, and what the log has of it."""
        return hidden, {}, {}

    def _layers(self, x: Tensor, state: State) -> tuple[list[Tensor], list[Tensor]]:
        """Return hidden states and cells of each layer, (member, batch, time, unit)."""
        table = dropped(self, self.embedding, "token", self.token_dropout, (self.embedding.shape[1], 1))
        passed = embed(x.transpose(1, 2), table).transpose(1, 2)
        passed = self._dropped(passed, "input", self.input_dropout)
        before = zip(*(state[name].split(self.sizes, dim=-1) for name in ("hidden", "cell")), strict=True)
        hidden, cells = [], []
        for i, (layer, (h0, c0)) in enumerate(zip(self.stack, before, strict=True)):
            assert isinstance(layer, LSTMLayer)
            assert layer.b_rec is not None
            shape = layer.w_rec.shape[1:]
            w_rec = dropped(self, layer.w_rec, f"recurrent.{i}", self.recurrent_dropout, shape)
            drive = linear_by_time(passed, layer.w_in, layer.bias + layer.b_rec)
            h, c = lstm_of_drive(drive, w_rec, h0, c0)
            passed = self._dropped(h, f"layer.{i}", self.layer_dropout)
            hidden.append(h)
            cells.append(c)
        return hidden, cells

    def _dropped(self, values: Tensor, kind: str, rate: float) -> Tensor:
        """Return values (member, batch, time, unit) with a mask for each sequence and unit."""
        return dropped(self, values, kind, rate, (values.shape[1], 1, values.shape[-1]))

    def penalty(self, x: Tensor, y: Tensor, shown: Tensor) -> Tensor:
        """Return α mean (mask_o y)² + β mean (y_t − y_{t-1})² of the words that are there, (member,).

        Parameters
        ----------
        x
            Inputs; ids of -1 stand after a row's last word.
        y, shown
            y and what is left of it after dropout, (member, batch, time, unit).
        """
        present = x >= 0 if not x.is_floating_point() else torch.ones_like(x[..., 0], dtype=torch.bool)
        changes = (y[:, :, 1:] - y[:, :, :-1]).square().mean(dim=-1)
        size = _mean(shown.square().mean(dim=-1), present)
        return self.activation_penalty * size + self.change_penalty * _mean(changes, present[:, :, 1:])


def _mean(values: Tensor, present: Tensor) -> Tensor:
    """Return each member's mean over the steps that are present; 0 if there is none."""
    return (values * present).sum(dim=(1, 2)) / present.sum(dim=(1, 2)).clamp(min=1)

"""AWD-LSTM with a Fast Weight Memory on its last layer (Schlag, Munkhdalai & Schmidhuber 2021, section 4.3).

    y = h + W_o n_N + b_o,   the memory written and read by h, the last layer's hidden state before dropout,

in the equations of `emt.models.fwm`, variant language_model: values are written with strength β, and n_0 is a tanh too.
"""

from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import Field
from torch import Tensor

from emt.models.awd_lstm import AWDLSTM
from emt.models.base import Context, Log, State
from emt.models.fwm_memory import VARIANTS, WithFastWeights
from emt.models.layers import linear_by_time


class AWDFastWeightMemory(WithFastWeights, AWDLSTM):
    """AWD-LSTM whose last layer writes and reads a Fast Weight Memory; what it reads is added to that layer's output.

    Parameters
    ----------
    hidden_dim
        units of each layer but the last.
    layers
        LSTM layers.
    embedding_dim
        size of the embedding, and units of the last layer.
    memory_dim
        size of a value, and of each of the two factors of a key: the memory has memory_dim³ entries.
    reads
        reads per word; each query contains the result of the previous read.
    token_dropout
        share of the vocabulary that has no embedding in a training step.
    input_dropout
        share of the embedding's units that a sequence lacks in a training step.
    layer_dropout
        share of the units that each layer but the last keeps to itself in a training step.
    output_dropout
        share of the units of y that are not read out in a training step.
    recurrent_dropout
        share of each layer's recurrent weights that are zero in a training step.
    activation_penalty
        weight of the mean square of what is read out.
    change_penalty
        weight of the mean square of y's change from word to word.
    """

    state_dims = {**AWDLSTM.state_dims, "fast_weights": ("value", "key")}
    torch_names = {**AWDLSTM.torch_names, **WithFastWeights.memory_names}

    def __init__(
        self,
        seeds: Sequence[int],
        input_channels: int,
        output_channels: int,
        *,
        hidden_dim: Annotated[int, Field(ge=1)] = 1150,
        layers: Annotated[int, Field(ge=1, le=8)] = 3,
        embedding_dim: Annotated[int, Field(ge=1)] = 400,
        memory_dim: Annotated[int, Field(ge=1)] = 32,
        reads: Annotated[int, Field(ge=1)] = 3,
        token_dropout: Annotated[float, Field(ge=0, lt=1)] = 0.1,
        input_dropout: Annotated[float, Field(ge=0, lt=1)] = 0.7,
        layer_dropout: Annotated[float, Field(ge=0, lt=1)] = 0.25,
        output_dropout: Annotated[float, Field(ge=0, lt=1)] = 0.4,
        recurrent_dropout: Annotated[float, Field(ge=0, lt=1)] = 0.61,
        activation_penalty: Annotated[float, Field(ge=0)] = 2.0,
        change_penalty: Annotated[float, Field(ge=0)] = 1.0,
    ) -> None:
        sizes: dict[str, Any] = {"hidden_dim": hidden_dim, "layers": layers, "embedding_dim": embedding_dim}
        AWDLSTM.__init__(
            self,
            seeds,
            input_channels,
            output_channels,
            **sizes,
            token_dropout=token_dropout,
            input_dropout=input_dropout,
            layer_dropout=layer_dropout,
            output_dropout=output_dropout,
            recurrent_dropout=recurrent_dropout,
            activation_penalty=activation_penalty,
            change_penalty=change_penalty,
        )
        self.size, self.factors, self.variant = memory_dim, 2, VARIANTS["language_model"]
        self.add_memory(embedding_dim, reads)

    def zero_state(self, like: Tensor) -> State:
        """Return zeros, (member, batch, unit) twice and (member, batch, value, key)."""
        return {**AWDLSTM.zero_state(self, like), "fast_weights": self.empty_memory(like)}

    def top(
        self, hidden: Tensor, x: Tensor, state: State, context: Context | None
    ) -> tuple[Tensor, dict[str, Tensor], Log]:
        """Return y, the memory after the last step, and its log."""
        read = self.remember(hidden, x, state["fast_weights"], context)
        y = hidden + linear_by_time(read.found, self.w_out, self.b_out)
        return y, {"fast_weights": read.memory}, read.log

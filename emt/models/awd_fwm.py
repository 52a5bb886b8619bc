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
    memory_dim
        size of a value, and of each of the two factors of a key: the memory has memory_dim³ entries.
    reads
        reads per word; each query contains the result of the previous read.
    norm_epsilon
        added to the variance of what is read in its layer normalisation; 1e-5 is published. The smaller it is, the
        more is made of small differences between reads, and the less does a training repeat.
    """

    state_dims = {**AWDLSTM.state_dims, "fast_weights": ("value", "key")}
    torch_names = {**AWDLSTM.torch_names, **WithFastWeights.memory_names}

    def __init__(
        self,
        seeds: Sequence[int],
        input_channels: int,
        output_channels: int,
        *,
        memory_dim: Annotated[int, Field(ge=1)] = 32,
        reads: Annotated[int, Field(ge=1)] = 3,
        norm_epsilon: Annotated[float, Field(gt=0)] = 1e-5,
        **others: Any,
    ) -> None:
        AWDLSTM.__init__(self, seeds, input_channels, output_channels, **others)
        self.size, self.factors, self.variant = memory_dim, 2, VARIANTS["language_model"]
        self.epsilon = norm_epsilon
        self.add_memory(self.sizes[-1], reads)

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

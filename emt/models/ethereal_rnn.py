"""The plain recurrent network that EtherealRNN is compared with: rectifiers, ordinary weights, the same updaters.

h_t = tanh(c_{t-1} W_h + b_h),   c⁰_t = [x_t, h_t],   cˡ_t = relu(cˡ⁻¹_t W_l + b_l),   y_t = c^L_t W_o + b_o
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, Literal

from pydantic import Field

from emt.models.base import uniform
from emt.models.stepwise import StepwiseLearner
from emt.ops.ethereal.forms import Rule


class SimpleRNN(StepwiseLearner):
    """Plain recurrent network under feedback alignment, step-wise backprop or BPTT; writes nothing within a sequence.

    Parameters
    ----------
    hidden_dim
        units of each layer and of the recurrent input.
    layers
        linear layers, each followed by a rectifier.
    updater
        where errors come from: fixed random feedback, the gradient of each step's loss, or that through the
        sequence.
    derivative
        multiply errors of feedback alignment by the rectifier's derivative.
    enable_recurrence
        whether the network sees what it computed a step ago.
    positional_encoding_dim
        channels that tell the step by sines and cosines.
    input_mode
        whether a step sees its own input or also the one before.
    """

    def __init__(
        self,
        seeds: Sequence[int],
        input_channels: int,
        output_channels: int,
        *,
        hidden_dim: Annotated[int, Field(ge=1)] = 128,
        layers: Annotated[int, Field(ge=1)] = 3,
        updater: Literal["dfa", "backprop", "bptt"] = "bptt",
        derivative: bool = False,
        enable_recurrence: bool = True,
        positional_encoding_dim: Annotated[int, Field(ge=0)] = 0,
        input_mode: Literal["last_one", "last_two"] = "last_one",
    ) -> None:
        super().__init__(seeds)
        self.rule = Rule(updater=updater, eta=1.0, derivative=derivative, rectifies=True, writes=False)

        def sizes(channels: int) -> Mapping[str, tuple[int, int]]:
            widths = [channels + hidden_dim, *[hidden_dim] * layers]
            inner = {f"layer_{i + 1}": (widths[i], widths[i + 1]) for i in range(layers)}
            recurrence = {"recurrence": (hidden_dim, hidden_dim)} if enable_recurrence else {}
            return inner | {"output": (hidden_dim, output_channels)} | recurrence

        self._make(
            input_channels, input_mode, positional_encoding_dim, sizes, lambda inputs: uniform(inputs**-0.5)
        )

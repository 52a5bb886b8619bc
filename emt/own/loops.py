"""torch modules without a recurrent layer that keep a memory of their own: linear attention, DeltaNet and the like."""

from collections.abc import Sequence
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from emt.errors import UserError
from emt.models.base import State
from emt.own.memory_calls import logging
from emt.own.modules import PROBE, find_layer
from emt.own.networks import OwnNetworks, Pass


class Loops(OwnNetworks):
    """Networks whose memories are all that goes from step to step; they run their own loop, so no step is known.

    ``hidden`` is what they return, (batch, time, output).

    Parameters
    ----------
    networks
        One for each member.
    """

    kind = "from_torch"
    steps_known = False

    def __init__(
        self,
        networks: Sequence[nn.Module],
        seeds: Sequence[int],
        example: NDArray[Any],
        are_ids: bool,
        silence: NDArray[Any] | None,
    ) -> None:
        super().__init__(networks, seeds, example, are_ids, silence)
        self.state_dims = {}
        self._look()

    @torch.no_grad()
    def _look(self) -> None:
        """Refuse, as a network without a recurrent layer, one that logs no memory in a short run."""
        with logging(*PROBE) as calls:
            try:
                self.run(0, self.example.expand(*PROBE, -1), None)
            finally:
                if not calls.memories:
                    find_layer(self.registered[0], None)

    def run(self, place: int, x: Tensor, state: State | None) -> Pass:
        """Run a network over inputs (batch, time, channel); see `OwnNetworks.run`."""
        shown = self.shown(x)
        outputs = self.networks[place](shown)
        if not isinstance(outputs, Tensor) or outputs.ndim != 3 or outputs.shape[:2] != shown.shape[:2]:
            got = tuple(outputs.shape) if isinstance(outputs, Tensor) else type(outputs).__name__
            raise UserError(
                f"expected networks without a recurrent layer to return {tuple(shown.shape[:2])} and an axis "
                f"of outputs; got {got}",
                parameter="networks",
            )
        return Pass(outputs, {}, {"hidden": outputs})

    def first_state(self, place: int) -> dict[str, Tensor]:
        """Return nothing: what goes from step to step is in the memories alone."""
        return {}

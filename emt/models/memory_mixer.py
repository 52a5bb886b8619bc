"""What the mixers of attention and linear memories share: projections, a memory, and the state of both."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from emt.models.blocks import Mixer, prefixed
from emt.models.head_memory import HeadMemory
from emt.models.projections import Projections
from emt.models.softmax_memory import SoftmaxMemory
from emt.models.token_shift import TokenShift


class MemoryMixer(Mixer):
    """A mixer that writes and reads a memory with projections of its inputs, by the memory's ``rule``."""

    memory: HeadMemory | SoftmaxMemory
    projections: Projections | TokenShift

    def __init__(
        self,
        projections: Projections | TokenShift,
        memory: HeadMemory | SoftmaxMemory,
        rule: Mapping[str, Any],
    ) -> None:
        super().__init__()
        self.projections, self.memory = projections, memory
        self.torch_names = prefixed("projections", projections.torch_names)
        self.state_dims = {**memory.state_dims, **projections.state_dims}
        self.held_state = tuple(memory.state_dims)
        self.smooth = isinstance(memory, HeadMemory)
        self.rule = {**rule, **projections.mixes}

    def zero_state(self, like: Tensor) -> dict[str, Tensor]:
        """Return an empty memory and window."""
        return {**self.memory.zero_state(like), **self.projections.zero_state(like)}

"""Language models of `transformers` as a `Model` whose memories can be edited while they run."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from emt.models.base import Context, Log, Model, State
from emt.models.memory_edits import MemoryEdit, edit_of
from emt.own.language.calls import Call, Chosen, read_values
from emt.own.language.proof import check_reads
from emt.own.language.rebinding import watched


class LanguageModels(Model):
    """Language models of one architecture; nothing of theirs is changed, and no state is carried between runs.

    Parameters
    ----------
    networks
        One for each member.
    seeds
        Their seeds; empty if unknown.
    chosen
        Which parts of them are logged.
    classes
        Ids whose logits are the outputs.
    memories
        Rule of each logged memory.
    edits
        What of their writes can be changed.
    tolerance
        Largest relative difference at which a log is proved, of edited runs too; None for the default.
    """

    recurrent_name = None
    readout_name = None

    def __init__(
        self,
        networks: Sequence[nn.Module],
        seeds: Sequence[int],
        chosen: Chosen,
        classes: Sequence[int],
        memories: dict[str, dict[str, Any]],
        edits: tuple[str, ...],
        tolerance: float | None,
    ) -> None:
        super().__init__(seeds or range(len(networks)))
        self.networks = list(networks)
        self.chosen, self.classes, self.tolerance = chosen, list(classes), tolerance
        self.memories, self.edits = memories, edits
        self.state_dims, self.torch_names = {}, {}

    @property
    def members(self) -> int:
        """Number of models."""
        return len(self.networks)

    @property
    def like(self) -> Tensor:
        """An empty tensor in single precision, which logs have, on the models' device."""
        return torch.empty(0, device=next(self.networks[0].parameters()).device)

    def zero_state(self, like: Tensor) -> State:
        """Return nothing: a run starts from its first token."""
        return {}

    def forward(
        self, x: Tensor, state: State | None = None, steps: int | None = None, context: Context | None = None
    ) -> tuple[Tensor, State, Log]:
        """Run the models over ids (member, batch, time); outputs are logits of the classes. See `Model.forward`."""
        edits = {name: edit_of(context, name) for name in self.memories}
        runs = []
        for place, network in enumerate(self.networks):
            own = {name: _of_member(edit, place) for name, edit in edits.items() if edit is not None}
            runs.append(self._run(network, x[place], own))
        log = {name: torch.stack([found[name] for _, found in runs]) for name in runs[0][1]}
        return torch.stack([outputs for outputs, _ in runs]), {}, log

    def _run(self, network: Any, ids: Tensor, edits: dict[str, MemoryEdit]) -> tuple[Tensor, Log]:
        log: Log = {}

        def seen(node: str, call: Call) -> None:
            if node not in self.memories:
                return
            read = read_values(call)
            check_reads(node, call, read, self.tolerance)
            log.update({f"memory/{node}/{name}": tensor for name, tensor in call.log(read).items()})

        with watched(network, self.chosen, seen, edits):
            # Models are causal: what stands after a row's end changes nothing before.
            logits = network(input_ids=ids.clamp(min=0), use_cache=False).logits
        return logits[..., self.classes].float(), log


def _of_member(edit: MemoryEdit, place: int) -> MemoryEdit:
    return MemoryEdit(*(None if part is None else part[place] for part in edit))

"""Run language models while they are watched, and keep what a trace stores of them."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from emt import trace
from emt.errors import UserError
from emt.memory_nodes import axes
from emt.own.language.calls import Call, Chosen, read_values
from emt.own.language.proof import check_outputs, check_reads
from emt.own.language.rebinding import watched
from emt.own.language.tokens import Text

Variables = dict[str, tuple[tuple[str, ...], NDArray[Any]]]

MOST_AT_ONCE = 2**29
"""Bytes of logits and hidden states of the rows that run together; a longer row runs alone."""

STATES = {
    "hidden": (*trace.MEMBER_TIME, "unit"),
    "outputs": (*trace.MEMBER_TIME, "output"),
    "token_loss": trace.MEMBER_TIME,
}


class Recorder:
    """Records models one after the other, as members of one trace.

    Parameters
    ----------
    text
        What they are shown.
    members
        How many models there are.
    chosen
        Which parts of them are logged.
    hidden_layer
        Which of ``hidden_states`` is recorded.
    classes
        Ids whose logits are recorded; None for none.
    tolerance
        Largest relative difference at which a log is proved; None for the default.

    Attributes
    ----------
    proof
        The largest difference found of each proof.
    rules
        The rule of each node.
    edits
        What of all nodes' writes can be changed.
    """

    def __init__(
        self,
        text: Text,
        members: int,
        chosen: Chosen,
        hidden_layer: int,
        classes: Sequence[int] | None,
        tolerance: float | None,
    ) -> None:
        self.text, self.members, self.chosen = text, members, chosen
        self.hidden_layer, self.classes, self.tolerance = hidden_layer, list(classes or ()), tolerance
        self.proof = {"outputs": 0.0, "reads": 0.0}
        self.rules: dict[str, dict[str, Any]] = {}
        self.edits: tuple[str, ...] = ("scale", "skip", "value")
        self._states: dict[str, NDArray[np.float32]] = {}
        self._nodes: dict[str, dict[str, NDArray[np.float32]]] = {}
        self._heads: dict[str, tuple[int, ...]] = {}

    def record(self, model: nn.Module, place: int) -> None:
        """Run the model that is the member at ``place`` on all rows."""
        for rows, ids in self.text.parts(_rows_at_once(model, self.text)):
            shown = torch.tensor(ids, device=next(model.parameters()).device)
            where = (place, rows, slice(ids.shape[1]))

            def seen(node: str, call: Call, where: Any = where) -> None:
                self._log(node, call, where)

            plain = self._run(model, shown)
            with watched(model, self.chosen, seen):
                again = self._run(model, shown)
            check_outputs(place + 1, plain, again)
            self._keep_states(again, shown, where)

    def states(self) -> Variables:
        """Return the variables of the trace's root."""
        return {name: (STATES[name], array) for name, array in self._states.items()}

    def nodes(self) -> dict[str, Variables]:
        """Return the variables of each node of memories, in the order of layers."""
        return {name: self._node(name) for name in self._nodes}

    def _node(self, node: str) -> Variables:
        arrays = self._nodes[node]
        by_key = arrays["write_keep"].ndim > arrays["write_strength"].ndim
        found: Variables = {
            name: (axes(name, heads=True, by_key=by_key), array) for name, array in arrays.items()
        }
        if (numbers := self._heads[node]) != tuple(range(len(numbers))):
            found["head"] = (("head",), np.array(numbers))
        return found

    def _run(self, model: nn.Module, ids: Tensor) -> dict[str, Tensor]:
        """Return logits and hidden states of a model, (row, time, …)."""
        outputs = model(input_ids=ids, use_cache=False, output_hidden_states=True)
        hidden = outputs.hidden_states
        if not -len(hidden) <= self.hidden_layer < len(hidden):
            raise UserError(
                f"expected one of {len(hidden)} hidden states, the embedding's first; got {self.hidden_layer}",
                parameter="hidden_layer",
            )
        found = {"hidden states": hidden[self.hidden_layer]}
        if (logits := getattr(outputs, "logits", None)) is not None:
            found["logits"] = logits
        elif self.classes:
            raise UserError(f"expected a model with logits; got {type(model).__name__}", parameter="classes")
        return found

    def _keep_states(self, outputs: dict[str, Tensor], ids: Tensor, where: Any) -> None:
        kept = {"hidden": outputs["hidden states"]}
        kept["outputs"] = outputs["hidden states"][..., :0]
        if (logits := outputs.get("logits")) is not None:
            kept["outputs"] = logits[..., self.classes]
            kept["token_loss"] = _losses(logits, ids)
        for name, tensor in kept.items():
            _put(self._states, name, tensor, self._shape, where)

    def _log(self, node: str, call: Call, where: Any) -> None:
        read = read_values(call)
        found = check_reads(node, call, read, self.tolerance)
        self.proof["reads"] = max(self.proof["reads"], found)
        self.rules[node] = {"kind": "linear", "reads": "after"} | (
            {"mixes": call.mixes} if call.mixes > 1 else {}
        )
        self.edits = tuple(name for name in self.edits if name in call.edits)
        self._heads[node] = call.heads
        arrays = self._nodes.setdefault(node, {})
        for name, tensor in call.log(read).items():
            _put(arrays, name, tensor, self._shape, where)

    @property
    def _shape(self) -> tuple[int, int, int]:
        return (self.members, *self.text.ids.shape)


def _put(
    arrays: dict[str, NDArray[np.float32]], name: str, tensor: Tensor, shape: tuple[int, ...], where: Any
) -> None:
    """Put (row, time, …) of one member where it belongs in (member, batch, time, …), NaN elsewhere."""
    if name not in arrays:
        arrays[name] = np.full((*shape, *tensor.shape[2:]), np.nan, np.float32)
    place, rows, steps = where
    arrays[name][place, rows, steps] = tensor.float().cpu().numpy()


def _losses(logits: Tensor, ids: Tensor) -> Tensor:
    """Return the cross-entropy of each next token, (row, time), NaN at the last step."""
    losses = torch.full(ids.shape, torch.nan)
    for row, (here, wanted) in enumerate(zip(logits, ids, strict=True)):
        # A row at a time: logits in single precision are as large as those that the model returned.
        losses[row, :-1] = cross_entropy(here[:-1].float(), wanted[1:], reduction="none")
    return losses


def _rows_at_once(model: Any, text: Text) -> int:
    config = model.config.get_text_config()
    step = config.vocab_size + config.hidden_size * (config.num_hidden_layers + 1)
    # A plain and a watched run are compared.
    return max(1, MOST_AT_ONCE // (2 * 4 * step * text.ids.shape[1]))

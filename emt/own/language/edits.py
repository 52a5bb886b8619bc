"""Change what the recurrences of a language model write, before they are computed.

A write gets another strength or value, or is skipped with what it erases (`emt.ops.memory_edit`); all that comes after
it is computed by the model itself. Edits have no member axis here: (batch, time, …).
"""

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor
from torch.nn.functional import silu

from emt.models.memory_edits import MemoryEdit

Given = dict[str, Any]
Editor = Callable[[MemoryEdit, Given], tuple[Given, Tensor | None]]
"""Takes arguments of a recurrence by name; returns changed ones, and what its outputs lack beside the memory."""


def gated_delta(edit: MemoryEdit, given: Given) -> tuple[Given, Tensor | None]:
    """Change a gated delta rule: values, or the rate with which it both writes and erases."""
    changed = {"value": edit.value_of(given["value"]), "beta": edit.unless_skipped(given["beta"])}
    return given | changed, None


def mamba2(edit: MemoryEdit, given: Given) -> tuple[Given, Tensor | None]:
    """Change a Mamba-2 scan; what passes it by, D x, stays."""
    x, changed = given["hidden_states"], _values(edit, given["hidden_states"])
    if (d := given.get("D")) is None:
        return given | {"hidden_states": changed}, None
    return given | {"hidden_states": changed}, d.reshape(x.shape[2], -1) * (x - changed)


def mamba(edit: MemoryEdit, given: Given) -> tuple[Given, Tensor | None]:
    """Change a Mamba scan, (batch, channel, time); what passes it by, D x silu(z), stays."""
    x = given["hidden_states"]
    changed = _values(edit, x.transpose(1, 2)).transpose(1, 2)
    if (d := given.get("D")) is None:
        return given | {"hidden_states": changed}, None
    lost = d[:, None] * (x - changed)
    return given | {"hidden_states": changed}, lost if given.get("z") is None else lost * silu(given["z"])


def rwkv7(edit: MemoryEdit, given: Given) -> tuple[Given, Tensor | None]:
    """Change RWKV-7's recurrence: values, and for skipped steps what is looked up to be erased."""
    changed = {"value": _values(edit, given["value"]), "a": edit.unless_skipped(given["a"])}
    return given | changed, None


def _values(edit: MemoryEdit, value: Tensor) -> Tensor:
    """Return values (batch, time, …) of which skipped ones are zero: a write of strength 1 or dt has no other rate."""
    return edit.unless_skipped(edit.value_of(value))


EDITORS: Mapping[str, Editor] = {
    "torch_chunk_gated_delta_rule": gated_delta,
    "torch_recurrent_gated_delta_rule": gated_delta,
    "chunk_kimi_delta_attention": gated_delta,
    "recurrent_kimi_delta_attention": gated_delta,
    "mamba2_chunk_scan": mamba2,
    "mamba_selective_scan": mamba,
    "rwkv7_recurrent": rwkv7,
}
"""The functions whose writes can be changed, by name; of an mLSTM, whose norm sums its keys, they cannot."""


def edits_of(name: str, all_heads: bool) -> tuple[str, ...]:
    """Return what of a function's writes can be changed; values only where all of them are logged."""
    if name not in EDITORS:
        return ()
    return ("scale", "skip", "value") if all_heads and name != "mamba_selective_scan" else ("scale", "skip")

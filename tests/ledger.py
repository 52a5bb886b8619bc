"""What a step leaves of a linear memory, from its log: the rule of `emt.memory_nodes`, as tests check it."""

import torch

from emt.interventions.memories import writes_of


class Ledger:
    """One memory's log, ``writes``; changes of its matrix are (member, batch, head, value, key)."""

    def __init__(self, model, log, node):
        self.writes = writes_of(model, log)[node]
        prefix = f"memory/{node}/"
        entries = {n: log[prefix + n][:, None, None] for n in ("gain", "keep") if prefix + n in log}
        self.gain, self.kept = entries.get("gain", 1.0), entries.get("keep", 1.0)
        # Steps without a keep leave all as it is.
        self.forgets = (
            torch.isfinite(log[prefix + "write_keep"]).reshape(*self.writes.written.shape, -1).any(-1)
        )

    def written(self, step):
        """Return c v kᵀ of a step."""
        writes = self.writes
        value = writes.strength[:, :, step, :, None] * writes.value[:, :, step]
        return self.gain * value.unsqueeze(-1) * writes.key_at(step).unsqueeze(-2)

    def advance(self, change, step):
        """Return what a step leaves of a change: M (diag(w) − b x yᵀ)."""
        writes = self.writes
        keep, key = writes.keep[:, :, step], writes.key_at(step)
        look = keep * key if writes.look is None else writes.look[:, :, step]
        take = key if writes.take is None else writes.take[:, :, step]
        erased = torch.einsum("mbhvk,mbhk->mbhv", change, look) * writes.erase[:, :, step, :, None]
        kept = torch.where(self.forgets[:, :, step, None, None, None], change.new_ones(()) * self.kept, 1.0)
        return change * keep.unsqueeze(-2) * kept - erased.unsqueeze(-1) * take.unsqueeze(-2)


def tensors_of(model, node):
    """Return the tensors of the state that hold a memory."""
    held = [n for n in model.held_state if model.state_dims[n]]
    own = held if len(model.memories) == 1 else [n for n in held if n.endswith(f"_{node}")]
    if model.memories[node]["kind"] == "dictionary":
        return tuple(n for start in ("held", "keys", "values") for n in own if n.startswith(start))
    return (own[0],)

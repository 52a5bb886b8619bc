"""DND-LSTM (Ritter et al. 2018, arXiv:1805.09692): an LSTM that takes up what a dictionary of its own states recalls.

    [f, i, o, r, z]_t = [σ, σ, σ, σ, tanh](x_t W_in + h_{t-1} W_rec + b),   m_t = tanh(read(k_t))
    c_t = f c_{t-1} + i z + r m_t,   h_t = o tanh(c_t),   write(k_t, c_t) where the task says so
    y_t = h_t W_out + b_out: a logit for each action, and the value

A read comes before the write of its step and returns the value under the most similar key
(`emt.ops.dictionary`); a full dictionary drops its oldest entry. Where keys k_t are inputs, all of a trial's
slots are found before it is run; where they are hidden states, k_t = h_{t-1}, each step searches. A trial
starts from h_0, c_0 ~ 0.1 N(0, 1), drawn anew.
"""

from collections.abc import Iterator, Sequence
from functools import lru_cache, partial
from itertools import pairwise
from typing import Annotated, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from emt.models.base import Context, Log, Model, State, as_channels, constant
from emt.models.layers import lengthen
from emt.models.memory_edits import EDITS, edit_of
from emt.ops.dictionary import recall_average, recall_nearest, similarities
from emt.ops.dnd_lstm import DNDRun, dnd_lstm
from emt.ops.memory_edit import MemoryEdit
from emt.streams import stream

INITIAL_SCALE = 0.1
"""Standard deviation of initial states."""

_DRAWN_TOGETHER = 64
"""Initial states that come from one stream: a stream costs as much as ten of them."""


class DNDLSTM(Model):
    """LSTM with a dictionary of its cell states, an actor and a critic (the last output).

    Parameters
    ----------
    hidden_dim
        units of the recurrent layer.
    capacity
        slots of the dictionary; when all are taken, the oldest is dropped.
    key
        what states are filed under and looked up by: the whole input, its last half, the context, or the
        hidden state before the step.
    similarity
        how a query is compared with keys: minus a distance, or the cosine.
    recall
        what is recalled: the value of the most similar key, or all values weighted by 1 / (distance^2 +
        0.001).
    retrieval
        whether anything is recalled.
    """

    state_dims = {
        "hidden": ("unit",),
        "cell": ("unit",),
        "held": ("slot",),
        "keys": ("slot", "key"),
        "values": ("slot", "unit"),
    }
    held_state = ("held", "keys", "values")
    memories = {"dnd": {"kind": "dictionary", "reads": "before"}}
    edits = EDITS
    context = ("start", "written")
    readout_name = None
    torch_names = {
        "w_in": "rnn.weight_ih",
        "w_rec": "rnn.weight_hh",
        "b_in": "rnn.bias_ih",
        "b_rec": "rnn.bias_hh",
        "w_out": "readout.weight",
        "b_out": "readout.bias",
    }

    def __init__(
        self,
        seeds: Sequence[int],
        input_channels: int,
        output_channels: int,
        *,
        hidden_dim: Annotated[int, Field(ge=1)] = 32,
        capacity: Annotated[int, Field(ge=1)] = 100,
        key: Literal["input", "context", "hidden"] = "input",
        similarity: Literal["l2", "l1", "cosine"] = "l2",
        recall: Literal["nearest", "kernel"] = "nearest",
        retrieval: bool = True,
    ) -> None:
        super().__init__(seeds)
        self.capacity, self.similarity, self.recall, self.retrieval = capacity, similarity, recall, retrieval
        self.key = key
        self.key_channels = {"input": input_channels, "context": input_channels // 2, "hidden": hidden_dim}[
            key
        ]
        self.memories = {
            "dnd": {
                **type(self).memories["dnd"],
                "similarity": similarity,
                "recall": recall,
                "capacity": capacity,
            }
        }
        gates, zero = 5 * hidden_dim, constant(0.0)
        self.w_in = self.parameter_of("w_in", (input_channels, gates), semi_orthogonal)
        self.w_rec = self.parameter_of("w_rec", (hidden_dim, gates), semi_orthogonal)
        # Two biases that only act as their sum: each has Adam's step.
        self.b_in = self.parameter_of("b_in", (gates,), zero)
        self.b_rec = self.parameter_of("b_rec", (gates,), zero)
        self.w_out = self.parameter_of("w_out", (hidden_dim, output_channels), actor_and_critic)
        self.b_out = self.parameter_of("b_out", (output_channels,), zero)

    def zero_state(self, like: Tensor) -> State:
        """Return zeros: states (member, batch, unit), and an empty dictionary, (member, batch, slot, …)."""
        rows, units = like.shape[:2], self.w_rec.shape[1]
        sizes = {"unit": units, "slot": self.capacity, "key": self.key_channels}
        return {
            name: like.new_zeros(
                *rows, *(sizes[dim] for dim in dims), dtype=torch.bool if name == "held" else None
            )
            for name, dims in self.state_dims.items()
        }

    def forward(
        self, x: Tensor, state: State | None = None, steps: int | None = None, context: Context | None = None
    ) -> tuple[Tensor, State, Log]:
        """Run the members over a sequence; see `Model.forward`.

        ``context["start"]`` numbers the trials that begin at a step (-1 where none does): each number has its
        own initial state for every member. Steps at which ``context["written"]`` is not -1 write.
        """
        x = lengthen(as_channels(x, self.w_in), steps)
        state = self.zero_state(x) if state is None else state
        context = context or {}
        starts, written = (context[n] if n in context else _nothing(x) for n in self.context)
        parameters = (self.w_in, self.w_rec, self.w_out, self.b_in + self.b_rec, self.b_out)
        edit, runs, keys = edit_of(context, "dnd") or MemoryEdit(), [], []
        written = written if edit.silent is None else written.masked_fill(edit.silent, -1)
        if edit.hide is not None:
            state = {**state, "hide": torch.zeros_like(state["held"], dtype=edit.hide.dtype)}
        # Where a step looks for its own key, an edit of its read has to know which step it is.
        one_by_one = self.key == "hidden" and not edit.touches_writes_only
        for piece in _pieces(starts, written, one_by_one):
            start = self._begin(starts[:, :, piece.start], state["hidden"], state["cell"])
            read = partial(self._read, state, edit, piece)
            if self.key == "hidden":
                runs.append(dnd_lstm(x[:, :, piece], read, *parameters, *start))
                keys.append(torch.cat([start[0].unsqueeze(2), runs[-1].hidden[:, :, :-1]], dim=2).detach())
            else:
                keys.append(x[:, :, piece, -self.key_channels :])
                runs.append(dnd_lstm(x[:, :, piece], read(keys[-1]), *parameters, *start))
            last = {"hidden": runs[-1].hidden[:, :, -1], "cell": runs[-1].cell[:, :, -1]}
            entry = _entry(edit.at(piece.stop - 1), keys[-1][:, :, -1], last["cell"])
            state = last | _write(state, written[:, :, piece.stop - 1] >= 0, entry)
        run = DNDRun(*(_joined(parts) for parts in zip(*runs, strict=True)))
        queries, last = _joined(keys), {name: state[name] for name in self.state_dims}
        offered = {"key": edit.key_of(queries), "value": edit.value_of(run.cell.detach())}
        log = self._memory_log(queries, offered, written >= 0, run.recalled)
        return run.outputs, last, {"hidden": run.hidden, "cell": run.cell, **log}

    def _begin(self, start: Tensor, hidden: Tensor, cell: Tensor) -> tuple[Tensor, Tensor]:
        """Return the states that a step starts from, (member, batch, unit): new ones where a trial begins."""
        begins = start >= 0
        if not begins.any():
            return hidden, cell
        units = hidden.shape[-1]
        rows = [
            initial_state(s, n, units) for s, row in zip(self.seeds, start.tolist(), strict=True) for n in row
        ]
        new = torch.tensor(np.stack(rows)).to(hidden).view(*start.shape, 2, units).unbind(dim=2)
        if begins.all():
            return new[0], new[1]
        return torch.where(begins[..., None], new[0], hidden), torch.where(begins[..., None], new[1], cell)

    @torch.no_grad()
    def _read(self, state: State, edit: MemoryEdit, piece: slice, queries: Tensor) -> Tensor:
        """Return what the dictionary recalls for queries (member, batch, time, key): (member, batch, time, unit)."""
        # Slots fill from the last one on: those that are empty in all rows are not looked at.
        taken = int(state["held"].flatten(0, 1).any(dim=0).sum()) if self.retrieval else 0
        if not taken:
            return queries.new_zeros(*queries.shape[:3], state["values"].shape[-1])
        held, keys, values = (state[name][:, :, -taken:] for name in self.held_state)
        held = held.bool()
        similarity = similarities(queries, keys, self.similarity)
        hidden = None
        if edit.blind is not None and "hide" in state:
            hidden = edit.blind[:, :, piece, :1].bool() & state["hide"][:, :, None, -taken:].bool()
            similarity = similarity.masked_fill(hidden, -torch.inf)
        if self.recall == "nearest":
            recalled = recall_nearest(similarity, held, values)
        else:
            recalled = recall_average(similarity, held, values, self.similarity)
        if hidden is not None:
            recalled = recalled * (held.unsqueeze(-2) & ~hidden).any(dim=-1, keepdim=True)
        return recalled if edit.add is None else recalled + edit.add[:, :, piece, 0].to(recalled)

    def _memory_log(
        self, queries: Tensor, offered: dict[str, Tensor], writes: Tensor, recalled: Tensor
    ) -> Log:
        """Return what is written into the dictionary and read from it, as a trace has it."""
        nan = queries.new_full((), torch.nan)
        queries = queries if self.retrieval else nan.expand_as(queries)
        if writes.any():
            log = {name: torch.where(writes[..., None], x, nan) for name, x in offered.items()}
        else:
            log = {name: nan.expand_as(x) for name, x in offered.items()}
        log |= dict.fromkeys(("strength", "keep"), torch.ones_like(nan).expand(writes.shape))
        log |= {"erase": torch.zeros_like(nan).expand(writes.shape)}
        reads = {"read_query": queries.unsqueeze(3), "read_value": recalled.unsqueeze(3)}
        return {
            f"memory/dnd/{name}": t for name, t in ({f"write_{n}": t for n, t in log.items()} | reads).items()
        }


def semi_orthogonal(generator: np.random.Generator, shape: tuple[int, int]) -> NDArray[np.float64]:
    """Return a matrix with orthonormal rows or columns, whichever are fewer (Saxe et al. 2014)."""
    q, r = np.linalg.qr(generator.standard_normal((max(shape), min(shape))))
    q *= np.sign(np.diag(r))
    return q if shape[0] >= shape[1] else q.T


def actor_and_critic(generator: np.random.Generator, shape: tuple[int, int]) -> NDArray[np.float64]:
    """Return the weights of actions and value, orthonormal columns and one of length one."""
    units, outputs = shape
    heads = [semi_orthogonal(generator, (units, width)) for width in (outputs - 1, 1) if width]
    return np.concatenate(heads, axis=1)


def _nothing(x: Tensor) -> Tensor:
    """Return a context of -1, without events, for inputs (member, batch, time, channel)."""
    return x.new_full(x.shape[:3], -1, dtype=torch.int64)


def _joined(parts: Sequence[Tensor]) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.cat(list(parts), dim=2)


def _pieces(starts: Tensor, written: Tensor, one_by_one: bool = False) -> Iterator[slice]:
    """Yield the stretches of time that begin where a trial does, or after a write, in some row; or single steps."""
    if one_by_one:
        yield from (slice(step, step + 1) for step in range(starts.shape[2]))
        return
    begins, ends = (torch.stack([starts, written]) >= 0).flatten(1, 2).any(dim=1).tolist()
    cuts = sorted(
        {0, *(t for t, at in enumerate(begins) if at), *(t for t, at in enumerate(ends, 1) if at), len(ends)}
    )
    yield from (slice(first, last) for first, last in pairwise(cuts))


def _entry(edit: MemoryEdit, key: Tensor, cell: Tensor) -> dict[str, Tensor]:
    """Return what a write of one step puts into a slot, (member, batch, …)."""
    entry = {"keys": edit.key_of(key), "values": edit.value_of(cell)}
    return entry if edit.hide is None else {**entry, "hide": edit.hide}


@torch.no_grad()
def _write(state: State, writes: Tensor, entry: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the dictionary with a newest slot (member, batch, …) in the rows that write, their oldest one dropped."""
    new = {"held": torch.ones_like(writes), **entry}
    before = {name: state[name] for name in new}
    if not writes.any():
        return before
    after = {
        name: torch.cat([s[:, :, 1:], new[name].unsqueeze(2).to(s)], dim=2) for name, s in before.items()
    }
    if writes.all():
        return after
    return {
        name: torch.where(writes.view(*writes.shape, *[1] * (s.ndim - 2)), s, before[name])
        for name, s in after.items()
    }


def initial_state(seed: int, number: int, units: int) -> NDArray[np.float32]:
    """Return a member's initial states in the trial of a number, (2 unit,); for -1 any."""
    block, place = divmod(max(number, 0), _DRAWN_TOGETHER)
    states: NDArray[np.float32] = _initial_block(seed, block, units)[place]
    return states


@lru_cache(maxsize=2048)
def _initial_block(seed: int, block: int, units: int) -> NDArray[np.float32]:
    draws = stream("initial", seed, "train", block).standard_normal((_DRAWN_TOGETHER, 2 * units), np.float32)
    return np.float32(INITIAL_SCALE) * draws

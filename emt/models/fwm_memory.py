"""The memory of `emt.models.fwm`, which an LSTM's hidden states write and read: what its networks have in common."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from emt.models.base import Context, Log, Model, uniform
from emt.models.layers import linear_by_time
from emt.models.memory_edits import EDITS, edit_of, without
from emt.ops.fwm.edited import fwm_edited
from emt.ops.fwm.forms import FWMRun, fwm
from emt.ops.memory_edit import MemoryEdit


class Variant(NamedTuple):
    """Where published forms differ.

    Attributes
    ----------
    divides
        Whether γ is β over the size of a value, not β.
    strength_offset, forget_offset
        Added before the sigmoid of β and of the LSTM's forget gate.
    squashes_first, squashes_partners
        Whether n_0 and e are a tanh.
    residual
        Whether h_t is added to what was read.
    embeds
        Whether inputs are embedded. If not, LSTM and head are torch's modules on the inputs as they are: two biases
        of the LSTM, which learn at twice the speed of one, a bias of the head, and torch's initial values.
    """

    divides: bool
    strength_offset: float
    forget_offset: float
    squashes_first: bool
    squashes_partners: bool
    residual: bool
    embeds: bool


VARIANTS = {
    "paper": Variant(False, 0.0, 0.0, True, True, True, True),
    "catbabi": Variant(True, 1.0, 1.0, False, True, False, True),
    "catbabi_residual": Variant(True, 1.0, 1.0, False, True, True, True),
    "language_model": Variant(False, 1.0, 0.0, True, True, True, True),
    "meta_rl": Variant(True, 1.0, 0.0, False, False, True, False),
}


class Remembered(NamedTuple):
    """What a Fast Weight Memory did with hidden states.

    Attributes
    ----------
    found
        n_N, (member, batch, query, value).
    asking
        The hidden states that asked, (member, batch, query, unit).
    asked
        Their steps, (member, batch, query); None for all steps.
    memory
        F after the last step, (member, batch, value, key).
    log
        The log of the memory, if all steps asked.
    """

    found: Tensor
    asking: Tensor
    asked: Tensor | None
    memory: Tensor
    log: Log


class WithFastWeights(Model):
    """A network with a Fast Weight Memory; subclasses say where hidden states come from and what becomes of reads.

    Attributes
    ----------
    size, factors
        Channels of a value, and of each of so many factors of a key.
    variant
        Which equations.
    epsilon
        Added to the variance in the layer normalisation of reads.
    """

    memories = {"fwm": {"kind": "linear", "reads": "after"}}
    held_state: tuple[str, ...] = ("fast_weights",)
    smooth_state: tuple[str, ...] = ("fast_weights",)
    edits = (*EDITS, "hold")
    size: int
    factors: int
    variant: Variant
    epsilon: float
    w_write: nn.Parameter
    b_write: nn.Parameter
    w_read: nn.Parameter
    b_read: nn.Parameter
    w_out: nn.Parameter
    b_out: nn.Parameter
    memory_names = {
        "w_write": "write.weight",
        "b_write": "write.bias",
        "w_read": "read.weight",
        "b_read": "read.bias",
        "w_out": "output.weight",
        "b_out": "output.bias",
    }
    """Names of these parameters in a weight file."""

    def add_memory(self, units: int, reads: int) -> None:
        """Make the parameters of a memory for hidden states of so many units."""
        size, of_units, inner = self.size, uniform(units**-0.5), uniform(self.size**-0.5)
        projection = uniform((6 / (units + size)) ** 0.5)
        self.w_write = self.parameter_of("w_write", (units, 3 * size + 1), projection)
        self.b_write = self.parameter_of("b_write", (3 * size + 1,), of_units)
        self.w_read = self.parameter_of("w_read", (units, (reads + 1) * size), projection)
        self.b_read = self.parameter_of("b_read", ((reads + 1) * size,), of_units)
        self.w_out = self.parameter_of("w_out", (size, units), inner)
        self.b_out = self.parameter_of("b_out", (units,), inner)

    def empty_memory(self, like: Tensor) -> Tensor:
        """Return F before the first step, (member, batch, value, key)."""
        keys = self.size**2 if self.factors == 2 else 2 * self.size
        return like.new_zeros(*like.shape[:2], self.size, keys)

    def remember(
        self, hidden: Tensor, x: Tensor, memory: Tensor | None, context: Context | None
    ) -> Remembered:
        """Write hidden states (member, batch, time, unit) and read at the needed steps; the log is of all steps.

        Parameters
        ----------
        hidden
            Hidden states; best in memory with time before batch.
        x
            The network's inputs; nothing is written after a row's last token.
        memory
            F before the first step; None for zeros.
        context
            As of `Model.forward`.
        """
        keys, values, strength = self._writes(hidden, x)
        edit = edit_of(context, "fwm")
        if edit is not None:
            keys, values, strength = self._edited(keys, values, strength, edit)
        # An edited run is logged, and so read at every step.
        asked = None if edit is not None else _needed_steps(context, x.shape[2])
        asking = hidden if asked is None else _gather(hidden, asked)
        first, partners = self._queries(asking)
        if edit is None or edit.touches_writes_only:
            run = fwm(keys, values, strength, first, partners, memory, asked, self.epsilon)
        else:
            run = fwm_edited(keys, values, strength, first, partners, memory, edit, self.epsilon)
        log: Log = {}
        if asked is None:
            log = self._memory_log(keys, values, strength, run, x)
            if edit is not None:
                names = ("memory/fwm/write_key", "memory/fwm/write_value")
                log |= {name: without(log[name], edit.silent) for name in names}
        return Remembered(run.outputs, asking, asked, run.memory, log)

    def _writes(self, hidden: Tensor, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return factors of keys (member, batch, time, factor, key), values and γ, which is 0 after the last token."""
        *pair, value, strength = linear_by_time(hidden, self.w_write, self.b_write).split(
            [*[self.size] * 3, 1], dim=-1
        )
        keys = (
            torch.stack(pair, dim=3).tanh()
            if self.factors == 2
            else torch.cat(pair, dim=-1).tanh().unsqueeze(3)
        )
        strength = torch.sigmoid(strength.squeeze(-1) + self.variant.strength_offset)
        if self.variant.divides:
            strength = strength / self.size
        return keys, value.tanh(), strength if x.is_floating_point() else strength * (x >= 0)

    def _edited(
        self, keys: Tensor, values: Tensor, strength: Tensor, edit: MemoryEdit
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return factors of keys, values and γ as they are written."""
        if edit.key is not None and self.factors == 1:
            edit = edit._replace(key=edit.key.unsqueeze(3))
        silent = edit.silent
        strength = strength if silent is None else strength.masked_fill(silent, 0.0)
        return edit.key_of(keys), edit.value_of(values), strength

    def _queries(self, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """Return n_0 (member, batch, query, value) and e (member, batch, query, read, value)."""
        first, *partners = linear_by_time(hidden, self.w_read, self.b_read).split(self.size, dim=-1)
        first = first.tanh() if self.variant.squashes_first else first
        together = torch.stack(partners, dim=3)
        return first, together.tanh() if self.variant.squashes_partners else together

    def _memory_log(self, keys: Tensor, values: Tensor, strength: Tensor, run: FWMRun, x: Tensor) -> Log:
        """Return what is written into the memory and read from it, as a trace has it; NaN after the last token."""
        queries = run.queries if self.factors == 2 else run.queries.squeeze(4)
        log = {
            "write_key": keys if self.factors == 2 else keys.squeeze(3),
            "write_value": values,
            "write_strength": strength / run.rescale,
            "write_erase": strength,
            "write_keep": 1 / run.rescale,
            "read_query": queries,
            "read_value": run.values,
        }
        if not x.is_floating_point() and (absent := x < 0).any():
            log = {
                n: t.masked_fill(absent.reshape(*x.shape, *[1] * (t.ndim - 3)), torch.nan)
                for n, t in log.items()
            }
        return {f"memory/fwm/{name}": tensor for name, tensor in log.items()}


def _needed_steps(context: Context | None, steps: int) -> Tensor | None:
    """Return the needed steps of each row, (member, batch, query), followed by others in rows that need fewer.

    None where nothing is said, or as many as there are.
    """
    if context is None or "needed_steps" not in context:
        return None
    needed = context["needed_steps"]
    most = int(needed.sum(dim=-1).max())
    return (
        None
        if most == steps
        else needed.byte().sort(dim=-1, descending=True, stable=True).indices[..., :most]
    )


def _gather(hidden: Tensor, steps: Tensor) -> Tensor:
    return hidden.gather(2, steps.unsqueeze(-1).expand(*steps.shape, hidden.shape[-1]))

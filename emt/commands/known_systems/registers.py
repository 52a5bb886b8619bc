"""A shift register as an Elman network with weights by hand: what it holds, and where, is known (torch)."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from emt.commands.known_systems.answers import Answer, analyse

LENGTH, WIDTH = 3, 2
SCALE = 1e-3
"""Of inputs: tanh is linear to 1e-6 there."""


def shift_register(seeds: Sequence[int]) -> Any:
    """Return Elman networks of LENGTH slots of WIDTH units, through which inputs move (`emt.record.Loaded`).

    A step moves the content of each slot into the one before, that of the first into the last, where an input
    is added and the readout reads. So the vector shown at step t is read at t + LENGTH, and again every LENGTH
    steps: repeat copy without an error.
    """
    import torch

    from emt.models.elman import Elman
    from emt.record import Loaded
    from emt.tasks.variable_binding import VariableBinding

    task: Any = VariableBinding(seq_length=LENGTH, input_dim=WIDTH)
    model = Elman(seeds, WIDTH, WIDTH, hidden_dim=LENGTH * WIDTH).requires_grad_(False)
    last, units = slice((LENGTH - 1) * WIDTH, None), np.arange(LENGTH * WIDTH)
    for weight in (model.w_in, model.w_rec, model.w_out):
        weight.zero_()
    model.w_rec[:, units, (units - WIDTH) % len(units)] = 1
    model.w_in[:, :, last] = SCALE * torch.eye(WIDTH)
    model.w_out[:, last] = torch.eye(WIDTH) / SCALE
    labels = {"model": {"type": "rnn"}, "task": {}, "experiment": "register", "seeds": list(seeds)}
    return Loaded(model, task, tuple(range(1, len(seeds) + 1)), labels)


def exchanged_registers() -> Iterator[Answer]:
    """Shift registers whose whole content is exchanged between trials, once all inputs are in.

    Each then answers what its source was shown: all bits in which the two differ are the source's, the others
    stay right, and the share of right answers is that of equal bits. Cut there and left unchanged all are right.
    """
    from emt.interventions.condition import Condition
    from emt.interventions.conditions import cut
    from emt.interventions.intervene import intervene

    loaded = shift_register([1, 2])
    batch = loaded.task.test_batch(0, LENGTH, 2 * LENGTH, 64)
    base = cut(LENGTH)
    found = intervene(loaded, batch, [base, Condition("exchanged", "shuffle", "all", LENGTH, base.name)])
    rows = analyse("interventions", found).population
    shown = np.asarray(batch.targets[0, :, LENGTH:])
    alike = float((shown == shown[found["source"].sel(condition="exchanged")]).mean())
    yield Answer(
        "interventions", "right answers of a register, cut", 1.0, rows.loc[base.name, "accuracy"], 1e-9
    )
    row = rows.loc["exchanged"]
    yield Answer("interventions", "answers of the source, exchanged", 1.0, row["counterfactual_right"], 1e-6)
    yield Answer("interventions", "right where both are alike", 1.0, row["kept_right"], 1e-6)
    yield Answer("interventions", "effect: bits that differ", 1.0 - alike, row["effect"], 1e-6)


def exchanged_slots() -> Iterator[Answer]:
    """Shift registers in which one slot is exchanged: the direction of each variable is a unit, of length SCALE.

    In a state the units of slot j hold the vector that is answered j steps on, so Ψ = SCALE I and D = I / SCALE.
    Set and swapped, all bits of the slot that differ are answered like the source, and all others stay; put into
    the next slot, none of the slot's is. Everything but Ψ is nothing. Directions of units that are the slots'
    own have no cosine, and one factor for each slot explains one slot of three.
    """
    from emt.codes import Codes
    from emt.interventions.intervene import intervene

    loaded = shift_register([1, 2])
    batch = loaded.task.test_batch(0, LENGTH, 3 * LENGTH, 64)
    units = np.tile(np.eye(LENGTH * WIDTH), (2, 1, 1))
    codes = Codes(SCALE * units, units / SCALE, np.arange(LENGTH * WIDTH), loaded.task.operator(LENGTH))
    result = analyse("interventions", intervene(loaded, batch, kinds=("variables",), codes=codes))
    rows = result.variables.xs(LENGTH + 1, level="after")
    for edit in ("set", "swap"):
        row = rows.loc[edit, "slot 2"]
        yield Answer("interventions", f"a slot is answered, {edit}", 1.0, row["interchange"], 1e-6)
        yield Answer("interventions", f"other slots stay, {edit}", 1.0, row["kept"], 1e-6)
    yield Answer(
        "interventions",
        "a slot in the next one's place",
        0.0,
        rows.loc[("set", "slot 2"), "wrong_slot"],
        1e-6,
    )
    yield Answer(
        "interventions",
        "all but variables swapped",
        1.0,
        rows.loc[("swap", "all but variables"), "kept"],
        1e-6,
    )
    yield Answer("interventions", "condition number of Ψ", 1.0, result.codes["condition_number"].mean(), 1e-6)
    yield Answer(
        "interventions", "cosine of a bit in two slots", 0.0, result.codes["slot_cosine"].mean(), 1e-9
    )
    yield Answer(
        "interventions", "Ψ² by one factor a slot", 1 / LENGTH, result.codes["scalar_share"].mean(), 1e-9
    )


def registers_of_others() -> Iterator[Answer]:
    """Two shift registers, the units of the second in another order: Ψ and D are those of the first, reordered.

    All variables of each, put into the other, are answered like the source, through the directions of both and by
    the least-squares map of states, which is the permutation. Distances of states, which no rotation changes, are
    zero: of states in single precision, to 5e-4, the angle whose cosine is 1 less 1e-7.
    """
    from emt.codes import Codes
    from emt.interventions.carried import held_by
    from emt.interventions.intervene import intervene

    loaded, order = shift_register([1, 2]), np.array([3, 0, 5, 1, 4, 2])
    model = loaded.model
    model.w_rec[1], model.w_in[1], model.w_out[1] = (
        model.w_rec[1][order][:, order],
        model.w_in[1][:, order],
        model.w_out[1][order],
    )
    units = np.stack([np.eye(LENGTH * WIDTH), np.eye(LENGTH * WIDTH)[order]])
    codes = Codes(SCALE * units, units.mT / SCALE, np.arange(LENGTH * WIDTH), loaded.task.operator(LENGTH))
    both = loaded.task.test_batch(0, LENGTH, 3 * LENGTH, 96)
    fitted, batch = both.part(slice(32)), both.part(slice(32, None))
    held = held_by(loaded, batch, fitted, codes)
    found = intervene(loaded, batch, kinds=("members",), codes=codes, partners=held)
    pair = analyse("interventions", found).pairs.table.loc["model-1", "model-2"]
    yield Answer("interventions", "carried over through directions", 1.0, pair["variables"], 1e-6)
    yield Answer("interventions", "carried over by a map of states", 1.0, pair["map"], 1e-6)
    yield Answer("interventions", "CKA of reordered units", 0.0, pair["cka"], 1e-3)

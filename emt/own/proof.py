"""Proofs that what is recorded of a network is what it does; each is an error if it fails.

* ``outputs``: with hooks in place the network returns what it returns without, to the bit.
* ``repeat``: a second run is the first, to the bit.
* ``rows``: a trial run alone gives what it gives among others, since Jacobians rest on trials that do not see
  each other.
* ``steps``: run step by step from the state that is recorded, it does what it does in one run: nothing else is
  carried from step to step. A module that keeps a memory itself has no such state, and is proved without.
* ``memories``: what was logged of a memory gives what was read of it (`emt.own.memory_proof`).

Differences are the largest over outputs and hidden states, each relative to its own largest absolute value.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from emt.errors import UserError
from emt.own.modules import Modules
from emt.own.networks import OwnNetworks, Pass

PROOFS = ("outputs", "repeat", "rows", "steps", "memories")

MOST_SINGLE_STEPS = 4096
"""Single steps from recorded states that are compared with the run, at even distances over trials and steps."""


def check_pass(stack: OwnNetworks, place: int, x: Tensor, run: Pass, tolerance: float) -> dict[str, float]:
    """Return by how much a network fails the proofs but ``steps``, on inputs (batch, time, channel).

    Raises
    ------
    UserError
        If it fails one.
    """
    if not all(bool(tensor.isfinite().all()) for tensor in (run.outputs, *run.states.values())):
        raise _failure(
            place, "outputs or states are not finite: NaN or infinity in its weights or its inputs?"
        )
    found = {"repeat": _apart(run, stack.run(place, x, None))}
    if found["repeat"] > 0:
        raise _failure(
            place,
            f"outputs differ by {found['repeat']:.0e} between two runs: something is random in evaluation mode, "
            "or kept from one run for the next",
        )
    if isinstance(stack, Modules):
        plain = stack.plain(place, x)
        same = (
            stack.is_bare
            or stack.readouts is not None
            or torch.equal(_flat(plain), _flat(_returned(stack, run)))
        )
        if not same:
            raise _failure(place, "outputs are others while its layer is watched (hooks)")
        found["outputs"] = 0.0
    if len(x) > 1:
        rows = (0, len(x) - 1)
        alone = [stack.run(place, x[row : row + 1], None) for row in rows]
        found["rows"] = max(_apart(_row(run, row), one, run) for row, one in zip(rows, alone, strict=True))
        if not found["rows"] <= tolerance:
            raise _failure(place, f"rows of a batch change each other ({found['rows']:.0e})")
    return found


def check_steps(stack: OwnNetworks, place: int, run: Pass, steps: Sequence[Pass], tolerance: float) -> float:
    """Return by how much a run and the same run step by step differ.

    Raises
    ------
    UserError
        If it is more than the tolerance; the message names the first such step.
    """
    found = 0.0
    for name, whole in {"outputs": run.outputs, **run.states}.items():
        parts = [s.outputs if name == "outputs" else s.states[name] for s in steps]
        if name == "outputs" and _at_last_step(stack):
            apart = _largest(whole - parts[-1])[None] / _scale(whole)
            first = len(steps) - 1
        else:
            apart = torch.stack([_largest(whole[:, t] - part[:, 0]) for t, part in enumerate(parts)])
            apart, first = apart / _scale(whole), 0
        worst = float(apart.max()) if apart.numel() else 0.0
        if not worst <= tolerance:
            at = first + int((~(apart <= tolerance)).nonzero()[0])
            raise _failure(
                place,
                f"run step by step, {name} differ by {worst:.0e} from step {at} on: more is carried than the state "
                f"of {_where(stack)}",
            )
        found = max(found, worst)
    return found


def check_single_steps(
    stack: OwnNetworks, place: int, x: Tensor, states: Mapping[str, Tensor], tolerance: float
) -> float:
    """Return by how much single steps from recorded states (batch, time, …), in another order, differ from the run.

    Raises
    ------
    UserError
        If it is more than the tolerance.
    """
    if x.shape[1] < 2:
        return 0.0
    before, after = (
        {n: s[:, cut].flatten(0, 1) for n, s in states.items()} for cut in (slice(-1), slice(1, None))
    )
    shown = x[:, 1:].flatten(0, 1)
    chosen = torch.arange(len(shown) - 1, -1, -max(1, len(shown) // MOST_SINGLE_STEPS), device=x.device)
    stepped = stack.run(place, shown[chosen, None], {name: s[chosen] for name, s in before.items()})
    apart = [
        float(_largest(stepped.last[name].to(s) - s[chosen]) / _scale(s))
        for name, s in after.items()
        if s.numel()
    ]
    if not max(apart) <= tolerance:
        raise _failure(
            place,
            f"single steps from recorded states differ by {max(apart):.0e}: more is carried than the state of "
            f"{_where(stack)}",
        )
    return max(apart)


def _where(stack: OwnNetworks) -> str:
    if isinstance(stack, Modules):
        return repr(stack.path) if stack.path else "the layer"
    return "the cell"


def _failure(place: int, what: str) -> UserError:
    return UserError(f"network {place + 1}: {what}", parameter="networks")


def _at_last_step(stack: OwnNetworks) -> bool:
    return isinstance(stack, Modules) and stack.outputs_at == "the last step"


def _row(run: Pass, row: int) -> Pass:
    pick = slice(row, row + 1)
    return Pass(run.outputs[pick], {}, {name: s[pick] for name, s in run.states.items()})


def _apart(a: Pass, b: Pass, scale: Pass | None = None) -> float:
    """Return the largest difference of outputs and states, relative to the largest value of ``scale``."""
    pairs = [(a.outputs, b.outputs, (scale or a).outputs)]
    pairs += [(a.states[n], b.states[n], (scale or a).states[n]) for n in a.states]
    return max((float(_largest(x - y) / _scale(z)) for x, y, z in pairs if x.numel()), default=0.0)


def _largest(difference: Tensor) -> Tensor:
    return (
        difference.abs().double().max()
        if difference.numel()
        else difference.new_zeros((), dtype=torch.float64)
    )


def _scale(values: Tensor) -> float:
    return max(float(values.abs().max()) if values.numel() else 0.0, 1e-30)


def _flat(tensor: Tensor | None) -> Tensor:
    return torch.empty(0) if tensor is None else tensor.flatten()


def _returned(stack: Modules, run: Pass) -> Tensor:
    """Return outputs as the network returned them."""
    time_first = not stack.batch_first and stack.outputs_at == "every step"
    return run.outputs.transpose(0, 1) if time_first else run.outputs

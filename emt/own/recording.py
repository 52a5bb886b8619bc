"""Record one's own networks: a Trace of all of them on the same trials, and proofs that it is what they do."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from emt import trace
from emt.errors import UserError
from emt.own.cells import Cells
from emt.own.description import describe_network
from emt.own.loops import Loops
from emt.own.memory_arrays import Group, memory_variables
from emt.own.memory_calls import logging
from emt.own.memory_proof import check_memories
from emt.own.modules import LAYERS, Modules, linear_readout
from emt.own.networks import OwnNetworks, Pass, as_list, check_seeds, in_evaluation_mode
from emt.own.proof import check_pass, check_single_steps, check_steps
from emt.own.run import Run
from emt.own.trials import Trials
from emt.record import Loaded, jacobian_at_mean, to_array
from emt.tasks.base import Batch, Task

Arrays = dict[str, NDArray[Any]]


def from_torch(
    networks: nn.Module | Sequence[nn.Module],
    trials: Trials,
    *,
    recurrent: str | None = None,
    readout: Callable[[Tensor], Tensor] | Sequence[Callable[[Tensor], Tensor]] | None = None,
    silence: Any = None,
    seeds: Sequence[int] = (),
    label: str = "own",
    tolerance: float = 1e-5,
) -> Run:
    """Record torch networks that contain one nn.RNN, nn.GRU or nn.LSTM, or such layers themselves.

    Networks are called as they are, in evaluation mode, without gradients, on trials of one length at a time;
    nothing of theirs is changed. The state is the layer's; embeddings, learned initial states and heads
    around it need no word. A network that logs a memory of its own (`emt.log_write`, with ``step=``) may lack
    such a layer; what its outputs are is then its hidden state too. Its memory is no state that a step could
    start from, so that it has no step either: `from_cells` knows it.

    Parameters
    ----------
    networks
        one network, or several of one architecture: the members
    trials
        what they are shown (`emt.trials`, `emt.task_trials`)
    recurrent
        path of the recurrent layer, where a network has several
    readout
        function of hidden states (batch, time, unit) that gives outputs, one for all or one for each (default:
        what a network returns; a layer itself has none)
    silence
        the id or vector that stands for no input (default: zeros; for ids it must be given, or there is no
        spectrum of a gated network and no search for fixed points)
    seeds
        seeds of the networks, so that analyses can pair those of two runs; unknown if not given
    label
        what figures call the run
    tolerance
        largest difference, relative to the largest output, at which a proof holds (`emt.own.proof`)

    Raises
    ------
    UserError
        If networks differ in architecture, no recurrent layer is found or a proof fails.

    Examples
    --------
    >>> run = emt.from_torch(torch.nn.GRU(3, 8, batch_first=True), emt.trials(np.ones((4, 10, 3))))
    >>> run.recording["hidden"].shape
    (1, 4, 10, 8)
    """
    members = as_list("networks", networks)
    for number, network in enumerate(members, 1):
        if not isinstance(network, nn.Module):
            raise UserError(
                f"expected torch modules; network {number} is {type(network).__name__} (functions: emt.from_cells)",
                parameter="networks",
            )
    readouts = None if readout is None else _one_each(readout, len(members), "readout")
    with in_evaluation_mode([*members, *(readouts or ())]):
        given = (members, check_seeds(seeds, len(members)), *_shown(trials, silence))
        layered = any(isinstance(part, LAYERS) for part in members[0].modules())
        if layered or recurrent is not None or readouts is not None:
            return record(Modules(*given, recurrent, readouts), trials, label, seeds, tolerance)
        return record(Loops(*given), trials, label, seeds, tolerance)


def from_cells(
    steps: Callable[..., Any] | Sequence[Callable[..., Any]],
    start: Callable[[int], Any] | Sequence[Callable[[int], Any]],
    trials: Trials,
    *,
    hidden: str | None = None,
    held: Sequence[str] = (),
    silence: Any = None,
    seeds: Sequence[int] = (),
    label: str = "own",
    tolerance: float = 1e-5,
) -> Run:
    """Record step functions, ``step(x (batch, channel), state) -> (output (batch, output), state)``.

    Parameters
    ----------
    steps
        one step function, or several: the members. A module or any other callable that computes with torch
    start
        function of the number of trials that returns the initial state, one for all or one for each: a tensor,
        a tuple or a dict of tensors (batch, …)
    trials
        what they are shown (`emt.trials`, `emt.task_trials`)
    hidden
        which part of the state recordings call ``hidden``: ``state``, ``state_0`` …, a name of the dict, or
        "output" (default: the first)
    held
        parts of the state that Jacobians hold constant and recordings do not store: contents of memories
    silence, seeds, label, tolerance
        as in `from_torch`

    Raises
    ------
    UserError
        If the state is of another kind, or a proof fails.

    Examples
    --------
    >>> half = lambda x, state: (state, 0.5 * state + x)
    >>> run = emt.from_cells(half, lambda batch: torch.zeros(batch, 3), emt.trials(np.ones((4, 10, 3))))
    >>> run.recording["step_matrix"].values[0].diagonal()
    array([0.5, 0.5, 0.5])
    """
    members = as_list("steps", steps)
    for number, step in enumerate(members, 1):
        if not callable(step):
            raise UserError(
                f"expected functions; number {number} is {type(step).__name__}", parameter="steps"
            )
    with in_evaluation_mode(members):
        stack = Cells(
            members,
            check_seeds(seeds, len(members)),
            *_shown(trials, silence),
            _one_each(start, len(members), "start"),
            hidden,
            held,
        )
        return record(stack, trials, label, seeds, tolerance)


def record(stack: OwnNetworks, trials: Trials, label: str, seeds: Sequence[int], tolerance: float) -> Run:
    """Run all networks on all trials and return what was recorded; see `from_torch`."""
    if not label.strip():
        raise UserError("expected at least one character", parameter="label")
    proof: dict[str, float] = {}
    logged: list[list[Group]] = [[] for _ in range(stack.members)]
    members = [
        _record_one(stack, place, trials, tolerance, proof, logged[place]) for place in range(stack.members)
    ]
    recorded = {name: np.stack([m[name] for m in members]) for name in members[0]}
    dims = {"hidden": ("unit",), "outputs": ("output",), **stack.state_dims}
    arrays: dict[str, tuple[tuple[str, ...], NDArray[Any]]] = trials.variables(recorded["outputs"].shape[-1])
    arrays |= {
        name: ((*trace.MEMBER_TIME, *dims[name]), array)
        for name, array in recorded.items()
        if name not in stack.held_state
    }
    if clash := ", ".join(name for name in trials.events if name in stack.state_dims):
        raise UserError(f"expected names that no state has; got {clash}", parameter="events")
    moving = [n for n in stack.state_dims if n in arrays and recorded[n].dtype.kind == "f"]
    numbers = list(range(1, stack.members + 1))
    labels: dict[str, Any] = {
        "model": {"type": label},
        "task": dict(trials.task),
        "experiment": label,
        "seeds": [int(seed) for seed in seeds],
    }
    loaded = Loaded(stack, cast("Task", trials), tuple(numbers), labels)
    rules, memories = memory_variables(logged, *trials.present.shape)
    steps_known = _steps_known(stack, logged[0])
    matrix, source = _step_matrix(loaded, recorded, trials.present, moving if steps_known else ())
    if matrix is not None:
        arrays["step_matrix"] = (("member", "state", "from_state"), matrix)
    if (readouts := _readouts(stack, recorded, trials.present)) is not None:
        arrays["readout"] = (("member", "output", "unit"), readouts)
    about = {
        **labels,
        "accuracy": trials.rule,
        "tokens": list(trials.tokens),
        "length": trials.length,
        # Outputs that nothing follows from are no state, and yet what there is to compare.
        "states": moving or ["hidden"],
        "memories": rules,
        "groups": list(trials.groups),
        "step_matrix": source,
        "proof": proof,
        "recorded_with": stack.kind,
    }
    if memories:
        unproved = trace.make(arrays, numbers, about, memories, trial_ids=trials.trial_ids)
        proof["memories"] = check_memories(unproved, tolerance)
    recording = trace.make(arrays, numbers, about, memories, trial_ids=trials.trial_ids)
    described = [describe_network(network) for network in stack.networks]
    return Run(recording, loaded if steps_known else None, batch_of(trials), described)


def _steps_known(stack: OwnNetworks, logged: Sequence[Group]) -> bool:
    """Whether a step can start from the recorded state: not where a module keeps a memory beside it."""
    return stack.steps_known and not (
        isinstance(stack, Modules) and any(calls.memories for _, calls in logged)
    )


def _record_one(
    stack: OwnNetworks,
    place: int,
    trials: Trials,
    tolerance: float,
    proof: dict[str, float],
    logged: list[Group],
) -> Arrays:
    """Run one network on all trials, those of one length together; return (batch, time, …), NaN after a trial's end."""
    found: Arrays = {}
    for rows, x in by_length(trials, stack.like):
        with torch.no_grad():
            with logging(*x.shape[:2]) as calls:
                run = stack.run(place, x, None)
            logged.append((rows, calls))
            passed = check_pass(stack, place, x, run, tolerance)
            if _steps_known(stack, logged):
                states, outputs, apart = _in_steps(stack, place, x, run, tolerance)
                passed["steps"] = apart
            else:
                states, outputs = run.states, run.outputs
                if outputs.ndim == 2:
                    runs = (stack.run(place, x[:, : t + 1], None) for t in range(x.shape[1]))
                    outputs = torch.stack([r.outputs for r in runs], dim=1)
        for name, value in passed.items():
            proof[name] = max(proof.get(name, 0.0), value)
        for name, tensor in {"hidden": run.states["hidden"], "outputs": outputs.flatten(2), **states}.items():
            values = to_array(tensor)
            if name not in found:
                shape = (*trials.present.shape, *values.shape[2:])
                found[name] = np.full(shape, np.nan if values.dtype.kind == "f" else 0, values.dtype)
            found[name][rows, : values.shape[1]] = values
    return found


def _in_steps(
    stack: OwnNetworks, place: int, x: Tensor, run: Pass, tolerance: float
) -> tuple[dict[str, Tensor], Tensor, float]:
    """Return states and outputs at every step of a run, and by how much the same run step by step differs from it."""
    steps = list(_step_by_step(stack, place, x))
    apart = check_steps(stack, place, run, steps, tolerance)
    states = {
        name: run.states[name] if name in run.states else torch.stack([s.last[name] for s in steps], dim=1)
        for name in stack.state_dims
    }
    single = check_single_steps(stack, place, x, states, tolerance)
    outputs = run.outputs if run.outputs.ndim == 3 else torch.cat([s.outputs[:, None] for s in steps], dim=1)
    return states, outputs, max(apart, single)


def by_length(trials: Trials, like: Tensor) -> Iterator[tuple[NDArray[np.intp], Tensor]]:
    """Yield places of trials of one length, and their inputs (trial, time, channel)."""
    inputs = trials.inputs[..., None] if trials.are_ids else trials.inputs
    for length in np.unique(trials.lengths):
        rows = np.flatnonzero(trials.lengths == length)
        yield rows, torch.tensor(inputs[rows, :length]).to(like)


def batch_of(trials: Trials) -> Batch:
    """Return the run that a search for fixed points starts from: of the first steps of long trials the most states.

    Trials are cut to one length, so that no step after a trial's end counts.
    """
    rows, length = largest_block(trials)
    inputs = (trials.inputs[..., None] if trials.are_ids else trials.inputs)[rows, :length].astype(np.float32)
    nothing = np.zeros((1, *inputs.shape[:2]))
    return Batch(inputs[None], nothing[..., None].astype(np.float32), nothing.astype(bool))


def largest_block(trials: Trials) -> tuple[NDArray[np.intp], int]:
    """Return which trials are how long, cut to one length so that the most steps are left."""
    lengths = np.unique(trials.lengths)
    counts = [int((trials.lengths >= length).sum()) * int(length) for length in lengths]
    length = int(lengths[int(np.argmax(counts))])
    return np.flatnonzero(trials.lengths >= length), length


def _step_by_step(stack: OwnNetworks, place: int, x: Tensor) -> Iterator[Pass]:
    state: Mapping[str, Tensor] | None = None
    for t in range(x.shape[1]):
        step = stack.run(place, x[:, t : t + 1], state)
        state = step.last
        yield step


def _step_matrix(
    loaded: Loaded, recorded: Arrays, present: NDArray[np.bool_], moving: Sequence[str]
) -> tuple[NDArray[np.float64] | None, str | None]:
    """Return (member, state, state) and where it is from; neither where nobody said what no input is."""
    stack = cast("OwnNetworks", loaded.model)
    if isinstance(stack, Modules) and stack.is_map_of_hidden:
        weights = [stack.layer(place).weight_hh_l0.detach() for place in range(stack.members)]
        return np.stack([to_array(w.double()) for w in weights]), "weights"
    if stack.silent is None or not moving:
        return None, None
    means = {
        name: torch.tensor(np.asarray(values[:, present].mean(axis=1))).to(stack.like)
        for name, values in recorded.items()
        if name in stack.state_dims
    }
    return jacobian_at_mean(loaded, means, stack.silent.shape[-1]), "mean state"


def _readouts(stack: OwnNetworks, recorded: Arrays, present: NDArray[np.bool_]) -> NDArray[np.float64] | None:
    """Return the linear readouts of all members, (member, output, unit), if each has one."""
    if not isinstance(stack, Modules) or not recorded["outputs"].shape[-1]:
        return None
    found = []
    for place, network in enumerate(stack.networks):
        searched = network if stack.readouts is None else stack.readouts[place]
        if not isinstance(searched, nn.Module):
            return None
        hidden, outputs = (recorded[name][place][present] for name in ("hidden", "outputs"))
        found.append(linear_readout(searched, hidden.astype(float), outputs.astype(float)))
    return (
        None if any(readout is None for readout in found) else np.stack([r for r in found if r is not None])
    )


def _shown(trials: Trials, silence: Any) -> tuple[NDArray[Any], bool, NDArray[Any] | None]:
    """Return an input of one step, whether inputs are ids, and the input of a step without input."""
    if not isinstance(trials, Trials):
        got = type(trials).__name__
        raise UserError(f"expected emt.trials(inputs, …); got {got}", parameter="trials")
    first = trials.inputs[0, 0]
    if trials.are_ids:
        return np.array([first], float), True, None if silence is None else np.array([int(silence)], float)
    given = np.zeros(first.shape) if silence is None else np.asarray(silence, dtype=float)
    if given.shape != first.shape:
        raise UserError(
            f"expected a vector {first.shape}, as an input is; got {given.shape}", parameter="silence"
        )
    return first, False, given


def _one_each(given: Any, members: int, what: str) -> list[Any]:
    several = list(given) if isinstance(given, list | tuple | nn.ModuleList) else [given] * members
    if len(several) != members:
        raise UserError(
            f"expected one for all, or one for each of {members}; got {len(several)}", parameter=what
        )
    return several

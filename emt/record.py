"""The border between torch and arrays: load trained members, record their Trace, take Jacobians."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray
from torch import Tensor

from emt import memory_nodes, runs, trace
from emt.acting import played_by
from emt.config import RunConfig
from emt.errors import UserError
from emt.jacobians import jacobians
from emt.models import MODELS
from emt.models.base import Context, Log, Model, State, UnitWeights, check_model
from emt.options import load
from emt.tasks import TASKS
from emt.tasks.base import ACCURACY, Batch, Task, one_hot

SHOWS_ANSWERS = ("mse", "half_squares", "cross_entropy")
"""Losses under which a model that learns from targets is given them; agents are not told what is right."""


@dataclass(frozen=True)
class Loaded:
    """Trained members as one stack, with the task they are recorded on.

    Attributes
    ----------
    model
        The members.
    task
        What batches are of; recording asks it for channels, loss, names of tokens and operator only.
    numbers
        Model numbers.
    labels
        What recordings say they are of: ``model``, ``task``, ``experiment`` and ``seeds`` as `emt.trace.About`
        has them.
    """

    model: Model
    task: Task
    numbers: tuple[int, ...]
    labels: Mapping[str, Any]

    @property
    def device(self) -> torch.device:
        """Where the members run."""
        return self.model.like.device


def labels_of(config: RunConfig, seeds: Sequence[int]) -> dict[str, Any]:
    """Return what recordings of a run's members with these seeds say they are of (`Loaded.labels`)."""
    return {
        "model": config.model,
        "task": {name: str(value) for name, value in config.task.items()},
        "experiment": config.metadata.get("experiment_name", ""),
        "seeds": list(seeds),
    }


def load_members(
    experiment: Path, config: RunConfig, numbers: Sequence[int], device: str = "cpu", step: int | None = None
) -> Loaded:
    """Load the weights of members of an experiment as one stack, for recording on ``device``.

    With ``step`` those after that many training steps (`emt.runs.read_checkpoint`).

    Raises
    ------
    UserError
        If a member is not of the run, unfinished, its file broken, of another architecture or not finite; the
        message names it.
    """
    task = load(TASKS, config.task_name, "task")(**config.task_options())
    seeds = config.training.seeds()
    unknown = [n for n in numbers if n > len(seeds)]
    if unknown:
        raise UserError(f"model-{unknown[0]} is not part of this run (config.json has {len(seeds)} models)")
    build = load(MODELS, config.model_type, "model_type")
    stack: Model = build(
        [seeds[n - 1] for n in numbers], task.input_channels, task.output_channels, **config.model_options()
    )
    check_model(stack, config.model_type)
    for position, number in enumerate(numbers):
        folder = runs.model_folder(experiment, number)
        weights = runs.read_checkpoint(folder, step)
        wrong = [name for name, value in weights.items() if not np.isfinite(value).all()]
        if wrong:
            raise UserError(f"{folder.name}: expected finite weights; {wrong[0]} holds NaN or infinity")
        try:
            stack.load(position, weights)
        except ValueError as error:
            raise UserError(
                f"{folder.name}: the weights do not match the architecture in config.json: {error}"
            ) from None
    labels = labels_of(config, stack.seeds)
    return Loaded(stack.requires_grad_(False).to(device), task, tuple(numbers), labels)


def record(loaded: Loaded, batch: Batch, length: int) -> xr.DataTree:
    """Run all members on one batch and return their Trace.

    The parameters are those of `record_run`.
    """
    recorded = record_run(loaded, batch, length)
    weights = loaded.model.unit_weights()
    made = recorded.assign(linear_model(loaded, recorded) | unit_variables(weights))
    about: dict[str, Any] = {"step_matrix": "weights" if loaded.model.recurrent_name else "mean state"}
    if weights is not None:
        about["symmetry"] = {name: getattr(weights, name) for name in ("acts", "signed", "blocks")}
    made.attrs["about"] = json.dumps({**json.loads(recorded.attrs["about"]), **about})
    return made


def record_outputs(loaded: Loaded, batch: Batch, length: int, outside: Mapping[str, str]) -> xr.DataTree:
    """Run all members on one batch and return their Trace without states, whose axis ``unit`` has the size 0.

    Parameters
    ----------
    loaded, batch, length
        As of `record_run`.
    outside
        What is other than in the trials that were trained on (`emt.trace.About`).
    """
    recorded = record_run(loaded, batch, length)
    states = {name for name, values in recorded.data_vars.items() if values.dims[:3] == trace.MEMBER_TIME}
    variables = {
        str(name): (tuple(map(str, values.dims)), values.to_numpy())
        for name, values in recorded.data_vars.items()
        if name == "outputs" or name not in states
    }
    variables["hidden"] = trace.RECORDED["hidden"], recorded["hidden"].to_numpy()[..., :0]
    about = json.loads(recorded.attrs["about"]) | {
        "states": ["hidden"],
        "memories": {},
        "outside": dict(outside),
    }
    return trace.make(variables, list(loaded.numbers), about)


@torch.no_grad()
def record_run(loaded: Loaded, batch: Batch, length: int) -> xr.DataTree:
    """Run all members on one batch and return their Trace without the matrix of a step and the readout.

    Parameters
    ----------
    loaded
        The members.
    batch
        One batch, (1, batch, time, …); every member sees it, so that members compare trial by trial. Where
        inputs depend on actions, each member acts, all with the same chances.
    length
        Sequence length of the batch; its operator comes along.
    """
    task, batch = loaded.task, played_by(loaded.model, batch)
    inputs, context = to_tensors(loaded, batch)
    outputs, _, log = loaded.model(inputs, None, batch.steps, context)
    arrays = {
        **_shown(task, batch),
        "scored": (("batch", "time"), batch.judged_steps[0].astype(np.int8)),
        "outputs": ((*trace.MEMBER_TIME, "output"), to_array(outputs)),
    }
    states = {name: log[name] for name in loaded.model.state_dims if name in log}
    for name, tensor in {**states, **further_states(loaded.model, inputs, batch.steps, log, context)}.items():
        arrays[name] = ((*trace.MEMBER_TIME, *loaded.model.state_dims[name]), to_array(tensor))
    if "hidden" not in arrays and "hidden" in log:
        arrays["hidden"] = trace.RECORDED["hidden"], to_array(log["hidden"])
    memories = {memory: memory_variables(log, memory) for memory in loaded.model.memories}
    moving = [name for name in loaded.model.state_dims if name not in loaded.model.held_state]
    operator = loaded.task.operator(length)
    if operator is not None:
        arrays["operator"] = (("window", "target"), operator)
    about = {
        **loaded.labels,
        "accuracy": ACCURACY[loaded.task.loss],
        "loss": loaded.task.loss,
        "tokens": list(loaded.task.tokens),
        "length": length,
        "states": [name for name in moving if arrays[name][1].dtype.kind == "f"],
        "memories": loaded.model.memories,
    }
    return trace.make(arrays, list(loaded.numbers), about, memories)


def _shown(task: Task, batch: Batch) -> dict[str, tuple[tuple[str, ...], NDArray[Any]]]:
    """Return what members see of a batch with its axes: each its own where they have acted, else the same."""
    shown: dict[str, tuple[tuple[str, ...], NDArray[Any]]] = {
        "inputs": (("batch", "time", "channel"), batch.padded_inputs(task.input_channels)),
        "targets": (("batch", "time", "target"), one_hot(batch.targets, task.output_channels)),
    }
    for name, event in batch.events.items():
        shown[name] = (("batch", "time", "item")[: event.ndim - 1], event.astype(np.int64))
    if batch.actions is None or batch.rewards is None:
        return {name: (dims, values[0]) for name, (dims, values) in shown.items()}
    shown |= {"action": (("batch", "time"), batch.actions), "reward": (("batch", "time"), batch.rewards)}
    return {name: (("member", *dims), values) for name, (dims, values) in shown.items()}


@torch.no_grad()
def step_bytes(loaded: Loaded, length: int) -> int:
    """Return how many bytes a run of one member reports for each sequence and step: outputs, states, memory logs."""
    batch = loaded.task.test_batch(0, length, 1, 1)
    inputs, context = to_tensors(loaded, batch)
    outputs, state, log = loaded.model(inputs, None, batch.steps, context)
    cells = len(loaded.numbers) * batch.steps
    reported = sum(
        tensor.nbytes for tensor in (outputs, *log.values()) if tensor.shape[2:3] == (batch.steps,)
    )
    unlogged = [
        name for name in loaded.model.state_dims if name not in log and name not in loaded.model.held_state
    ]
    return -(-reported // cells) + sum(state[name].nbytes for name in unlogged) // len(loaded.numbers)


def linear_model(loaded: Loaded, recorded: xr.DataTree) -> dict[str, xr.Variable]:
    """Return the linear maps of a trace: ``step_matrix`` and, if there is one, ``readout``."""
    weights = [loaded.model.export(position) for position in range(len(loaded.numbers))]
    recurrent, readout = loaded.model.recurrent_name, loaded.model.readout_name
    matrix = np.stack([w[recurrent] for w in weights]) if recurrent else mean_state_jacobian(loaded, recorded)
    variables = {"step_matrix": xr.Variable(("member", "state", "from_state"), matrix.astype(np.float64))}
    if readout:
        variables["readout"] = xr.Variable(
            ("member", "output", "unit"), np.stack([w[readout] for w in weights]).astype(np.float64)
        )
    return variables


def unit_variables(weights: UnitWeights | None) -> dict[str, xr.Variable]:
    """Return the weights of units as variables of a trace."""
    names = () if weights is None else ("recurrence", "incoming")
    return {name: xr.Variable(trace.OPTIONAL[name], to_array(getattr(weights, name))) for name in names}


def memory_variables(log: Log, memory: str) -> dict[str, tuple[tuple[str, ...], NDArray[Any]]]:
    """Return the variables of one node of memories with their axes (`emt.memory_nodes`)."""
    prefix = f"memory/{memory}/"
    tensors = {name.removeprefix(prefix): log[name] for name in log if name.startswith(prefix)}
    named = memory_nodes.name_axes({name: tensor.ndim for name, tensor in tensors.items()})
    return {
        name: (named[name], to_array(tensors[name])) for name in memory_nodes.VARIABLES if name in tensors
    }


def to_tensors(loaded: Loaded, batch: Batch) -> tuple[Tensor, Context]:
    """Return a batch's inputs and the events that the model is told of, the same for all members."""
    events = {name: batch.events[name] for name in loaded.model.context if name in batch.events}
    if "targets" in loaded.model.context and loaded.task.loss in SHOWS_ANSWERS:
        events["targets"] = batch.training_targets(loaded.task.loss)
    tensors = {
        name: torch.tensor(np.ascontiguousarray(a))
        .to(loaded.device)
        .expand(len(loaded.numbers), *a.shape[1:])
        for name, a in {"": batch.inputs, **events}.items()
    }
    return tensors.pop(""), tensors


def to_array(tensor: Tensor) -> NDArray[Any]:
    """Return a tensor as a contiguous array."""
    return tensor.detach().cpu().contiguous().numpy()


def mean_state_jacobian(loaded: Loaded, recorded: xr.DataTree) -> NDArray[np.float64]:
    """Return each member's `state_jacobian` at its mean recorded state, without input, (member, state, state)."""
    return jacobian_at_mean(loaded, mean_state(loaded, recorded), recorded.sizes["channel"])


def jacobian_at_mean(loaded: Loaded, mean: State, channels: int) -> NDArray[np.float64]:
    """Return each member's `state_jacobian` at its `mean_state`, without input, (member, state, state)."""
    silence = loaded.model.silence(channels)
    kinds = loaded.model.zero_state(silence[:, None])
    # Whether a slot of a dictionary is in use becomes: in most trials and steps.
    state = {
        name: value if kinds[name].is_floating_point() else value.round().to(kinds[name].dtype)
        for name, value in mean.items()
    }
    return state_jacobian(loaded.model, state, silence)


def mean_state(loaded: Loaded, recorded: xr.DataTree) -> State:
    """Return the mean of each state tensor over the recorded sequences and steps, (member, …), real throughout."""
    means = {
        name: torch.tensor(recorded[name].mean(("batch", "time")).values).to(loaded.device)
        for name in loaded.model.state_dims
        if name not in loaded.model.held_state
    }
    return {**means, **_mean_held_state(loaded, recorded)}


@torch.no_grad()
def _mean_held_state(loaded: Loaded, recorded: xr.DataTree) -> State:
    """Return the mean over batch and time of what a trace does not store, (member, …): the members run again."""
    model, sums = loaded.model, dict[str, Tensor]()
    steps = recorded.sizes["time"] if model.held_state else 0
    inputs = torch.tensor(recorded["inputs"].values).to(loaded.device).expand(len(loaded.numbers), -1, -1, -1)
    for state in states_of(model, inputs, steps, _targets_of(loaded, recorded)):
        for name in model.held_state:
            sums[name] = sums.get(name, 0) + state[name].to(inputs).mean(dim=1)
    return {name: total / steps for name, total in sums.items()}


def _targets_of(loaded: Loaded, recorded: xr.DataTree) -> Context:
    """Return the context "targets" of a recorded batch, for models that learn from it."""
    if "targets" not in loaded.model.context or loaded.task.loss not in SHOWS_ANSWERS:
        return {}
    targets, scored = (
        torch.tensor(recorded[name].values).to(loaded.device) for name in ("targets", "scored")
    )
    if loaded.task.loss == "mse":
        training_targets = torch.where(scored[..., None] > 0, targets, torch.nan)
    else:
        # Steps may be learnt that are not judged: those with a class.
        training_targets = torch.where(targets.any(dim=-1), targets.argmax(dim=-1), -1)
    return {"targets": training_targets.expand(len(loaded.numbers), *training_targets.shape)}


def further_states(
    model: Model, inputs: Tensor, steps: int, log: Log, context: Context | None = None
) -> dict[str, Tensor]:
    """Return the state tensors that the log lacks, (member, batch, time, …): the members run again, step by step.

    A fused kernel reports only its outputs; an LSTM's cell is inside it.
    """
    names = [name for name in model.state_dims if name not in log and name not in model.held_state]
    seen: dict[str, list[Tensor]] = {name: [] for name in names}
    for state in states_of(model, inputs, steps if names else 0, context):
        for name in names:
            seen[name].append(state[name])
    return {name: torch.stack(tensors, dim=2) for name, tensors in seen.items()}


def states_of(model: Model, inputs: Tensor, steps: int, context: Context | None = None) -> Iterator[State]:
    """Yield the state after each step of a run that starts from zero; later inputs than those given are zero."""
    state: State | None = None
    for t in range(steps):
        x = inputs[:, :, t : t + 1] if t < inputs.shape[2] else torch.zeros_like(inputs[:, :, :1])
        _, state, _ = model(x, state, 1, {name: c[:, :, t : t + 1] for name, c in (context or {}).items()})
        yield state


def state_jacobian(model: Model, state: State, x: Tensor) -> NDArray[np.float64]:
    """Return ∂(next state)/∂(state), the state tensors joined in the order of ``state_dims``; memories are constant.

    Parameters
    ----------
    model
        The members.
    state
        Where to take it: tensors (member, …), one state for each member.
    x
        Input of the step, (member, channel).

    Returns
    -------
    ndarray
        (member, state, state): entry (i, j) is the change of component i of the next state with component j.
    """
    by_state, _ = jacobians(model, {name: tensor[:, None] for name, tensor in state.items()}, x[:, None])
    return to_array(by_state[:, 0].double())

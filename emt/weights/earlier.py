"""Experiments of the earlier variable-binding code: its ``config.json`` and Lightning checkpoints as a run of ours.

::

    <folder>/config.json                                                  with null for what an option was not given
    <folder>/model-k/lightning_logs/version_V/checkpoints/epoch=E-step=S.ckpt
    <folder>/model-k/config.json                                          of the single-model script

A folder of one model has ``lightning_logs`` beside its ``config.json``.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emt.config import TrainingConfig
from emt.errors import UserError
from emt.options import options_of_model
from emt.runs import model_number, sort_key
from emt.schema import Count, Schema, read
from emt.weights.load import load_weights

LIGHTNING = "lightning_logs"

MOST = 100_000
"""Models of an experiment."""

SEED_STEP = 1000
"""Between seeds of the members of one run, in the earlier code as here."""


class Trained(Schema):
    """How the earlier code trained; what else stands there has an option of the same name here."""

    seed: Count = 0


class EarlierConfig(Schema):
    """The ``config.json`` of the earlier code."""

    task: dict[str, Any]
    model: dict[str, Any]
    training: Trained


@dataclass(frozen=True)
class Source:
    """One network that another program trained.

    Attributes
    ----------
    number
        From 1; that of its folder.
    checkpoint
        Its weight file.
    seed, step
        What it was trained with, and for how many steps.
    """

    number: int
    checkpoint: Path
    seed: int
    step: int


@dataclass(frozen=True)
class EarlierExperiment:
    """An experiment of the earlier code.

    Attributes
    ----------
    config
        Its configuration.
    members
        Its networks, by number.
    without
        Folders of members that hold no checkpoint.
    """

    config: EarlierConfig
    members: tuple[Source, ...]
    without: tuple[Path, ...]


def is_earlier(folder: Path) -> bool:
    """Whether a folder holds what the earlier code leaves."""
    return (folder / LIGHTNING).is_dir() or any(folder.glob(f"model-*/{LIGHTNING}"))


def read_experiment(folder: Path) -> EarlierExperiment:
    """Return an experiment of the earlier code; nothing in the folder is changed.

    Raises
    ------
    UserError
        If there is no configuration or no checkpoint, or members were trained on different tasks.
    """
    alone = (folder / LIGHTNING).is_dir()
    found = [folder] if alone else sorted(folder.glob("model-*"), key=lambda p: sort_key(p.name))
    folders = {1 if alone else model_number(path): path for path in found if path.is_dir()}
    if max(folders) > MOST:
        raise UserError(f"expected models with numbers up to {MOST}; got {folders[max(folders)]}")
    own = {number: _config(path) for number, path in folders.items()}
    config = _config(folder) or next((c for c in own.values() if c), None)
    if config is None:
        raise UserError(f"no such file: {folder / 'config.json'}")
    checkpoints = {number: _last_checkpoint(path) for number, path in folders.items()}
    members = []
    for number, checkpoint in checkpoints.items():
        theirs = own[number]
        if theirs is not None and (theirs.task, theirs.model) != (config.task, config.model):
            raise UserError(
                f"expected members of one task and architecture; those in {folders[number] / 'config.json'} differ "
                "from the experiment's: import such members alone"
            )
        seed = theirs.training.seed if theirs else config.training.seed + SEED_STEP * (number - 1)
        if checkpoint is not None:
            members.append(Source(number, checkpoint, seed, _steps(checkpoint)))
    if not members:
        raise UserError(
            f"expected checkpoints {LIGHTNING}/version_*/checkpoints/*.ckpt in {folder}; found none"
        )
    return EarlierExperiment(
        config, tuple(members), tuple(folders[n] for n, c in checkpoints.items() if c is None)
    )


def _config(folder: Path) -> EarlierConfig | None:
    path = folder / "config.json"
    found: EarlierConfig | None = read(path, EarlierConfig) if path.exists() else None
    return found


def _last_checkpoint(folder: Path) -> Path | None:
    """Return the checkpoint with most steps of the newest version."""
    found = folder.glob(f"{LIGHTNING}/version_*/checkpoints/*.ckpt")
    return max(
        found, key=lambda path: (sort_key(path.parents[1].name), _steps(path), path.name), default=None
    )


def _steps(checkpoint: Path) -> int:
    match = re.search(r"step=(\d{1,15})", checkpoint.name)
    return int(match[1]) if match else 0


def read_member(member: Source) -> dict[str, NDArray[np.float32]]:
    """Return a member's weights under the names of this project, in the same orientation.

    Raises
    ------
    UserError
        If the checkpoint is damaged or of another network than one recurrent layer and a readout.
    """
    tensors = load_weights(member.checkpoint)
    own = {name.removeprefix("model."): tensor for name, tensor in tensors.items()}
    for name in ("rnn.weight_ih_l0", "rnn.weight_hh_l0", "readout.weight"):
        if name not in own or own[name].ndim != 2 or not own[name].is_floating_point():
            raise UserError(
                f"{member.checkpoint}: expected the matrix model.{name} of the earlier code's network; "
                f"found {', '.join(list(tensors)[:8])}"
            )
    return {name: tensor.float().numpy() for name, tensor in own.items()}


def sections(
    experiment: EarlierExperiment, weights: Mapping[str, NDArray[np.float32]]
) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any], list[str]]:
    """Return task, model and training of a run's configuration, and what is not as the earlier one says.

    Sizes are those of the weights: the earlier code stored no width of streams, and read biases wrongly.
    """
    earlier, notes = experiment.config, []
    task = _given(earlier.task)
    for name in ("seq_length", "task_id"):
        if isinstance(task.get(name), list):
            task[name] = tuple(task[name])
    if isinstance(lengths := task.get("seq_length"), tuple) and len(lengths) == 1:
        [task["seq_length"]] = lengths
    if task.get("use_eos") and task.get("infinite_horizon"):
        task["use_eos"] = False
        notes.append("use_eos: off, since a stream has an end marker of its own")
    model = {
        "type": "rnn",
        "hidden_dim": len(weights["rnn.weight_ih_l0"]),
        "bias": "rnn.bias_ih_l0" in weights,
    }
    for name in ("hidden_dim", "bias"):
        if earlier.model.get(name, model[name]) not in (model[name], None):
            notes.append(f"{name}: {model[name]}, as the weights say; config.json has {earlier.model[name]}")
    return {"name": "variable_binding", **task}, model, _training(experiment), notes


def _training(experiment: EarlierExperiment) -> dict[str, Any]:
    earlier = experiment.config.training
    names = {option.name for option in options_of_model(TrainingConfig)}
    given = {name: value for name, value in _given(earlier.model_dump()).items() if name in names}
    if isinstance(horizons := given.get("curriculum_horizons"), list):
        whole = all(type(horizon) is int for horizon in horizons)
        given["curriculum_horizons"] = tuple(sorted(set(horizons)) if whole else horizons)
    count = max(member.number for member in experiment.members)
    seeds = {member.number: member.seed for member in experiment.members}
    every = tuple(seeds.get(n + 1, earlier.seed + SEED_STEP * n) for n in range(count))
    regular = all(seed == every[0] + SEED_STEP * n for n, seed in enumerate(every))
    return given | {"num_models": count, "seed": every[0], "member_seeds": None if regular else every}


def _given(section: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options that have a value."""
    return {name: value for name, value in section.items() if value is not None}

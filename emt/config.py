"""What all runs share, typed, strict and complete; reads and writes ``config.json``, and reads the same as YAML.

The options of a task or a model are the keyword parameters of its constructor (`emt.options`); they stand
here as mappings, beside their ``name`` or ``type``, and their registry checks them before any work.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from emt import yaml_file
from emt.errors import UserError
from emt.files import parse_json
from emt.identity import code_of, packages_of
from emt.options import first_problem, plugins

Positive = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(ge=0, le=1)]
Word = Annotated[str, Field(pattern=r"^[\w.:,+-]+$")]
"""Text that goes into a job script: nothing a shell would take apart."""


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class TrainingConfig(_Section):
    """How a population is trained; every field is a flag of ``emt train``."""

    num_models: Positive = Field(
        default=50, description="number of models; model i (from 0) has seed + 1000 i; see --learning_rates"
    )
    seed: Annotated[int, Field(ge=0, le=2**53)] = Field(default=0, description="base seed")
    member_seeds: tuple[Annotated[int, Field(ge=0, le=2**53)], ...] | None = Field(
        default=None, description="seed of each model, the first that of --seed (default: seed + 1000 i)"
    )
    epochs: Positive = Field(default=20, description="number of epochs, each followed by validation")
    epoch_batches: Positive | None = Field(
        default=None,
        description="training batches in an epoch (default: the task's own; variable binding 2000, streams 500)",
    )
    batch_size: Positive = Field(default=64, description="sequences in a batch")
    optimizer: Literal["adam", "sgd"] = Field(
        default="adam", description="optimizer: Adam or plain gradient descent"
    )
    learning_rate: Annotated[float, Field(gt=0)] = Field(
        default=1e-3, description="learning rate of the optimizer"
    )
    learning_rates: tuple[Annotated[float, Field(gt=0)], ...] | None = Field(
        default=None,
        description="learning rates to compare: an equal number of models, with the same seeds, at each "
        "(default: --learning_rate alone)",
    )
    adam_epsilon: Annotated[float, Field(gt=0)] = Field(
        default=1e-8, description="what Adam adds to the root of a gradient's mean square"
    )
    warmup_steps: Annotated[int, Field(ge=0)] = Field(
        default=0, description="training steps over which the learning rate rises in a line to its value"
    )
    average_rate: Annotated[float, Field(gt=0)] | None = Field(
        default=None,
        description="learning rate of averaged gradient descent, which takes over after --average_after or "
        "--average_patience; a member's weights are then their average (default: never)",
    )
    average_after: Positive | None = Field(
        default=None, description="epochs after which --average_rate takes over (default: off)"
    )
    average_patience: Positive | None = Field(
        default=None,
        description="--average_rate takes over once a validation loss is above the lowest of all but so many before it "
        "(default: off)",
    )
    gradient_clip: Annotated[float, Field(ge=0)] = Field(
        default=1.0, description="largest gradient norm of a member; 0: no clipping"
    )
    l2_penalty: Annotated[float, Field(ge=0)] = Field(
        default=0.0, description="L2 penalty (weight decay), of models of blocks on matrices only"
    )
    curriculum: bool = Field(
        default=True, description="start at the first of --curriculum_horizons and increase it with accuracy"
    )
    curriculum_threshold: Share = Field(
        default=0.96, description="batch accuracy above which a member moves to the next horizon"
    )
    curriculum_horizons: tuple[Positive, ...] = Field(
        default=(10, 20, 40, 60, 100),
        description="numbers of output steps, ascending; validation and --no_curriculum use the last",
    )
    stop_accuracy: Share | None = Field(
        default=None,
        description="stop each member once its mean accuracy over 100 batches at the last horizon reaches this "
        "(default: off)",
    )
    stop_loss: Annotated[float, Field(ge=0)] | None = Field(
        default=None,
        description="stop each member once a validation loss is at most this (default: off)",
    )
    patience: Positive | None = Field(
        default=None,
        description="stop each member after so many validations in a row without a lower loss (default: off)",
    )
    validation_batches: Positive = Field(default=20, description="fixed validation batches after each epoch")
    keep: Literal["last", "best", "lowest_loss"] = Field(
        default="last",
        description="weights to save: the last, or those with the highest validation accuracy or the lowest "
        "validation loss",
    )

    keep_checkpoints: tuple[Annotated[int, Field(ge=0)], ...] | None = Field(
        default=None,
        description="training steps after which a member's weights are also saved, as checkpoint/step-N.safetensors; "
        "0: before the first (default: none)",
    )

    @model_validator(mode="after")
    def _horizons_ascend(self) -> "TrainingConfig":
        horizons = self.curriculum_horizons
        if not horizons or list(horizons) != sorted(set(horizons)):
            raise UserError(
                f"must be ascending numbers; got {' '.join(map(str, horizons))}",
                parameter="curriculum_horizons",
            )
        return self

    @model_validator(mode="after")
    def _rates_have_equally_many_models(self) -> "TrainingConfig":
        rates = self.learning_rates
        if rates is None:
            return self
        if not rates or len(set(rates)) < len(rates):
            raise UserError(
                f"must be learning rates that differ; got {' '.join(map(str, rates)) or 'none'}",
                parameter="learning_rates",
            )
        if self.num_models % len(rates):
            raise UserError(
                f"must be a multiple of {len(rates)}, the number of --learning_rates; got {self.num_models}",
                parameter="num_models",
            )
        return self

    @model_validator(mode="after")
    def _averages_begin(self) -> "TrainingConfig":
        begins = self.average_after is not None or self.average_patience is not None
        if begins != (self.average_rate is not None):
            raise UserError(
                "must go with average_after or average_patience, and these with it; "
                f"got {self.average_rate}, {self.average_after} and {self.average_patience}",
                parameter="average_rate",
            )
        return self

    @model_validator(mode="after")
    def _every_model_has_a_seed(self) -> "TrainingConfig":
        seeds, expected = self.member_seeds, self.num_models // len(self.learning_rates or (0,))
        if seeds is not None and (len(seeds) != expected or seeds[0] != self.seed):
            raise UserError(
                f"must be {expected} numbers, one for each model, the first that of --seed; got "
                f"{' '.join(map(str, seeds)) or 'none'}",
                parameter="member_seeds",
            )
        return self

    def seeds(self) -> tuple[int, ...]:
        """Return the seed of each member; those of the first learning rate come first."""
        at_each = self.num_models // len(self.learning_rates or (self.learning_rate,))
        each = self.member_seeds or tuple(self.seed + 1000 * i for i in range(at_each))
        return tuple(each[i % at_each] for i in range(self.num_models))

    def rates(self) -> tuple[float, ...]:
        """Return the learning rate of each member."""
        rates = self.learning_rates or (self.learning_rate,)
        at_each = self.num_models // len(rates)
        return tuple(rate for rate in rates for _ in range(at_each))


class ExecutionConfig(_Section):
    """Where a population is trained; changes no number and may differ when a run is continued."""

    accelerator: Literal["auto", "cpu", "gpu"] = Field(
        default="auto", description="auto: use a GPU if available"
    )
    engine: Literal["local", "inline", "dask", "slurm"] = Field(
        default="local",
        description="where to work: local, processes on this machine; inline, this process; dask, a running Dask "
        "scheduler; slurm, SLURM jobs that this command submits and replaces",
    )
    num_workers: Positive = Field(
        default=2, description="workers of one thread each: processes (on GPUs one each), or SLURM jobs"
    )
    shard: str | None = Field(
        default=None,
        exclude=True,
        description="run part I of N, as in --shard 3/20 or, in sbatch --array=1-20, --shard $SLURM_ARRAY_TASK_ID/20",
    )
    scheduler: str | None = Field(
        default=None, exclude=True, description="address of the Dask scheduler, such as tcp://host:8786"
    )
    loggers: tuple[Literal["tensorboard", "wandb", "csv"], ...] = Field(
        default=("tensorboard",),
        description="where curves go besides training_curve.csv: tensorboard, into lightning_logs; wandb, to Weights & "
        "Biases when all is trained (WANDB_MODE=offline keeps them here); csv, nowhere else",
    )
    allow_other_code: bool = Field(
        default=False,
        exclude=True,
        description="resume a run that another version of this package, or of torch, Lightning or numpy, began",
    )
    slurm_partition: Word | None = Field(default=None, description="SLURM partition")
    slurm_time: Word = Field(default="4:00:00", description="time limit per job; a new job resumes its work")
    slurm_memory: Word = Field(default="4GB", description="memory per job")
    slurm_gpus: Word | None = Field(
        default=None, description="one GPU for each job: 1, or with its type, as in a100:1 (without: CPU)"
    )
    slurm_interface: Word | None = Field(
        default=None,
        description="network interface that the scheduler and its workers listen on, such as ib0 or lo "
        "(default: the one of this machine's own address)",
    )

    @model_validator(mode="after")
    def _shard_exists(self) -> "ExecutionConfig":
        if self.shard is not None and not (
            re.fullmatch(r"\d+/\d+", self.shard) and 1 <= self.part[0] <= self.part[1]
        ):
            raise UserError(
                f"must be I/N with I from 1 to N, such as 3/20; got {self.shard}", parameter="shard"
            )
        return self

    @property
    def part(self) -> tuple[int, int]:
        """Which part of the work is done, from 1, and of how many."""
        index, _, count = ("1/1" if self.shard is None else self.shard).partition("/")
        return int(index), int(count)


class RunConfig(_Section):
    """The contents of ``config.json``: everything needed to repeat a run."""

    format_version: Literal[1] = 1
    metadata: dict[str, str] = Field(default_factory=dict)
    task: dict[str, Any]
    model: dict[str, Any]
    training: TrainingConfig = TrainingConfig()
    execution: ExecutionConfig = ExecutionConfig()

    @property
    def task_name(self) -> str:
        """Name of the task in its registry."""
        return str(self.task["name"])

    @property
    def model_type(self) -> str:
        """Name of the model in its registry."""
        return str(self.model["type"])

    def task_options(self) -> dict[str, Any]:
        """Return the task's options without its name."""
        return {k: v for k, v in self.task.items() if k != "name"}

    def model_options(self) -> dict[str, Any]:
        """Return the model's options without its type."""
        return {k: v for k, v in self.model.items() if k != "type"}

    @model_validator(mode="after")
    def _named(self) -> "RunConfig":
        for section, field, default in ((self.task, "name", "variable_binding"), (self.model, "type", "rnn")):
            if not isinstance(section.setdefault(field, default), str):
                raise UserError(f"must be text; got {section[field]!r}", parameter=field)
        return self


KNOWN = tuple(name for kind in (RunConfig, TrainingConfig, ExecutionConfig) for name in kind.model_fields)
"""Names of all fields of a configuration but those of tasks and models."""


def metadata(name: str, script: str) -> dict[str, str]:
    """Return what identifies a run of this name: its script, the time, the code (`emt.identity`)."""
    now = datetime.now().astimezone().isoformat(timespec="seconds")
    return {"experiment_name": name, "created_at": now, "script": script, **code_of("emt")}


def code_of_run(config: RunConfig, *packages: str) -> dict[str, str]:
    """Return the code that a run's numbers come from, its plug-ins' included (`emt.identity.code_of`).

    Parameters
    ----------
    config
        The run.
    packages
        Further packages of ours.
    """
    names = {"task": config.task_name, "model_type": config.model_type}
    return code_of(*packages_of(*(plugins.package_of(kind, name) for kind, name in names.items())), *packages)


def recorded_code(config: RunConfig) -> dict[str, str]:
    """Return `code_of_run`, and which plug-ins were named on the command line, for messages."""
    names = {"task": config.task_name, "model_type": config.model_type}
    modules = dict.fromkeys(plugins.given_module(kind, name) for kind, name in names.items())
    used = " ".join(module for module in modules if module)
    return code_of_run(config) | ({"plugins": used} if used else {})


def check_plugins(config: RunConfig, registries: Mapping[str, Mapping[str, str]], where: str) -> None:
    """Refuse a run of a plug-in's task or model if that plug-in was not named: a configuration imports nothing.

    Parameters
    ----------
    config
        The run.
    registries
        Of tasks and models, by the flag that names one.
    where
        The file that the configuration is from.

    Raises
    ------
    UserError
        Saying what to add to the command line.
    """
    recorded = config.metadata.get("plugins", "")
    names = {"task": config.task_name, "model_type": config.model_type}
    for kind, name in names.items():
        named = re.fullmatch(f"{plugins.MODULE}( {plugins.MODULE})*", recorded)
        if named and name not in plugins.names(registries[kind], kind):
            raise UserError(f"{where}: {kind} {name!r} is of a plug-in: add --plugins {recorded}")


def parse(text: str, source: str) -> RunConfig:
    """Read a configuration from JSON text; ``source`` says where it is from.

    Raises
    ------
    UserError
        For text that is no JSON, unknown fields and wrong values, by their flag names.
    """
    parse_json(text.encode(errors="surrogatepass"), source)
    try:
        config = RunConfig.model_validate_json(text)
    except ValidationError as error:
        raise first_problem(error, source, KNOWN) from None
    return config.model_copy(update={"task": _tuples(config.task), "model": _tuples(config.model)})


def read(path: Path) -> RunConfig:
    """Read a ``config.json``, or the same as YAML from a file called ``.yaml`` or ``.yml``.

    Raises
    ------
    UserError
        If the file is missing or no valid configuration; the message names the line of a wrong field.
    """
    is_yaml = path.suffix in yaml_file.SUFFIXES
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise UserError(f"no such file: {path}") from None
    except UnicodeDecodeError:
        kind = "YAML" if is_yaml else "JSON"
        raise UserError(f"{path}: not valid {kind}: not UTF-8 text") from None
    with located(path, text):
        return parse(yaml_file.to_json(text, str(path)) if is_yaml else text, str(path))


@contextmanager
def located(path: Path, text: str | None = None, overridden: Iterable[str] = ()) -> Iterator[None]:
    """Let errors about a field of a configuration file name the line on which it stands.

    Parameters
    ----------
    path, text
        The file, and its text, by default what it holds now.
    overridden
        Fields that have another value than that of the file.
    """
    try:
        yield
    except UserError as error:
        name = error.parameter
        if name is not None and name not in overridden:
            line = _line_of(name, path.read_text(encoding="utf-8") if text is None else text)
            message = error.args[0].removesuffix(f" ({path})")
            error.args = (f"{message} ({path}{f', line {line}' if line else ''})",)
        raise


def _line_of(name: str, text: str) -> int | None:
    """Return the line on which a field stands in JSON or YAML, from 1; None where it does not stand there."""
    found = re.search(rf"""(?:^|[\s{{,])["']?{re.escape(name)}["']?\s*:""", text)
    return text.count("\n", 0, found.end()) + 1 if found else None


def fields(config: RunConfig) -> dict[str, Any]:
    """Return the fields that change the numbers of a run, as ``section.field``."""
    flat: dict[str, Any] = {}
    for key, value in config.model_dump(include={"format_version", "task", "model", "training"}).items():
        flat |= {f"{key}.{k}": v for k, v in value.items()} if isinstance(value, dict) else {key: value}
    return flat


def differences(old: RunConfig, new: RunConfig) -> list[str]:
    """Return ``field: old → new`` for each field that changes the numbers of a run."""
    a, b = fields(old), fields(new)
    return [f"{k}: {a.get(k, 'absent')} → {b.get(k, 'absent')}" for k in {**a, **b} if a.get(k) != b.get(k)]


def _tuples(section: dict[str, Any]) -> dict[str, Any]:
    """Turn JSON lists into tuples and the text of integers above 2^53 into integers."""

    def restore(value: Any) -> Any:
        if isinstance(value, list):
            return tuple(restore(v) for v in value)
        return int(value) if isinstance(value, str) and re.fullmatch("[0-9]{16,300}", value) else value

    return {k: restore(v) for k, v in section.items()}

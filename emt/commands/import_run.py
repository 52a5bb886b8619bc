"""Import networks that another program trained, as a run that `emt evaluate` and every analysis read.

FOLDER is an experiment of the earlier variable-binding code: config.json and Lightning checkpoints. Its numbers are
recomputed and compared with its own evaluation_summary.json. FILES are weights of single networks that a program known
here saved; their names say which, --task and its flags say what they were trained on, as for `emt train`. Sources are
only read, and nothing in them is run.
"""

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from emt import config as configuration
from emt import files, locks, runs
from emt.commands.import_compare import compare
from emt.commands.import_files import read_files, task_flags
from emt.commands.output import complain, say
from emt.commands.script import shell_command
from emt.commands.train import check_name
from emt.config import RunConfig, TrainingConfig
from emt.errors import UserError
from emt.files import check_folder
from emt.options import Parser, load, validate
from emt.progress import Progress
from emt.text import shell_path

Weights = Mapping[str, Any]


class Import(NamedTuple):
    """What is imported.

    Attributes
    ----------
    config
        Of the run; its metadata is not written yet.
    sources
        Weight files of the members.
    read
        Returns a member's weights under the names of this project.
    notes
        What the user should know, a line each.
    left_out
        Why further members cannot be imported, by name.
    """

    config: RunConfig
    sources: Sequence[Any]
    read: Callable[[Any], Weights]
    notes: Sequence[str] = ()
    left_out: Mapping[str, str] = {}


def main(arguments: list[str] | None = None) -> int:
    """Parse, import, report; return the exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    options = parser(words).parse_args(words)
    paths = [_found(path) for path in options.sources]
    folders = [path for path in paths if path.is_dir()]
    if folders and len(paths) > 1:
        raise UserError(f"expected one folder, or weight files; got {len(paths)} with {folders[0]}")
    if folders and (options.task or options.seeds):
        raise UserError(
            f"--{'task' if options.task else 'seeds'}: {folders[0]} is a folder, which says it itself"
        )
    target = _target(options, paths[0])
    found = _read_folder(folders[0]) if folders else Import(*read_files(paths, vars(options)))
    for note in found.notes:
        say(note)
    say(
        f"Importing {len(found.sources)} models ({found.config.model_type} on {found.config.task_name}) into {target}"
    )
    metadata = configuration.metadata(target.name, "emt import") | {"imported_from": str(paths[0])}
    failed = dict(found.left_out) | _write(
        found._replace(config=found.config.model_copy(update={"metadata": metadata})), target
    )
    for name, reason in failed.items():
        complain(f"emt import: {name}: {reason}")
    if folders:
        compare(folders[0], target, found.config, found.sources)
    say(f"Next: {shell_command('evaluate')} --models_dir {shell_path(target)}")
    return int(bool(failed))


def parser(words: Sequence[str]) -> argparse.ArgumentParser:
    """Return the command line; flags of task and model are those of the names in ``words``."""
    made = Parser(prog="emt import", description=__doc__)
    made.add_argument(
        "sources", nargs="+", metavar="SOURCE", help="folder of an experiment, or weight files; first"
    )
    made.add_argument(
        "--experiment_name",
        metavar="NAME",
        help="name of the run's folder (default: the source's, with -imported)",
    )
    made.add_argument(
        "--output_dir",
        metavar="DIR",
        help="folder in which to create it (default: $EXPERIMENT_OUTPUT_DIR, else here)",
    )
    task_flags(made, words)
    return made


def _found(path: str) -> Path:
    try:
        return runs.find(path, "source")
    except UserError as error:
        # A source has no flag.
        raise UserError(error.args[0]) from None


def _target(options: argparse.Namespace, source: Path) -> Path:
    """Return the run's folder; never one in the source."""
    name = (
        options.experiment_name
        or f"{source.resolve().stem if source.is_file() else source.resolve().name}-imported"
    )
    check_name(name)
    target = check_folder(Path(options.output_dir or runs.default_folder()), "output_dir") / name
    if source.is_dir() and target.resolve().is_relative_to(source.resolve()):
        raise UserError(
            f"expected a folder outside the source, which stays as it is; got {target}",
            parameter="output_dir",
        )
    return target


def _read_folder(folder: Path) -> Import:
    from emt.training.sweep import complete
    from emt.weights import earlier

    if not earlier.is_earlier(folder):
        raise UserError(
            f"{folder}: expected an experiment of the earlier code, with model-k/{earlier.LIGHTNING}; found none"
            + (
                " (it is a run of this project already)"
                if any(folder.glob("model-*/checkpoint/done.json"))
                else ""
            )
        )
    experiment = earlier.read_experiment(folder)
    task, model, training, notes = earlier.sections(
        experiment, _first(experiment.members, earlier.read_member)
    )
    where = str(folder / "config.json")
    config = RunConfig(task=task, model=model, training=validate(TrainingConfig, training, where))
    try:
        config = complete(config)
    except UserError as error:
        raise UserError(f"{where}: {error.in_flags()}") from None
    left_out = {
        path.name: f"expected a checkpoint in {path / earlier.LIGHTNING}; found none"
        for path in experiment.without
    }
    return Import(config, experiment.members, earlier.read_member, notes, left_out)


def _first(sources: Sequence[Any], read: Callable[[Any], Weights]) -> Any:
    """Return the weights of the first member that can be read."""
    for source in sources[:-1]:
        try:
            return read(source)
        except UserError:
            continue
    return read(sources[-1])


def _write(found: Import, target: Path) -> dict[str, str]:
    """Write the run; return why members could not be imported, by name."""
    from emt.models import MODELS
    from emt.tasks import TASKS

    config = found.config
    task = load(TASKS, config.task_name, "task")(**config.task_options())
    build = load(MODELS, config.model_type, "model_type")
    model = build([0], task.input_channels, task.output_channels, **config.model_options())
    failed: dict[str, str] = {}
    with locks.writing_into(target), Progress("models", len(found.sources)) as progress:
        _check_free(target, config)
        for done, source in enumerate(found.sources, 1):
            try:
                weights = found.read(source)
                _check(model, weights, source.checkpoint)
                if not (target / "config.json").exists():
                    files.write_json(target / "config.json", config.model_dump())
                about = {"step": source.step, "status": "finished", "seed": source.seed}
                about["source_sha256"] = files.sha256(source.checkpoint.read_bytes())
                runs.write_weights(runs.model_folder(target, source.number), weights, about)
            except UserError as error:
                failed[f"model-{source.number}"] = error.in_flags()
            progress.update(done)
    if len(failed) == len(found.sources):
        raise UserError(f"none of the {len(failed)} models could be imported; {next(iter(failed.values()))}")
    return failed


def _check(model: Any, weights: Weights, path: Path) -> None:
    import numpy as np

    for name, value in weights.items():
        if not np.isfinite(value).all():
            raise UserError(f"{path}: expected finite weights; {name} holds NaN or infinity")
    try:
        model.load(0, weights)
    except ValueError as error:
        raise UserError(f"{path}: the weights do not match the architecture: {error}") from None


def _check_free(target: Path, config: RunConfig) -> None:
    """Refuse a folder that holds something else than this run."""
    there = [path for path in target.iterdir() if path.name != locks.NAME]
    if not there:
        return
    path = target / "config.json"
    old = configuration.read(path) if path.exists() else None
    if old is None or old.metadata.get("script") != "emt import" or configuration.differences(old, config):
        raise UserError(f"expected a new folder; {target} holds something else", parameter="experiment_name")

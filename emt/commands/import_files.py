"""Weight files of single networks as members of a run: flags, program, configuration."""

import argparse
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from emt.commands.train import merge
from emt.config import RunConfig, TrainingConfig
from emt.errors import UserError, renamed
from emt.models import MODELS
from emt.options import Parser, add_flags, names_text, options_of, summary_of, target_of, validate
from emt.tasks import TASKS


def task_flags(parser: argparse.ArgumentParser, words: Sequence[str]) -> None:
    """Add flags of the task and the model that weight files are of; none for a folder."""
    first = Parser(add_help=False)
    first.add_argument("sources", nargs="*")
    first.add_argument("--task")
    known, _ = first.parse_known_args(words)
    paths = [path for word in known.sources[:1] if (path := Path(word)).is_file()]
    names = names_text({name: summary_of(target) for name, target in TASKS.items()})
    text = f"what weight files were trained on (default: the program's own task)\n{names}".replace("%", "%%")
    parser.add_argument("--task", choices=TASKS, metavar="NAME", help=text)
    parser.add_argument(
        "--seeds",
        nargs="+",
        type=int,
        metavar="N",
        help="seeds of the networks in weight files (default: 0, 1, …)",
    )
    parser.set_defaults(model_type=None)
    if not paths:
        return
    program = _program(paths[0])[0]
    task = known.task or program.task
    target, model = target_of(TASKS, task, "task"), target_of(MODELS, program.model_type, "model_type")
    parser.set_defaults(task=task, model_type=program.model_type)
    add_flags(
        parser.add_argument_group(f"task {task}", summary_of(target)), options_of(target), required=False
    )
    add_flags(parser.add_argument_group(f"model {program.model_type}", summary_of(model)), options_of(model))


def _program(path: Path) -> Any:
    from emt.weights.load import load_weights
    from emt.weights.programs import recognise

    return recognise(load_weights(path), path)


def read_files(
    paths: Sequence[Path], given: Mapping[str, Any]
) -> tuple[RunConfig, Sequence[Any], Callable[[Any], Mapping[str, Any]], list[str]]:
    """Return configuration, sources, their reader and notes of weight files; see `emt.commands.import_run.Import`."""
    from emt.training.sweep import complete
    from emt.weights.earlier import Source

    task, model = given["task"], given["model_type"]
    task_options, model_options = options_of(TASKS[task]), options_of(MODELS[model])
    words = {o.name: given[o.name] for o in model_options if o.name in given}
    told = merge(model_options, {}, words, f"model {model}")

    def read(source: Any) -> Any:
        program, weights = _program(source.checkpoint)
        if program.model_type != model:
            raise UserError(
                f"{source.checkpoint}: expected a network like the first, {model}; got {program.model_type}"
            )
        try:
            return program.convert(weights, told)
        except UserError as error:
            raise UserError(f"{source.checkpoint}: {error}") from None
        except (IndexError, RuntimeError, TypeError, ValueError) as error:
            # Tensors of these names with other shapes.
            what = f"expected tensors of the shapes that {program.name} gives them"
            raise UserError(f"{source.checkpoint}: {what}; {' '.join(str(error).split())[:200]}") from None

    seeds = given["seeds"] or range(len(paths))
    if len(seeds) != len(paths):
        raise UserError(
            f"must be one for each of the {len(paths)} files; got {len(seeds)}", parameter="seeds"
        )
    sources = [Source(n, path, seed, 0) for n, (path, seed) in enumerate(zip(paths, seeds, strict=True), 1)]
    first = read(sources[0])
    for name, value in first.model.items():
        if name in words and told[name] != value:
            raise UserError(f"must be {value}, as the weights say; got {told[name]}", parameter=name)
    task_words = {o.name: given[o.name] for o in task_options if o.name in given}
    numbers = {"num_models": len(paths), "seed": seeds[0], "member_seeds": tuple(seeds)}
    with renamed({"seed": "seeds", "member_seeds": "seeds"}):
        training = validate(TrainingConfig, numbers, "weight files")
    config = complete(
        RunConfig(
            task={"name": task, **merge(task_options, first.task, task_words, f"task {task}")},
            model={"type": model, **told, **first.model},
            training=training,
        )
    )
    unsaid = _program(paths[0])[0].unsaid
    notes = (
        ["Not in the file, as given or by default: " + ", ".join(f"{n} {told[n]}" for n in unsaid)]
        if unsaid
        else []
    )
    return config, sources, lambda source: read(source).weights, notes

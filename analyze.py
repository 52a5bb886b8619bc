"""Analyse evaluated populations: eigenvalue distributions, embeddings, persistent homology, comparison of sets."""

import argparse
import importlib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from analysis import COMMANDS
from emt.options import UserError, add_flags, check, options_of, summary_of
from emt.runs import explain_os_error, find, read_summary


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UserError(message)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one analysis and return the exit code: 0, or 2 for what the user can put right, 130 for Ctrl-C."""
    parser = build_parser()
    try:
        given = vars(parser.parse_args(arguments))
        if given["command"] is None:
            parser.print_help()
            return 1
        run(given.pop("command"), given)
    except KeyboardInterrupt:
        print("analyze.py: interrupted; files already written are whole", file=sys.stderr)
        return 130
    except OSError as error:
        print(f"analyze.py: error: {explain_os_error(error)}", file=sys.stderr)
        return 2
    except ValueError as error:
        if not _is_expected(error):
            raise
        print(f"analyze.py: error: {error}", file=sys.stderr)
        return 2
    return 0


def build_parser() -> argparse.ArgumentParser:
    """Return the parser: one sub-command for each analysis, its flags read from the analysis' signature."""
    parser = _Parser(prog="analyze.py", description=__doc__, allow_abbrev=False)
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    for command, target in COMMANDS.items():
        summary = summary_of(target).rstrip(".")
        sub = commands.add_parser(command, help=summary, description=summary + ".", allow_abbrev=False)
        if command == "compare":
            sub.add_argument(
                "--summary_files", nargs="+", required=True, metavar="PATH", help="one evaluation summary for each set"
            )
            sub.add_argument(
                "--labels", nargs="+", default=[], metavar="TEXT", help='names of the sets (default: "Set k")'
            )
        else:
            sub.add_argument(
                "--summary_file", required=True, metavar="PATH", help="evaluation_summary.json of the population"
            )
        folder = "./comparison_analysis" if command == "compare" else f"{command}_analysis beside the summary file"
        sub.add_argument("--output_dir", metavar="PATH", help=f"where results go (default: {folder})")
        sub.add_argument(
            "--seq_length", type=int, metavar="N", help="length to analyse (default: the file's only length, else 8)"
        )
        add_flags(sub, options_of(target))
    return parser


def run(command: str, given: dict[str, Any]) -> None:
    """Read the summaries, analyse them, save tables and then figures, and say where they are."""
    shared = {
        name: given.pop(name, None) for name in ("summary_file", "summary_files", "labels", "output_dir", "seq_length")
    }
    options = check(options_of(COMMANDS[command]), given, f"analyze.py {command}", words=True)
    module, _, function = COMMANDS[command].partition(":")
    if command == "compare":
        paths = [find(path, "summary_files") for path in shared["summary_files"]]
        labels = _labels(shared["labels"], len(paths))
        subject: Any = [_population(p, n, shared["seq_length"]) for p, n in zip(paths, labels, strict=True)]
        folder = Path(shared["output_dir"] or "comparison_analysis")
    else:
        path = find(shared["summary_file"], "summary_file")
        experiment = path if path.is_dir() else path.parent
        subject = _population(path, experiment.resolve().name, shared["seq_length"])
        folder = Path(shared["output_dir"] or experiment / f"{command}_analysis")
    result = getattr(importlib.import_module(module), function)(subject, **options)
    _save(result, module, folder)


def _population(path: Path, label: str, seq_length: int | None) -> Any:
    from analysis.population import from_summary

    population = from_summary(read_summary(path), label=label, seq_length=seq_length)
    print(f"{label}: {len(population)} models at sequence length {population.seq_length} ({path})")
    if population.skipped:
        print(f"  skipped, without a spectrum at that length: {', '.join(population.skipped)}")
    return population


def _labels(given: Sequence[str], n_sets: int) -> list[str]:
    if len(given) > n_sets:
        raise UserError(f"--labels: expected at most one label for each of {n_sets} summary files; got {len(given)}")
    return [*given, *(f"Set {k}" for k in range(len(given) + 1, n_sets + 1))]


def _save(result: Any, module: str, folder: Path) -> None:
    from analysis.tables import save_results

    if hasattr(result, "headline"):
        print(result.headline())
    tables = save_results(result, folder)
    print(f"tables in {folder}: {_by_stem(tables)}")

    # Imported here: a figure that fails must not cost the tables.
    from analysis.figures.style import save_figure

    draw = importlib.import_module(module.replace("analysis.", "analysis.figures.", 1)).draw
    figures = [path for name, figure in draw(result) for path in save_figure(figure, folder / name)]
    print(f"figures in {folder}: {_by_stem(figures)}")


def _by_stem(paths: Sequence[Path]) -> str:
    """Return "a (csv, json), b (npy)"."""
    kinds: dict[str, list[str]] = {}
    for path in paths:
        kinds.setdefault(path.stem, []).append(path.suffix.removeprefix("."))
    return ", ".join(f"{stem} ({', '.join(suffixes)})" for stem, suffixes in kinds.items())


def _is_expected(error: ValueError) -> bool:
    if isinstance(error, UserError):
        return True
    from analysis.population import AnalysisError

    return isinstance(error, AnalysisError)


if __name__ == "__main__":
    sys.exit(main())

"""Command-line flags made from options."""

import argparse
import typing
from collections.abc import Iterable, Mapping
from textwrap import wrap
from typing import Any, NoReturn

from emt.errors import UserError
from emt.options.checks import text_of
from emt.options.signatures import Option


class HelpFormatter(argparse.RawDescriptionHelpFormatter):
    """Help that keeps the line breaks of descriptions and of the help of flags."""

    def _split_lines(self, text: str, width: int) -> list[str]:
        return [part for line in text.splitlines() for part in wrap(line, width, subsequent_indent=indent_of(line))]


def indent_of(line: str) -> str:
    """Return the spaces under which a line of ``names_text`` is continued; none for other lines."""
    return " " * (len(line) - len(line[2:].partition(" ")[2].lstrip())) if line.startswith("  ") else ""


def names_text(summaries: Mapping[str, str]) -> str:
    """Return one line for each name: the name and its summary, without a full stop."""
    width = max(map(len, summaries))
    return "\n".join(f"  {name:{width}} {summary.rstrip('.')}" for name, summary in summaries.items())


class Parser(argparse.ArgumentParser):
    """A command line that accepts no abbreviations and refuses bad input as a `UserError`, without its usage."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(allow_abbrev=False, **{"formatter_class": HelpFormatter} | settings)

    def error(self, message: str) -> NoReturn:
        """Refuse; whoever runs the script prints the line."""
        raise UserError(f"{message} (--help shows all flags)")


def add_flags(parser: argparse._ActionsContainer, options: Iterable[Option], *, required: bool = True) -> None:
    """Add one flag for each option, with the user's spelling; a true-by-default switch becomes ``--x`` / ``--no_x``.

    Flags that were not given leave no trace in the namespace, so that a configuration file can stand below them.
    """
    for option in options:
        text = help_text(option)
        common: dict[str, Any] = {"dest": option.name, "default": argparse.SUPPRESS}
        if option.annotation is bool:
            off_help = argparse.SUPPRESS if option.default is False else f"switch {option.name} off"
            parser.add_argument(f"--{option.name}", action="store_true", help=text, **common)
            parser.add_argument(f"--no_{option.name}", action="store_false", help=off_help, **common)
            continue
        if option.takes_several:
            common |= {"nargs": "+", "metavar": _metavar(option)}
        elif option.choices:
            common |= {"choices": option.choices}
        else:
            common |= {"metavar": _metavar(option)}
        parser.add_argument(f"--{option.name}", required=required and option.required, help=text, **common)


def help_text(option: Option) -> str:
    """Return the help of a flag: no full stop at its end, then the default; a switch that is off has none to name."""
    text = option.help.strip().removesuffix(".").replace("%", "%%")
    if option.required or option.default is None or option.default is False:
        return text
    return f"{text} (default: {'on' if option.default is True else text_of(option.default)})"


def _metavar(option: Option) -> str:
    names = {int: "N", float: "X", str: "TEXT"}
    first = option.alternatives[0]
    if typing.get_origin(first) is tuple:
        first = typing.get_args(first)[0]
    return names.get(first, "VALUE")

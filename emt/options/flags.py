"""Command-line flags made from options."""

import argparse
import typing
from collections.abc import Iterable
from typing import Any, NoReturn

from emt.errors import UserError
from emt.options.checks import text_of
from emt.options.signatures import Option


class Parser(argparse.ArgumentParser):
    """A command line that accepts no abbreviations and refuses bad input as a `UserError`, without its usage."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(allow_abbrev=False, **settings)

    def error(self, message: str) -> NoReturn:
        """Refuse; whoever runs the script prints the line."""
        raise UserError(f"{message} (--help shows all flags)")


def add_flags(parser: argparse._ActionsContainer, options: Iterable[Option], *, required: bool = True) -> None:
    """Add one flag for each option, with the user's spelling; a true-by-default switch becomes ``--x`` / ``--no_x``.

    Flags that were not given leave no trace in the namespace, so that a configuration file can stand below them.
    """
    for option in options:
        help_text = option.help.replace("%", "%%")
        default = "" if option.required or option.default is None else f" (default: {text_of(option.default)})"
        common: dict[str, Any] = {"dest": option.name, "default": argparse.SUPPRESS}
        if option.annotation is bool:
            off_help = argparse.SUPPRESS if option.default is False else f"switch {option.name} off"
            parser.add_argument(f"--{option.name}", action="store_true", help=help_text + default, **common)
            parser.add_argument(f"--no_{option.name}", action="store_false", help=off_help, **common)
            continue
        if option.takes_several:
            common |= {"nargs": "+", "metavar": _metavar(option)}
        elif option.choices:
            common |= {"choices": option.choices}
        else:
            common |= {"metavar": _metavar(option)}
        parser.add_argument(
            f"--{option.name}", required=required and option.required, help=help_text + default, **common
        )


def _metavar(option: Option) -> str:
    names = {int: "N", float: "X", str: "TEXT"}
    first = option.alternatives[0]
    if typing.get_origin(first) is tuple:
        first = typing.get_args(first)[0]
    return names.get(first, "VALUE")

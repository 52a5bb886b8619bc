"""Command-line flags made from options."""

import argparse
import sys
import typing
from collections.abc import Callable, Iterable, Mapping
from textwrap import wrap
from typing import Any, NoReturn

from emt.errors import RegistrationError, UserError
from emt.options.checks import text_of
from emt.options.signatures import Option
from emt.text import suggestion


class HelpFormatter(argparse.RawDescriptionHelpFormatter):
    """Help that keeps the line breaks of descriptions and of the help of flags."""

    def _split_lines(self, text: str, width: int) -> list[str]:
        return [
            part
            for line in text.splitlines()
            for part in wrap(line, width, subsequent_indent=indent_of(line))
        ]


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
        self._words: list[str] = []
        self.elsewhere: Callable[[str], str] = lambda flag: ""
        """Says, as the end of a message, where else there is a flag that is none of this command line."""

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parse as argparse does; what was typed is kept for messages."""
        self._words = sys.argv[1:] if args is None else [str(word) for word in args]
        return super().parse_known_args(args, namespace)

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is not None and value not in action.choices:
            known = [str(choice) for choice in action.choices]
            text = (
                f"invalid choice: {value!r} (choose from {', '.join(known)}){suggestion(str(value), known)}"
            )
            raise argparse.ArgumentError(action, text)

    def format_help(self) -> str:
        """Return the help text; its usage shows what is required, and not dozens of options."""
        self.usage = self.usage or self._short_usage()
        return super().format_help()

    def _short_usage(self) -> str:
        required = [action for action in self._actions if action.required or not action.option_strings]
        words = ["%(prog)s [options]"]
        for action in required:
            values = _usage_of_values(action)
            words.append(f"{action.option_strings[0]} {values}" if action.option_strings else values)
        return " ".join(words)

    def error(self, message: str) -> NoReturn:
        """Refuse, and say which flag a mistyped one may have meant; whoever runs the script prints the line."""
        raise UserError(f"{message}{self._suggested_flag(message)} (--help shows all flags)")

    def _suggested_flag(self, message: str) -> str:
        if not message.startswith(("unrecognized arguments", "the following arguments are required")):
            return ""
        known = self._known_flags()
        typed = [word.partition("=")[0] for word in self._words if word.startswith("--")]
        unknown = [flag for flag in typed if flag not in known]
        texts = (self.elsewhere(flag) or suggestion(flag, known) for flag in unknown)
        return next(filter(None, texts), "")

    def _known_flags(self) -> list[str]:
        """Return all flags, of sub-commands those of the one that was typed."""
        parts = [a.choices for a in self._actions if isinstance(a, argparse._SubParsersAction)]
        typed = [part[word] for part in parts for word in self._words if word in part][:1]
        own = [flag for flag in self._option_string_actions if flag.startswith("--")]
        return own + [flag for part in typed for flag in part._known_flags()]


def add_flags(
    parser: argparse._ActionsContainer, options: Iterable[Option], *, required: bool = True
) -> None:
    """Add one flag for each option, with the user's spelling; a true-by-default switch becomes ``--x`` / ``--no_x``.

    Flags that were not given leave no trace in the namespace, so that a configuration file can stand below
    them.

    Raises
    ------
    RegistrationError
        If the parser has a flag of that name already.
    """
    for option in options:
        _check_free(parser, option)
        text = help_text(option)
        common: dict[str, Any] = {"dest": option.name, "default": argparse.SUPPRESS}
        if option.annotation is bool:
            off_help = argparse.SUPPRESS if option.default is False else f"switch {option.name} off"
            parser.add_argument(f"--{option.name}", action="store_true", help=text, **common)
            parser.add_argument(f"--no_{option.name}", action="store_false", help=off_help, **common)
            continue
        if option.takes_several:
            common |= {"nargs": "+", "metavar": _metavar(option), "choices": option.item_choices}
        elif option.choices:
            common |= {"choices": option.choices}
        else:
            common |= {"metavar": _metavar(option)}
        flags = [f"--{name}" for name in (option.name, *option.aliases)]
        parser.add_argument(*flags, required=required and option.required, help=text, **common)


def help_text(option: Option) -> str:
    """Return the help of a flag: no full stop at its end, then the default; a switch that is off has none to name."""
    text = option.help.strip().removesuffix(".").replace("%", "%%")
    # Not by ==: 0 equals False.
    if option.required or option.default is None or option.default is False or option.default in ("", ()):
        return text
    return f"{text} (default: {'on' if option.default is True else text_of(option.default)})"


def _usage_of_values(action: argparse.Action) -> str:
    """Return what follows a flag, or stands for a positional, in the usage line."""
    choices = f"{{{','.join(map(str, action.choices))}}}" if action.choices else action.dest.upper()
    name = action.metavar if isinstance(action.metavar, str) else choices
    return {"+": f"{name} [{name} ...]", argparse.PARSER: f"{name} ..."}.get(str(action.nargs), name)


def _check_free(parser: argparse._ActionsContainer, option: Option) -> None:
    flags = [f"--{name}" for name in (option.name, *option.aliases)]
    flags += [f"--no_{option.name}"] if option.annotation is bool else []
    taken = [flag for flag in flags if flag in parser._option_string_actions]
    if taken:
        group = getattr(parser, "title", None) or "this command"
        raise RegistrationError(
            f"{taken[0]}: {group} and another part of the command line have an option of this name; rename yours"
        )


def _metavar(option: Option) -> str:
    names = {int: "N", float: "X", str: "TEXT"}
    first = option.alternatives[0]
    if typing.get_origin(first) is tuple:
        first = typing.get_args(first)[0]
    return "NAME" if option.item_choices else names.get(first, "VALUE")

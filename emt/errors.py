"""Errors that a user can act on: a command line prints them as one line and exits with code 2."""

from collections import Counter
from collections.abc import Iterable
from typing import Any

import emt


class UserError(ValueError):
    """Bad input, or a file or disk that refuses: the message says what, expected, got and where."""


class TraceError(UserError):
    """A trace or a dynamics file that does not follow its schema."""


class RegistrationError(UserError):
    """A task, a model or an analysis that lacks what its registry asks for; the message says what to write where."""


def repeated(names: Iterable[Any]) -> str:
    """Say which names stand several times, "model-1 (2 times), model-4 (3 times)"; empty where all differ.

    >>> repeated(["a", "b", "a"])
    'a (2 times)'
    """
    return ", ".join(f"{name} ({count} times)" for name, count in Counter(names).items() if count > 1)


def install_hint(extra: str) -> str:
    """Return the command that installs an optional group of dependencies of pyproject.toml.

    >>> install_hint("cluster")
    'pip install "emt-workbench[cluster]"'
    """
    return f'pip install "{emt.DISTRIBUTION}[{extra}]"'

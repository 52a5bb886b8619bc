"""Errors that a user can act on: a command line prints them as one line and exits with code 2."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import emt
from emt.text import visible


class UserError(ValueError):
    """Bad input, or a file or disk that refuses: the message says what, expected, got and where, in one line.

    Parameters
    ----------
    message
        What was expected, what was given instead, and where.
    parameter
        The argument of a function, or the field of a configuration, that the message is about.

    Examples
    --------
    >>> error = UserError("must be 0 or more; got -1", parameter="trials")
    >>> str(error), error.in_flags()
    ('trials: must be 0 or more; got -1', '--trials: must be 0 or more; got -1')
    """

    def __init__(self, message: str, parameter: str | None = None) -> None:
        super().__init__(message)
        self.parameter = parameter

    def __str__(self) -> str:
        return self._about(self.parameter)

    def in_flags(self) -> str:
        """Return the message as a command line prints it: the parameter as a flag."""
        return self._about(self.parameter and f"--{self.parameter}")

    def _about(self, name: str | None) -> str:
        message = super().__str__()
        return visible(f"{name}: {message}" if name else message)


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


@contextmanager
def renamed(parameters: Mapping[str, str]) -> Iterator[None]:
    """Let errors about a parameter speak of what the caller calls it.

    Parameters
    ----------
    parameters
        Name within -> name of the caller's own parameter, or of its flag.
    """
    try:
        yield
    except UserError as error:
        if error.parameter is not None:
            error.parameter = parameters.get(error.parameter, error.parameter)
        raise

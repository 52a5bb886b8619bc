"""What all engines share: what they call, and what comes back."""

import importlib
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from emt import stopping
from emt.errors import UserError
from emt.files import explain_os_error
from emt.options import plugins

TICK_S = 0.5

Function = str | Callable[[Any], Any]
"""What workers call: ``"module:name"``, imported in the workers only, or a function that can be pickled."""

Tick = Callable[[], None]
"""Called about twice a second during the work."""


@dataclass(frozen=True)
class Result:
    """What came of an item: a value, or in one line why not; ``details`` is a traceback where that helps."""

    item: Any
    value: Any = None
    failure: str = ""
    details: str = ""


@dataclass(frozen=True)
class WithPlugins:
    """What workers call where plug-ins were named on the command line: they count there too."""

    function: Function
    plugins: tuple[plugins.Plugin, ...]

    def __call__(self, item: Any) -> Any:
        """Call the function, in a process where the plug-ins count."""
        """Call the function, in a process where the plug-ins count."""
        plugins.adopt(self.plugins)
        return resolve(self.function)(item)


def with_plugins(function: Function) -> Function:
    """Return what workers should call instead of a function, so that they know this process's plug-ins."""
    return WithPlugins(function, plugins.given()) if plugins.given() else function


def nothing() -> None:
    """Do nothing: the tick of whoever shows no progress."""


def attempt(function: Function, item: Any) -> Result:
    """Call ``function(item)`` in this process; a failure becomes a `Result` too."""
    try:
        return Result(item, resolve(function)(item))
    except UserError as error:
        # Failures are read on command lines only.
        return Result(item, failure=error.in_flags())
    except OSError as error:
        return Result(item, failure=explain_os_error(error))
    except Exception as error:
        # Compiled code may turn an interruption into an error of its own.
        stopping.check()
        return Result(item, failure=f"{type(error).__name__}: {error}", details=traceback.format_exc())


def resolve(function: Function) -> Callable[[Any], Any]:
    """Import what ``"module:name"`` names."""
    if callable(function):
        return function
    module, _, name = function.partition(":")
    resolved: Callable[[Any], Any] = getattr(importlib.import_module(module), name)
    return resolved

"""What commands print: names and texts of users and of files are shown as they are, and nothing in them takes effect.

A terminal obeys escapes, and rich obeys markup; here neither is.
"""

import sys
from typing import Any

from emt.text import visible


def say(*lines: str, flush: bool = False) -> None:
    """Print lines."""
    for line in lines:
        print(visible(line), flush=flush)


def complain(line: str) -> None:
    """Print a line on standard error."""
    print(visible(line), file=sys.stderr)


def complain_at_length(text: str) -> None:
    """Print lines, such as those of a traceback, on standard error as they are."""
    print(visible(text, lines=True), end="", file=sys.stderr)


def open_console(**settings: Any) -> Any:
    """Return a rich console on standard output that prints text as it is, also in the cells of tables.

    Parameters
    ----------
    settings
        What else `rich.console.Console` takes.
    """
    from rich.console import Console
    from rich.text import Text

    class PlainConsole(Console):
        def render_str(self, text: str, **options: Any) -> Text:
            return super().render_str(visible(text), **options | {"markup": False, "emoji": False})

    return PlainConsole(**{"highlight": False, "soft_wrap": True} | settings)

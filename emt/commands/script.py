"""How every command line of the project ends: one line for what the user can put right, and an honest exit code."""

import os
import select
import sys
from collections.abc import Callable
from pathlib import Path

from emt import stopping
from emt.commands.output import complain
from emt.text import shell_path

SCRIPTS = {"train": "train_multiple.py", "evaluate": "evaluate_multiple.py", "analyze": "analyze.py"}
"""Stages of the work that have a script of their own in a checkout."""


def program(stage: str) -> str:
    """Return what this process calls a stage in its messages: ``train_multiple.py`` or ``emt train``."""
    return SCRIPTS.get(stage, f"emt {stage}") if _is_script() else f"emt {stage}"


def shell_command(stage: str) -> str:
    """Return what a user types to run a stage, in the form in which this process was started.

    ``emt evaluate`` after ``emt train``, ``python -m emt evaluate`` after ``python -m emt train``, and
    ``python evaluate_multiple.py`` after ``python train_multiple.py``, in the folder of that script.
    """
    started = Path(sys.argv[0])
    if _is_script() and stage in SCRIPTS:
        return f"python {shell_path(started.with_name(SCRIPTS[stage]))}"
    return f"python -m emt {stage}" if started.parts[-2:] == ("emt", "__main__.py") else f"emt {stage}"


def _is_script() -> bool:
    return Path(sys.argv[0]).name in SCRIPTS.values()


def run_script(name: str, main: Callable[[], int]) -> int:
    """Call ``main`` and return its exit code: 2 for bad input or a refusing disk, 130 after Ctrl-C, 143 after SIGTERM.

    What scripts raise for bad input (`emt.errors.UserError`) and ``OSError`` become one line; anything else
    is a fault of ours and keeps its traceback. If the reader of the output stops reading (``| head``),
    nothing more is printed: the code is 141 if a line was lost.
    """
    code = 0
    try:
        code = _outcome(name, main)
    finally:
        lost = _lost_output()
    if lost is None or code:
        return code
    complain(f"{name}: {lost}")
    return 2


def _lost_output() -> str | None:
    """Return why what is printed cannot be written; None where it can, where nobody reads it, or nothing is printed."""
    from emt.files import explain_os_error

    try:
        sys.stdout.flush()
    except OSError as error:
        # What is still in the buffer would end in a complaint at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        error.filename = "standard output"
        return None if isinstance(error, BrokenPipeError) else explain_os_error(error)
    except (AttributeError, ValueError):
        # Standard output is closed, or no file.
        pass
    return None


def _check_style() -> None:
    """Refuse a wrong file of figures' style before any work is done, rather than after it."""
    if os.environ.get("EMT_STYLE"):
        from analysis.figures.house import chosen_house

        chosen_house()


def _outcome(name: str, main: Callable[[], int]) -> int:
    from emt.errors import UserError
    from emt.files import explain_os_error

    try:
        with stopping.handled():
            try:
                _check_style()
                return main()
            except Exception:
                # Compiled code and libraries may turn an interruption into an error of their own.
                stopping.check()
                raise
    except UserError as error:
        message = error.in_flags()
    except OSError as error:
        if isinstance(error, BrokenPipeError) and _reader_is_gone():
            return 141
        message = explain_os_error(error)
    except KeyboardInterrupt as interruption:
        complain(f"{name}: interrupted; rerun the same command to resume")
        return interruption.exit_code if isinstance(interruption, stopping.Stopped) else 130
    complain(f"{name}: {message}")
    return 2


def _reader_is_gone() -> bool:
    """Whether standard output is a pipe that nobody reads any more."""
    try:
        descriptor = sys.stdout.fileno()
    except (AttributeError, OSError, ValueError):
        # Standard output is closed, or no file.
        return False
    poll = select.poll()
    poll.register(descriptor, 0)
    return any(event & select.POLLERR for _, event in poll.poll(0))

"""When the attacks end: what waits for one waits no longer than that."""

import math
import time


class TimeUpError(Exception):
    """The attack that runs is given up and not counted."""


_END = [math.inf]


def end_at(moment: float) -> None:
    """Let all waiting end at a moment of `time.monotonic`, in this process and those that it forks from now on."""
    _END[0] = moment


def left() -> float:
    """Return the seconds to the end."""
    return _END[0] - time.monotonic()

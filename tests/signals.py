"""Send this process a signal at a chosen moment: within its n-th call of a Python function."""

import contextlib
import signal
import sys


@contextlib.contextmanager
def signal_at(call=None, number=signal.SIGINT):
    """Count function calls within the block, in a list of one number; raise a signal at one of them."""
    calls = [0]

    def count(_frame, event, _argument):
        if event == "call":
            calls[0] += 1
            if calls[0] == call:
                signal.raise_signal(number)

    sys.setprofile(count)
    try:
        yield calls
    finally:
        sys.setprofile(None)

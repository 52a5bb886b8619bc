"""Fixtures that tests of several folders share: planted data, scripts and runs, the check of a figure's layout."""

import signal

pytest_plugins = [
    *(
        f"planted.{subject}"
        for subject in ("circuits", "dynamics", "interventions", "memories", "spectra", "stories")
    ),
    "command_line",
    "figure_faults",
]

# A shell's background job ignores Ctrl-C, and so would every script that tests start and interrupt.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

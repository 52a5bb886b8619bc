"""Fixtures that tests of several folders share: planted data, scripts and runs, the check of a figure's layout."""

import os
import signal

# Before numpy and torch are imported: tests' arrays are small, and workers' threads would wait for each other, which
# makes some tests ten times as slow.
for library in ("OMP", "MKL", "OPENBLAS"):
    os.environ.setdefault(f"{library}_NUM_THREADS", "1")

pytest_plugins = [
    *(
        f"planted.{subject}"
        for subject in ("circuits", "dynamics", "interventions", "memories", "spectra", "stories")
    ),
    "command_line",
    "fake_wandb",
    "figure_faults",
]

# A shell's background job ignores Ctrl-C, and so would every script that tests start and interrupt.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

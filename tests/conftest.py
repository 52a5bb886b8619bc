"""Fixtures that tests of several folders share: planted data, scripts and runs, the check of a figure's layout."""

pytest_plugins = [
    *(f"planted.{subject}" for subject in ("circuits", "dynamics", "memories", "spectra", "stories")),
    "command_line",
    "figure_faults",
]

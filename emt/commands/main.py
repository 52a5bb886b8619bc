"""The console command ``emt``: one sub-command for each stage of the work."""

import importlib
import sys
from collections.abc import Sequence

from emt import __version__
from emt.commands.output import complain, say
from emt.commands.script import run_script
from emt.text import suggestion

STAGES = {
    "train": "train a population of models",
    "evaluate": "evaluate a trained population: accuracy, spectra, traces, figures",
    "analyze": "analyse evaluated populations",
    "sweep": "train all populations of an experiment",
    "import": "import networks that another program trained",
    "selftest": "show that the numbers are right on this machine",
}
"""Sub-commands, each a module of `emt.commands` with a function ``main``."""

MODULES = {"import": "import_run"}
"""Of sub-commands that are words of Python."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one stage and return its exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if words[:1] == ["--version"]:
        say(f"emt {__version__}")
        return 0
    if words[:1] in ([], ["--help"], ["-h"]):
        say(*usage().splitlines())
        return 0 if words else 2
    stage, *rest = words
    if stage not in STAGES:
        complain(f"emt: no such command: {stage!r}; there are {', '.join(STAGES)}{suggestion(stage, STAGES)}")
        return 2
    module = f"emt.commands.{MODULES.get(stage, stage)}"
    return run_script(f"emt {stage}", lambda: importlib.import_module(module).main(rest))


def usage() -> str:
    """Return what ``emt --help`` prints."""
    lines = [f"  {name:9} {text}" for name, text in STAGES.items()]
    return "\n".join(
        [
            "usage: emt [--version] [--help] COMMAND ...",
            "",
            "Train populations of recurrent memory models and analyse their memory.",
            "",
            *lines,
            "",
            "emt COMMAND --help shows the flags of a command.",
        ]
    )

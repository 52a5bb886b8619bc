"""Train all populations of a question as one piece of work (``emt sweep``)."""

import sys

from emt.commands.script import run_script
from emt.commands.sweep import main

if __name__ == "__main__":
    sys.exit(run_script("sweep", main))

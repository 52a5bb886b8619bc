#!/usr/bin/env python
"""Train a population (``emt train``)."""

import sys

from emt.commands.script import run_script
from emt.commands.train import main

if __name__ == "__main__":
    sys.exit(run_script("train_multiple.py", main))

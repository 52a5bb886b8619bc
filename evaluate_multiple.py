#!/usr/bin/env python
"""Evaluate a trained population (``emt evaluate``)."""

import sys

from emt.commands.evaluate import main
from emt.commands.script import run_script

if __name__ == "__main__":
    sys.exit(run_script("evaluate_multiple.py", main))

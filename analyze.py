#!/usr/bin/env python
"""Analyse evaluated populations (``emt analyze``)."""

import sys

from emt.commands.analyze import main
from emt.commands.script import run_script

if __name__ == "__main__":
    sys.exit(run_script("analyze.py", main))

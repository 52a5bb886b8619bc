"""Interrupts a command before it puts a certain file in place: at the same moment on every machine.

Python imports this module by its name where its folder is on PYTHONPATH, in workers too.
"""

import fnmatch
import os
import sys

pattern = os.environ["INTERRUPT_BEFORE"]
number = int(os.environ["INTERRUPT_BY"])
interrupt = getattr(os, os.environ["INTERRUPT_HOW"])


def watch(event, arguments):
    if event == "os.rename" and fnmatch.fnmatch(os.fsdecode(arguments[1]), pattern):
        # A command that leads its group has the group's number.
        interrupt(os.getpgrp(), number)


sys.addaudithook(watch)

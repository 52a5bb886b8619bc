"""Work that tests hand to engines; workers import it by name."""

import os
import signal
import time
from pathlib import Path

from emt import stopping
from emt.errors import UserError
from emt.models import MODELS
from emt.options import target_of


def square(number):
    if number == 3:
        raise UserError("three is refused")
    if number == 5:
        raise RuntimeError("five is a fault")
    return number**2


def place(_):
    time.sleep(0.2)
    return os.environ.get("CUDA_VISIBLE_DEVICES"), os.environ.get("OMP_NUM_THREADS")


def wait_for(path):
    """Return when the file is there."""
    while not Path(path).exists():
        time.sleep(0.01)
    return "seen"


def once_killed(folder):
    """Say who works, and wait to be killed; whoever comes second finishes."""
    first = Path(folder) / "first.pid"
    if first.exists():
        return os.getpid()
    first.with_suffix(".tmp").write_text(str(os.getpid()))
    first.with_suffix(".tmp").rename(first)
    time.sleep(3600)
    return 0


def until_stopped(folder):
    """Say who works, save on a request to stop; whoever comes second finishes."""
    first = Path(folder) / "first.pid"
    if first.exists():
        return os.getpid()
    with stopping.deferred():
        first.with_suffix(".tmp").write_text(str(os.getpid()))
        first.with_suffix(".tmp").rename(first)
        while not stopping.requested():
            time.sleep(0.01)
        time.sleep(0.2)
        (Path(folder) / "saved").touch()
    return 0


def killed_at_seven(number):
    if number == 7:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def target_of_lab(name):
    return target_of(MODELS, name, "model_type")

"""Signals as exceptions and as requests."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from emt import stopping
from emt.commands.script import run_script

ROOT = Path(__file__).parents[2]
NUMBERS = pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])


def send(how, *numbers):
    """Send this process signals within ``handled`` or ``deferred``; return what was reached after each, or the end."""
    reached = []

    def work():
        with how():
            for number in numbers:
                reached.append(number)
                signal.raise_signal(number)
            reached.append("end")

    with pytest.raises(stopping.Stopped) as stopped:
        work()
    assert not stopping.requested(), "the next work of this process starts without a request"
    return reached, stopped.value.exit_code


@NUMBERS
def test_a_signal_raises_where_it_strikes(number, code):
    before = signal.getsignal(number)
    assert send(stopping.handled, number) == ([number], code)
    assert signal.getsignal(number) is before


@NUMBERS
def test_a_signal_is_a_request_where_it_is_deferred(number, code):
    assert send(stopping.deferred, number) == ([number, "end"], code)


def test_without_a_signal_nothing_is_raised():
    with stopping.deferred():
        assert not stopping.requested()
        stopping.check()


def test_a_second_ctrl_c_raises_at_once_and_a_second_sigterm_does_not():
    numbers = [signal.SIGTERM, signal.SIGTERM, signal.SIGINT, signal.SIGINT]
    assert send(stopping.deferred, *numbers) == (numbers, 130)


def test_the_first_signal_decides_the_exit_code():
    assert send(stopping.deferred, signal.SIGTERM, signal.SIGINT)[1] == 143


def test_a_third_ctrl_c_kills():
    code = (
        "import signal\nfrom emt import stopping\n"
        "with stopping.deferred():\n"
        "    for _ in range(3):\n"
        "        try: signal.raise_signal(signal.SIGINT)\n"
        "        except KeyboardInterrupt: print('swallowed', flush=True)\n"
        "    print('alive')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=ROOT)
    assert (done.stdout, done.returncode) == ("swallowed\n", -signal.SIGINT)


def test_an_ignored_signal_stays_ignored():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with stopping.deferred():
            signal.raise_signal(signal.SIGINT)
            assert not stopping.requested()
    finally:
        signal.signal(signal.SIGINT, before)


def test_an_inner_block_ends_work_that_an_outer_one_would_continue():
    reached = []

    def work():
        with stopping.deferred():
            with stopping.deferred():
                signal.raise_signal(signal.SIGINT)
            reached.append("the next piece of work")

    with pytest.raises(stopping.Stopped):
        work()
    assert not reached


def test_handlers_that_a_library_replaced_are_taken_over():
    def work():
        with stopping.deferred():
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            stopping.take_over()
            signal.raise_signal(signal.SIGTERM)

    with pytest.raises(stopping.Stopped):
        work()


def test_another_thread_is_asked_by_a_request():
    outcome = []

    def work():
        try:
            with stopping.deferred():
                stopping.request()
                outcome.append(stopping.requested())
        except stopping.Stopped as stopped:
            outcome.append(stopped.exit_code)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    stopping.forget()
    assert outcome == [True, 143]
    assert not stopping.requested()


@NUMBERS
def test_a_script_says_how_to_resume(number, code, capsys):
    assert run_script("emt train", lambda: os.kill(os.getpid(), number)) == code
    assert capsys.readouterr().err == "emt train: interrupted; rerun the same command to resume\n"


class Finalized:
    def __del__(self):
        signal.raise_signal(signal.SIGINT)


def test_a_signal_within_a_finalizer_strikes_again(capsys):
    seen = []

    def finalize():
        Finalized()
        seen.append("Python ignores what a finalizer raises")
        time.sleep(60)

    with pytest.raises(stopping.Stopped), stopping.handled():
        finalize()
    assert seen
    assert capsys.readouterr().err == ""
    assert not stopping.requested()


def test_other_exceptions_of_finalizers_are_told_as_ever(monkeypatch):
    told = []
    monkeypatch.setattr(sys, "unraisablehook", lambda it: told.append(type(it.exc_value)))

    class Broken:
        def __del__(self):
            raise ValueError

    with stopping.handled():
        Broken()
    assert told == [ValueError]

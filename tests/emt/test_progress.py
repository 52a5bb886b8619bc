"""Progress: a bar on a terminal, lines elsewhere."""

import io
import re
import time

import pytest
from rich.console import Console

from emt import progress
from emt.progress import Progress, duration


@pytest.fixture
def show(monkeypatch):
    """Return a function that gives what is printed while two of eight networks are done."""
    monkeypatch.setattr(progress, "LINE_EVERY_S", 0.02)

    def run(terminal, *, enabled=True, wait=0.1, part=None):
        text = io.StringIO()
        console = Console(file=text, force_terminal=terminal, width=100, soft_wrap=True)
        with Progress("networks", 8, console, enabled) as networks:
            networks.update(2, "1 has failed")
            if part:
                with Progress(*part) as inner:
                    inner.update(3)
                    time.sleep(wait)
            else:
                time.sleep(wait)
        return text.getvalue()

    return run


def test_where_nobody_watches_a_line_follows_periodically(show):
    first, *others = show(False).splitlines()
    assert re.fullmatch(r"networks 2 of 8, 1 has failed; 0 s so far, about \d s left", first)
    assert others


def test_short_work_and_quiet_work_print_nothing(show):
    assert show(False, wait=0) == ""
    assert show(False, enabled=False) == ""
    assert show(True, enabled=False) == ""


def test_a_terminal_has_a_bar(show):
    text = show(True)
    assert "networks" in text
    assert "2 of 8, 1 has failed" in text
    assert "so far" not in text


def test_a_part_is_shown_by_the_whole(show, capsys):
    line = show(False, part=("clouds", 9)).splitlines()[0]
    assert line.startswith("networks: clouds 3 of 9; ")
    assert show(False, part=("clouds",)).splitlines()[0].startswith("networks: clouds; ")
    text = show(True, part=("clouds", 9))
    assert "clouds" in text
    assert "3 of 9" in text
    # It has no display of its own, and when it is over the whole is shown again.
    assert capsys.readouterr().err == ""
    assert show(False).startswith("networks 2 of 8")


def test_what_others_wrote_takes_no_effect(show):
    assert r"\x1b[31m[b]clouds[/b]" in show(False, part=("\x1b[31m[b]clouds[/b]", 9))


def test_a_part_of_a_loop_that_was_left_ends_with_the_whole(monkeypatch):
    monkeypatch.setattr(progress, "LINE_EVERY_S", 0.02)

    def loop():
        with Progress("clouds", 9):
            yield from range(9)

    text = io.StringIO()
    with Progress("networks", console=Console(file=text)):
        clouds = loop()
        next(clouds)
        time.sleep(0.1)
    assert progress._OPEN == []
    before = text.getvalue()
    assert before
    with Progress("others", console=Console(file=text)):
        clouds.close()
        assert [each.what for each in progress._OPEN] == ["others"]
    time.sleep(0.1)
    assert text.getvalue() == before


def test_an_error_ends_the_display(show):
    with pytest.raises(ZeroDivisionError), Progress("networks"):
        raise ZeroDivisionError
    assert progress._OPEN == []


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0 s"), (89.4, "89 s"), (90, "2 min"), (5399, "90 min"), (9000, "2.5 h")]
)
def test_durations(seconds, text):
    assert duration(seconds) == text

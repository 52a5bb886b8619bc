"""Progress: a bar on a terminal, lines elsewhere."""

import io
import re
import time

import pytest
from rich.console import Console

from emt import progress
from emt.progress import Progress, duration


def shown(terminal, monkeypatch, *, enabled=True, wait=0.1):
    monkeypatch.setattr(progress, "LINE_EVERY_S", 0.02)
    text = io.StringIO()
    console = Console(file=text, force_terminal=terminal, width=100, soft_wrap=True)
    with Progress("networks", 8, console, enabled) as counter:
        counter.update(2, "1 has failed")
        time.sleep(wait)
    return text.getvalue()


def test_where_nobody_watches_a_line_follows_now_and_then(monkeypatch):
    first, *others = shown(False, monkeypatch).splitlines()
    assert re.fullmatch(r"networks: 2 of 8, 1 has failed, 0 s so far, about 0 s left", first)
    assert others


def test_short_work_and_quiet_work_print_nothing(monkeypatch):
    assert shown(False, monkeypatch, wait=0) == ""
    assert shown(False, monkeypatch, enabled=False) == ""
    assert shown(True, monkeypatch, enabled=False) == ""


def test_a_terminal_has_a_bar(monkeypatch):
    text = shown(True, monkeypatch)
    assert "2/8" in text
    assert "1 has failed" in text
    assert "so far" not in text


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0 s"), (89.4, "89 s"), (90, "2 min"), (5399, "90 min"), (9000, "2.5 h")]
)
def test_durations(seconds, text):
    assert duration(seconds) == text

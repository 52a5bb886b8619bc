"""Trajectories on the page: what they are drawn from, and that keys turn them."""

import html
import json
import re

import pytest
from browser import elements, needs_browser, with_scripts

from analysis import AnalysisError
from analysis.report import results, turnable
from emt.commands.main import main as emt
from emt.files import write_bytes

HEADER = "model_name,condition,step,axis_1,low_1,high_1,axis_2,axis_3\n"
ROWS = "".join(
    f"{member},{condition},{step},{k + step},0,1,{step * step},{'' if step == 2 else -k}\n"
    for k, member in enumerate(("model-1", "model-<2>"))
    for condition in ("left", "right")
    for step in range(4)
)


@pytest.fixture
def lines(tmp_path):
    path = tmp_path / "trajectories_lines.csv"
    path.write_text(HEADER + ROWS)
    return path


def drawn(path):
    return json.loads(html.unescape(re.search(r'data-lines="([^"]*)"', turnable.turnable_lines(path))[1]))


def test_each_member_has_a_line_for_each_condition(lines):
    members = drawn(lines)
    assert [name for name, _ in members] == ["model-1", "model-<2>"]
    assert [name for name, _ in members[1][1]] == ["left", "right"]
    assert members[1][1][0][1] == [[1, 0, -1], [2, 1, -1], [3, 4, None], [4, 9, -1]]


def test_members_beyond_the_pages_room_are_named_as_left_out(lines, monkeypatch):
    assert "More members" not in turnable.turnable_lines(lines)
    monkeypatch.setattr(turnable, "MOST_POINTS", 8)
    assert [name for name, _ in drawn(lines)] == ["model-1"]
    assert "More members" in turnable.turnable_lines(lines)


def test_a_cell_without_a_number_is_refused_and_another_table_has_no_drawing(lines, tmp_path):
    lines.write_text(HEADER + "model-1,left,0,x,0,1,2,3\n")
    with pytest.raises(AnalysisError, match=r"trajectories_lines.csv: line 2: expected a number; got 'x'"):
        turnable.turnable_lines(lines)
    other = tmp_path / "other.csv"
    other.write_text("model_name,axis_1\nmodel-1,2\n")
    assert turnable.turnable_lines(other) == ""
    assert results.DRAWN["trajectories_lines"] is turnable.turnable_lines


@needs_browser
@pytest.mark.slow
def test_arrow_keys_turn_the_lines(write_summary, tmp_path):
    summary = write_summary(tmp_path / "run", 3)
    write_bytes(summary.parent / "trajectories_analysis" / "trajectories_lines.csv", (HEADER + ROWS).encode())
    assert emt(["analyze", "report", "--summary_file", str(summary)]) == 0
    page = (summary.parent / "report.html").read_text()
    keys = (
        "const svg = document.querySelector('.turnable svg');"
        "const path = () => svg.querySelectorAll('path')[3].getAttribute('d');"
        "const before = path(); svg.dispatchEvent(new KeyboardEvent('keydown', {key: 'ArrowLeft'}));"
        "const turned = path(); svg.dispatchEvent(new KeyboardEvent('keydown', {key: 'ArrowRight'}));"
        "document.title = `${before !== turned} ${before === path()} ${svg.querySelectorAll('path').length}`;"
    )
    path = tmp_path / "page.html"
    path.write_text(with_scripts(page, keys))
    done = elements(path.as_uri(), tmp_path / "profile")
    # Three axes and two conditions.
    assert "<title>true true 5<" in done.stdout

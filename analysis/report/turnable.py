"""Trajectories on the page that turn by mouse or arrow keys: a line for each condition in three axes."""

from html import escape
from pathlib import Path

from analysis.report.html import json_text
from analysis.report.sections import number_in, read_columns

LINES_TABLE = "trajectories_lines"
"""The table that they are drawn from."""

COLUMNS = ("model_name", "condition", "axis_1", "axis_2", "axis_3")

MOST_POINTS = 30_000
"""Points that a page holds; members beyond them are left out, and the caption says so."""


def turnable_lines(path: Path) -> str:
    """Return a drawing of each member's lines, one member at a time; empty for a table without three axes.

    Raises
    ------
    AnalysisError
        If a cell of an axis holds no number.
    """
    found: dict[str, dict[str, list[list[float | None]]]] = {}
    points = left_out = 0
    for at, (member, condition, *axes) in read_columns(path, *COLUMNS, absent=True):
        points += 1
        if points > MOST_POINTS and member not in found:
            left_out += 1
            continue
        place = [number_in(text, at) for text in axes]
        found.setdefault(member, {}).setdefault(condition, []).append(place)
    if not found:
        return ""
    lines = [[member, [[name, line] for name, line in of.items()]] for member, of in found.items()]
    some = " More members are in the table." if left_out else ""
    return (
        f'<div class="turnable" data-lines="{escape(json_text(lines))}"><h3>Trajectories to turn</h3>'
        "<label>Member <select></select></label>"
        '<figure><svg viewBox="0 0 400 300" tabindex="0" role="img" aria-label="Lines of conditions in three axes; '
        'arrow keys turn them"></svg><figcaption><span class="legend"></span> Dots: first steps. Drag the drawing, '
        f"or press arrow keys on it, to turn it.{some}</figcaption></figure></div>"
    )

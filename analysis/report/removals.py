"""The grid of single writes on the page: what the answers to a question were worth without each of them."""

from html import escape
from pathlib import Path

from analysis.errors import AnalysisError
from analysis.report.sections import read_columns
from emt.text import shortened

MAP_TABLE = "interventions_map"
"""The table that such a grid is made from."""

COLUMNS = ("item", "steps_before", "accuracy", "unchanged", "queries")
MOST_CELLS = 2_000
"""Cells of a grid; a larger table is not drawn."""


def removal_grid(path: Path) -> str:
    """Return a grid whose cells tell, when they are chosen, what removing a write did; empty for an older table.

    Rows are the items that are queried, columns how many steps before the query the write stands.

    Raises
    ------
    AnalysisError
        If a cell of the table holds no number of its kind.
    """
    found: dict[tuple[int, int], tuple[float, float, int]] = {}
    for at, texts in read_columns(path, *COLUMNS, absent=True):
        if "" in texts:  # of an item that no query was about
            continue
        item, lag, right, unchanged, queries = (_number(text, at) for text in texts)
        found[int(item), int(lag)] = right, unchanged, int(queries)
        if len(found) > MOST_CELLS:
            return ""
    items, lags = (sorted({key[place] for key in found}) for place in (0, 1))
    if not found:
        return ""
    heads = "".join(f'<th scope="col">{lag}</th>' for lag in reversed(lags))
    rows = "".join(
        f'<tr><th scope="row">{_item(item)}</th>'
        + "".join(_cell(item, lag, found.get((item, lag))) for lag in reversed(lags))
        + "</tr>"
        for item in items
    )
    return (
        '<div class="removals"><h3>Without one write</h3><div class="scroll" tabindex="0"><table>'
        "<caption>Right answers (%) without the write that stands so many steps before the query; darker: more of "
        "them are lost. Choose a cell.</caption>"
        f'<thead><tr><th scope="col">queried</th>{heads}</tr></thead><tbody>{rows}</tbody></table></div>'
        '<p><output aria-live="polite">No write chosen.</output></p></div>'
    )


def _cell(item: int, lag: int, value: tuple[float, float, int] | None) -> str:
    if value is None:
        return "<td></td>"
    right, unchanged, queries = value
    lost = min(max((unchanged - right) / unchanged, 0.0), 1.0) if unchanged > 0 else 0.0
    steps = f"{lag} step{'' if lag == 1 else 's'} before the query"
    text = (
        f"{_item(item).capitalize()}, without the write {steps}: {right:.1%} of the answers are right, "
        f"{unchanged:.1%} with it ({queries} queries of each member)."
    )
    return (
        f'<td><button type="button" style="--lost:{lost:.0%}" aria-pressed="false" aria-label="{escape(text)}">'
        f"{100 * right:.0f}</button></td>"
    )


def _item(item: int) -> str:
    return "any item" if item < 0 else f"item {item}"


def _number(text: str, at: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not -1 <= value < 2**31:
        raise AnalysisError(f"{at}: expected a number from -1; got {shortened(repr(text))}")
    return value

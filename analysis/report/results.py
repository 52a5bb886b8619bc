"""Results of analyses on a page: answers, figures and tables, as far as there is room, and the frame around them."""

import base64
import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import Any

from analysis.report.html import described, image, json_text, table
from analysis.report.removals import MAP_TABLE, removal_grid
from analysis.report.sections import Experiment, Section, read_table
from analysis.report.turnable import LINES_TABLE, turnable_lines

PAGE_BYTES = 9_500_000
"""What a page may take: figures for which there is no room beside the rest are linked."""

FIGURE_BYTES = 5_000_000
"""Figures inside the page, together."""

TABLE_CELLS, ALL_CELLS = 8_000, 60_000
"""A table with more cells is linked, and so are those that would make more of them on the page."""

DRAWN: Mapping[str, Callable[[Path], str]] = {MAP_TABLE: removal_grid, LINES_TABLE: turnable_lines}
"""What is drawn above a table, by the table's name."""


@dataclass(frozen=True)
class Result:
    """What one analysis of an experiment left, as a page shows it.

    Attributes
    ----------
    experiment
        Whose it is.
    section
        What was asked and found.
    anchor
        Its address on the page.
    level
        Of its heading.
    """

    experiment: Experiment
    section: Section
    anchor: str
    level: int = 2

    @property
    def title(self) -> str:
        """Its heading."""
        return self.section.command.capitalize()


def findings(results: Sequence[Result]) -> str:
    """Return a list of what was found: the first line of each answer, which leads to the rest."""
    items = "".join(
        f'<li><a href="#{escape(result.anchor)}">{escape(result.title)}</a>: {escape(told)}</li>'
        for result in results
        if (told := _first_line(result.section.headline))
    )
    return f'<ul class="findings">{items}</ul>' if items else ""


def _first_line(headline: str) -> str:
    first, _, rest = headline.partition("\n")
    return f"{first} …" if rest else first


def results_that_fit(results: Sequence[Result], taken: int) -> str:
    """Return all results as HTML beside ``taken`` characters of other content; what finds no room is linked."""
    tables = _tables_that_fit(results)
    # Three bytes of a figure are four characters of the page.
    room = (PAGE_BYTES - taken - sum(map(len, tables.values()))) * 3 // 4
    paths = [path for result in results for path in result.section.figures]
    embedded = figures_that_fit(paths, min(FIGURE_BYTES, room))
    return "".join(_result(result, embedded, tables) for result in results)


def figures_that_fit(paths: Sequence[Path], room: int) -> set[Path]:
    """Return the figures that go into the page, in turn, until its ``room`` (in bytes) is full."""
    kept = set()
    for path in paths:
        size = path.stat().st_size
        if size <= room:
            kept.add(path)
            room -= size
    return kept


def heading(result: Result) -> str:
    """Return the title, question and answer of a result."""
    section = result.section
    sets = f" of {section.sets} sets" if section.sets > 1 else ""
    n = f" n = {section.n} member{'s' if section.n > 1 else ''}{sets}." if section.n else ""
    headline = f'<p class="headline">{escape(section.headline)}</p>' if section.headline else ""
    given = {name: value for name, value in section.options.items() if value not in (None, "", [])}
    listed = ", ".join(f"{name} {value}" for name, value in given.items())
    options = f'<p class="faint">Options: {escape(listed)}</p>' if listed else ""
    title = f"<h{result.level}>{escape(result.title)}</h{result.level}>"
    return f"{title}<p>{escape(section.question)}{n}</p>{headline}{options}"


def figure(result: Result, path: Path, embedded: set[Path]) -> str:
    """Return a figure with its caption, or a link to it."""
    title = path.stem.replace("_", " ")
    if path not in embedded:
        return (
            f'<p>Figure <a href="{_link(result, path)}">{escape(title)}</a> '
            "(separate file because of its size)</p>"
        )
    told, caption = described(path)
    named = f"{title}. {told}." if told else f"{title}."
    section = result.section
    # The figure's title is seen in the figure, and is heard as its description.
    text = caption or (f"{told}." if told else "")
    return image(path, f"{named} {section.question} {section.headline}", f"Figure: {title}.", text)


def _result(result: Result, embedded: set[Path], tables: Mapping[Path, str]) -> str:
    figures = "".join(figure(result, path, embedded) for path in result.section.figures)
    listed = "".join(tables[path] for path in result.section.tables)
    return (
        f'<section id="{escape(result.anchor)}">{heading(result)}'
        f'<div class="figures">{figures}</div>{listed}</section>'
    )


def _tables_that_fit(results: Sequence[Result]) -> dict[Path, str]:
    """Return each table as it stands on the page, in turn, until the page is full: then a link."""
    room, listed = ALL_CELLS, {}
    for result, path in ((one, path) for one in results for path in one.section.tables):
        rows, number = read_table(path, min(TABLE_CELLS, room))
        room -= sum(map(len, rows))
        listed[path] = _listed_table(result, path, rows, max(number - 1, 0))
        if path.stem in DRAWN:
            listed[path] = DRAWN[path.stem](path) + listed[path]
    return listed


def _listed_table(result: Result, path: Path, rows: Sequence[Sequence[str]], number: int) -> str:
    name = escape(path.stem)
    if not rows:
        return f'<p>Table <a href="{_link(result, path)}">{name}</a> ({number} rows, separate file)</p>'
    return f"<details><summary>Table {name}</summary>{table(path.stem, f'{number} rows', rows)}</details>"


def _link(result: Result, path: Path) -> str:
    return escape(result.experiment.address(path.relative_to(result.experiment.folder).as_posix()))


def framed(
    title: str, links: Mapping[str, str], data: Any, body: Callable[[int], str], footer: str = ""
) -> str:
    """Return a whole page.

    Parameters
    ----------
    title
        What it is about.
    links
        Anchor -> text of its navigation.
    data
        What its script draws.
    body
        Its content beside so many characters of data.
    footer
        Last line, as text.
    """
    script, style = (
        (files("analysis.report") / f"report.{kind}").read_text(encoding="utf-8") for kind in ("js", "css")
    )
    allowed = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{allowed}'"
    name, drawn = escape(title), json_text(data)
    items = "".join(f'<li><a href="#{escape(t)}">{escape(text)}</a></li>' for t, text in links.items())
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{name}: report</title>
<style>{style}</style>
</head>
<body>
<header>
<h1>{name}</h1>
<nav aria-label="Sections"><ul>{items}</ul></nav>
</header>
<main>
{body(len(drawn))}
</main>
<footer class="faint">{escape(footer)}</footer>
<script type="application/json" id="data">{drawn}</script>
<script>{script}</script>
</body>
</html>
"""

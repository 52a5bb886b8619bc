"""One page for an experiment: what was trained, how it went, what every analysis found. HTML that needs no network.

The page holds its figures, tables, styles and script. Its content security policy lets nothing else in, and
the script is the only one that may run. All text from files is escaped; the data of the charts are JSON in
which no tag can stand.
"""

import base64
import hashlib
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pandas as pd

from analysis.population import mean_over_members
from analysis.report.html import chart, definitions, described, image, json_text, short, table
from analysis.report.removals import MAP_TABLE, removal_grid
from analysis.report.sections import (
    GLOBAL,
    Experiment,
    Member,
    Section,
    find_maps,
    find_members,
    find_population,
    find_sections,
    read_table,
    recorded_networks,
)

PAGE_BYTES = 9_500_000
"""What a page may take: figures for which there is no room beside the rest are linked."""

FIGURE_BYTES = 5_000_000
"""Figures inside the page, together."""

TABLE_CELLS, ALL_CELLS = 8_000, 60_000
"""A table with more cells is linked, and so are those that would make more of them on the page."""

ACCURACY_MAP = "accuracy by member"


@dataclass(frozen=True)
class Report:
    """A page about one experiment.

    Attributes
    ----------
    experiment
        What it is about.
    members
        All of them, as numbered.
    seq_length
        Length of the spectra shown, None if there are none.
    theory
        The task's spectrum, pairs (re, im).
    maps
        Positions of members by map and member; the last map is accuracy over member.
    sections
        What each analysis left.
    """

    experiment: Experiment
    members: tuple[Member, ...]
    seq_length: int | None
    theory: Sequence[tuple[float, float]]
    maps: Mapping[str, Mapping[str, tuple[float, float]]]
    sections: tuple[Section, ...]

    @property
    def missing(self) -> dict[str, str]:
        """Command lines of the analyses that are not there, by command."""
        made = {section.command for section in self.sections}
        return {name: line for name, line in self.experiment.commands.items() if name not in made}

    def headline(self) -> str:
        """Say what the page shows."""
        made = [section.command for section in self.sections if section.command != GLOBAL]
        missing = ", ".join(self.missing) or "none"
        return f"{len(self.members)} members; analyses shown: {', '.join(made) or 'none'}; missing: {missing}"

    def pages(self) -> dict[str, str]:
        """Return the page."""
        return {"report": _page(self)}


def report_experiment(experiment: Experiment) -> Report:
    """Gather an experiment and its analyses on one page.

    Parameters
    ----------
    experiment
        The experiment; analyses are those whose folders lie beside its summary.

    Raises
    ------
    AnalysisError
        If a length was asked for at which no member has a spectrum.
    """
    population = find_population(experiment)
    seq_length = None if population is None else population.seq_length
    sections = find_sections(experiment, seq_length)
    members = find_members(experiment, population, sections)
    accuracies = {
        m.name: (float(k), m.entry["accuracy"]) for k, m in enumerate(members, 1) if _accuracy(m) is not None
    }
    theory = () if population is None or population.theory is None else population.theory
    return Report(
        experiment=experiment,
        members=members,
        seq_length=seq_length,
        theory=[(value.real, value.imag) for value in theory],
        maps=find_maps(sections) | {ACCURACY_MAP: accuracies},
        sections=sections,
    )


def _page(report: Report) -> str:
    script, style = (
        (files("analysis.report") / f"report.{kind}").read_text(encoding="utf-8") for kind in ("js", "css")
    )
    allowed = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{allowed}'"
    name = escape(report.experiment.label)
    data, members, tables = json_text(_data(report)), _members(report), _tables_that_fit(report)
    # Three bytes of a figure are four characters of the page.
    room = (PAGE_BYTES - len(data) - len(members) - sum(map(len, tables.values()))) * 3 // 4
    embedded = _figures_that_fit(report.sections, min(FIGURE_BYTES, room))
    body = [
        _glance(report),
        members,
        *(_section(report, section, embedded, tables) for section in report.sections),
        _missing(report),
        _configuration(report),
    ]
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
{_navigation(report)}
</header>
<main>
{"".join(body)}
</main>
<footer class="faint">Evaluated {escape(str(report.experiment.summary.get("timestamp", "")))}.</footer>
<script type="application/json" id="data">{data}</script>
<script>{script}</script>
</body>
</html>
"""


def _navigation(report: Report) -> str:
    targets = {"members": "members"} | {section.command: section.command for section in report.sections}
    targets |= {"missing": "missing"} if report.missing else {}
    targets |= {"configuration": "configuration"}
    items = "".join(
        f'<li><a href="#section-{escape(t)}">{escape(text)}</a></li>' for t, text in targets.items()
    )
    return f'<nav aria-label="Sections"><ul>{items}</ul></nav>'


def _glance(report: Report) -> str:
    configuration = _training_configuration(report)
    task, model = (configuration.get(part) or {} for part in ("task", "model"))
    failed = report.experiment.summary.get("failed") or []
    facts = {
        "task": " ".join(str(task[key]) for key in ("name", "task_id") if task.get(key)) or "not recorded",
        "model": str(model.get("type", "not recorded")),
        "hidden units": str(report.members[0].entry.get("hidden_dim", "not recorded")),
        "members": f"n = {len(report.members)}"
        + (f", {len(failed)} could not be evaluated" if failed else ""),
        "accuracy": _mean((_accuracy(member) for member in report.members), "accuracy"),
    }
    if report.seq_length is not None:
        errors = _mean(
            (m.entry.get("spectral_error_deg") for m in report.members), "spectral_error_deg", " degrees"
        )
        facts[f"spectral error at length {report.seq_length}"] = errors
    if recorded := recorded_networks(report.experiment.folder):
        facts["recorded with"] = recorded
    ends = [str(member.ending["status"]) for member in report.members if "status" in member.ending]
    if ends:
        facts["training ended"] = ", ".join(f"{end}: {ends.count(end)}" for end in sorted(set(ends)))
    return definitions(facts)


def _members(report: Report) -> str:
    return (
        '<section id="section-members"><h2>Members</h2>'
        f'<div class="explorer"><div>{_map(report)}</div>{_panel()}</div>{_charts(report)}{_member_table(report)}'
        "</section>"
    )


def _map(report: Report) -> str:
    made = [name for name in report.maps if name != ACCURACY_MAP]
    hint = (
        ""
        if made
        else f"<p>For a map of spectra: <code>{escape(report.experiment.commands['embedding'])}</code></p>"
    )
    scores = [a for member in report.members if (a := _accuracy(member)) is not None]
    ramp = f'accuracy {min(scores):.4g}<span class="ramp"></span>{max(scores):.4g}' if scores else ""
    return (
        '<label>Map <select id="map-choice"></select></label>'
        f"<figure>{chart('map', 'Map of members: each point links to its member')}"
        '<figcaption>Each point is a member (n = <span id="map-n"></span>). Hover over a point to see its member, '
        f"click to select it. {ramp}</figcaption></figure>{hint}"
    )


def _panel() -> str:
    return (
        '<div class="panel" role="region" aria-label="Selected member">'
        '<label>Member <select id="member-choice"></select></label><h3 id="member-name" aria-live="polite"></h3>'
        '<dl id="member-facts"></dl><ul id="member-files"></ul></div>'
    )


def _charts(report: Report) -> str:
    first, second = ('<span class="key first"></span>', '<span class="key second"></span>')
    curves = sum(bool(member.training) for member in report.members)
    captions = {
        "spectrum": (
            "Spectrum",
            f"eigenvalues{_leading(report)}; open circles: theory; dashed: unit circle",
            "eigenvalue",
        ),
        "diagram": (
            "Persistence diagram of the spectrum",
            f"{first}components (infinite deaths at the upper edge), {second}loops{_longest(report)}",
            "persistence",
        ),
        "curve": (
            "Accuracy in training",
            f"{first}training, {second}validation; gray: all members with a curve (n = {curves})",
            "training",
        ),
    }
    boxes = [
        f'<div><figure id="{name}-box">{chart(name, f"{title} of the selected member")}'
        f"<figcaption>{title} of the selected member (n = 1): {caption}.</figcaption></figure>"
        f'<p id="{name}-absent" class="faint" hidden>{title}: not available; created by {source}.</p></div>'
        for name, (title, caption, source) in captions.items()
    ]
    return f'<div class="charts">{"".join(boxes)}</div>'


def _leading(report: Report) -> str:
    most = max((len(member.eigenvalues) for member in report.members), default=0)
    cut = any(len(member.eigenvalues) < member.n_eigenvalues for member in report.members)
    return f", the {most} of largest modulus" if cut else ""


def _longest(report: Report) -> str:
    most = max((len(member.bars) for member in report.members), default=0)
    return (
        f"; the {most} longest" if any(len(member.bars) < member.n_bars for member in report.members) else ""
    )


def _member_table(report: Report) -> str:
    rows = [_facts(member) for member in report.members]
    columns = list(dict.fromkeys(column for row in rows for column in row))
    header = ["model_name", *columns]
    body = [[m.name, *(row.get(c, "") for c in columns)] for m, row in zip(report.members, rows, strict=True)]
    return table(
        "members", f"All members, n = {len(rows)}; intervals over held-out sequences", [header, *body]
    )


def _facts(member: Member) -> dict[str, str]:
    entry, ending = member.entry, member.ending
    found = {
        "accuracy": entry.get("accuracy"),
        "95 % interval": _interval(entry.get("accuracy_interval")),
        "spectral error (degrees)": entry.get("spectral_error_deg"),
        "missing modes": entry.get("missing_modes"),
        "last step": ending.get("step"),
        "ended": ending.get("status"),
        "training accuracy": ending.get("train_acc"),
        "seed": ending.get("seed"),
    }
    return {title: str(value) for title, value in found.items() if value is not None}


def _interval(ends: Any) -> str | None:
    whole = isinstance(ends, list) and all(isinstance(end, int | float) for end in ends)
    return " to ".join(f"{end:.4g}" for end in ends) if whole else None


def _section(report: Report, section: Section, embedded: set[Path], listed_tables: Mapping[Path, str]) -> str:
    sets = f" of {section.sets} sets" if section.sets > 1 else ""
    n = f" n = {section.n} member{'s' if section.n > 1 else ''}{sets}." if section.n else ""
    headline = f'<p class="headline">{escape(section.headline)}</p>' if section.headline else ""
    listed = ", ".join(f"{name} {value}" for name, value in section.options.items())
    options = f'<p class="faint">Options: {escape(listed)}</p>' if listed else ""
    figures = [_figure(report, section, path, path in embedded) for path in section.figures]
    tables = [listed_tables[path] for path in section.tables]
    return (
        f'<section id="section-{escape(section.command)}"><h2>{escape(section.command.capitalize())}</h2>'
        f"<p>{escape(section.question)}{n}</p>{headline}{options}"
        f'<div class="figures">{"".join(figures)}</div>{"".join(tables)}</section>'
    )


def _figure(report: Report, section: Section, path: Path, embed: bool) -> str:
    title = path.stem.replace("_", " ")
    if not embed:
        return f'<p>Figure <a href="{_link(report, path)}">{escape(title)}</a> (separate file because of its size)</p>'
    caption = f"{title}. {text}." if (text := described(path)) else f"{title}."
    return image(path, f"{caption} {section.question} {section.headline}", f"Figure: {caption}")


def _tables_that_fit(report: Report) -> dict[Path, str]:
    """Return each table of the sections as it stands on the page, in turn, until the page is full: then a link."""
    room, listed = ALL_CELLS, {}
    for path in (path for section in report.sections for path in section.tables):
        rows, number = read_table(path, min(TABLE_CELLS, room))
        room -= sum(map(len, rows))
        listed[path] = _listed_table(report, path, rows, max(number - 1, 0))
        if path.stem == MAP_TABLE:
            listed[path] = removal_grid(path) + listed[path]
    return listed


def _listed_table(report: Report, path: Path, rows: Sequence[Sequence[str]], number: int) -> str:
    name = escape(path.stem)
    if not rows:
        return f'<p>Table <a href="{_link(report, path)}">{name}</a> ({number} rows, separate file)</p>'
    return f"<details><summary>Table {name}</summary>{table(path.stem, f'{number} rows', rows)}</details>"


def _missing(report: Report) -> str:
    if not report.missing:
        return ""
    items = "".join(
        f"<dt>{escape(name)}</dt><dd>{escape(report.experiment.questions[name])}<br><code>{escape(line)}</code></dd>"
        for name, line in report.missing.items()
    )
    at = "" if report.seq_length is None else f" at length {report.seq_length}"
    return (
        f'<section id="section-missing"><h2>Missing analyses</h2>'
        f"<p>These commands add analyses that this page does not show{at}. A command that does not apply to the model, "
        f"for example to one without a memory, reports that.</p><dl>{items}</dl></section>"
    )


def _configuration(report: Report) -> str:
    configuration = _training_configuration(report)
    rows = [
        [part, key, json.dumps(value) if isinstance(value, list | dict) else str(value)]
        for part, fields in configuration.items()
        if isinstance(fields, dict)
        for key, value in fields.items()
    ]
    content = (
        table("configuration", "As trained", [["part", "option", "value"], *rows])
        if rows
        else "Not recorded."
    )
    return f'<section id="section-configuration"><h2>Configuration</h2>{content}</section>'


def _training_configuration(report: Report) -> Mapping[str, Any]:
    evaluation = report.experiment.summary.get("evaluation_config") or {}
    return evaluation.get("training_config") or {}


def _mean(values: Iterable[float | None], name: str, unit: str = "") -> str:
    mean = mean_over_members(
        pd.Series([value for value in values if value is not None], name=name, dtype=float)
    )
    if not mean.n:
        return "not known"
    interval = f" (95 % interval over members {mean.low:.4g} to {mean.high:.4g})" if mean.n > 1 else ""
    return f"mean {mean.estimate:.4g}{unit}{interval}, n = {mean.n}"


def _accuracy(member: Member) -> float | None:
    value = member.entry.get("accuracy")
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None


def _figures_that_fit(sections: Iterable[Section], room: int) -> set[Path]:
    """Return the figures that go into the page, in turn, until its ``room`` (in bytes) is full."""
    kept = set()
    for path in (path for section in sections for path in section.figures):
        size = path.stat().st_size
        if size <= room:
            kept.add(path)
            room -= size
    return kept


def _link(report: Report, path: Path) -> str:
    return escape(_address(report, path.relative_to(report.experiment.folder).as_posix()))


def _address(report: Report, path: str) -> str:
    return quote(f"{report.experiment.links}/{path}")


def _data(report: Report) -> dict[str, Any]:
    positions = {member.name: index for index, member in enumerate(report.members)}
    return {
        "theory": report.theory,
        "members": [
            {
                "name": member.name,
                "accuracy": _accuracy(member),
                "facts": [[title, short(value)] for title, value in _facts(member).items()],
                "files": [[label, _address(report, path)] for label, path in member.files.items()],
                "eigenvalues": member.eigenvalues,
                "bars": member.bars,
                "training": member.training,
                "validation": member.validation,
            }
            for member in report.members
        ],
        "maps": [
            {
                "name": name,
                "x": "member" if name == ACCURACY_MAP else "dimension 1",
                "y": "accuracy" if name == ACCURACY_MAP else "dimension 2",
                "points": [[positions[m], x, y] for m, (x, y) in points.items() if m in positions],
            }
            for name, points in report.maps.items()
        ],
    }

"""The part of a page on which a member is chosen: the map, one member's charts, and the table of all members."""

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from analysis.report.html import chart, short, table
from analysis.report.sections import Experiment, Member

ACCURACY_MAP = "accuracy by member"

Maps = Mapping[str, Mapping[str, tuple[float, float]]]
"""Positions of members by map and member; the last map is accuracy over member."""


def members_section(experiment: Experiment, members: Sequence[Member], maps: Maps) -> str:
    """Return the section of the page; its script draws the charts from `members_data`."""
    return (
        '<section id="section-members"><h2>Members</h2>'
        f'<div class="explorer"><div>{_map(experiment, members, maps)}</div>{_panel()}</div>'
        f"{_charts(members)}{_member_table(members)}</section>"
    )


def members_data(
    experiment: Experiment, members: Sequence[Member], maps: Maps, theory: Sequence[tuple[float, float]]
) -> dict[str, Any]:
    """Return what the page's script draws; ``theory`` is the task's spectrum, pairs (re, im)."""
    positions = {member.name: index for index, member in enumerate(members)}
    return {
        "theory": theory,
        "members": [
            {
                "name": member.name,
                "accuracy": accuracy_of(member),
                "facts": [[title, short(value)] for title, value in _facts(member).items()],
                "files": [[label, experiment.address(path)] for label, path in member.files.items()],
                "eigenvalues": member.eigenvalues,
                "bars": member.bars,
                "training": member.training,
                "validation": member.validation,
            }
            for member in members
        ],
        "maps": [
            {
                "name": name,
                "x": "member" if name == ACCURACY_MAP else "dimension 1",
                "y": "accuracy" if name == ACCURACY_MAP else "dimension 2",
                "points": [[positions[m], x, y] for m, (x, y) in points.items() if m in positions],
            }
            for name, points in maps.items()
        ],
    }


def accuracy_of(member: Member) -> float | None:
    """Return a member's accuracy, None without a finite one."""
    value = member.entry.get("accuracy")
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None


def _map(experiment: Experiment, members: Sequence[Member], maps: Maps) -> str:
    made = [name for name in maps if name != ACCURACY_MAP]
    line = experiment.commands.get("embedding")
    hint = "" if made or not line else f"<p>For a map of spectra: <code>{escape(line)}</code></p>"
    scores = [a for member in members if (a := accuracy_of(member)) is not None]
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


def _charts(members: Sequence[Member]) -> str:
    first, second = ('<span class="key first"></span>', '<span class="key second"></span>')
    curves = sum(bool(member.training) for member in members)
    captions = {
        "spectrum": (
            "Spectrum",
            f"eigenvalues{_leading(members)}; open circles: theory; dashed: unit circle",
            "eigenvalue",
        ),
        "diagram": (
            "Persistence diagram of the spectrum",
            f"{first}components (infinite deaths at the upper edge), {second}loops{_longest(members)}",
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


def _leading(members: Sequence[Member]) -> str:
    most = max((len(member.eigenvalues) for member in members), default=0)
    cut = any(len(member.eigenvalues) < member.n_eigenvalues for member in members)
    return f", the {most} of largest modulus" if cut else ""


def _longest(members: Sequence[Member]) -> str:
    most = max((len(member.bars) for member in members), default=0)
    return f"; the {most} longest" if any(len(member.bars) < member.n_bars for member in members) else ""


def _member_table(members: Sequence[Member]) -> str:
    rows = [_facts(member) for member in members]
    columns = list(dict.fromkeys(column for row in rows for column in row))
    header = ["model_name", *columns]
    body = [[m.name, *(row.get(c, "") for c in columns)] for m, row in zip(members, rows, strict=True)]
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

"""A report of an experiment whose members, accuracies and spectra are known, made with the commands themselves."""

import contextlib
import io
import json
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from emt.commands import analyze
from emt.commands.known_systems.answers import Answer
from emt.commands.known_systems.summaries import plant_summary

MEMBERS = 4


def experiment_page() -> Iterator[Answer]:
    """Four networks of accuracy .99, .98, .97 and .96, analysed by ``eigenvalue``, on one page.

    The page's data hold four members with the spectra and accuracies of the summary. It has a section of the
    one analysis and of no other, and loads nothing: it holds no address that a browser would fetch.
    """
    summary = plant_summary(MEMBERS)
    with tempfile.TemporaryDirectory() as folder:
        page = _page(Path(folder), summary)
    members = _data(page)["members"]
    by_name = {entry["model_name"]: entry for entry in summary["metrics"]}
    apart = [
        np.abs(
            np.array(member["eigenvalues"]) - np.array(by_name[member["name"]]["eigenvalues_rnn_seq5"])
        ).max()
        for member in members
    ]
    yield Answer("report", "members on the page", MEMBERS, len(members), 0.0)
    # The page rounds to three decimals.
    yield Answer("report", "largest error of an eigenvalue", 0.0, max(apart), 5.1e-4)
    shares = [member["accuracy"] - by_name[member["name"]]["accuracy"] for member in members]
    yield Answer("report", "largest error of an accuracy", 0.0, max(map(abs, shares)), 1e-9)
    sections = re.findall(r'<section id="section-(?!findings|members|missing|configuration)', page)
    yield Answer("report", "sections of an analysis", 1.0, len(sections), 0.0)
    fetched = re.findall(r'(?:src|href)="(?:https?:)?//', page)
    yield Answer("report", "addresses that a browser would fetch", 0.0, len(fetched), 0.0)


def _page(experiment: Path, summary: dict[str, Any]) -> str:
    path = experiment / "evaluation_summary.json"
    path.write_text(json.dumps(summary), encoding="utf-8")
    with contextlib.redirect_stdout(io.StringIO()):
        for command in ("eigenvalue", "report"):
            analyze.main([command, "--summary_file", str(path)])
    return (experiment / "report.html").read_text(encoding="utf-8")


def _data(page: str) -> Any:
    """Return what the charts of a page draw."""
    [text] = re.findall(r'<script type="application/json" id="data">(.*?)</script>', page, re.S)
    return json.loads(text)

"""One page for several experiments: what was found in each, what compares them, and where the rest is."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from analysis import COMMANDS
from analysis.report.page import Report, glance, report_experiment
from analysis.report.results import (
    FIGURE_BYTES,
    Result,
    figure,
    figures_that_fit,
    findings,
    framed,
    heading,
)
from analysis.report.sections import GLOBAL, Experiment, Experiments, Section, find_sections


@dataclass(frozen=True)
class Overview:
    """A page about several experiments.

    Attributes
    ----------
    beside
        The page's folder as an experiment without members.
    comparisons
        What analyses of several sets left there.
    reports
        Each experiment's own report.
    """

    beside: Experiment
    comparisons: tuple[Section, ...]
    reports: tuple[Report, ...]

    def headline(self) -> str:
        """Say what the page shows."""
        told = [f"{one.experiment.label} {one.headline().partition(';')[0]}" for one in self.reports]
        made = ", ".join(section.command for section in self.comparisons) or "none"
        return f"{len(self.reports)} experiments ({', '.join(told)}); comparisons shown: {made}"

    def pages(self) -> dict[str, str]:
        """Return the page."""
        return {"overview": _page(self)}


def report_experiments(experiments: Experiments) -> Report | Overview:
    """Gather an experiment and its analyses on one page, or what was found in several.

    Parameters
    ----------
    experiments
        One: its members, figures and tables. Several: what compares them, and what each analysis found in each,
        with its first figure.

    Raises
    ------
    AnalysisError
        If a length was asked for at which no member has a spectrum.

    Examples
    --------
    >>> from pathlib import Path
    >>> folders = [Path("demo/repeat_copy"), Path("demo/fast_weights")]
    >>> parts = [Experiment(folder, folder.name, read_summary(folder), None, {}, {}) for folder in folders]
    >>> overview = report_experiments(Experiments(tuple(parts), Path("demo")))
    >>> [len(report.members) for report in overview.reports]
    [5, 4]
    """
    if len(experiments.parts) == 1:
        return report_experiment(experiments.parts[0])
    questions = {
        name: text for name, text in experiments.parts[0].questions.items() if COMMANDS[name].several
    }
    label = experiments.folder.resolve().name or "experiments"
    beside = Experiment(experiments.folder, label, {"metrics": []}, None, questions, {})
    comparisons = tuple(one for one in find_sections(beside, None) if one.command != GLOBAL)
    return Overview(beside, comparisons, tuple(map(report_experiment, experiments.parts)))


def _page(overview: Overview) -> str:
    compared = [Result(overview.beside, one, f"section-{one.command}") for one in overview.comparisons]
    of_each = [
        [
            Result(report.experiment, section, f"experiment-{k}-{section.command}", level=3)
            for section in report.sections
            if section.command != GLOBAL
        ]
        for k, report in enumerate(overview.reports, 1)
    ]
    links = {result.anchor: result.section.command for result in compared}
    links |= {f"experiment-{k}": one.experiment.label for k, one in enumerate(overview.reports, 1)}
    shown = [result.section.figures[0] for result in sum(of_each, compared) if result.section.figures]
    embedded = figures_that_fit(shown, FIGURE_BYTES)
    body = [
        *(f'<section id="{one.anchor}">{_first_figure(one, embedded)}</section>' for one in compared),
        *(
            _experiment(k, report, results, embedded)
            for k, (report, results) in enumerate(zip(overview.reports, of_each, strict=True), 1)
        ),
    ]
    data: dict[str, list[Any]] = {"theory": [], "members": [], "maps": []}
    return framed(overview.beside.label, links, data, lambda _: "\n".join(body))


def _experiment(number: int, report: Report, results: Sequence[Result], embedded: set[Path]) -> str:
    own, label = report.experiment.folder / "report.html", escape(report.experiment.label)
    link = (
        f'<p><a href="{escape(report.experiment.address(own.name))}">All members, figures and tables of {label}</a></p>'
        if own.is_file()
        else ""
    )
    parts = "".join(f'<section id="{r.anchor}">{_first_figure(r, embedded)}</section>' for r in results)
    return (
        f'<section id="experiment-{number}"><h2>{label}</h2>{glance(report)}{findings(results)}{link}'
        f'<div class="side-by-side">{parts}</div></section>'
    )


def _first_figure(result: Result, embedded: set[Path]) -> str:
    first = "".join(figure(result, path, embedded) for path in result.section.figures[:1])
    return heading(result) + first

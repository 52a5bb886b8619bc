"""One page for an experiment: what was trained, how it went, what every analysis found. HTML that needs no network.

The page holds its figures, tables, styles and script. Its content security policy lets nothing else in, and
the script is the only one that may run. All text from files is escaped; the data of the charts are JSON in
which no tag can stand.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape

import pandas as pd

from analysis.population import mean_over_members, training_configuration
from analysis.report.html import definitions, table
from analysis.report.members import ACCURACY_MAP, Maps, accuracy_of, members_data, members_section
from analysis.report.results import Result, findings, framed, results_that_fit
from analysis.report.sections import (
    GLOBAL,
    Experiment,
    Member,
    Section,
    find_maps,
    find_members,
    find_population,
    find_sections,
    recorded_networks,
)


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
    maps: Maps
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

    Examples
    --------
    >>> from pathlib import Path
    >>> folder = Path("demo/repeat_copy")
    >>> report = report_experiment(Experiment(folder, "repeat copy", read_summary(folder), None, {}, {}))
    >>> len(report.members), report.seq_length
    (5, 8)
    >>> Path("page.html").write_text(report.pages()["report"], encoding="utf-8") > 10_000
    True
    """
    population = find_population(experiment)
    seq_length = None if population is None else population.seq_length
    sections = find_sections(experiment, seq_length)
    members = find_members(experiment, population, sections)
    accuracies = {
        m.name: (float(k), m.entry["accuracy"])
        for k, m in enumerate(members, 1)
        if accuracy_of(m) is not None
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
    experiment = report.experiment
    results = [Result(experiment, one, f"section-{one.command}") for one in report.sections]
    found = findings(results)
    links = {"section-findings": "findings"} if found else {}
    links |= {"section-members": "members"} | {result.anchor: result.section.command for result in results}
    links |= {"section-missing": "missing"} if report.missing else {}
    links |= {"section-configuration": "configuration"}

    def body(drawn: int) -> str:
        members = members_section(experiment, report.members, report.maps)
        return "\n".join(
            [
                glance(report),
                f'<section id="section-findings"><h2>Findings</h2>{found}</section>' if found else "",
                members,
                results_that_fit(results, drawn + len(members)),
                _missing(report),
                _configuration(report),
            ]
        )

    data = members_data(experiment, report.members, report.maps, report.theory)
    evaluated = f"Evaluated {experiment.summary.get('timestamp', '')}."
    return framed(experiment.label, links, data, body, evaluated)


def glance(report: Report) -> str:
    """Return what an experiment is, as a list of facts."""
    configuration = training_configuration(report.experiment.summary)
    task, model = (configuration.get(part) or {} for part in ("task", "model"))
    failed = report.experiment.summary.get("failed") or []
    facts = {
        "task": " ".join(str(task[key]) for key in ("name", "task_id") if task.get(key)) or "not recorded",
        "model": str(model.get("type", "not recorded")),
        "hidden units": str(report.members[0].entry.get("hidden_dim", "not recorded")),
        "members": f"n = {len(report.members)}"
        + (f", {len(failed)} could not be evaluated" if failed else ""),
        "accuracy": _mean((accuracy_of(member) for member in report.members), "accuracy"),
    }
    errors = [m.entry.get("spectral_error_deg") for m in report.members]
    if any(error is not None for error in errors):
        name = f"spectral error at length {report.seq_length}"
        facts[name] = _mean(errors, "spectral_error_deg", " degrees")
    if recorded := recorded_networks(report.experiment.folder):
        facts["recorded with"] = recorded
    ends = [str(member.ending["status"]) for member in report.members if "status" in member.ending]
    if ends:
        facts["training ended"] = ", ".join(f"{end}: {ends.count(end)}" for end in sorted(set(ends)))
    return definitions(facts)


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
        f"<p>These commands add analyses that this page does not show{at}. A command that does not apply to the model "
        f"reports that.</p><dl>{items}</dl></section>"
    )


def _configuration(report: Report) -> str:
    configuration = training_configuration(report.experiment.summary)
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


def _mean(values: Iterable[float | None], name: str, unit: str = "") -> str:
    mean = mean_over_members(
        pd.Series([value for value in values if value is not None], name=name, dtype=float)
    )
    if not mean.n:
        return "not known"
    interval = f" (95 % interval over members {mean.low:.4g} to {mean.high:.4g})" if mean.n > 1 else ""
    return f"mean {mean.estimate:.4g}{unit}{interval}, n = {mean.n}"

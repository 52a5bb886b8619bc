"""Results in Python: a short text, a table for notebooks, and the figure of the command."""

import ast
import sys
from dataclasses import dataclass
from importlib import import_module
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from analysis import COMMANDS, AnalysisError, from_summary, summarise_eigenvalues
from analysis.result import LONGEST, Result
from emt import trace
from emt.commands.known_systems.summaries import plant_summary
from emt.files import write_json
from emt.runs import read_summary


@dataclass(frozen=True)
class Speed(Result):
    values: np.ndarray
    text: str = "mean speed 0.5\nof <b>all</b>"

    def headline(self):
        return self.text

    def tables(self):
        table = pd.DataFrame(np.arange(90.0).reshape(9, 10) / 3, columns=[f"<i>{k}" for k in range(10)])
        return {"empty": table[:0], "speed": table}


@pytest.fixture
def summary():
    return summarise_eigenvalues(from_summary(plant_summary(4, lengths=[3]), label="a"))


def test_a_text_is_the_headline_and_never_the_numbers():
    assert repr(Speed(np.zeros(9))) == "Speed: mean speed 0.5"
    assert len(repr(Speed(np.zeros(9), "x" * 9999))) <= LONGEST + len("Speed: ")
    assert repr(Speed(np.zeros(9), "")) == "Speed()"


def test_a_notebook_has_the_beginning_of_the_first_table_that_is_not_empty():
    page = Speed(np.zeros(9))._repr_html_()
    assert page.count("<tr") == 1 + 6
    assert "… 3 more rows and 2 more columns" in page
    assert "0.3333" in page
    assert "empty (0 rows), speed (9 rows)" in page
    assert "<b>all" not in page, "text is no HTML"
    assert "<i>" not in page


@pytest.mark.parametrize(
    "command", [c for c in COMMANDS.values() if c.takes != "experiments"], ids=lambda c: c.name
)
def test_every_command_returns_a_result_with_a_figure_that_its_command_draws(command):
    module, _, name = command.function.partition(":")
    kind = import_module(module).__dict__[name].__annotations__["return"]
    assert issubclass(kind, Result)
    assert kind.__repr__ is Result.__repr__
    assert (kind.drawn_by or kind.__module__.replace("analysis.", "analysis.figures.", 1)) == command.figures
    assert callable(import_module(command.figures).draw)


def test_the_main_figure_is_drawn_and_others_by_name(summary, tmp_path):
    titles = {
        name: [ax.get_title() for ax in summary.plot(name).axes] for name in ("", "complex_plane", "spectra")
    }
    assert titles[""] == titles["spectra"] != titles["complex_plane"]
    summary.plot().savefig(tmp_path / "a.png")
    with pytest.raises(
        AnalysisError, match=r"^name: must be one of complex_plane_examples, .*did you mean spectra_overlay"
    ):
        summary.plot("spectra_overly")


def test_a_notebook_is_told_how_to_show_figures(summary, monkeypatch):
    told = []
    pylabtools = SimpleNamespace(select_figure_formats=lambda shell, formats: told.append((shell, formats)))
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: "shell"))
    monkeypatch.setitem(sys.modules, "IPython.core", SimpleNamespace(pylabtools=pylabtools))
    monkeypatch.setitem(sys.modules, "IPython.core.pylabtools", pylabtools)
    summary.plot()
    assert told == [("shell", {"png"})]


def test_a_population_says_what_it_is(summary):
    population = from_summary(plant_summary(4, lengths=[3]), label="a<b")
    assert repr(population) == "Population 'a<b': 4 members at sequence length 3"
    assert "a&lt;b" in population._repr_html_()
    assert "<table" in population._repr_html_()


def test_paths_may_be_text(tmp_path):
    write_json(tmp_path / "evaluation_summary.json", plant_summary(4, lengths=[3]))
    assert (
        read_summary(str(tmp_path))
        == read_summary(tmp_path)
        == read_summary(tmp_path / "evaluation_summary.json")
    )
    with pytest.raises(trace.TraceError, match="no such file"):
        trace.load(str(tmp_path / "none.nc"))


def test_no_function_of_an_analysis_speaks_of_flags():
    for command in COMMANDS.values():
        file = import_module(command.function.partition(":")[0]).__file__
        with open(file, encoding="utf-8") as source:
            tree = ast.parse(source.read())
        raised = [ast.unparse(node) for node in ast.walk(tree) if isinstance(node, ast.Raise)]
        assert [text for text in raised if " --" in text] == []

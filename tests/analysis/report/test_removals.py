"""The grid of single writes on the page."""

import re

import pytest

from analysis.errors import AnalysisError
from analysis.interventions.summary import summarise_interventions
from analysis.report.removals import removal_grid

HEADER = "item,steps_before,accuracy,unchanged,queries\n"


def grid_of(folder, rows, header=HEADER):
    path = folder / "interventions_map.csv"
    path.write_text(header + rows)
    return removal_grid(path)


def test_every_write_tells_what_its_removal_did(tmp_path):
    grid = grid_of(tmp_path, "0,1,0.95,0.99,512\n0,8,0.1,0.99,512\n1,8,0.99,0.99,500\n")
    texts = re.findall(r'aria-label="([^"]*)"', grid)
    assert texts == [
        "Item 0, without the write 8 steps before the query: 10.0% of the answers are right, 99.0% with it "
        "(512 queries of each member).",
        "Item 0, without the write 1 step before the query: 95.0% of the answers are right, 99.0% with it "
        "(512 queries of each member).",
        "Item 1, without the write 8 steps before the query: 99.0% of the answers are right, 99.0% with it "
        "(500 queries of each member).",
    ]
    # Share of the right answers that are lost: (.99 - .10) / .99, (.99 - .95) / .99, 0.
    assert re.findall(r"--lost:(\d+)%", grid) == ["90", "4", "0"]
    assert grid.count("<td></td>") == 1


def test_the_table_of_an_analysis_has_a_grid(tmp_path, make_write_effects):
    result = summarise_interventions(make_write_effects())
    rows = result.tables()["interventions_map"].to_csv()
    header, _, body = rows.partition("\n")
    grid = grid_of(tmp_path, body, header + "\n")
    assert grid.count("<button") == len(body.splitlines()) == 4
    assert "95.0% with it" in grid


@pytest.mark.parametrize("header", ["item,steps_before,accuracy,queries\n", HEADER])
def test_tables_without_numbers_to_show_have_none(tmp_path, header):
    assert grid_of(tmp_path, "0,1,0.5,512\n" if header != HEADER else "0,1,,,0\n", header) == ""


@pytest.mark.parametrize("row", ["0,<b>,0.5,0.5,512\n", "0,1,1e400,0.5,512\n", "-7,1,0.5,0.5,512\n"])
def test_other_content_is_refused(tmp_path, row):
    with pytest.raises(AnalysisError, match=r"interventions_map.csv: line 2: expected a number from -1; got"):
        grid_of(tmp_path, row)

"""The page about several experiments: each answer with its first figure, comparisons first, links to the rest."""

import io
import json
import re

import numpy as np
import pytest
from PIL import Image

from emt.commands.main import main as emt
from emt.files import write_bytes


def dots(shade):
    """Return a small PNG, another one for each shade."""
    buffer = io.BytesIO()
    Image.fromarray(np.full((30, 60), shade, np.uint8)).save(buffer, "png")
    return buffer.getvalue()


def leave(folder, headline, names, shade=0):
    """Write what an analysis leaves: its answer, and figures in the order in which they were drawn."""
    for k, name in enumerate(names):
        write_bytes(folder / name, dots(shade + k))
    write_bytes(folder / "about.json", json.dumps({"headline": headline, "files": names}).encode())


@pytest.fixture
def two(write_summary, tmp_path):
    """Return the summaries of two experiments with results, and what compares them."""
    paths = [write_summary(tmp_path / name, 5) for name in ("one", "t & o")]
    for k, path in enumerate(paths):
        leave(path.parent / "eigenvalue_analysis", f"angle of {k}\nmore", ["z.png", "a.png"], 10 * k)
    leave(tmp_path / "comparison_analysis", "they <differ>", ["d.png"], 100)
    return paths


def test_answers_of_all_experiments_are_on_one_page(two, tmp_path, capsys):
    assert emt(["analyze", "report", "--summary_file", str(two[0])]) == 0
    capsys.readouterr()
    assert emt(["analyze", "report", "--summary_files", *map(str, two), "--output_dir", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    assert "2 experiments (one 5 members, t & o 5 members); comparisons shown: compare" in printed
    assert f"page: {tmp_path / 'overview.html'}" in printed
    page = (tmp_path / "overview.html").read_text()
    headings = re.findall(r"<h[23]>(.*?)</h", page)
    assert headings == ["Compare", "one", "Eigenvalue", "t &amp; o", "Eigenvalue"]
    assert "they &lt;differ&gt;" in page
    assert page.count("Figure: z.") == 2
    assert "Figure: a." not in page
    assert '<a href="#experiment-2-eigenvalue">Eigenvalue</a>: angle of 1 …' in page
    # Only the first has a page of its own.
    assert re.findall(r'href="([^#"]*report.html)"', page) == ["one/report.html"]
    ids = re.findall(r'id="([^"]+)"', page)
    assert len(ids) == len(set(ids))
    assert set(re.findall(r'href="#([^"]+)"', page)) <= set(ids)


def test_one_experiment_opens_with_what_was_found(two):
    assert emt(["analyze", "report", "--summary_file", str(two[1])]) == 0
    page = (two[1].parent / "report.html").read_text()
    assert (
        page.index("angle of 1 …")
        < page.index('id="map"')
        < page.index("Figure: z.")
        < page.index("Figure: a.")
    )

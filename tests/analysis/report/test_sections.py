"""What lies beside a summary: read where it is whole, refused in one line where it is not, links not followed."""

import json

import pytest
from PIL import Image

from analysis.errors import AnalysisError
from analysis.report.page import report_experiment
from analysis.report.sections import Experiment, find_maps, find_members, find_sections
from emt import runs
from emt.errors import UserError

HEADER = "model_name,dimension,birth,death"
PLANE = "model_name,dimension_1,dimension_2"


@pytest.fixture
def experiment(tmp_path, write_summary):
    """An experiment with one table, one picture and one map."""
    folder = tmp_path / "experiment"
    summary = runs.read_summary(write_summary(folder, 2))
    for name, file, text in (
        ("persistence", "persistence_diagrams.csv", f"{HEADER}\nmodel-1,0,0,0.5\nmodel-1,1,0.25,\n"),
        (
            "embedding",
            "mds_embedding.csv",
            "model_name,dimension_1,dimension_2\nmodel-1,0.5,-1\nmodel-2,0.5,\nmodel-3,,1\n",
        ),
    ):
        (folder / f"{name}_analysis").mkdir()
        (folder / f"{name}_analysis" / file).write_text(text)
    Image.new("RGB", (8, 6)).save(folder / "persistence_analysis" / "bars.png")
    words = dict.fromkeys(("persistence", "embedding"), "what?")
    return Experiment(folder, "a", summary, None, words, words)


def shown(experiment):
    """Return the names of the files that the page takes in."""
    sections = find_sections(experiment, None)
    return sorted(path.name for section in sections for path in (*section.figures, *section.tables))


def test_what_is_whole_is_read(experiment):
    assert shown(experiment) == ["bars.png", "mds_embedding.csv", "persistence_diagrams.csv"]
    sections = find_sections(experiment, None)
    assert find_maps(sections) == {"embedding: mds": {"model-1": (0.5, -1.0)}}
    first, second = find_members(experiment, None, sections)
    assert (first.bars, second.bars) == ([(0, 0.0, 0.5), (1, 0.25, None)], [])


@pytest.mark.parametrize("inside", [True, False])
def test_a_link_is_not_followed(experiment, tmp_path, inside):
    secret = (experiment.folder if inside else tmp_path) / "secret.csv"
    secret.write_text("model_name,key\nmodel-1,s3cr3t\n")
    (experiment.folder / "embedding_analysis" / "linked.csv").symlink_to(secret)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "table.csv").write_text("s3cr3t\n")
    (experiment.folder / "global_analysis").symlink_to(tmp_path / "elsewhere")
    assert shown(experiment) == ["bars.png", "mds_embedding.csv", "persistence_diagrams.csv"]
    assert "s3cr3t" not in report_experiment(experiment).pages()["report"]


@pytest.mark.parametrize(
    ("place", "content", "line"),
    [
        (
            "persistence_analysis/about.json",
            '{"files": ["../x"]}',
            'files[0]: expected a file\'s name; got "../x"',
        ),
        ("persistence_analysis/about.json", '{"files": "all"}', 'files: expected a list; got "all"'),
        ("persistence_analysis/about.json", '{"headline": 3}', "headline: expected text; got 3"),
        (
            "persistence_analysis/persistence_diagrams.csv",
            "a,b\n1,2\n",
            "expected the columns model_name, dimension",
        ),
        (
            "persistence_analysis/persistence_diagrams.csv",
            f"{HEADER}\nmodel-1,0,0.5\n",
            "line 2: expected 4 cells; got 3",
        ),
        (
            "persistence_analysis/persistence_diagrams.csv",
            f"{HEADER}\nmodel-1,0,low,1\n",
            "line 2: expected a number; got 'low'",
        ),
        (
            "persistence_analysis/persistence_diagrams.csv",
            f"{HEADER}\nmodel-1,1e300,0,1\n",
            "line 2: expected a dimension of homology from 0 to 9; got 1e+300",
        ),
        (
            "embedding_analysis/mds_embedding.csv",
            "x" * 200_000,
            "expected a table as CSV in UTF-8; got field larger than field limit (131072)",
        ),
        ("model-1/checkpoint/done.json", '{"step": "9"}', 'step: expected an integer; got "9"'),
    ],
)
def test_what_is_not_whole_is_refused_by_place(experiment, place, content, line):
    path = experiment.folder / place
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    with pytest.raises(UserError) as caught:
        report_experiment(experiment).pages()
    assert str(caught.value).startswith(f"{path}: {line}")
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("damage", [lambda b: b[:60], lambda b: b[:50] + b"\1" + b[51:], lambda b: b"<svg/>"])
def test_a_damaged_picture_is_refused_by_name(experiment, damage):
    path = experiment.folder / "persistence_analysis" / "bars.png"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(
        AnalysisError, match=r"bars\.png: expected a whole PNG file; got .*; run the analysis again"
    ):
        report_experiment(experiment).pages()


def test_a_picture_of_another_kind_than_its_name_is_refused(experiment):
    path = experiment.folder / "persistence_analysis" / "bars.png"
    Image.new("RGB", (8, 6)).save(path, format="gif")
    with pytest.raises(AnalysisError, match="expected a whole PNG file"):
        report_experiment(experiment).pages()


def test_deep_options_are_refused(experiment):
    path = experiment.folder / "persistence_analysis" / "about.json"
    path.write_text(json.dumps({"options": {"a": json.loads("[" * 70 + "]" * 70)}}))
    with pytest.raises(UserError, match=r"about\.json: not valid JSON: lists or objects nested too deeply"):
        report_experiment(experiment)

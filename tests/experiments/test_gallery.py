"""What the gallery is drawn from: what is done is not done again, and what is shown has its command and caption."""

import pytest

from analysis.figures.captions import captioned
from analysis.figures.style import column_figure, save_figure
from experiments.gallery import __main__ as gallery
from experiments.gallery import page, stories
from experiments.gallery.populations import POPULATIONS, Population

LINES = (
    "emt train --experiment_name a",
    "emt evaluate --models_dir a",
    "emt analyze eigenvalue --summary_file a",
)


@pytest.fixture
def make(tmp_path, monkeypatch):
    """Return a function that makes a population, and returns its exit code and the lines that ran."""
    monkeypatch.chdir(tmp_path)

    def make(*lines, failing=""):
        ran = []

        def run(words):
            ran.append(" ".join(words))
            return int(ran[-1] == failing)

        monkeypatch.setattr(gallery, "_run", run)
        return gallery.make(Population("few", "Few networks", lines), tmp_path), tuple(ran)

    return make


def test_lines_run_once_and_from_the_one_that_failed(make, capsys):
    assert make(*LINES, failing=LINES[1]) == (1, LINES[:2])
    assert "gallery: exit code 1 of emt evaluate --models_dir a" in capsys.readouterr().err
    assert make(*LINES) == (0, LINES[1:])
    assert capsys.readouterr().out.splitlines() == [*LINES[1:]]
    assert make(*LINES) == (0, ())


def test_networks_stay_if_only_what_is_drawn_of_them_changes(make, tmp_path):
    make(*LINES)
    kept = tmp_path / "few" / "weights"
    kept.write_text("x")
    assert make(*LINES[:2]) == (0, LINES[:2])
    assert kept.exists()
    assert make(f"{LINES[0]} --seed 3", *LINES[1:])[1][0] == f"{LINES[0]} --seed 3"
    assert not kept.exists()


def test_a_figure_is_shown_once_for_each_kind_with_its_line_and_caption(tmp_path, monkeypatch):
    population = Population("few", "Few networks", LINES[:1] + LINES[2:])
    monkeypatch.setattr(page, "POPULATIONS", (population,))
    folder = tmp_path / "few" / "a" / "eigenvalue_analysis"

    @captioned({"spectra_*": "Moduli * and W_hh."})
    def draw():
        figure, axes = column_figure()
        axes[0, 0].set_title("n = 3: #1")
        yield "spectra_overlay", figure

    save_figure(next(draw())[1], folder / "spectra_overlay")
    [shown] = page.figures(tmp_path)
    assert (shown.command, shown.kind, shown.line) == ("eigenvalue", "spectra_overlay", LINES[2])
    text = page.as_markdown(tmp_path, "../figures")
    assert "```bash\nemt analyze eigenvalue --summary_file a\n```" in text
    assert "```{figure} ../figures/few/a/eigenvalue_analysis/spectra_overlay.png" in text
    assert ':alt: "spectra_overlay. n = 3: #1"\n:width: 350px' in text
    assert r"`spectra_overlay`: Moduli \* and W\_hh." in text


def test_long_lines_are_broken_where_a_shell_reads_on():
    block = page._code([line for population in POPULATIONS for line in population.lines])
    assert max(map(len, block)) <= page.LINE + 2
    read_on = " ".join("\n".join(block).replace("\\\n", "").split())
    assert all(line in read_on for population in POPULATIONS for line in population.lines)


def test_stories_are_the_same_on_every_run(tmp_path):
    stories.main([str(tmp_path)])
    stories.main([str(tmp_path / "again")])
    found = sorted(path.relative_to(tmp_path) for path in (tmp_path / "tasks_1-20_v1-2").rglob("*.txt"))
    assert len(found) == 6
    assert all((tmp_path / one).read_bytes() == (tmp_path / "again" / one).read_bytes() for one in found)

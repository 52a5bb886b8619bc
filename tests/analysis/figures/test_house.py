"""The file that says how figures look, and one that takes its place."""

import os
import subprocess
import sys

import pytest

from analysis import AnalysisError
from analysis.figures.house import read_house

STYLE = """
[widths]
single = 2.25
[colors]
blue = "#123456"
[matplotlib]
"font.family" = "serif"
"""


def test_a_file_of_style_takes_the_place_of_what_it_names(tmp_path):
    (tmp_path / "journal.toml").write_text(STYLE)
    house, own = read_house(tmp_path / "journal.toml"), read_house()
    assert house.widths == {**own.widths, "single": 2.25}
    assert house.colors == {**own.colors, "blue": "#123456"}
    assert house.matplotlib == {**own.matplotlib, "font.family": "serif"}


def test_the_environment_names_a_file_of_style_for_all_figures(tmp_path):
    (tmp_path / "journal.toml").write_text(STYLE)
    code = (
        "from analysis.figures.style import BLUE, COLORS, WIDTHS, column_figure, styled\n"
        "import matplotlib as mpl\n"
        "print(BLUE, COLORS[0], WIDTHS, column_figure()[0].get_figwidth())\n"
        "print(styled(lambda: mpl.rcParams['font.family'])())\n"
    )
    environment = {**os.environ, "EMT_STYLE": str(tmp_path / "journal.toml")}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines() == ["#123456 #123456 {'single': 2.25, 'double': 7.1} 2.25", "['serif']"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[colours]\nblue = 'red'", r"no table \[colours\]: expected some of widths, colors, matplotlib"),
        ("single = 3", r"no table \[single\]"),
        ("widths = 3", "expected a table"),
        ("[widths]\nsingle = '3'", "expected inches > 0"),
        ("[widths]\nsingle = true", "expected inches > 0"),
        ("[widths]\nhalf = 3", r"has no 'half': expected some of single, double"),
        ("[colors]\nblue = 'bleu'", "expected a colour, as #0072B2"),
        ("[colors]\nsequential = 'virids'", "expected the name of a colour map"),
        ("[matplotlib]\n'font.sise' = 8", "expected a setting of matplotlib"),
        ("[matplotlib]\n'font.size' = 'wide'", "wide"),
        ("[widths", "expected a TOML file"),
        (None, "No such file"),
    ],
)
def test_a_wrong_file_of_style_is_refused_in_a_line(tmp_path, text, said):
    path = tmp_path / "journal.toml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(AnalysisError, match=said) as refusal:
        read_house(path)
    assert str(path) in str(refusal.value)
    assert "\n" not in str(refusal.value)

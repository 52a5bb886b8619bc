"""The documentation site: its links lead somewhere, its code runs, its messages are those of the program."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from browser import BROWSER, violations

import analysis
import emt
from analysis import COMMANDS
from experiments.gallery.page import EVALUATE, captions_of, figures
from experiments.gallery.populations import FOLDER, POPULATIONS

ROOT = Path(__file__).parents[1]
PAGES = sorted((ROOT / "docs").glob("*.md"))
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


def anchors(page):
    """Return the addresses of a page's headings, as the site makes them."""
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.S | re.M)
    headings = (re.sub(r"[`*]", "", line.lstrip("#").strip()) for line in re.findall(r"^#+ .*$", text, re.M))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=[page.stem for page in PAGES])
def test_links_lead_to_a_file_and_a_heading(page):
    for link in LINK.findall(page.read_text(encoding="utf-8")):
        if not link.startswith("http"):
            path, _, anchor = link.partition("#")
            target = (page.parent / path).resolve() if path else page
            assert target.exists(), link
            assert not anchor or anchor in anchors(target), link


def test_a_wrong_anchor_would_be_noticed():
    assert "glossary" in anchors(ROOT / "ANALYSIS_GUIDE.md")
    assert "no-such-heading" not in anchors(ROOT / "ANALYSIS_GUIDE.md")


def test_every_page_is_in_the_contents():
    contents = (ROOT / "docs" / "index.md").read_text(encoding="utf-8").splitlines()
    assert {page.stem for page in PAGES} - {"index"} <= set(contents)
    assert {f"../{page.stem}" for page in ROOT.glob("*.md")} <= set(contents)


def test_every_picture_is_in_the_gallery():
    shown = set(re.findall(r"\((\w+\.png)\)", (ROOT / "docs" / "gallery.md").read_text(encoding="utf-8")))
    assert shown == {path.name for path in (ROOT / "docs").glob("*.png")}


def test_messages_are_those_of_the_program():
    """A message is looked for as a whole, since texts in the source may be cut into lines."""
    sources = (
        path.read_text(encoding="utf-8")
        for room in ("emt", "analysis")
        for path in (ROOT / room).rglob("*.py")
    )
    program = re.sub(r'"\s*\n\s*f?"', "", "\n".join(sources))
    page = (ROOT / "docs" / "errors.md").read_text(encoding="utf-8")
    messages = re.findall(r"\*\*(.+?)\*\*", page)
    assert len(messages) > 15
    assert [text for text in messages if text not in program] == []


def not_shown(kinds, shown):
    """Return the kinds of figures of each command, (command, name in the table of captions), of which none is shown."""
    return sorted(set(kinds) - {(one.command, one.kind) for one in shown})


def test_every_command_that_draws_is_in_the_gallery():
    lines = [line.split() for population in POPULATIONS for line in population.lines]
    assert {words[2] for words in lines if words[:2] == ["emt", "analyze"]} == {
        name for name in COMMANDS if captions_of(name)
    }
    assert set(captions_of("eigenvalue")) == {
        "complex_plane_examples",
        "spectra_overlay",
        "statistics_scatter_matrix",
    }
    assert not_shown([("eigenvalue", "spectra_overlay")], []) == [("eigenvalue", "spectra_overlay")]


@pytest.mark.slow
def test_code_runs(tmp_path):
    [code] = re.findall(
        r"^```python\n(.*?)^```", (ROOT / "docs" / "start.md").read_text(encoding="utf-8"), re.S | re.M
    )
    small = code.replace("randn(16, 20, 3)", "randn(2, 4, 3)")
    assert small != code
    subprocess.run([sys.executable, "-c", small], cwd=tmp_path, check=True, capture_output=True, timeout=600)
    assert (tmp_path / "mine" / "traces").is_dir()


def make_gallery():
    """Make what is not there; return the progress that is printed."""
    command = [sys.executable, "-m", "experiments.gallery"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=3000)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_the_site_is_built_without_a_warning_and_accessible_and_shows_every_figure(tmp_path):
    pytest.importorskip("sphinx", reason="the extra docs is not installed")
    make_gallery()
    assert make_gallery() == "", "what is done is not done again"
    shown = list(figures(FOLDER))
    kinds = [(command, kind) for command in (EVALUATE, *COMMANDS) for kind in captions_of(command)]
    assert len(kinds) > 50
    assert not_shown(kinds, shown) == []
    command = [
        sys.executable,
        "-m",
        "sphinx",
        "-q",
        "-W",
        "-c",
        "docs",
        "-b",
        "html",
        "-d",
        str(tmp_path / "cache"),
        ".",
    ]
    done = subprocess.run(
        [*command, str(tmp_path / "site")], cwd=ROOT, capture_output=True, text=True, timeout=900
    )
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "site" / "docs" / "api.html").read_text(encoding="utf-8")
    described = set(re.findall(r'<dt class="sig[^>]* id="([^"]+)"', page))
    page = (tmp_path / "site" / "docs" / "gallery.html").read_text(encoding="utf-8")
    assert page.count("<figcaption>") == len(shown)
    public = {
        f"{package.__name__}.{module}.{name}"
        for package in (emt, analysis)
        for module, names in package._PUBLIC.items()
        for name in names
    }
    assert public <= described
    if BROWSER is not None:
        for page in ("docs/start", "docs/gallery", "docs/api", "README", "experiments/recall/README"):
            assert violations(tmp_path / "site" / f"{page}.html", tmp_path / "browser") == [], page

"""The page about an experiment: what is on it, that text from files stays text, and that it works in a browser."""

import io
import json
import re
import zlib
from html.parser import HTMLParser
from itertools import pairwise

import numpy as np
import pytest
from browser import browse, elements, needs_browser, violations, with_scripts
from PIL import Image

from analysis import AnalysisError
from analysis.figures.style import column_figure, save_figure
from analysis.report.html import json_text, short, table
from analysis.report.page import report_experiment
from analysis.report.results import FIGURE_BYTES
from analysis.report.sections import CURVE_POINTS, Experiment, find_members
from emt.commands.main import main as emt
from emt.files import write_bytes
from emt.runs import read_summary

EVIL = "model-<script>alert(1)</script>"


class Tags(HTMLParser):
    """Counts tags and keeps the attributes of each."""

    def __init__(self, page):
        super().__init__()
        self.found = []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))

    def all(self, name):
        return [attributes for tag, attributes in self.found if tag == name]


def dots(width, height):
    """Return a PNG of black dots."""
    buffer = io.BytesIO()
    Image.fromarray(np.zeros((height, width), np.uint8)).save(buffer, "png")
    return buffer.getvalue()


def data_of(page):
    return json.loads(re.search(r'id="data">(.*?)</script>', page, re.S)[1])


@pytest.fixture
def experiment(write_summary, tmp_path):
    """Return the summary of seven members, with curves, an embedding, diagrams and a figure."""
    summary = write_summary(tmp_path / "runs" / "a & b", 7, missing=(3,), nan_accuracy=(2,))
    folder = summary.parent
    write_curves(folder, range(1, 6), 4)
    points = "".join(f"model-{k},{k},{k * k}\n" for k in range(1, 8)) + f"{EVIL},0,0\n"
    maps = f"model_name,dimension_1,dimension_2\n{points}"
    write_bytes(folder / "embedding_analysis" / "pca_embedding.csv", maps.encode())
    write_bytes(folder / "embedding_analysis" / "pca_embedding.png", dots(600, 30))
    about = {"headline": "13 dimensions & more", "options": {"method": "pca"}}
    write_bytes(folder / "embedding_analysis" / "about.json", json.dumps(about).encode())
    diagrams = "model_name,dimension,birth,death\nmodel-1,0,0.0,0.25\nmodel-1,0,0.0,\nmodel-1,1,0.5,0.75\n"
    write_bytes(folder / "persistence_analysis" / "persistence_diagrams.csv", diagrams.encode())
    return summary


CURVE_HEADER = "step,horizon,train_loss,train_acc,val_loss,val_acc\n"


def write_curves(folder, numbers, steps):
    """Write learning curves and done markers of members; the last step is validated."""
    for k in numbers:
        rows = [f"{step},10,0.5,{1 - 1 / step},," for step in range(1, steps + 1)] + [
            f"{steps},10,,,0.4,{0.1 * (k % 10)}"
        ]
        text = CURVE_HEADER + "\n".join(rows) + "\n"
        write_bytes(folder / f"model-{k}" / "training_curve.csv", text.encode())
        ending = {"step": steps, "status": "finished", "train_acc": 0.987654, "seed": 9}
        write_bytes(folder / f"model-{k}" / "checkpoint" / "done.json", json.dumps(ending).encode())


def make(path, **options):
    experiment = Experiment(
        folder=path.parent,
        label=path.parent.name,
        summary=read_summary(path),
        seq_length=None,
        questions={"embedding": "Embed it.", "persistence": "Find loops.", "match": "Which write?"},
        commands=dict.fromkeys(("embedding", "persistence", "match"), "python analyze.py X"),
    )
    return report_experiment(Experiment(**{**vars(experiment), **options}))


def rename(path, old, new):
    summary = json.loads(path.read_text())
    for entry in summary["metrics"]:
        if entry["model_name"] == old:
            entry["model_name"] = new
    path.write_text(json.dumps(summary))


def test_the_page_holds_members_analyses_and_what_is_missing(experiment):
    report = make(experiment)
    page = report.pages()["report"]
    assert [section.command for section in report.sections] == ["embedding", "persistence"]
    assert [section.n for section in report.sections] == [7, 1]
    assert list(report.missing) == ["match"]
    assert "<dt>match</dt><dd>Which write?<br><code>python analyze.py X</code>" in page
    assert "13 dimensions &amp; more" in page
    assert "<p>Embed it. n = 7 members.</p>" in page
    assert "<p>Find loops. n = 1 member.</p>" in page
    assert "<b>Figure: pca embedding.</b>" in page
    assert "mean 0.9567 (95 % interval over members" in page
    assert "n = 6</dd>" in page
    assert "finished: 5" in page
    assert report.headline() == "7 members; analyses shown: embedding, persistence; missing: match"


def test_a_figure_has_its_caption_else_its_title_and_says_both_to_those_who_hear_it(experiment):
    figure, axes = column_figure()
    axes[0, 0].set_title("6 of n = 7 <models>\nband: 95 %")
    for caption, shown in (
        ("", "6 of n = 7 &lt;models&gt; band: 95 %."),
        ("Look <here>.", "Look &lt;here&gt;."),
    ):
        figure.set_label(caption)
        save_figure(figure, experiment.parent / "embedding_analysis" / "pca_embedding")
        page = make(experiment).pages()["report"]
        assert f"<b>Figure: pca embedding.</b> {shown}</figcaption>" in page
        assert 'alt="pca embedding. 6 of n = 7 &lt;models&gt; band: 95 %.' in page


def test_a_film_is_captioned_with_its_comment_and_never_with_the_n_of_its_section(experiment):
    film = experiment.parent / "embedding_analysis" / "film.gif"
    frames = [Image.new("L", (20, 20), shade) for shade in (0, 255)]
    frames[0].save(film, save_all=True, append_images=frames[1:])
    assert "<b>Figure: film.</b> <" in make(experiment).pages()["report"]
    frames[0].save(film, save_all=True, append_images=frames[1:], comment="n = 1 member, 1 of 17 trials")
    assert "<b>Figure: film.</b> n = 1 member, 1 of 17 trials.<" in make(experiment).pages()["report"]


def test_a_section_counts_members_of_all_its_sets_and_says_no_n_where_no_table_names_any(experiment):
    names = [f"{label},model-{k}" for label, n in (("A", 5), ("B", 8)) for k in range(1, n + 1)]
    folder = experiment.parent
    write_bytes(
        folder / "comparison_analysis" / "members.csv", "\n".join(["label,model_name", *names, ""]).encode()
    )
    write_bytes(folder / "comparison_analysis" / "statistics.csv", b"label,n\nA,5\nB,8\n")
    write_bytes(folder / "global_analysis" / "spectra.png", dots(60, 30))
    write_bytes(folder / "similarity_analysis" / "members.csv", b"label,model_name\nA,model-1\n")
    commands = ("compare", "similarity", "embedding", "persistence", "match")
    page = make(experiment, questions=dict.fromkeys(commands, "How?")).pages()["report"]
    shown = re.findall(r"<p>How\?(.*?)</p>", page)
    assert shown == [" n = 13 members of 2 sets.", " n = 1 member.", " n = 7 members.", " n = 1 member."]
    assert "<p>All members, as evaluated.</p>" in page


def test_charts_say_whom_they_show(experiment):
    page = make(experiment).pages()["report"]
    for title in ("Spectrum", "Persistence diagram of the spectrum", "Accuracy in training"):
        assert f"<figcaption>{title} of the selected member (n = 1): " in page
    assert "gray: all members with a curve (n = 5)." in page


def test_charts_get_what_the_files_hold(experiment):
    first, *_, last = data_of(make(experiment).pages()["report"])["members"]
    assert first["bars"] == [[0, 0.0, 0.25], [0, 0.0, None], [1, 0.5, 0.75]]
    assert first["training"][-1] == [4, 0.75]
    assert first["validation"] == [[4, 0.1]]
    assert len(first["eigenvalues"]) == 15
    assert dict(first["files"])["learning curve"] == "./model-1/training_curve.csv"
    assert last["training"] == last["bars"] == last["files"] == []


def test_maps_place_members_and_accuracy_is_always_one(experiment):
    maps = data_of(make(experiment).pages()["report"])["maps"]
    assert [m["name"] for m in maps] == ["embedding: pca", "accuracy by member"]
    assert maps[0]["points"][2] == [2, 3, 9]
    assert [index for index, *_ in maps[1]["points"]] == [0, 2, 3, 4, 5, 6]


def test_a_page_without_a_map_names_the_command_for_one_as_far_as_it_is_known(write_summary, tmp_path):
    bare = write_summary(tmp_path / "bare", 3)
    hint = "For a map of spectra: <code>python analyze.py X</code>"
    assert hint in make(bare).pages()["report"]
    assert "For a map" not in make(bare, commands={}).pages()["report"]


def test_a_member_without_spectrum_stays_and_a_wrong_length_is_refused(experiment, write_summary, tmp_path):
    assert data_of(make(experiment).pages()["report"])["members"][2]["eigenvalues"] == []
    with pytest.raises(AnalysisError, match=r"\(5\); got 6"):
        make(experiment, seq_length=6)
    two = write_summary(tmp_path / "two", 4, lengths=(3, 4))
    assert make(two).seq_length == 4
    assert make(two, seq_length=3).seq_length == 3


def test_names_stay_text_and_never_become_paths(experiment):
    outside = experiment.parent.parent / "model-1"
    write_bytes(outside / "training_curve.csv", f"{CURVE_HEADER}1,10,2,0.5,,\n".encode())
    rename(experiment, "model-4", EVIL)
    rename(experiment, "model-5", "../model-1")
    page = make(experiment, label="<script>alert(2)</script>").pages()["report"]
    assert "<script>alert" not in page
    assert len(Tags(page).all("script")) == 2
    members = {member["name"]: member for member in data_of(page)["members"]}
    assert members[EVIL]["training"] == members["../model-1"]["training"] == []
    assert members[EVIL]["files"] == members["../model-1"]["files"] == []


def test_the_page_needs_nothing_from_outside_and_is_labelled(experiment):
    page = make(experiment).pages()["report"]
    tags = Tags(page)
    assert all(image["src"].startswith("data:image/") and image["alt"] for image in tags.all("img"))
    assert tags.all("img")[0]["width"] == "260"
    assert not any("src" in script for script in tags.all("script"))
    assert tags.all("link") == []
    assert re.findall(r"https?://[^\"]+", page) == ["http://www.w3.org/2000/svg"]
    assert tags.all("html") == [{"lang": "en"}]
    assert len(tags.all("main")) == len(tags.all("h1")) == 1
    assert len(tags.all("caption")) == len(tags.all("table"))
    assert all(heading.get("scope") == "col" for heading in tags.all("th"))
    policy = next(meta["content"] for meta in tags.all("meta") if "http-equiv" in meta)
    assert policy.startswith("default-src 'none'")


def test_large_figures_and_tables_are_linked(experiment):
    folder = experiment.parent / "embedding_analysis"
    write_bytes(folder / "a film.gif", bytes(FIGURE_BYTES + 1))
    write_bytes(folder / "distances.csv", b"model_name," + b"1," * 9000 + b"\n")
    page = make(experiment, links="../a & b").pages()["report"]
    assert 'href="../a%20%26%20b/embedding_analysis/a%20film.gif"' in page
    assert 'href="../a%20%26%20b/embedding_analysis/distances.csv"' in page
    assert len(Tags(page).all("img")) == 1


def test_long_curves_are_thinned_and_keep_their_last_point(experiment):
    rows = "".join(f"{step},10,2,0.5,,\n" for step in range(1, 1004))
    write_bytes(experiment.parent / "model-1" / "training_curve.csv", f"{CURVE_HEADER}{rows}".encode())
    curve = find_members(make(experiment).experiment, None, ())[0].training
    assert len(curve) <= CURVE_POINTS
    assert curve[-1] == (1003, 0.5)
    assert len({b[0] - a[0] for a, b in pairwise(curve)}) == 1


def test_a_large_population_shows_the_leading_eigenvalues_and_the_longest_bars(experiment, monkeypatch):
    text = (
        "model_name,dimension,birth,death\n"
        + "".join(f"model-1,1,0.0,{k}\n" for k in range(1, 40))
        + "model-1,0,0.0,\n"
    )
    write_bytes(experiment.parent / "persistence_analysis" / "persistence_diagrams.csv", text.encode())
    plain = make(experiment)
    monkeypatch.setattr(
        "analysis.report.sections.PAGE_POINTS", {"curve": 0, "spectrum": 7 * 11, "diagram": 0}
    )
    report = make(experiment)
    for whole, member in zip(plain.members, report.members, strict=True):
        largest = sorted(map(abs, (complex(*v) for v in whole.eigenvalues)), reverse=True)
        assert [abs(complex(*v)) for v in member.eigenvalues] == pytest.approx(largest[:11])
    first = report.members[0]
    assert (first.n_eigenvalues, first.n_bars) == (15, 40)
    assert [death for _, _, death in first.bars] == [*map(float, range(31, 40)), None]
    page = report.pages()["report"]
    assert "eigenvalues, the 11 of largest modulus; open circles" in page
    assert "loops; the 10 longest." in page
    assert "of largest modulus" not in plain.pages()["report"]


def test_figures_take_the_room_that_the_page_has_left(experiment, monkeypatch):
    assert len(Tags(make(experiment).pages()["report"]).all("img")) == 1
    monkeypatch.setattr("analysis.report.results.PAGE_BYTES", 1_000)
    page = make(experiment).pages()["report"]
    assert not Tags(page).all("img")
    assert "(separate file because of its size)" in page


def test_tables_beyond_the_pages_room_are_linked_with_their_number_of_rows(experiment, monkeypatch):
    monkeypatch.setattr("analysis.report.results.ALL_CELLS", 30)  # the embedding has 9 rows of 3
    page = make(experiment).pages()["report"]
    assert "<summary>Table pca_embedding</summary>" in page
    assert "persistence_diagrams</a> (3 rows, separate file)" in page


def test_numbers_are_shown_short_and_kept_in_full():
    assert [short(text) for text in ("0.123456", "12", "stopped early", "1e-12")] == [
        *("0.1235", "12", "stopped early", "1e-12")
    ]
    assert '<td data-full="0.123456">0.1235</td><td>&lt;b&gt;</td>' in table(
        "x", "y", [["a", "b"], ["0.123456", "<b>"]]
    )
    assert (
        json_text({"a": ["</script>", float("nan"), 0.123456]})
        == '{"a":["\\u003c/script\\u003e",null,0.1235]}'
    )


def test_the_command_writes_one_page_beside_the_summary_or_elsewhere(experiment, tmp_path, capsys):
    assert emt(["analyze", "report", "--summary_file", str(experiment)]) == 0
    printed = capsys.readouterr().out
    assert f"page: {experiment.parent / 'report.html'}" in printed
    assert (
        emt(["analyze", "report", "--summary_file", str(experiment), "--output_dir", str(tmp_path / "x")])
        == 0
    )
    member = data_of((tmp_path / "x" / "report.html").read_text())["members"][0]
    assert dict(member["files"])["learning curve"] == "../runs/a%20%26%20b/model-1/training_curve.csv"
    page = experiment.parent.joinpath("report.html").read_text()
    assert "emt analyze similarity --summary_files" in page


@pytest.mark.parametrize(("model", "memory"), [("rnn", False), ("fw", True), ("my_plug_in", True)])
def test_analyses_of_a_memory_are_missing_only_from_models_that_may_have_one(experiment, model, memory):
    summary = json.loads(experiment.read_text())
    summary["evaluation_config"] = {"training_config": {"model": {"type": model}}}
    experiment.write_text(json.dumps(summary))
    assert emt(["analyze", "report", "--summary_file", str(experiment)]) == 0
    page = experiment.parent.joinpath("report.html").read_text()
    assert "emt analyze topology" in page
    assert [f"emt analyze {name} " in page for name in ("match", "memory", "capacity")] == [memory] * 3


@pytest.mark.parametrize("theory", [True, False])
def test_analyses_against_a_theory_are_missing_only_from_tasks_that_have_one(experiment, theory):
    summary = json.loads(experiment.read_text())
    for entry in summary["metrics"]:
        for key in [key for key in entry if key.startswith("eigenvalues_theory") and not theory]:
            del entry[key]
    experiment.write_text(json.dumps(summary))
    assert emt(["analyze", "report", "--summary_file", str(experiment)]) == 0
    page = experiment.parent.joinpath("report.html").read_text()
    assert "emt analyze topology" in page
    assert [f"emt analyze {name} " in page for name in ("variables", "emergence")] == [theory] * 2


def test_analyses_say_their_result_to_the_page(experiment, monkeypatch):
    monkeypatch.setattr("analysis.figures.style.save_figure", lambda *_: [])
    emt(["analyze", "eigenvalue", "--summary_file", str(experiment)])
    emt(["analyze", "report", "--summary_file", str(experiment)])
    assert '<p class="headline">means over n = ' in experiment.parent.joinpath("report.html").read_text()


@pytest.mark.slow
def test_a_page_of_200_members_stays_below_10_mb(write_summary, tmp_path):
    summary = write_summary(tmp_path / "runs", 200, lengths=(8,), dimension=8)
    write_curves(summary.parent, range(1, 201), 1000)
    for command in ("eigenvalue", "embedding", "persistence", "report"):
        assert emt(["analyze", command, "--summary_file", str(summary)]) == 0
    page = (summary.parent / "report.html").read_bytes()
    assert len(page) < 10e6
    members = data_of(page.decode())["members"]
    assert {member["name"] for member in members} == {f"model-{k}" for k in range(1, 201)}
    assert all(
        len(m["eigenvalues"]) == 64 and m["bars"] and len(m["training"]) == CURVE_POINTS for m in members
    )
    assert b'src="data:image/png;base64,' in page


def opened(address, profile, *flags):
    """Return the page's elements after its script ran, and what the browser's console said."""
    done = elements(address, profile, "--enable-logging=stderr", *flags)
    return done.stdout, [line for line in done.stderr.splitlines() if "CONSOLE" in line]


def scale_on_paper(page, folder):
    """Return the scale at which the browser prints a page's first sheet."""
    path, sheets = folder / "page.html", folder / "page.pdf"
    path.write_text(page)
    browse(path.as_uri(), folder / "profile", f"--print-to-pdf={sheets}")
    streams = re.findall(rb"FlateDecode.*?stream\r?\n(.*?)\r?\nendstream", sheets.read_bytes(), re.S)
    scales = (re.findall(rb"(\S+) 0 0 \S+ \S+ \S+ cm", zlib.decompressobj().decompress(s)) for s in streams)
    outer, inner = next(found for found in scales if len(found) > 1)[:2]
    return float(outer) * float(inner)


@needs_browser
@pytest.mark.slow
def test_a_member_is_chosen_by_address_and_by_click(experiment, tmp_path):
    rename(experiment, "model-4", EVIL)
    page = make(experiment).pages()["report"]
    profile = tmp_path / "profile"
    path = tmp_path / "report.html"
    path.write_text(page)
    dom, console = opened(f"{path.as_uri()}#model-6", profile)
    assert console == []
    assert re.search(r'id="member-name"[^>]*>model-6<', dom)
    assert dom.count('class="mark"') == 15
    assert dom.count("Download CSV") >= dom.count("<table") > 2

    clicks = "document.querySelector('a[data-member=\"6\"]').dispatchEvent(new MouseEvent('click', {bubbles: true}));"
    sorts = "document.querySelectorAll('th button')[1].click();"
    path.write_text(with_scripts(page, clicks + sorts))
    dom, console = opened(path.as_uri(), profile)
    assert console == []
    assert re.search(r'id="member-name"[^>]*>model-&lt;script&gt;', dom)
    assert 'id="map-n">7<' in dom
    assert re.findall(r"<tr><td>(model-\d+)<", dom)[:2] == ["model-7", "model-6"]

    path.write_text(page.replace("</body>", "<script>document.title = 'broken'</script></body>"))
    dom, console = opened(path.as_uri(), profile)
    assert "<title>broken" not in dom
    assert len(console) == 1


@needs_browser
@pytest.mark.slow
@pytest.mark.parametrize("address", ["100%", "model-99", "section-members"])
def test_an_address_that_names_no_member_leaves_the_page_working(experiment, tmp_path, address):
    path = tmp_path / "report.html"
    path.write_text(make(experiment).pages()["report"])
    dom, console = opened(f"{path.as_uri()}#{address}", tmp_path / "profile")
    assert console == []
    assert re.search(r'id="member-name"[^>]*>model-1<', dom)


@needs_browser
@pytest.mark.slow
@pytest.mark.parametrize(("width", "larger"), [(390, True), (1280, False)], ids=["phone", "screen"])
def test_a_tap_shows_a_figure_of_two_columns_at_its_own_width_where_it_does_not_fit(
    experiment, tmp_path, width, larger
):
    write_bytes(experiment.parent / "embedding_analysis" / "pca_embedding.png", dots(2130, 30))
    path = tmp_path / "report.html"
    code = (
        'const image = document.querySelector(".picture img"), before = image.clientWidth; image.click();'
        'document.title = `${before < image.clientWidth} ${document.querySelector("button.enlarge").ariaPressed}`'
    )
    path.write_text(with_scripts(make(experiment).pages()["report"], code))
    dom, console = opened(path.as_uri(), tmp_path / "profile", f"--window-size={width},1500")
    assert console == []
    assert f"<title>{str(larger).lower()} true<" in dom


@needs_browser
@pytest.mark.slow
def test_an_axis_has_two_to_six_ticks(experiment, tmp_path):
    path = tmp_path / "report.html"
    ranges = "Array.from({length: 2000}, (_, k) => [k, Math.sin(k) * 10 ** (k % 5 - 2)])"
    counts = f"{ranges}.map(([k, low]) => ticks([low, low + (1 + (k % 97) / 10) * 10 ** (k % 4 - 2)]).length)"
    code = f"document.title = `from ${{Math.min(...{counts})}} to ${{Math.max(...{counts})}}: ${{ticks([-0.9, 1.9])}}`"
    path.write_text(with_scripts(make(experiment).pages()["report"], code))
    dom, console = opened(path.as_uri(), tmp_path / "profile")
    assert console == []
    assert "<title>from 2 to 6: 0,1<" in dom


@needs_browser
@pytest.mark.slow
def test_a_wide_table_does_not_shrink_the_printed_page(experiment, tmp_path):
    rename(experiment, "model-4", "model-" + 60 * "4")
    page = make(experiment).pages()["report"]
    whole = scale_on_paper("<p>x</p>", tmp_path)
    assert scale_on_paper(page, tmp_path) == pytest.approx(whole)
    assert scale_on_paper(page.replace("white-space: normal", ""), tmp_path) < 0.95 * whole


@needs_browser
@pytest.mark.slow
@pytest.mark.parametrize("look", [{}, {"dark": True}, {"width": 390}], ids=["light", "dark", "phone"])
def test_the_page_is_accessible(experiment, tmp_path, look):
    page = tmp_path / "report.html"
    page.write_text(make(experiment).pages()["report"], encoding="utf-8")
    assert violations(page, tmp_path / "browser", **look) == []


@needs_browser
@pytest.mark.slow
def test_what_is_not_accessible_is_found(experiment, tmp_path):
    page = tmp_path / "report.html"
    text = make(experiment).pages()["report"]
    page.write_text(text.replace("</body>", '<img src="data:,"></body>'), encoding="utf-8")
    assert "image-alt" in dict(violations(page, tmp_path / "browser"))

"""Captions: every function that yields figures has one for each, and files carry it."""

import importlib
import inspect
import pkgutil
from collections.abc import Iterator

import pytest
from matplotlib.figure import Figure
from PIL import Image

import analysis.figures
from analysis.figures.captions import captioned
from analysis.figures.style import Film, column_figure, save_figure, save_film
from analysis.report.html import described
from emt.errors import RegistrationError

MODULES = [
    importlib.import_module(module.name)
    for module in pkgutil.walk_packages(analysis.figures.__path__, "analysis.figures.")
    if not module.ispkg
]
YIELDS = (Iterator[tuple[str, Figure]], Iterator[tuple[str, Film]])
DRAWING = [
    function
    for module in MODULES
    for _, function in inspect.getmembers(module, inspect.isfunction)
    if function.__module__ == module.__name__ and inspect.signature(function).return_annotation in YIELDS
]


def test_every_function_that_yields_figures_has_captions_for_them():
    """Those of a part of another's figures have a table, which the other's includes."""
    assert len(DRAWING) > 25
    modules = [importlib.import_module(function.__module__) for function in DRAWING]
    assert all(module.CAPTIONS for module in modules)
    tables = [m.CAPTIONS for m, f in zip(modules, DRAWING, strict=True) if hasattr(f, "__wrapped__")]
    alone = [m.CAPTIONS for m, f in zip(modules, DRAWING, strict=True) if not hasattr(f, "__wrapped__")]
    assert [part for part in alone if not any(part.items() <= table.items() for table in tables)] == []


def test_captions_are_sentences_that_differ():
    texts = [text for module in MODULES for text in set(getattr(module, "CAPTIONS", {}).values())]
    assert [text for text in texts if not (text[0].isupper() and text.endswith(".") and len(text) > 80)] == []
    assert [text for text in texts if len(text) > 420] == []


@captioned({"known_*": "What is drawn.", "known_film": "Never reached."})
def draw(*names):
    for name in names:
        figure, axes = column_figure()
        axes[0, 0].set_title("n = 3")
        yield name, figure


@captioned({"film": "What moves."})
def animate():
    figure, _ = column_figure()
    yield "film", Film(figure, lambda frame: None, frames=2, rate=5)


def test_a_figure_without_a_caption_is_refused():
    with pytest.raises(RegistrationError, match="test_captions: expected a caption of the figure 'new'"):
        list(draw("known_1", "new"))


def test_files_carry_the_caption_below_what_the_figure_says_itself(tmp_path):
    [(name, figure)] = draw("known_film")
    png, pdf = save_figure(figure, tmp_path / name)
    with Image.open(png) as picture:
        assert picture.info["Description"] == "n = 3\nWhat is drawn."
    assert b"What is drawn." in pdf.read_bytes()
    assert described(png) == ("n = 3", "What is drawn.")
    [(name, film)] = animate()
    assert described(save_film(film, tmp_path / name)[0]) == ("", "What moves.")

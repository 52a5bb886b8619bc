"""Sphinx configuration of the documentation: `make docs` builds it from the repository, without network."""

import os
from pathlib import Path
from typing import Any

from sphinx.errors import ExtensionError

import analysis
import emt
from experiments.gallery.page import as_markdown
from experiments.gallery.populations import FOLDER

project = "EMT"
author = "The EMT authors"
copyright = "The EMT authors"
version = release = emt.__version__

# The source is the repository itself, so that links between its pages hold on the site too.
root_doc = "docs/index"
include_patterns = ["docs/*.md", "*.md", "experiments/**/README.md"]
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]

myst_enable_extensions = ["dollarmath", "colon_fence"]
myst_heading_anchors = 3
napoleon_google_docstring = False
napoleon_use_rtype = False
autodoc_member_order = "bysource"
autodoc_typehints = "none"

html_theme = "furo"
html_theme_options = {"top_of_page_buttons": []}
html_title = "EMT"
html_extra_path = ["site"]
html_math_renderer = "mathjax"
html_show_sphinx = False


ACCESSIBLE = {
    '<aside class="sidebar-drawer">': '<aside class="sidebar-drawer" aria-label="Contents">',
    '<aside class="toc-drawer">': '<aside class="toc-drawer" aria-label="On this page">',
    '<aside class="toc-drawer no-toc">': '<aside class="toc-drawer no-toc" aria-label="On this page">',
    '<p class="caption" role="heading">': '<p class="caption" role="heading" aria-level="2">',
    "<pre>": '<pre tabindex="0">',
    '<div class="table-wrapper': '<div tabindex="0" class="table-wrapper',
}
"""What the theme leaves out: names of landmarks, levels of headings, scrolling of lines and tables by keyboard."""


def setup(app: Any) -> None:
    """Let the API end with what the packages offer, the gallery hold all figures, and pages be accessible."""
    app.connect("source-read", add_api)
    app.connect("source-read", add_figures)
    app.connect("build-finished", make_accessible)


def make_accessible(app: Any, error: Exception | None) -> None:
    """Add to all pages what the theme leaves out."""
    for page in Path(app.outdir).rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        for theirs, ours in ACCESSIBLE.items():
            text = text.replace(theirs, ours)
        page.write_text(text, encoding="utf-8")


def add_api(app: Any, page: str, source: list[str]) -> None:
    """Add each public module of the packages with its public names to the page of the API."""
    if page == "docs/api":
        source[0] += "".join(
            f"\n## {package.__name__}\n"
            + "".join(_module(package, *held) for held in sorted(package._PUBLIC.items()))
            for package in (emt, analysis)
        )


def add_figures(app: Any, page: str, source: list[str]) -> None:
    """Add the figures of all commands to the gallery, from what `python -m experiments.gallery` made."""
    if page == "docs/gallery":
        address = Path(os.path.relpath(FOLDER, Path(app.srcdir) / "docs")).as_posix()
        try:
            figures = as_markdown(FOLDER, address)
        except FileNotFoundError as error:
            raise ExtensionError(f"{error.filename}: no such file; run make docs, which makes it") from None
        source[0] = source[0].replace("<!-- figures of commands -->", figures)


def _module(package: Any, module: str, names: tuple[str, ...]) -> str:
    name = f"{package.__name__}.{module}"
    return f"\n### {name}\n\n```{{eval-rst}}\n.. automodule:: {name}\n   :members: {', '.join(names)}\n```\n"

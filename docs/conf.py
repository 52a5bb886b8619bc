"""Sphinx configuration of the documentation: `make docs` builds it from the repository, without network."""

from typing import Any

import analysis
import emt

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
html_title = "EMT"
html_extra_path = ["site"]
html_math_renderer = "mathjax"
html_show_sphinx = False


def setup(app: Any) -> None:
    """Let the page of the API end with what the packages offer."""
    app.connect("source-read", add_api)


def add_api(app: Any, page: str, source: list[str]) -> None:
    """Add each public module of the packages with its public names to the page of the API."""
    if page == "docs/api":
        source[0] += "".join(
            f"\n## {package.__name__}\n"
            + "".join(_module(package, *held) for held in sorted(package._PUBLIC.items()))
            for package in (emt, analysis)
        )


def _module(package: Any, module: str, names: tuple[str, ...]) -> str:
    name = f"{package.__name__}.{module}"
    return f"\n### {name}\n\n```{{eval-rst}}\n.. automodule:: {name}\n   :members: {', '.join(names)}\n```\n"

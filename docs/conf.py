"""Sphinx configuration of the documentation: `make docs` builds it from the repository, without network."""

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

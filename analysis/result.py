"""What results of all analyses have in Python: a short text, a small table for notebooks, and their main figure."""

import html
import importlib
import sys
from typing import Any, ClassVar

import pandas as pd

from analysis.errors import AnalysisError
from analysis.tables import contents_of
from emt.text import shortened, suggestion, visible

LONGEST = 240
"""Characters of a result's text."""

ROWS, COLUMNS = 6, 8
"""What a notebook shows of a table."""


class Result:
    """Base of what analyses return; the rest is `tables` and `headline` of each.

    In a notebook a result is its headline and the beginning of its first table. ``plot()`` draws its main figure.

    Attributes
    ----------
    drawn_by
        Module of `analysis.figures` that draws it, by default that of the same name as its own.
    main_figure
        Beginning of the name of the figure that ``plot`` draws; by default it is the first.

    Examples
    --------
    >>> class Speeds(Result):
    ...     def headline(self):
    ...         return "mean speed 0.5 (n = 3 members)"
    >>> Speeds()
    Speeds: mean speed 0.5 (n = 3 members)
    """

    drawn_by: ClassVar[str] = ""
    main_figure: ClassVar[str] = ""

    def __init_subclass__(cls, **settings: Any) -> None:
        super().__init_subclass__(**settings)
        # A dataclass writes one that lists all arrays, unless the class has its own.
        if "__repr__" not in cls.__dict__:
            cls.__repr__ = Result.__repr__  # type: ignore[method-assign]

    def __repr__(self) -> str:
        found = _headline_of(self)
        return (
            f"{type(self).__name__}: {shortened(found[0], LONGEST)}" if found else f"{type(self).__name__}()"
        )

    def _repr_html_(self) -> str:
        """Return what a notebook shows."""
        lines = [f"<p><b>{html.escape(type(self).__name__)}</b></p>"]
        lines += [f"<p>{html.escape(visible(line))}</p>" for line in _headline_of(self)]
        tables = contents_of(self, "tables")
        shown = next((name for name, table in tables.items() if len(table)), None)
        if shown is not None:
            lines.append(as_html(tables[shown]))
        sizes = [f"{name} ({len(table)} rows)" for name, table in tables.items()]
        lines += [f"<p>Tables: {html.escape(visible(', '.join(sizes)))}</p>"] if sizes else []
        return "\n".join(lines)

    def plot(self, name: str = "") -> Any:
        """Draw a figure, as the command of this analysis does.

        Parameters
        ----------
        name
            Beginning of the figure's name, which is that of the command's file; by default the main figure.

        Returns
        -------
        matplotlib.figure.Figure
            To show in a notebook, or for ``savefig``.

        Raises
        ------
        AnalysisError
            If there is no figure of that name; the message names those there are.
        """
        module = self.drawn_by or type(self).__module__.replace("analysis.", "analysis.figures.", 1)
        names: list[str] = []
        first: Any = None
        wanted = name or self.main_figure
        for found, figure in importlib.import_module(module).draw(self):
            if found.startswith(wanted):
                return _shown(figure)
            names.append(found)
            first = first or figure
        if name or first is None:
            listed = ", ".join(names) or "none"
            raise AnalysisError(
                f"must be one of {listed}; got {name!r}{suggestion(name, names)}", parameter="name"
            )
        return _shown(first)


def _headline_of(result: Any) -> list[str]:
    return str(getattr(result, "headline", str)()).splitlines()


def as_html(table: pd.DataFrame) -> str:
    """Return the beginning of a table; its names are text, not HTML."""
    part = table.iloc[:ROWS, :COLUMNS]
    text: str = part.to_html(float_format=lambda value: f"{value:.4g}", border=0)
    rows, columns = len(table) - len(part), table.shape[1] - part.shape[1]
    rest = [f"{count} more {what}" for count, what in ((rows, "rows"), (columns, "columns")) if count]
    return text + (f"<p>… {' and '.join(rest)}</p>" if rest else "")


def _shown(figure: Any) -> Any:
    """Let a notebook show a figure: figures are made without pyplot, which would tell it how."""
    notebook = sys.modules.get("IPython")
    shell = notebook.get_ipython() if notebook is not None and hasattr(notebook, "get_ipython") else None
    if shell is not None:
        from IPython.core.pylabtools import select_figure_formats

        select_figure_formats(shell, {"png"})
    return figure

"""The file that says how figures look, and the one that a journal or a laboratory puts in its place."""

import os
import tomllib
from collections.abc import Iterator, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib as mpl
from matplotlib.colors import is_color_like

from analysis.errors import AnalysisError

VARIABLE = "EMT_STYLE"
"""Environment variable that names a file of other values; it is read once, when figures are first imported."""

MAPS = ("sequential", "diverging")


class House(NamedTuple):
    """How figures look: widths of columns in inches, colours and colour maps by name, settings of matplotlib."""

    widths: dict[str, float]
    colors: dict[str, str]
    matplotlib: dict[str, Any]


def read_house(path: str | Path | None = None) -> House:
    """Return how figures look: as the package's own file says, but for what the one at ``path`` says.

    Raises
    ------
    AnalysisError
        If the file cannot be read, or has a table, a name or a value that figures cannot have.

    Examples
    --------
    >>> read_house().widths["single"]
    3.5
    """
    own = tomllib.loads(files("analysis.figures").joinpath("house_style.toml").read_text(encoding="utf-8"))
    given = {} if path is None else _read(Path(path))
    for table, name, value in _entries(given):
        if table not in own:
            raise AnalysisError(f"{path}: no table [{table}]: expected some of {', '.join(own)}")
        if table != "matplotlib" and name and name not in own[table]:
            raise AnalysisError(
                f"{path}: [{table}] has no {name!r}: expected some of {', '.join(own[table])}"
            )
        if (problem := _problem(table, name, value)) is not None:
            raise AnalysisError(f"{path}: [{table}] {name} = {value!r}: {problem}")
    return House(**{table: {**values, **given.get(table, {})} for table, values in own.items()})


def chosen_house() -> House:
    """Return how figures look where the environment variable `VARIABLE` may name a file."""
    try:
        return read_house(os.environ.get(VARIABLE) or None)
    except AnalysisError as error:
        raise AnalysisError(f"{VARIABLE}: {error}") from None


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise AnalysisError(f"{path}: expected a TOML file of figures' style; got {reason}") from None


def _entries(given: Mapping[str, Any]) -> Iterator[tuple[str, str, Any]]:
    """Yield table, name and value of all that a file has; of what stands in no table, the name as the table."""
    for table, values in given.items():
        if isinstance(values, Mapping):
            yield from ((table, name, value) for name, value in values.items())
        else:
            yield table, "", values


def _problem(table: str, name: str, value: Any) -> str | None:
    """Return what is wrong with a value, None if nothing is."""
    if not name:
        return "expected a table"
    if table == "widths":
        fits = isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < 100
        return None if fits else "expected inches > 0"
    if table == "colors" and name in MAPS:
        return None if value in mpl.colormaps else "expected the name of a colour map of matplotlib"
    if table == "colors":
        return None if is_color_like(value) else "expected a colour, as #0072B2"
    try:
        mpl.RcParams({name: value})
    except KeyError:
        return "expected a setting of matplotlib"
    except ValueError as error:
        return str(error)
    return None

"""Labelled arrays with a fixed schema: what traces, portraits and effects share.

The attribute ``about`` is one JSON string, since NetCDF keeps neither None nor booleans nor lists of one.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from emt.errors import TraceError, repeated
from emt.text import shortened

Labelled = xr.DataTree | xr.Dataset

OF_MEMBERS = ("seeds", "parts")
"""What arrays say of themselves for each of their members."""


def about(data: Labelled) -> dict[str, Any]:
    """Return what the arrays are of."""
    content: dict[str, Any] = json.loads(data.attrs["about"])
    return content


def about_member(data: Labelled, place: int) -> str:
    """Return the attribute ``about`` of one of the members, by its place."""
    content = about(data)
    return json.dumps({**content, **{name: [content[name][place]] for name in OF_MEMBERS if name in content}})


def about_joined(parts: Sequence[Labelled]) -> dict[str, Any]:
    """Return what arrays of different members are of together: of the rest, what the first says."""
    contents = [about(part) for part in parts]
    lists = {
        name: [value for content in contents for value in content[name]]
        for name in OF_MEMBERS
        if all(name in content for content in contents)
    }
    return {**contents[0], **lists}


def says(load: Callable[[Path], Labelled], path: Path, marks: Mapping[str, Any]) -> bool:
    """Whether a file can be loaded and says all this of itself."""
    try:
        return marks.items() <= about(load(path)).items()
    except TraceError:
        return False


def check_version(data: Labelled, versions: tuple[int, ...], where: str) -> None:
    """Refuse arrays without one of these format versions, of which the first is written.

    Raises
    ------
    TraceError
    """
    try:
        got = about(data)["format_version"]
    except (KeyError, TypeError, ValueError, RecursionError):
        raise TraceError(
            f"{where}: expected an attribute 'about' with a format version; found none"
        ) from None
    if got not in versions:
        raise TraceError(f"{where}: expected format version {versions[0]}; got {got}")


def check_members(data: Labelled, where: str) -> None:
    """Refuse arrays whose members are not numbered, each by a number of its own.

    Raises
    ------
    TraceError
    """
    if "member" not in data.coords:
        raise TraceError(f"{where}: expected the coordinate 'member' with model numbers; found none")
    numbers = np.asarray(data["member"])
    if not np.issubdtype(numbers.dtype, np.integer) or (numbers < 1).any():
        got = shortened(numbers.tolist())
        raise TraceError(f"{where}: expected integers from 1 in the coordinate 'member'; got {got}")
    if several := repeated(f"model-{number}" for number in numbers.tolist()):
        raise TraceError(f"{where}: expected each model once; got {several}")


def expect(
    data: Labelled,
    schema: Mapping[str, tuple[str, ...]],
    where: str,
    optional_first: set[str] | None = None,
    factor: bool = False,
) -> None:
    """Refuse arrays that lack a variable of the schema, or have it with other axes or without numbers.

    Parameters
    ----------
    data, schema, where
        The arrays; name → axes; what messages call the arrays.
    optional_first
        Variables that may have an axis "member" before the others.
    factor
        Whether variables may have an axis "factor" anywhere.

    Raises
    ------
    TraceError
        Naming the first such variable.
    """
    for name, dims in schema.items():
        if name not in data.data_vars:
            held = ", ".join(map(str, data.data_vars)) or "none"
            raise TraceError(f"{where}: expected the variable {name!r}; found {held}")
        got = tuple(map(str, data[name].dims))
        if name in (optional_first or ()) and got[:1] == ("member",):
            got = got[1:]
        if factor:
            got = tuple(d for d in got if d != "factor")
        if got != dims:
            raise TraceError(f"{where}: expected {name!r} with axes {dims}; got {got}")
        if not np.issubdtype(data[name].dtype, np.number) and data[name].dtype != bool:
            raise TraceError(f"{where}: expected numbers in {name!r}; got {data[name].dtype}")

"""The portrait of a population's dynamics: fixed and slow points, Jacobians, exponents, and their file.

A portrait is an `xarray.Dataset`. ``state`` joins the tensors of the moving state (`emt.jacobians`),
``point`` the points of all members, one member after the other:

==================  ====================================  ==============================================================
``found``           member                                different points found; of many only the first are kept
``spread``          member                                root mean square distance of recorded states from their mean
``visited``         member, visit, state                  recorded states that searches started from
``owner``           point                                 model number of the member whose point it is
``position``        point, state
``speed``           point                                 q = ½|F(h, x) − h|² at constant input x
``hits``            point                                 searches that ended there
``distance``        point                                 from the nearest recorded state, in spreads
``jacobian``        point, state, from_state              ∂F/∂h: entry (i, j) is the change of number i with number j
``input_jacobian``  point, state, channel                 ∂F/∂x
``exponent``        member, drive, sequence, rank         Lyapunov exponents in nats per step, descending; ``drive``:
                                                          along "recorded" inputs, and in "silence" after them
``exponent_change``  member, drive, sequence, rank        how much they move where Jacobians change in their last digit
==================  ====================================  ==============================================================

The attribute ``about`` is one JSON string: model, experiment, seeds, sequence length, format version;
``states``, what makes up ``state`` and how many numbers each has; ``held``, memories that are held constant;
``moving``, "moving" or "whole" as `emt evaluate --dynamics` was asked; ``searches`` of each member; the
tolerances ``fixed_speed``, ``slow_speed`` and ``merge_distance``; ``fingerprint``, the hash of what it came
from, and ``parts``, such a hash for each member.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from pydantic import Field

from emt.errors import TraceError, UserError
from emt.labelled import about, about_joined, about_member, check_members, check_version, expect, says
from emt.netcdf import read, write
from emt.schema import Count, Schema, checked
from emt.text import shortened

__all__ = ["TraceError", "about", "check", "is_marked", "load", "make", "save"]

FORMAT_VERSION = 2

PRECISION = 2.0**-24
"""Half a unit in the last place of a number of single precision, relative to it: how well weights are known."""

UNIT_TOLERANCE = 1e-5
"""Moduli up to 1 plus this are not unstable, and down to 1 minus this neutral: rounding alone moves them so far."""

DRIVES = ("recorded", "silence")


Tolerance = Annotated[float, Field(ge=0)]


class Said(Schema):
    """What a portrait says of itself, as far as others rely on it."""

    searches: Count
    fixed_speed: Tolerance
    merge_distance: Tolerance
    experiment: str = ""
    model: dict[str, Any] = {}


VARIABLES: dict[str, tuple[str, ...]] = {
    "found": ("member",),
    "spread": ("member",),
    "visited": ("member", "visit", "state"),
    "owner": ("point",),
    "position": ("point", "state"),
    "speed": ("point",),
    "hits": ("point",),
    "distance": ("point",),
    "jacobian": ("point", "state", "from_state"),
    "input_jacobian": ("point", "state", "channel"),
    "exponent": ("member", "drive", "sequence", "rank"),
    "exponent_change": ("member", "drive", "sequence", "rank"),
}


def make(variables: Mapping[str, NDArray[Any]], numbers: list[int], about: Mapping[str, Any]) -> xr.Dataset:
    """Return a checked portrait of the members with these model numbers; variables as in the module's table.

    Raises
    ------
    TraceError
        If a variable is missing.
    """
    arrays = {name: (VARIABLES[name], array) for name, array in variables.items()}
    portrait = xr.Dataset(arrays, coords={"member": numbers, "drive": list(DRIVES)})
    portrait.attrs["about"] = json.dumps({"format_version": FORMAT_VERSION, **about})
    check(portrait)
    return portrait


def select(portrait: xr.Dataset, number: int) -> xr.Dataset:
    """Return the portrait of one of its members."""
    place = portrait["member"].values.tolist().index(number)
    own = {"member": [place], "point": np.flatnonzero(portrait["owner"].values == number)}
    return portrait.isel(own).assign_attrs(about=about_member(portrait, place))


def join(portraits: Sequence[xr.Dataset], **marks: Any) -> xr.Dataset:
    """Return the portraits of different members as one, in this order; ``marks`` go into what it says of itself."""
    variables = {
        name: np.concatenate([portrait[name].values for portrait in portraits]) for name in VARIABLES
    }
    numbers = [number for portrait in portraits for number in portrait["member"].values.tolist()]
    return make(variables, numbers, {**about_joined(portraits), **marks})


def check(portrait: xr.Dataset, where: str = "portrait") -> None:
    """Refuse a data set that is no portrait.

    Raises
    ------
    TraceError
        Naming the first variable that is missing or has the wrong axes.
    """
    check_version(portrait, (FORMAT_VERSION,), where)
    expect(portrait, VARIABLES, where)
    check_members(portrait, where)
    try:
        checked(about(portrait), Said, where, ("about",))
    except UserError as error:
        raise TraceError(str(error)) from None
    numbers, owners = portrait["member"].values, portrait["owner"].values
    if strangers := sorted(set(owners.tolist()) - set(numbers.tolist())):
        expected = f"members of {numbers.tolist()} in 'owner'"
        raise TraceError(f"{where}: expected {expected}; got {shortened(strangers)}")
    if "drive" not in portrait.coords or portrait["drive"].values.tolist() != list(DRIVES):
        raise TraceError(f"{where}: expected the coordinate 'drive' to be {list(DRIVES)}")


def save(portrait: xr.Dataset, path: str | Path) -> None:
    """Write a portrait as one NetCDF file that appears only when whole."""
    check(portrait, str(path))
    write(portrait, Path(path))


def load(path: str | Path) -> xr.Dataset:
    """Read a portrait into memory and check it.

    Raises
    ------
    TraceError
        If the file is missing, broken or no portrait.
    """
    portrait = read(Path(path), xr.open_dataset, "portrait")
    check(portrait, str(path))
    return portrait


def glance(path: Path) -> str:
    """Return what the file of one member says, in a line."""
    portrait = load(path)
    speed, exponents = portrait["speed"].values, portrait["exponent"].sel(drive="silence").values
    fixed = int((speed < about(portrait)["fixed_speed"]).sum())
    more = int(portrait["found"].sum()) - len(speed)
    points = f"{fixed} fixed and {len(speed) - fixed} slow points" + (f" and {more} more" if more else "")
    return f"{points}; leading exponent without input {exponents[0, :, 0].mean():.3g}"


def is_marked(path: Path, **marks: Any) -> bool:
    """Whether a file is a whole portrait that says all this of itself."""
    return says(load, path, marks)

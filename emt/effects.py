"""Effects of interventions: what runs answered in which something was changed, and their file.

Effects are an `xarray.Dataset`. ``condition`` names what was changed, ``query`` is a place of a batch whose answer is
scored:

==========================  ==========================  ==========================================================
``sequence``                query                       place on the batch axis
``step``                    query                       its step; -1 where all judged steps after the change count
``item``                    query                       the (first) item that it queries, -1 for none
``right``                   member, condition, query    share of the right answers that were given
``counterfactual_right``    member, condition, query    of the answers that the change calls for, where these are
                                                        other ones
``kept_right``              member, condition, query    of the right answers where the change calls for the same
``margin``                  member, condition, query    right output minus the mean of the others; of signs, mean of
                                                        target times output
``probability``             member, condition, query    softmax of the right output
``source``                  condition, query            sequence whose content was used, -1 for none
``lag``                     condition, query            mean distance of changed writes from the query, in steps
``share``                   member, condition, query    share that the changed writes have in the absolute weights of
                                                        the query's unedited reads of linear memories
``linear_margin``           member, condition, query    of reads that miss writes, linear estimate of the change of
                                                        margin; see `analysis.interventions.prediction`
``read_error``              member, condition           how far what queries read is from what the run's log says of it,
                                                        over the largest number read
``rescaled``                member, condition           share of steps at which memories were divided by more than 1
``norm``                    member, condition, query    mean size of changed writes, |c v kᵀ|; of a dictionary |v|;
                                                        of variables that of the change of the state
==========================  ==========================  ==========================================================

What is undefined is NaN, as is everything of a member whose outputs were not finite. Where variables were exchanged
there are also

==========================  ==========================  ==========================================================
``basis``                   member, state, variable     Ψ (`emt.codes.Codes`), NaN for a member without a code
``reader``                  member, variable, state     D
``position``                variable                    its position in the window
==========================  ==========================  ==========================================================

and where they were exchanged between members the states in which that was done,

==========================  ==========================  ==========================================================
``held``                    member, trial, state
==========================  ==========================  ==========================================================

There a query counts all judged steps that the exchange is about, which are as many as two windows have.

The attribute ``about`` is one JSON string: model, task, experiment, seeds, sequence length, format version;
``trials``, sequences that were run; ``accuracy``, when an output is right, "sign" or "argmax"; ``chance``,
accuracy of always giving the commonest answer; ``conditions``, a list in the order of the axis (`Said`);
``fingerprint``, the hash of what it came from, and ``parts``, such a hash for each member; ``width``, values in a slot
of the window, where variables were exchanged.
"""

import json
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from pydantic import Field

from emt.errors import TraceError, UserError
from emt.labelled import about, about_joined, about_member, check_members, check_version, expect, says
from emt.netcdf import read, write
from emt.schema import Count, Schema, checked

__all__ = [
    "TraceError",
    "about",
    "check",
    "conditions",
    "is_marked",
    "join",
    "load",
    "make",
    "save",
    "select",
]

FORMAT_VERSION = 1

_EACH = ("member", "condition", "query")

VARIABLES: dict[str, tuple[str, ...]] = {
    "sequence": ("query",),
    "step": ("query",),
    "item": ("query",),
    "right": _EACH,
    "counterfactual_right": _EACH,
    "kept_right": _EACH,
    "margin": _EACH,
    "probability": _EACH,
    "share": _EACH,
    "linear_margin": _EACH,
    "rescaled": ("member", "condition"),
    "read_error": ("member", "condition"),
    "source": ("condition", "query"),
    "lag": ("condition", "query"),
    "norm": _EACH,
}

OF_VARIABLES: dict[str, tuple[str, ...]] = {
    "basis": ("member", "state", "variable"),
    "reader": ("member", "variable", "state"),
    "position": ("variable",),
}
"""What is there where variables were exchanged, all or none of it."""

OF_MEMBERS: dict[str, tuple[str, ...]] = {"held": ("member", "trial", "state")}
"""What is there where they were exchanged between members."""


def _dims(names: Collection[Any]) -> dict[str, tuple[str, ...]]:
    groups = [group for group in (OF_VARIABLES, OF_MEMBERS) if set(group) & set(names)]
    return {name: dims for group in (VARIABLES, *groups) for name, dims in group.items()}


class Said(Schema):
    """What effects say of one condition (`emt.interventions.conditions.Condition`)."""

    name: str
    kind: str
    edit: str
    part: str = ""
    after: Count = 0
    control: str = ""
    target: str = ""
    amount: float = 0.0
    at: str = "write"
    source: str = ""
    aligned: bool = True
    hold: bool = False
    draws: Count = 1


class About(Schema):
    """What effects say of themselves, as far as others rely on it."""

    trials: Count
    accuracy: Literal["sign", "argmax"]
    chance: Annotated[float, Field(ge=0, le=1)]
    conditions: list[Said]
    width: Count = 0
    experiment: str = ""
    model: dict[str, Any] = {}


def make(
    variables: Mapping[str, NDArray[Any]], numbers: Sequence[int], about: Mapping[str, Any]
) -> xr.Dataset:
    """Return checked effects of the members with these model numbers; variables as in the module's table.

    Raises
    ------
    TraceError
        If a variable is missing.
    """
    dims = _dims(variables)
    arrays = {name: (dims[name], array) for name, array in variables.items()}
    names = [condition["name"] for condition in about["conditions"]]
    effects = xr.Dataset(arrays, coords={"member": list(numbers), "condition": names})
    effects.attrs["about"] = json.dumps({"format_version": FORMAT_VERSION, **about})
    check(effects)
    return effects


def conditions(effects: xr.Dataset) -> list[Said]:
    """Return what was changed, in the order of the axis ``condition``."""
    return _said(effects, "effects").conditions


def select(effects: xr.Dataset, number: int) -> xr.Dataset:
    """Return the effects in one of the members."""
    place = effects["member"].values.tolist().index(number)
    return effects.isel(member=[place]).assign_attrs(about=about_member(effects, place))


def join(effects: Sequence[xr.Dataset], **marks: Any) -> xr.Dataset:
    """Return effects in different members as one, in this order; ``marks`` go into what it says of itself."""
    variables = {
        name: np.concatenate([part[name].values for part in effects])
        if dims[0] == "member"
        else effects[0][name].values
        for name, dims in _dims(effects[0].data_vars).items()
    }
    numbers = [number for part in effects for number in part["member"].values.tolist()]
    return make(variables, numbers, {**about_joined(effects), **marks})


def check(effects: xr.Dataset, where: str = "effects") -> None:
    """Refuse a data set that is none of effects.

    Raises
    ------
    TraceError
        Naming the first variable that is missing or has the wrong axes.
    """
    check_version(effects, (FORMAT_VERSION,), where)
    expect(effects, _dims(effects.data_vars), where)
    check_members(effects, where)
    if "position" in effects and not np.issubdtype(effects["position"].dtype, np.integer):
        raise TraceError(f"{where}: expected integers in 'position'; got {effects['position'].dtype}")
    said = [condition.name for condition in _said(effects, where).conditions]
    got = effects["condition"].values.tolist() if "condition" in effects.coords else []
    if got != said:
        raise TraceError(f"{where}: expected the coordinate 'condition' to name the conditions of 'about'")
    if strangers := sorted({c.control for c in _said(effects, where).conditions if c.control} - set(said)):
        raise TraceError(f"{where}: expected controls that are conditions; got {strangers[0]!r}")


def _said(effects: xr.Dataset, where: str) -> About:
    try:
        return checked(about(effects), About, where, ("about",))
    except UserError as error:
        raise TraceError(str(error)) from None


def save(effects: xr.Dataset, path: str | Path) -> None:
    """Write effects as one NetCDF file that appears only when whole."""
    check(effects, str(path))
    write(effects, Path(path))


def load(path: str | Path) -> xr.Dataset:
    """Read effects into memory and check them.

    Raises
    ------
    TraceError
        If the file is missing, broken or holds something else.
    """
    effects = read(Path(path), xr.open_dataset, "effects of interventions")
    check(effects, str(path))
    return effects


def is_marked(path: Path, **marks: Any) -> bool:
    """Whether a file holds whole effects that say all this of themselves."""
    return says(load, path, marks)

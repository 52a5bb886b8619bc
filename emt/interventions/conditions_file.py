"""Conditions from a file: a JSON list of objects with the fields of `Condition`, of which most may be absent.

::

    [
      {"name": "queried at half strength", "edit": "scale", "target": "queried", "amount": 0.5},
      {"name": "missed by the query", "edit": "scale", "target": "queried", "at": "query"},
      {"name": "memory of another trial", "edit": "shuffle", "part": "memory", "after": 8}
    ]

``kind`` follows from the edit, but for "variables", and what a condition is compared with is the run without the
change, which comes along: cut where the state changes, unchanged otherwise. What members, or their task, cannot have
is refused when it is run (`emt.interventions.conditions.check_conditions`).
"""

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, ConfigDict, Field

from emt.interventions.condition import UNCHANGED, Condition, cut
from emt.schema import Count, Schema, read
from emt.text import visible

STATE_EDITS = ("shuffle", "zero", "mean")
READ_EDITS = ("add", "give")

Name = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(visible)]
"""Names go into tables, figures and messages: printable characters alone."""


class Given(Schema):
    """One condition of a file."""

    model_config = ConfigDict(extra="forbid")  # A misspelt field would silently be its default.

    name: Name
    edit: str
    kind: Literal["", "states", "curve", "writes", "checks", "dose", "map", "reads", "edges", "variables"] = (
        ""
    )
    part: str = "all"
    after: Count = 0
    control: Name | None = None
    target: str = ""
    amount: float = 0.0
    at: str = "write"
    source: str = ""
    aligned: bool = True
    hold: bool = False
    draws: Annotated[int, Field(ge=1, le=1000)] = 1

    def condition(self) -> Condition:
        """Return it with the kind and the control that it has if the file names none."""
        own = self.model_dump()
        own["kind"] = self.kind or self._kind()
        condition = Condition(**{**own, "control": self.control or ""})
        if self.control is not None or self.edit == "unchanged" or condition.kind == "variables":
            return condition
        return replace(condition, control=_base(condition).name)

    def _kind(self) -> str:
        if self.edit in STATE_EDITS or (self.edit == "unchanged" and self.after):
            return "states"
        return "reads" if self.at != "write" or self.edit in READ_EDITS else "writes"


def read_conditions_file(path: Path) -> tuple[Condition, ...]:
    """Return the conditions of a file, those that they are compared with before them.

    Raises
    ------
    UserError
        If the file is missing, no JSON, or holds something else; the message names the place.
    """
    given: list[Given] = read(path, Annotated[list[Given], Field(min_length=1)])
    conditions = [one.condition() for one in given]
    bases = {base.name: base for base in map(_base, conditions)}
    wanted = {condition.control for condition in conditions} - {condition.name for condition in conditions}
    return (*(base for name, base in bases.items() if name in wanted), *conditions)


def _base(condition: Condition) -> Condition:
    """Return the run that a condition is compared with if nothing else is said."""
    return cut(condition.after) if condition.of_state else UNCHANGED

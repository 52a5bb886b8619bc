"""One change of a run, in words."""

from dataclasses import asdict, dataclass
from typing import Any

from emt.errors import UserError


@dataclass(frozen=True)
class Condition:
    """One change of a run.

    Attributes
    ----------
    name
        What tables call it.
    edit
        What is done. To the state: "shuffle" gives every sequence the content of another one, "zero" and
        "mean" replace it; "unchanged" only cuts the run. To writes: "scale" makes them ``amount`` times as
        strong, "skip" leaves out what they erase, too, "swap", "swap key" and "swap both" give them values and keys
        of a source's queried writes; "freeze" leaves memories as they are from step ``after`` on. To the query's
        reads: "add" adds a random vector as long as what they find of the writes, "give" what the source's
        reads find in place of it. To variables of a linear task: "set" moves the state along their directions by
        what their values differ by in another trial, h + Ψ (u' - u); "swap" by what is read from that trial's
        state, h + Ψ D (h' - h) (`emt.codes.Codes`).
    part
        Of the state: "moving", "memory", "all" (`emt.interventions.states.parts_of`), or one of its tensors.
        Of writes: a memory's name, or "all". Of variables: "slot 3", the third from the oldest, "bit 3.2", its
        second, or "all".
    after
        Of the state and of variables: the change comes after this many steps. Of "freeze": steps that still write.
    control
        Name of the condition that it is compared with; empty for a condition that others are compared with.
    kind
        Tests are corrected within a kind, of variables for each step and part. Of the state "states", at the step
        that is chosen beforehand, and "curve", at the others; of writes "writes", of which the defaults have one,
        "checks", "dose" (strengths) and "map" (single ones); of reads "reads" and "edges" (of single writes);
        "variables", and "members", if they are those of another member.
    target
        Of writes: those of the "queried" items, of an "other" item of the trial that is written as often,
        "all" before the query, all "but queried", all "but other", or "lag 3", the third step before the
        query. Of variables the directions in which the state moves: their "own", those of the same bits in the
        "next slot", as many at "random" and as far, or, of "swap", all "but own", or their own as far as the
        pseudo-inverse of Ψ reads them ("pinv"); of "set" also the nearest in
        which slots differ by magnitudes, "unit" or "scalar" (`emt.codes.magnitude_fit`). Of members the way:
        through the "own" directions of each, or by a "map" of states (`emt.interventions.carried`).
    amount
        Of "scale": 0 removes a write.
    at
        Of "scale": at the "write", for all that follows; or only the edges are that strong that lead to the reads of
        the "query", to those "between", which come before it, or to all "reads".
    source
        Of "swap" and "give": a query with "another answer", or the "same answer", whose item was written at
        the same steps. Of members the other one, "model-3".
    aligned
        Of "swap": whether values keep the sign with which they are read (`emt.interventions.donors.Donors`).
    hold
        Whether memories that are divided by their norm are divided by that of the run without edits.
    draws
        How often an "other" item, or "random" directions, are drawn; scores are means.

    Examples
    --------
    >>> Condition("memory lost", edit="shuffle", part="memory", after=8, control="cut after 8 steps").kind
    'states'
    """

    name: str
    edit: str
    part: str = "all"
    after: int = 0
    control: str = ""
    kind: str = "states"
    target: str = ""
    amount: float = 0.0
    at: str = "write"
    source: str = ""
    aligned: bool = True
    hold: bool = False
    draws: int = 1

    @property
    def of_state(self) -> bool:
        """Whether it is on the state, and not on writes or reads of memories."""
        return self.kind in ("states", "curve")

    def describe(self) -> dict[str, Any]:
        """Return it as the file of effects has it."""
        return asdict(self)


UNCHANGED = Condition("unchanged", "unchanged", kind="writes")
"""What conditions on writes and reads are compared with in the end: nothing is changed."""


def cut(after: int) -> Condition:
    """Return what a change of the state after this many steps is compared with: the run, cut there."""
    return Condition(f"cut {after_text(after)}", "unchanged", after=after)


def after_text(steps: int) -> str:
    """Return when a change comes, in words.

    >>> after_text(1)
    'after 1 step'
    """
    return f"after {steps} step{'' if steps == 1 else 's'}"


def refusal(condition: Condition, field: str, expected: str, got: object) -> UserError:
    """Return the error of a condition one field of which cannot be what it is."""
    return UserError(f"{condition.name!r}: {field} must be {expected}; got {got!r}", parameter="conditions")

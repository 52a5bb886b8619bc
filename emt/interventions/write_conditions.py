"""Conditions on the writes of associative memories that make a sound answer together."""

from collections.abc import Iterator

from emt.errors import UserError
from emt.interventions.condition import Condition, refusal
from emt.interventions.queries import Queries
from emt.models.base import Model

DOSES = (-1.0, 0.25, 0.5, 0.75, 1.5, 2.0)
"""Strengths of writes beside none and all; networks have never seen those below 0 and above 1."""

DRAWS = 4
"""Draws of another item."""

FARTHEST = 32
"""Writes up to so many steps before the query are removed one by one."""

EDITS = ("unchanged", "scale", "swap", "jolt")
TARGETS = ("queried", "other", "all", "but queried", "but other")
TIMES = ("write", "query", "between")
SOURCES = ("another answer", "same answer")


def has_writes(model: Model, queries: Queries) -> bool:
    """Whether a model keeps a memory that is logged, and queries are of written items."""
    return bool(model.memories) and bool((queries.step >= 0).all())


def check_writes(model: Model, queries: Queries) -> None:
    """Refuse interventions on writes without a logged memory, or without a query of a written item.

    Raises
    ------
    UserError
        Saying what would do.
    """
    if not model.memories:
        text = "writes: the model has no associative memory that is logged; states would do"
        raise UserError(text, parameter="kinds")
    if not has_writes(model, queries):
        text = "writes: the task has no step that queries a written item; states would do"
        raise UserError(text, parameter="kinds")


def check_write(condition: Condition, model: Model) -> None:
    """Refuse a condition on writes that cannot be.

    Raises
    ------
    UserError
        Naming the condition and what would do.
    """
    linear = all(rule["kind"] == "linear" for rule in model.memories.values())
    choices = {"part": ("all", *model.memories), "edit": EDITS, "at": TIMES if linear else TIMES[:1]}
    if condition.edit != "unchanged" and not condition.target.startswith("lag "):
        choices["target"] = TARGETS
    if condition.edit == "swap":
        choices["source"] = SOURCES
        choices["target"] = TARGETS[:2]
    for field, known in choices.items():
        if getattr(condition, field) not in known:
            raise refusal(condition, field, f"one of {', '.join(known)}", getattr(condition, field))


def write_conditions(model: Model, queries: Queries) -> Iterator[Condition]:
    """Yield the conditions on writes that a model has."""
    linear = all(rule["kind"] == "linear" for rule in model.memories.values())
    yield Condition("unchanged", "unchanged", kind="writes")
    yield from _removals()
    if linear:
        yield from _direct()
    yield from _swaps(linear)
    yield _write("queried and as much of something else", "queried", "unchanged", edit="jolt")
    for amount in DOSES:
        other = f"other x {amount:g}"
        yield _write(other, "other", "unchanged", kind="dose", amount=amount)
        yield _write(f"queried x {amount:g}", "queried", other, kind="dose", amount=amount)
    for lag in range(1, min(FARTHEST, int(queries.step.max())) + 1):
        yield _write(f"without write {lag} before", f"lag {lag}", "unchanged", kind="map")


def _write(
    name: str, target: str, control: str, *, edit: str = "scale", kind: str = "writes", **more: object
) -> Condition:
    return Condition(name, edit, control=control, kind=kind, target=target, **more)  # type: ignore[arg-type]


def _removals() -> Iterator[Condition]:
    yield _write("without other", "other", "unchanged", draws=DRAWS)
    yield _write("without queried", "queried", "without other")
    yield _write("without any", "all", "unchanged")
    yield _write("only queried", "but queried", "unchanged")
    yield _write("only other", "but other", "only queried")


def _direct() -> Iterator[Condition]:
    """Yield what separates the read of the query from all reads before it."""
    # The same draws as of "without other": the two are compared query by query.
    yield _write("without other, at the query", "other", "unchanged", at="query", draws=DRAWS)
    yield _write("without queried, at the query", "queried", "without other, at the query", at="query")
    yield _write("without queried, until the query", "queried", "unchanged", at="between")


def _swaps(linear: bool) -> Iterator[Condition]:
    other, same = SOURCES
    yield _write("other with a value of another answer", "other", "unchanged", edit="swap", source=other)
    yield _write(
        "queried with the value of another answer",
        "queried",
        "other with a value of another answer",
        edit="swap",
        source=other,
    )
    yield _write(
        "queried with the value of the same answer", "queried", "unchanged", edit="swap", source=same
    )
    if linear:
        yield _write(
            "queried with the value of another answer, sign as it is",
            "queried",
            "other with a value of another answer",
            edit="swap",
            source=other,
            aligned=False,
        )

"""Conditions on the writes and reads of associative memories that make a sound answer together."""

from collections.abc import Iterator

from emt.errors import UserError
from emt.interventions.condition import UNCHANGED, Condition, refusal
from emt.interventions.queries import Queries
from emt.models.base import Model

DOSES = (-1.0, 0.1, 0.25, 0.5, 0.75, 1.5, 2.0)
"""Strengths of writes beside none and all; networks have never seen those below 0 and above 1."""

DRAWS = 8
"""Draws of another item."""

FARTHEST = 32
"""Writes up to so many steps before the query are removed one by one."""

NEEDS = {
    "unchanged": (),
    "scale": ("scale",),
    "skip": ("skip",),
    "freeze": ("freeze",),
    "swap": ("value",),
    "swap key": ("key",),
    "swap both": ("key", "value"),
    "add": ("add", "hide"),
    "give": ("add", "hide"),
}
"""Edits of writes and reads, and what of a memory must be possible to change for them (`Model.edits`)."""

OF_SOURCES = ("swap", "swap key", "swap both", "give")
TARGETS = ("queried", "other", "all", "but queried", "but other")
TIMES = ("write", "query", "between", "reads")
SOURCES = ("another answer", "same answer")


def has_writes(model: Model, queries: Queries) -> bool:
    """Whether a model keeps a memory that is logged and can be edited, and queries are of written items."""
    return bool(model.memories) and bool(model.edits) and bool((queries.step >= 0).all())


def check_writes(model: Model, queries: Queries, kind: str = "writes") -> None:
    """Refuse interventions on writes without a logged memory, or without a query of a written item.

    Raises
    ------
    UserError
        Saying what would do.
    """
    if not model.memories:
        text = f"{kind}: the model has no associative memory that is logged; states would do"
        raise UserError(text, parameter="kinds")
    if not model.edits:
        text = f"{kind}: nothing of the model's memory can be changed in a run (Model.edits); states would do"
        raise UserError(text, parameter="kinds")
    if not has_writes(model, queries):
        text = f"{kind}: the task has no step that queries a written item; states would do"
        raise UserError(text, parameter="kinds")


def check_write(condition: Condition, model: Model) -> None:
    """Refuse a condition on writes or reads that cannot be.

    Raises
    ------
    UserError
        Naming the condition and what would do.
    """
    choices: dict[str, tuple[object, ...]] = {"part": ("all", *model.memories), "edit": tuple(NEEDS)}
    choices |= {"at": TIMES if condition.edit == "scale" else TIMES[:1]}
    if condition.edit not in ("unchanged", "freeze") and not condition.target.startswith("lag "):
        choices["target"] = TARGETS
    if condition.edit in OF_SOURCES:
        choices |= {"source": SOURCES, "target": TARGETS[:2]}
    nearest = any(rule.get("recall") in ("nearest", "kernel") for rule in model.memories.values())
    if condition.at != "write" and nearest:
        choices["amount"] = (0.0,)
    for field, known in choices.items():
        if getattr(condition, field) not in known:
            expected = f"one of {', '.join(map(str, known))}" if len(known) > 1 else str(known[0])
            raise refusal(condition, field, expected, getattr(condition, field))
    if missing := missing_edits(condition, model):
        can = ", ".join(model.edits) or "nothing"
        what = f"a change of {missing[0]!r} of memories that can have {can} changed"
        raise UserError(f"{condition.name!r}: {what} is not possible", parameter="conditions")


def missing_edits(condition: Condition, model: Model) -> list[str]:
    """Return what a condition changes of writes and reads that a model's memories cannot have changed."""
    needs = ("hide",) if condition.at != "write" else NEEDS[condition.edit]
    needs += ("hold",) if condition.hold else ()
    return [name for name in needs if name not in model.edits]


def write_conditions(model: Model, queries: Queries, erases: bool) -> Iterator[Condition]:
    """Yield the conditions on writes that a model has; ``erases``, whether its writes also erase."""
    linear = all(rule["kind"] == "linear" for rule in model.memories.values())
    yield UNCHANGED
    yield from _removals("scale" if linear else "skip")
    if erases and linear:
        yield _write("other skipped", "other", UNCHANGED.name, edit="skip", draws=DRAWS)
        yield _write("queried skipped", "queried", "other skipped", edit="skip")
    if "hold" in model.edits:
        yield _write("without other, norm held", "other", UNCHANGED.name, draws=DRAWS, hold=True)
        yield _write("without queried, norm held", "queried", "without other, norm held", hold=True)
    yield from _swaps(linear, "key" in model.edits)
    for amount in DOSES:
        other = f"other x {amount:g}"
        yield _write(other, "other", UNCHANGED.name, kind="dose", amount=amount)
        yield _write(f"queried x {amount:g}", "queried", other, kind="dose", amount=amount)
    for lag in lags(queries):
        edit = "scale" if linear else "skip"
        yield _write(f"without write {lag} before", f"lag {lag}", UNCHANGED.name, kind="map", edit=edit)


def read_conditions(queries: Queries) -> Iterator[Condition]:
    """Yield the conditions on reads: edges from writes to the reads of the query, or to those before it."""
    # The same draws as of "without other": the two are compared query by query.
    yield _read("without other, at the query", "other", UNCHANGED.name, draws=DRAWS)
    yield _read("without queried, at the query", "queried", "without other, at the query")
    yield _read("without queried, until the query", "queried", UNCHANGED.name, at="between")
    yield _read("only queried, at the query", "but queried", UNCHANGED.name)
    yield _read("only other, at the query", "but other", "only queried, at the query")
    change = {"at": "write", "kind": "reads"}
    yield _read("as much of something else read, too", "queried", UNCHANGED.name, edit="add", **change)
    another = {"edit": "give", "source": SOURCES[0], **change}
    yield _read("the read of another answer", "queried", UNCHANGED.name, **another)
    for lag in lags(queries):
        name = f"without write {lag} before, at the query"
        yield _read(name, f"lag {lag}", UNCHANGED.name, kind="edges")


def lags(queries: Queries) -> range:
    """Return how many steps before the query single writes are."""
    return range(1, min(FARTHEST, int(queries.step.max())) + 1)


def _write(
    name: str, target: str, control: str, *, edit: str = "scale", kind: str = "checks", **more: object
) -> Condition:
    return Condition(name, edit, control=control, kind=kind, target=target, **more)  # type: ignore[arg-type]


def _read(
    name: str, target: str, control: str, *, edit: str = "scale", kind: str = "reads", **more: object
) -> Condition:
    return _write(name, target, control, edit=edit, kind=kind, **{"at": "query", **more})


def _removals(edit: str) -> Iterator[Condition]:
    yield _write("without other", "other", UNCHANGED.name, draws=DRAWS, edit=edit)
    yield _write("without queried", "queried", "without other", edit=edit, kind="writes")
    yield _write("without any", "all", UNCHANGED.name, edit=edit)
    yield _write("only queried", "but queried", UNCHANGED.name, edit=edit)
    yield _write("only other", "but other", "only queried", edit=edit)


def _swaps(linear: bool, keys: bool) -> Iterator[Condition]:
    another, same = SOURCES
    control = "other with a value of another answer"
    yield _write(control, "other", UNCHANGED.name, edit="swap", source=another)
    queried = "queried with the value of another answer"
    yield _write(queried, "queried", control, edit="swap", source=another)
    yield _write(
        "queried with the value of the same answer", "queried", UNCHANGED.name, edit="swap", source=same
    )
    if linear:
        yield _write(
            f"{queried}, sign as it is", "queried", control, edit="swap", source=another, aligned=False
        )
    if keys:
        for edit, what in (("swap key", "the key"), ("swap both", "key and value")):
            name = f"queried with {what} of another answer"
            yield _write(name, "queried", UNCHANGED.name, edit=edit, source=another)

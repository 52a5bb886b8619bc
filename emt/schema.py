"""What files hold, typed: content that is something else is refused in one line, with file, place, expected and got.

A schema is a pydantic model (`Schema`) or any type that pydantic knows. Nothing is converted: text is no
number, and ``true`` is not 1.
"""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from emt.errors import UserError
from emt.files import read_json
from emt.text import shortened

Kind = TypeVar("Kind")

Count = Annotated[int, Field(ge=0)]
Positive = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(ge=0, le=1)]


class Schema(BaseModel):
    """Base of the schemas of files; fields that are not among theirs are kept as they are."""

    model_config = ConfigDict(strict=True, frozen=True, extra="allow", allow_inf_nan=False)


def required(condition: Callable[[Any], Any], expected: str) -> AfterValidator:
    """Return a condition on a value; ``expected`` says what meets it.

    >>> Even = Annotated[int, required(lambda n: n % 2 == 0, "an even number")]
    >>> checked(3, Even, "file.json", ("a", 0))
    Traceback (most recent call last):
    emt.errors.UserError: file.json: a[0]: expected an even number; got 3
    """

    def check(value: Any) -> Any:
        if not condition(value):
            raise ValueError(f"expected {expected}")
        return value

    return AfterValidator(check)


def read(path: Path, kind: Any) -> Any:
    """Return the content of a JSON file as ``kind``.

    Raises
    ------
    UserError
        If the file is missing, no JSON, or holds something else.
    """
    return checked(read_json(path), kind, path)


def checked(content: Any, kind: Any, where: str | Path, place: Sequence[str | int] = ()) -> Any:
    """Return content as ``kind``.

    Parameters
    ----------
    content
        Plain values, as of JSON.
    kind
        Model, type, or pydantic's adapter of one, which takes a millisecond to make.
    where, place
        File, and names and positions that lead to the content in it, for messages.

    Raises
    ------
    UserError
        Naming the first place with something else.
    """
    try:
        adapter = kind if isinstance(kind, TypeAdapter) else TypeAdapter(kind)
        return adapter.validate_python(content, strict=True)
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        got = _ABSENT if problem["type"] == "missing" else problem["input"]
        raise refusal(where, (*place, *problem["loc"]), _expected(problem), got) from None


def refusal(where: str | Path, place: Sequence[str | int], expected: str, got: Any) -> UserError:
    """Return the error of a file that holds something else at a place than is expected.

    >>> str(refusal("a.json", ("metrics", 3, "accuracy"), "a number from 0 to 1", "high"))
    'a.json: metrics[3].accuracy: expected a number from 0 to 1; got "high"'
    """
    at = place_text(place)
    return UserError(f"{where}: {at}: expected {expected}; got {_got(got)}".replace(": : ", ": "))


def place_text(place: Sequence[str | int]) -> str:
    """Return a place in a document as its reader would write it.

    >>> place_text(("metrics", 3, "eigenvalues_rnn_seq8", 0))
    'metrics[3].eigenvalues_rnn_seq8[0]'
    """
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{shortened(part)}" for part in place)
    return text.removeprefix(".")


_BOUNDS = {"greater_than_equal": "ge", "less_than_equal": "le", "greater_than": "gt", "less_than": "lt"}
_SIGNS = {"ge": "≥", "le": "≤", "gt": ">", "lt": "<"}
_TYPES = {
    "missing": "a value",
    "int_type": "an integer",
    "float_type": "a number",
    "finite_number": "a finite number",
    "string_type": "text",
    "string_unicode": "text",
    "bool_type": "true or false",
    "list_type": "a list",
    "tuple_type": "a list",
    "dict_type": "an object",
    "model_type": "an object",
    "model_attributes_type": "an object",
    "none_required": "null",
}


def _expected(problem: Any) -> str:
    """Say what was expected, from pydantic's description of a problem."""
    kind, context = problem["type"], problem.get("ctx", {})
    if kind in _BOUNDS:
        name = _BOUNDS[kind]
        return f"a number {_SIGNS[name]} {context[name]:g}"
    if kind in _TYPES:
        return _TYPES[kind]
    message = str(problem["msg"])
    for start in ("Value error, ", "Input should be ", "expected "):
        message = message.removeprefix(start)
    return message


_ABSENT = object()


def _got(value: Any) -> str:
    """Return a value as it stands in the file, shortened; of a list or an object its start."""
    if value is _ABSENT:
        return "none"
    if isinstance(value, dict | list | tuple) and len(value) > 5:
        parts = list(value.items() if isinstance(value, dict) else value)[:5]
        value = dict(parts) if isinstance(value, dict) else parts
    try:
        text = json.dumps(value, ensure_ascii=False, default=str)
    except (ValueError, RecursionError):
        text = type(value).__name__
    return shortened(text)

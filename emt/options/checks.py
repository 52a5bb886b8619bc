"""Values of options checked against their types; a refusal speaks of the user's flag."""

import typing
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError, create_model

from emt.errors import UserError
from emt.options.signatures import Option
from emt.text import suggestion

_BOUNDS = {
    "greater_than_equal": " ≥ {ge}",
    "less_than_equal": " ≤ {le}",
    "multiple_of": ", a multiple of {multiple_of}",
}
"""End of a message about a number of the right type that is out of bounds, by pydantic's name of the error."""


_SIGNS = {
    "greater than or equal to": "≥",
    "less than or equal to": "≤",
    "greater than": ">",
    "less than": "<",
}
"""Pydantic's words for bounds, and ours."""


def check(
    options: Sequence[Option],
    values: Mapping[str, Any],
    where: str,
    *,
    words: bool = False,
    partial: bool = False,
) -> dict[str, Any]:
    """Return all options with their values, defaults filled in, or refuse by name.

    Parameters
    ----------
    options
        What is permitted.
    values
        What was given. With ``words`` these are words from a command line, otherwise values from a
        configuration.
    where
        What the options belong to, for messages ("task 'repeat_copy'").
    words
        Whether text may be converted to numbers.
    partial
        Whether to return only the options given, without defaults.

    Raises
    ------
    UserError
        For unknown names, missing values and wrong types; the message uses the flag's name.
    """
    known = {o.name: o for o in options}
    for name in values:
        if name not in known:
            text = (
                f"{where} has no such option; it has: {', '.join(known) or 'none'}{suggestion(name, known)}"
            )
            raise UserError(text, parameter=name)
    given = {k: _one_or_several(known[k], v) if words else v for k, v in values.items()}
    fields: dict[str, Any] = {
        o.name: (o.annotation, o.default) for o in options if o.name in given or not partial
    }
    model = create_model("Options", __config__=ConfigDict(extra="forbid", strict=not words), **fields)
    try:
        return model(**given).model_dump()
    except ValidationError as error:
        details = error.errors(include_url=False)[0]
        wrong = known[str(details["loc"][0])]
        bound = _BOUNDS.get(details["type"], "").format_map(details.get("ctx", {}))
        got = text_of(given[wrong.name]) if wrong.name in given else "none"
        raise UserError(
            f"must be {_describe(wrong)}{bound}; got {got} ({where})", parameter=wrong.name
        ) from None


def validate(model: type[BaseModel], values: Mapping[str, Any], where: str) -> Any:
    """Return ``model(**values)``, or refuse the first wrong value by its flag name."""
    try:
        return model(**values)
    except ValidationError as error:
        raise first_problem(error, where, model.model_fields) from None


def first_problem(error: ValidationError, where: str, known: Iterable[str] = ()) -> UserError:
    """Return an error that says what the first problem of a configuration is, by the name of the field.

    Parameters
    ----------
    error
        What pydantic says.
    where
        What the configuration belongs to, for the message.
    known
        Names that an unknown field may be a misspelling of.
    """
    details = error.errors(include_url=False)[0]
    refusal = details.get("ctx", {}).get("error")
    if isinstance(refusal, UserError):
        return UserError(f"{refusal.args[0]} ({where})", parameter=refusal.parameter)
    name = next((part for part in reversed(details["loc"]) if isinstance(part, str)), "config")
    if details["type"] == "extra_forbidden":
        return UserError(f"no such field{suggestion(name, known)} ({where})", parameter=name)
    if details["type"] == "missing":
        return UserError(f"expected a value; got none ({where})", parameter=name)
    wanted = details["msg"].removeprefix("Value error, ").replace("Input should be", "must be")
    for words, sign in _SIGNS.items():
        wanted = wanted.replace(words, sign)
    return UserError(f"{wanted}; got {text_of(details['input'])} ({where})", parameter=name)


def text_of(value: Any) -> str:
    """Return a value as the user would type it."""
    return " ".join(map(str, value)) if isinstance(value, tuple | list) else str(value)


def _describe(option: Option) -> str:
    """Say what an option accepts, in words."""
    singular = {int: "an integer", float: "a number", str: "text", bool: "true or false"}
    plural = {int: "integers", float: "numbers", str: "words"}

    def words(annotation: Any) -> str:
        if typing.get_origin(annotation) is Literal:
            return f"one of {', '.join(map(str, typing.get_args(annotation)))}"
        if typing.get_origin(annotation) is tuple:
            items = typing.get_args(annotation)
            if option.item_choices:
                return f"some of {', '.join(option.item_choices)}"
            return f"{'some' if Ellipsis in items else len(items)} {plural[items[0]]}"
        return singular[annotation]

    return " or ".join(words(a) for a in option.alternatives)


def _one_or_several(option: Option, value: Any) -> Any:
    if isinstance(value, list):
        return value[0] if len(value) == 1 and option.takes_one else tuple(value)
    return value

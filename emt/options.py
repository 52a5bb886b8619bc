"""Options of tasks, models and analyses, read from the signatures that define them.

The keyword parameters of a constructor (or of an analysis function) *are* its options: names, types and defaults come
from the signature, the help text from the ``Parameters`` section of the docstring. They are read from the source text,
so that ``--help`` knows every flag of a model without importing torch.
"""

import argparse
import ast
import importlib
import importlib.util
import inspect
import re
import types
import typing
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, NoReturn

from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model

REQUIRED: Any = ...
"""The default of an option that has none."""

_ANNOTATION_NAMES = {
    "int": int,
    "float": float,
    "str": str,
    "bool": bool,
    "tuple": tuple,
    "Literal": Literal,
    "Annotated": Annotated,
    "Field": Field,
}

_BOUNDS = {
    "greater_than_equal": " from {ge}",
    "less_than_equal": " up to {le}",
    "multiple_of": ", a multiple of {multiple_of}",
}
"""How a message goes on where a number is of the right type but not permitted, by pydantic's name for that."""


class UserError(ValueError):
    """Something the user can put right; scripts print it as one line and exit with code 2."""


class Parser(argparse.ArgumentParser):
    """A command line that accepts no abbreviations and refuses bad input as a `UserError`, without its usage."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(allow_abbrev=False, **settings)

    def error(self, message: str) -> NoReturn:
        """Refuse; whoever runs the script prints the line."""
        raise UserError(f"{message} (--help shows all flags)")


@dataclass(frozen=True)
class Option:
    """One option: what a flag, a config field or a constructor keyword is called, accepts and means."""

    name: str
    annotation: Any
    default: Any = REQUIRED
    help: str = ""

    @property
    def required(self) -> bool:
        """Whether the user must give a value."""
        return self.default is REQUIRED

    @property
    def alternatives(self) -> tuple[Any, ...]:
        """The members of a union annotation without None, or the annotation alone."""
        union = typing.get_origin(self.annotation) in (typing.Union, types.UnionType)
        members = typing.get_args(self.annotation) if union else (self.annotation,)
        return tuple(_without_constraints(a) for a in members if a is not type(None))

    @property
    def choices(self) -> tuple[str, ...] | None:
        """The permitted values where the annotation is a Literal, else None."""
        if all(typing.get_origin(a) is Literal for a in self.alternatives):
            return tuple(c for a in self.alternatives for c in typing.get_args(a))
        return None

    @property
    def takes_several(self) -> bool:
        """Whether the flag takes several words (any alternative is a tuple)."""
        return any(typing.get_origin(a) is tuple for a in self.alternatives)

    @property
    def takes_one(self) -> bool:
        """Whether the flag also makes sense with a single word that is no tuple."""
        return any(typing.get_origin(a) is not tuple for a in self.alternatives)


def options_of(target: str) -> tuple[Option, ...]:
    """Options of ``"module:Class"`` or ``"module:function"``: its keyword-only parameters, in order.

    Raises
    ------
    LookupError
        If the module has no such class or function.
    """
    module, _, name = target.partition(":")
    definition = _definition(module, name)
    if isinstance(definition, ast.ClassDef):
        constructor = next(
            (n for n in definition.body if isinstance(n, ast.FunctionDef) and n.name == "__init__"), None
        )
        if constructor is None:
            return ()
        texts = _parameter_help(ast.get_docstring(definition) or "") | _parameter_help(
            ast.get_docstring(constructor) or ""
        )
    else:
        constructor = definition
        texts = _parameter_help(ast.get_docstring(definition) or "")
    arguments = constructor.args
    return tuple(
        Option(
            argument.arg,
            _evaluate_annotation(argument.annotation, target),
            REQUIRED if default is None else ast.literal_eval(default),
            texts.get(argument.arg, ""),
        )
        for argument, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
    )


def summary_of(target: str) -> str:
    """First line of the docstring of ``"module:name"``, without importing it."""
    module, _, name = target.partition(":")
    return (ast.get_docstring(_definition(module, name)) or "").partition("\n")[0]


def subject_of(target: str) -> str:
    """Name of the first positional parameter of ``"module:function"``, without importing it: what it is given."""
    module, _, name = target.partition(":")
    definition = _definition(module, name)
    if not isinstance(definition, ast.FunctionDef) or not definition.args.args:
        raise LookupError(f"{target}: expected a function with a positional parameter")
    return definition.args.args[0].arg


def assigns(target: str, name: str) -> bool:
    """Whether the body of ``"module:Class"`` itself gives ``name`` a value, without importing it."""
    module, _, class_name = target.partition(":")
    nodes = [n for n in _definition(module, class_name).body if isinstance(n, ast.Assign | ast.AnnAssign) and n.value]
    targets = [t for n in nodes for t in (n.targets if isinstance(n, ast.Assign) else [n.target])]
    return name in map(ast.unparse, targets)


def load(registry: Mapping[str, str], name: str, kind: str) -> Any:
    """Import and return what ``registry[name]`` names; ``kind`` is the flag the user gave the name with."""
    module, _, attribute = target_of(registry, name, kind).partition(":")
    return getattr(importlib.import_module(module), attribute)


def target_of(registry: Mapping[str, str], name: str, kind: str) -> str:
    """Return ``registry[name]``, or say which names there are."""
    if name not in registry:
        raise UserError(f"--{kind}: expected one of {', '.join(registry)}; got {name!r}")
    return registry[name]


def check(
    options: Sequence[Option], values: Mapping[str, Any], where: str, *, words: bool = False, partial: bool = False
) -> dict[str, Any]:
    """Return all options with their values, defaults filled in, or refuse by name.

    Parameters
    ----------
    options
        What is permitted.
    values
        What was given. With ``words`` these are words from a command line, otherwise values from a configuration.
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
            raise UserError(f"--{name}: {where} has no such option; it has: {', '.join(known) or 'none'}")
    given = {k: _one_or_several(known[k], v) if words else v for k, v in values.items()}
    fields: dict[str, Any] = {o.name: (o.annotation, o.default) for o in options if o.name in given or not partial}
    model = create_model("Options", __config__=ConfigDict(extra="forbid", strict=not words), **fields)
    try:
        return model(**given).model_dump()
    except ValidationError as error:
        details = error.errors(include_url=False)[0]
        wrong = known[str(details["loc"][0])]
        bound = _BOUNDS.get(details["type"], "").format_map(details.get("ctx", {}))
        got = _text(given[wrong.name]) if wrong.name in given else "none"
        raise UserError(f"--{wrong.name}: expected {_describe(wrong)}{bound}; got {got} ({where})") from None


def settle(model: type[BaseModel], values: Mapping[str, Any], where: str) -> Any:
    """Return ``model(**values)``, or refuse the first wrong value by its flag name."""
    try:
        return model(**values)
    except ValidationError as error:
        raise UserError(first_problem(error, where)) from None


def first_problem(error: ValidationError, where: str) -> str:
    """Say in one line what the first validation error of a configuration is, by the user's name of the field."""
    details = error.errors(include_url=False)[0]
    message = details["msg"].removeprefix("Value error, ")
    if message.startswith("--"):
        return f"{message} ({where})"
    name = next((part for part in reversed(details["loc"]) if isinstance(part, str)), "config")
    if details["type"] == "extra_forbidden":
        return f"--{name}: no such field ({where})"
    if details["type"] == "missing":
        return f"--{name}: expected a value; got none ({where})"
    expected = message.replace("Input should be", "expected")
    return f"--{name}: {expected}; got {_text(details['input'])} ({where})"


def options_of_model(model: type[BaseModel]) -> tuple[Option, ...]:
    """Return the fields of a pydantic model as options."""
    return tuple(
        Option(
            name, field.annotation, REQUIRED if field.is_required() else field.get_default(), field.description or ""
        )
        for name, field in model.model_fields.items()
    )


def add_flags(parser: argparse._ActionsContainer, options: Iterable[Option], *, required: bool = True) -> None:
    """Add one flag for each option, with the user's spelling; a true-by-default switch becomes ``--x`` / ``--no_x``.

    Flags that were not given leave no trace in the namespace, so that a configuration file can stand below them.
    """
    for option in options:
        help_text = option.help.replace("%", "%%")
        default = "" if option.required or option.default is None else f" (default: {_text(option.default)})"
        common: dict[str, Any] = {"dest": option.name, "default": argparse.SUPPRESS}
        if option.annotation is bool:
            off_help = argparse.SUPPRESS if option.default is False else f"switch {option.name} off"
            parser.add_argument(f"--{option.name}", action="store_true", help=help_text + default, **common)
            parser.add_argument(f"--no_{option.name}", action="store_false", help=off_help, **common)
            continue
        if option.takes_several:
            common |= {"nargs": "+", "metavar": _metavar(option)}
        elif option.choices:
            common |= {"choices": option.choices}
        else:
            common |= {"metavar": _metavar(option)}
        parser.add_argument(
            f"--{option.name}", required=required and option.required, help=help_text + default, **common
        )


def _without_constraints(annotation: Any) -> Any:
    if typing.get_origin(annotation) is tuple:
        return tuple[tuple(map(_without_constraints, typing.get_args(annotation)))]  # type: ignore[misc]
    return annotation.__origin__ if typing.get_origin(annotation) is typing.Annotated else annotation


def _metavar(option: Option) -> str:
    names = {int: "N", float: "X", str: "TEXT"}
    first = option.alternatives[0]
    if typing.get_origin(first) is tuple:
        first = typing.get_args(first)[0]
    return names.get(first, "VALUE")


def _text(value: Any) -> str:
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
            return f"{'some' if Ellipsis in items else len(items)} {plural[items[0]]}"
        return singular[annotation]

    return " or ".join(words(a) for a in option.alternatives)


def _one_or_several(option: Option, value: Any) -> Any:
    if isinstance(value, list):
        return value[0] if len(value) == 1 and option.takes_one else tuple(value)
    return value


@cache
def _tree(module: str) -> ast.Module:
    # find_spec imports the parent packages, which hold no heavy imports, but not the module itself.
    spec = importlib.util.find_spec(module)
    if spec is None or spec.origin is None:
        raise LookupError(f"no module {module!r}")
    return ast.parse(Path(spec.origin).read_text(encoding="utf-8"))


def _definition(module: str, name: str) -> ast.ClassDef | ast.FunctionDef:
    for node in _tree(module).body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and node.name == name:
            return node
    raise LookupError(f"module {module!r} defines no {name!r}")


def _evaluate_annotation(node: ast.expr | None, target: str) -> Any:
    if node is None:
        raise LookupError(f"{target}: every option needs a type annotation")
    # The text is this package's own source; only the names above are visible to it.
    return eval(compile(ast.Expression(node), target, "eval"), {"__builtins__": {}}, _ANNOTATION_NAMES)  # noqa: S307


def _parameter_help(docstring: str) -> dict[str, str]:
    """Texts of a numpy-style ``Parameters`` section by parameter name."""
    match = re.search(r"^Parameters\n-+\n(.*?)(?=^\S[^\n]*\n-{3,}\n|\Z)", inspect.cleandoc(docstring), re.S | re.M)
    texts: dict[str, str] = {}
    names: list[str] = []
    for line in match.group(1).splitlines() if match else []:
        if line and not line.startswith(" "):
            names = [n.strip().lstrip("*") for n in line.partition(" :")[0].split(",")]
        elif line.strip():
            for name in names:
                texts[name] = f"{texts.get(name, '')} {line.strip()}".strip()
    return texts

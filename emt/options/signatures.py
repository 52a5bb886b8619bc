"""Options read from the signatures and docstrings that define them, without importing what they configure."""

import ast
import inspect
import re
import sys
import types
import typing
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from emt.errors import RegistrationError

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


@dataclass(frozen=True)
class Option:
    """One option: what a flag, a config field or a constructor keyword is called, accepts and means."""

    name: str
    annotation: Any
    default: Any = REQUIRED
    help: str = ""
    aliases: tuple[str, ...] = ()
    """Further names of its flag."""

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
    def item_choices(self) -> tuple[str, ...] | None:
        """The permitted values of each of several words where they are Literals, else None."""
        items = [i for a in self.alternatives for i in typing.get_args(a) if typing.get_origin(i) is Literal]
        return tuple(c for i in items for c in typing.get_args(i)) or None

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

    A constructor that ends with ``**others`` hands them to that of its base, whose options stand before its own.

    Raises
    ------
    RegistrationError
        If the module has no such class or function, or an option has no type, or a default that is no
        literal.
    """
    module, _, name = target.partition(":")
    definition = _definition(module, name)
    if isinstance(definition, ast.ClassDef):
        functions, texts = _constructors(module, definition)
    else:
        functions, texts = [definition], _parameter_help(ast.get_docstring(definition) or "")
    found: dict[str, Option] = {}
    for function in reversed(functions):
        for argument, default in zip(function.args.kwonlyargs, function.args.kw_defaults, strict=True):
            found[argument.arg] = Option(
                argument.arg,
                _evaluate_annotation(argument, target),
                REQUIRED if default is None else _literal(default, argument.arg, target),
                texts.get(argument.arg, ""),
            )
    return tuple(found.values())


def options_of_model(model: type[BaseModel]) -> tuple[Option, ...]:
    """Return the fields of a pydantic model as options."""
    return tuple(
        Option(
            name,
            field.annotation,
            REQUIRED if field.is_required() else field.get_default(),
            field.description or "",
        )
        for name, field in model.model_fields.items()
    )


def summary_of(target: str) -> str:
    """First line of the docstring of ``"module:name"``, without importing it.

    Raises
    ------
    RegistrationError
        If there is no docstring, or nothing of that name.
    """
    module, _, name = target.partition(":")
    docstring = ast.get_docstring(_definition(module, name))
    if not docstring:
        raise RegistrationError(
            f"{_file(module)}: expected {name} to have a docstring; its first line is shown as help"
        )
    return docstring.partition("\n")[0]


def require(target: str, what: str) -> None:
    """Refuse ``"module:name"`` if there is no such module, class or function; ``what`` says what it is for.

    Raises
    ------
    RegistrationError
        Naming the file and what to write there.
    """
    module, _, name = target.partition(":")
    try:
        _definition(module, name)
    except RegistrationError:
        raise RegistrationError(f"{_file(module)}: expected this file to define {name}, {what}") from None


def require_arguments(target: str, names: Sequence[str]) -> None:
    """Refuse ``"module:name"`` if it takes fewer or more arguments before ``*`` than it is called with.

    Parameters
    ----------
    target
        A class, of whose constructor ``self`` does not count, or a function.
    names
        What it is called with; only their number is compared.

    Raises
    ------
    RegistrationError
        Naming the option that is not keyword-only, or the arguments expected.
    """
    module, _, name = target.partition(":")
    definition = _definition(module, name)
    is_class = isinstance(definition, ast.ClassDef)
    functions = _constructors(module, definition)[0] if isinstance(definition, ast.ClassDef) else [definition]
    if not functions:
        return
    function = functions[0]
    taken = [argument.arg for argument in (*function.args.posonlyargs, *function.args.args)][is_class:]
    if len(taken) > len(names):
        raise RegistrationError(
            f"{_place(taken[len(names)], target)}: expected a keyword-only parameter, one that stands after *"
        )
    if len(taken) < len(names) and function.args.vararg is None:
        got = ", ".join(taken) or "nothing"
        raise RegistrationError(
            f"{_file(module)}: expected {name} to take {', '.join(names)} before *; got {got}"
        )


def assigns(target: str, name: str) -> bool:
    """Whether ``"module:Class"`` gives ``name`` a value in its body, or in a base's, without importing it.

    An empty dict is no value: that is how a base says that a class has none of something.
    """
    module, _, class_name = target.partition(":")
    definition = _definition(module, class_name)
    assert isinstance(definition, ast.ClassDef)
    for ancestor in _ancestry(module, definition):
        for node in ancestor.body:
            if isinstance(node, ast.Assign | ast.AnnAssign) and node.value:
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                if name in map(ast.unparse, targets):
                    return ast.unparse(node.value) != "{}"
    return False


def _without_constraints(annotation: Any) -> Any:
    if typing.get_origin(annotation) is tuple:
        return tuple[tuple(map(_without_constraints, typing.get_args(annotation)))]  # type: ignore[misc]
    return annotation.__origin__ if typing.get_origin(annotation) is typing.Annotated else annotation


@cache
def _tree(module: str) -> ast.Module:
    spec = find_module(module)
    if spec is None or spec.origin is None:
        raise RegistrationError(f"{_file(module)}: a registry names this file; it does not exist")
    return ast.parse(Path(spec.origin).read_text(encoding="utf-8"))


def source_tree(module: str) -> ast.Module:
    """Return a module's source, parsed; it is not imported, and neither are the packages it is in.

    Raises
    ------
    RegistrationError
        If there is no such module.
    """
    return _tree(module)


def find_module(module: str) -> ModuleSpec | None:
    """Return where Python finds a module, without importing the packages it is in; None if nowhere."""
    places, spec, name = None, None, ""
    for part in module.split("."):
        name = f"{name}.{part}" if name else part
        finders = (finder.find_spec(name, places) for finder in sys.meta_path)
        spec = next((found for found in finders if found is not None), None)
        if spec is None:
            return None
        # A package that is imported may look in other folders too.
        places = getattr(sys.modules.get(name), "__path__", spec.submodule_search_locations) or []
    return spec


def _definition(module: str, name: str) -> ast.ClassDef | ast.FunctionDef:
    for node in _tree(module).body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and node.name == name:
            return node
    raise RegistrationError(f"{_file(module)}: expected a class or function {name!r}, which a registry names")


def _file(module: str) -> str:
    return module.replace(".", "/") + ".py"


def _constructors(module: str, definition: ast.ClassDef) -> tuple[list[ast.FunctionDef], dict[str, str]]:
    """Return the constructor that a class has or inherits, and what is said of its parameters, last by the class.

    After one with ``**others`` the one of its base follows.
    """
    found: list[ast.FunctionDef] = []
    texts: dict[str, str] = {}
    for ancestor in _ancestry(module, definition):
        texts = _parameter_help(ast.get_docstring(ancestor) or "") | texts
        for node in ancestor.body:
            if isinstance(node, ast.FunctionDef) and node.name == "__init__":
                found.append(node)
                texts = _parameter_help(ast.get_docstring(node) or "") | texts
                if node.args.kwarg is None:
                    return found, texts
    return found, texts


def _ancestry(module: str, definition: ast.ClassDef) -> list[ast.ClassDef]:
    """Return a class and the bases that modules of the same package, or of this one, define, in Python's order."""
    last_first = dict.fromkeys(reversed([definition, *_bases(module, definition)]))
    return list(reversed(last_first))


def _bases(module: str, definition: ast.ClassDef) -> Iterator[ast.ClassDef]:
    """Yield the bases of a class, each before its own, one as often as it is reached."""
    imported = {
        alias.asname or alias.name: (node.module, alias.name)
        for node in _tree(module).body
        if isinstance(node, ast.ImportFrom) and node.module and node.level == 0
        for alias in node.names
    }
    for base in map(ast.unparse, definition.bases):
        where, name = imported.get(base, (module, base))
        if where.partition(".")[0] in (module.partition(".")[0], "emt"):
            found = next(
                (n for n in _tree(where).body if isinstance(n, ast.ClassDef) and n.name == name), None
            )
            if found is not None:
                yield found
                yield from _bases(where, found)


def _evaluate_annotation(argument: ast.arg, target: str) -> Any:
    node, where = argument.annotation, _place(argument.arg, target)
    if node is None:
        raise RegistrationError(f"{where}: expected a type annotation, such as {argument.arg}: int = 3")
    # The text is this package's own source; only the names above are visible to it.
    code = compile(ast.Expression(node), target, "eval")
    try:
        return eval(code, {"__builtins__": {}}, _ANNOTATION_NAMES)  # noqa: S307
    except (NameError, AttributeError, TypeError):
        names = ", ".join(_ANNOTATION_NAMES)
        raise RegistrationError(
            f"{where}: expected a type made of {names}; got {ast.unparse(node)}"
        ) from None


def _literal(node: ast.expr, option: str, target: str) -> Any:
    try:
        return ast.literal_eval(node)
    except ValueError:
        where = _place(option, target)
        raise RegistrationError(
            f"{where}: expected a default written out, such as 3; got {ast.unparse(node)}"
        ) from None


def _place(option: str, target: str) -> str:
    module, _, name = target.partition(":")
    return f"{_file(module)}: option {option!r} of {name}"


def _parameter_help(docstring: str) -> dict[str, str]:
    """Texts of a numpy-style ``Parameters`` section by parameter name."""
    match = re.search(
        r"^Parameters\n-+\n(.*?)(?=^\S[^\n]*\n-{3,}\n|\Z)", inspect.cleandoc(docstring), re.S | re.M
    )
    texts: dict[str, str] = {}
    names: list[str] = []
    for line in match.group(1).splitlines() if match else []:
        if line and not line.startswith(" "):
            names = [n.strip().lstrip("*") for n in line.partition(" :")[0].split(",")]
        elif line.strip():
            for name in names:
                texts[name] = f"{texts.get(name, '')} {line.strip()}".strip()
    return texts

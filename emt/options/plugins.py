"""Tasks and models of other packages: installed ones by their entry points, others named with ``--plugins``.

An installed package has the entry points ``emt.models`` and ``emt.tasks``, name = "module:Class". A module that is
named with ``--plugins`` says the same in two dictionaries of its source, ``MODELS`` and ``TASKS``. Either is read
as text, so that names and flags are known before anything of a plug-in is imported; its modules are imported
where a model or a task is made. A ``config.json`` names no module to import: which plug-ins count is said on
the command line, and handed to worker processes with their work.
"""

import ast
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from emt.errors import RegistrationError, UserError
from emt.options.flags import Parser
from emt.options.signatures import find_module, source_tree

GROUPS = {"task": "emt.tasks", "model_type": "emt.models"}
"""Entry points by the flag that names one."""

DICTIONARIES = {"task": "TASKS", "model_type": "MODELS"}
"""What a module that is named with ``--plugins`` calls its tasks and models."""

FLAG = "--plugins"

MODULE = r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*"
"""What a module is called."""


@dataclass(frozen=True)
class Plugin:
    """A module that was named with ``--plugins``.

    Attributes
    ----------
    module
        Its name.
    folder
        Where Python finds it, so that workers do too.
    targets
        "module:Class" by flag and name.
    """

    module: str
    folder: str
    targets: Mapping[str, Mapping[str, str]]


_GIVEN: dict[str, Plugin] = {}


def given() -> tuple[Plugin, ...]:
    """Return the plug-ins that count in this process, besides installed ones."""
    return tuple(_GIVEN.values())


def use(modules: Iterable[str]) -> None:
    """Let the tasks and models of these modules count, and of no others; those in the working folder are found too.

    Raises
    ------
    UserError
        If there is no such module.
    RegistrationError
        If it says of no task or model where it is.
    """
    _GIVEN.clear()
    for module in modules:
        if not re.fullmatch(MODULE, module):
            raise UserError(
                f"must be names of modules, such as my_networks; got {module!r}", parameter="plugins"
            )
        _look_in(str(Path.cwd()))
        _GIVEN[module] = _read(module)


def adopt(plugins: Iterable[Plugin]) -> None:
    """Let plug-ins count that another process was given."""
    for plugin in plugins:
        _look_in(plugin.folder)
        _GIVEN[plugin.module] = plugin


def add_flag(add: Any) -> None:
    """Add ``--plugins`` to a command line by its ``add_argument``."""
    text = "modules with tasks or models of your own (CONTRIBUTING.md); installed packages need no flag"
    add(FLAG, nargs="+", default=[], metavar="MODULE", help=text)


def from_words(arguments: Sequence[str]) -> None:
    """Let count what follows ``--plugins`` on a command line, before its other flags are known."""
    parser = Parser(add_help=False)
    add_flag(parser.add_argument)
    use(parser.parse_known_args(arguments)[0].plugins)


def names(registry: Mapping[str, str], kind: str) -> dict[str, str]:
    """Return a registry with the tasks or models of plug-ins.

    Raises
    ------
    UserError
        If a plug-in's name is that of another; the message names both.
    """
    found = dict(registry)
    for name, target in _additions(kind):
        other = found.setdefault(name, target)
        if other != target:
            raise UserError(
                f"two are called {name!r}, {other} and {target} of a plug-in: rename yours", parameter=kind
            )
    return found


def given_module(kind: str, name: str) -> str:
    """Return the module named with ``--plugins`` that a task or model is from; empty for all others."""
    return next((p.module for p in given() if name in p.targets[kind]), "")


def package_of(kind: str, name: str) -> str:
    """Return the package, or the module without one, that a plug-in's task or model is from; empty for our own."""
    return next(
        (target.partition(":")[0].partition(".")[0] for n, target in _additions(kind) if n == name), ""
    )


def _additions(kind: str) -> list[tuple[str, str]]:
    if kind not in GROUPS:
        return []
    return [*_installed(GROUPS[kind]), *(pair for plugin in given() for pair in plugin.targets[kind].items())]


@cache
def _installed(group: str) -> tuple[tuple[str, str], ...]:
    return tuple(dict.fromkeys((point.name, point.value) for point in metadata.entry_points(group=group)))


def _look_in(folder: str) -> None:
    if folder not in sys.path:
        sys.path.append(folder)


def _read(module: str) -> Plugin:
    spec = find_module(module)
    if spec is None or not (spec.origin or "").endswith(".py"):
        where = "(looked in this folder and where Python looks)"
        raise UserError(f"no such module: {module!r} {where}", parameter="plugins")
    targets = {kind: _dictionary(module, name) for kind, name in DICTIONARIES.items()}
    if not any(targets.values()):
        raise RegistrationError(
            f'{module}: expected MODELS or TASKS, such as MODELS = {{"my_rnn": "{module}:MyRNN"}}'
        )
    depth = module.count(".") + (spec.submodule_search_locations is not None)
    return Plugin(module, str(Path(str(spec.origin)).resolve().parents[depth]), targets)


def _dictionary(module: str, name: str) -> dict[str, str]:
    """Return a dictionary of names and places that a module's source writes out; empty without."""
    for node in source_tree(module).body:
        if not isinstance(node, ast.Assign | ast.AnnAssign) or node.value is None:
            continue
        if name not in map(ast.unparse, node.targets if isinstance(node, ast.Assign) else [node.target]):
            continue
        try:
            found = ast.literal_eval(node.value)
        except (ValueError, TypeError):
            found = None
        pairs = found.items() if isinstance(found, dict) else [(None, None)]
        if not all(isinstance(k, str) and isinstance(v, str) and ":" in v for k, v in pairs):
            raise RegistrationError(
                f'{module}: expected {name} written out, such as {{"my_rnn": "{module}:MyRNN"}}'
            )
        return dict(pairs)
    return {}

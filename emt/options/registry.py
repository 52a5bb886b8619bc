"""Registries: name -> "module:Class" as text, so that names are known without importing torch.

Names that are not in a registry are looked up among plug-ins (`emt.options.plugins`).
"""

import importlib
from collections.abc import Mapping
from typing import Any

from emt.errors import UserError
from emt.options import plugins
from emt.options.signatures import require, require_arguments
from emt.text import suggestion

ARGUMENTS: dict[str, tuple[str, ...]] = {
    "task": (),
    "model_type": ("seeds", "input_channels", "output_channels"),
}
"""What the classes of a registry are given besides their options, by the flag that names a class."""


def load(registry: Mapping[str, str], name: str, kind: str) -> Any:
    """Import and return what ``registry[name]`` names; ``kind`` is the flag the user gave the name with."""
    target = target_of(registry, name, kind)
    require(target, f"as the registry says of {name!r}")
    module, _, attribute = target.partition(":")
    return getattr(importlib.import_module(module), attribute)


def target_of(registry: Mapping[str, str], name: str, kind: str) -> str:
    """Return ``registry[name]``, a class with keyword-only options.

    Raises
    ------
    UserError
        Saying which names there are, if this is none of them.
    RegistrationError
        If its constructor takes other arguments than those of `ARGUMENTS`.
    """
    known = plugins.names(registry, kind)
    if name not in known:
        text = f"must be one of {', '.join(known)}; got {name!r}{suggestion(name, known)}"
        raise UserError(text, parameter=kind)
    if kind in ARGUMENTS:
        require_arguments(known[name], ARGUMENTS[kind])
    return known[name]

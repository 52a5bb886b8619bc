"""Registries: name -> "module:Class" as text, so that names are known without importing torch."""

import importlib
from collections.abc import Mapping
from typing import Any

from emt.errors import UserError
from emt.options.signatures import require


def load(registry: Mapping[str, str], name: str, kind: str) -> Any:
    """Import and return what ``registry[name]`` names; ``kind`` is the flag the user gave the name with."""
    target = target_of(registry, name, kind)
    require(target, f"as the registry says of {name!r}")
    module, _, attribute = target.partition(":")
    return getattr(importlib.import_module(module), attribute)


def target_of(registry: Mapping[str, str], name: str, kind: str) -> str:
    """Return ``registry[name]``, or say which names there are."""
    if name not in registry:
        raise UserError(f"must be one of {', '.join(registry)}; got {name!r}", parameter=kind)
    return registry[name]

"""Where the console command ``emt`` starts: it makes sure that the packages found are this project's, and hands over.

A module of its own name, so that it is found even where another package called ``emt`` hides ours.
"""

import importlib
import importlib.util
import sys
from pathlib import Path

DISTRIBUTION = "emt-workbench"
"""What the project is called on the package index, where ``emt`` is another project with the same import name."""

HOME = Path(__file__).resolve().parent

NEEDS = {"evaluate": ("analysis",), "analyze": ("analysis",), "sweep": ("analysis", "experiments")}
"""Packages that a command imports besides `emt`."""


def main() -> int:
    """Run the command line of `emt.commands.main`, or say in one line which package hides ours, and return 2."""
    stage = next(iter(sys.argv[1:]), "")
    hidden = {name: place for name in ("emt", "analysis", "experiments") if (place := place_of_other(name))}
    needed = [name for name in ("emt", *NEEDS.get(stage, ())) if name in hidden]
    for name in needed[:1] or hidden:
        print(f"emt: {'' if needed else 'warning: '}{describe(name, hidden[name])}", file=sys.stderr)
    if needed:
        return 2
    code: int = importlib.import_module("emt.commands.main").main()
    return code


def place_of_other(name: str) -> str | None:
    """Return where a top-level package is found if it is not this project's, else None."""
    spec = importlib.util.find_spec(name)
    if spec is None:
        return f"nowhere (expected {HOME / name})"
    places = (
        [spec.origin] if spec.origin else [f"{folder}/" for folder in spec.submodule_search_locations or ()]
    )
    if places[0] and Path(places[0]) == HOME / name / "__init__.py" and (name != "emt" or _emt_is_ours()):
        return None
    return places[0]


def describe(name: str, place: str) -> str:
    """Say in one line what hides a package of ours and what to do."""
    if name == "emt":
        return (
            f"expected the package emt of {DISTRIBUTION}; found {place}, another project's: uninstall that "
            f"(pip uninstall emt) and install {DISTRIBUTION} again, or use an environment of its own"
        )
    return f"expected the package {name} of {DISTRIBUTION}; found {place}, which hides it: rename that folder"


def _emt_is_ours() -> bool:
    """Whether ``emt/__init__.py`` is this project's; two distributions may have written into one folder."""
    try:
        return bool(getattr(importlib.import_module("emt"), "DISTRIBUTION", None) == DISTRIBUTION)
    except ImportError:
        return False


if __name__ == "__main__":
    sys.exit(main())

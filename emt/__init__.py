"""EMT: train populations of recurrent memory models and take their memory apart.

Public names are imported from their module on first use, so that ``import emt`` costs nothing.
"""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

DISTRIBUTION = "emt-workbench"
"""What the project is called on the package index, where ``emt`` is another project with the same import name."""

_PUBLIC = {
    "dynamics.fixed_points": ("FixedPoints", "fixed_points"),
    "own.arrays": ("from_arrays",),
    "own.interventions": ("intervene",),
    "own.language.recording": ("from_transformers",),
    "own.memory_calls": ("log_dictionary", "log_read", "log_write"),
    "own.recording": ("from_cells", "from_torch"),
    "own.run": ("Run",),
    "own.trials": ("Trials", "task_trials", "trials"),
    "weights.load": ("Weights", "load_weights"),
}
_MODULE_OF = {name: module for module, names in _PUBLIC.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'emt' has no attribute {name!r}")
    found = getattr(import_module(f"emt.{_MODULE_OF[name]}"), name)
    # Looked up once: a step function may call it at every step.
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted([*globals(), *_MODULE_OF])

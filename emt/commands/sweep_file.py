"""Sweeps in a Python file of the user's: ``CONFIGS``, a tuple of `RunConfig`, or ``SWEEPS``, such tuples by name.

Naming the file on the command line runs it, as ``python my_sweep.py`` would.
"""

import importlib.util
import sys
import traceback
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from pydantic import ValidationError

from emt.config import KNOWN, RunConfig
from emt.errors import UserError
from emt.options import first_problem
from emt.text import suggestion


def is_named(word: str) -> bool:
    """Whether a word of the command line names a sweep in a file.

    >>> is_named("folder/my_sweep.py"), is_named("my_sweep.py:wide"), is_named("ethereal/table")
    (True, True, False)
    """
    return not word.startswith("-") and _split(word)[0].suffix == ".py"


def _split(word: str) -> tuple[Path, str]:
    path, _, name = word.partition(".py:")
    return Path(f"{path}.py" if name else word), name


def read(word: str) -> tuple[str, tuple[RunConfig, ...]]:
    """Return the name of a sweep, which is that of its folder, and its runs.

    Parameters
    ----------
    word
        ``FILE.py``, or ``FILE.py:NAME`` for one of its ``SWEEPS``.

    Raises
    ------
    UserError
        If there is no such file or sweep, or the file has an error, whose line is named.
    """
    path, name = _split(word)
    module = _run(path)
    if hasattr(module, "SWEEPS") and not hasattr(module, "CONFIGS"):
        sweeps = module.SWEEPS
        if not isinstance(sweeps, Mapping):
            raise UserError(f"{path}: expected SWEEPS to be a dictionary; got {type(sweeps).__name__}")
        if name not in sweeps:
            near, names = suggestion(name, map(str, sweeps)), ", ".join(f"{path}:{known}" for known in sweeps)
            raise UserError(f"{path}: must be one of {names}; got {word}{near}")
        return f"{path.stem}_{name}", _checked(sweeps[name], path)
    if name:
        raise UserError(f"{path}: expected SWEEPS, a dictionary with {name!r}; found none")
    if not hasattr(module, "CONFIGS"):
        raise UserError(
            f"{path}: expected CONFIGS, a tuple of RunConfig, or SWEEPS, such tuples by name; found neither"
        )
    return path.stem, _checked(module.CONFIGS, path)


def _checked(configs: Any, path: Path) -> tuple[RunConfig, ...]:
    found = tuple(configs) if isinstance(configs, tuple | list) else ()
    if not found or not all(isinstance(config, RunConfig) for config in found):
        raise UserError(f"{path}: expected a tuple of RunConfig; got {type(configs).__name__}")
    for place, config in enumerate(found, 1):
        _check(config, f"{path}, run {place} of {len(found)}")
    return found


def _check(config: RunConfig, where: str) -> None:
    from emt.training.sweep import complete

    if not config.metadata.get("experiment_name"):
        raise UserError(
            f'{where}: expected metadata={{"experiment_name": …}}, the name of its folder; got none'
        )
    try:
        complete(config)
    except UserError as error:
        raise UserError(f"{where}: {error}") from None


def _run(path: Path) -> ModuleType:
    """Run a file as a module; its neighbours can be imported from it."""
    if not path.is_file():
        raise UserError(f"no such file: {path}")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(path.absolute().parent))
    try:
        spec.loader.exec_module(module)
    except SyntaxError as error:
        raise UserError(f"{error.filename}, line {error.lineno}: {error.msg}") from None
    except Exception as error:
        places = [
            frame.lineno
            for frame in traceback.extract_tb(error.__traceback__)
            if frame.filename == spec.origin
        ]
        where = f"{path}, line {places[-1]}" if places else str(path)
        if isinstance(error, ValidationError):
            raise first_problem(error, where, KNOWN) from None
        raise UserError(f"{where}: {type(error).__name__}: {error}") from None
    finally:
        sys.path.remove(str(path.absolute().parent))
    return module

"""Evaluated populations with planted spectra."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from analysis.population import Population, from_summary
from emt.commands.known_systems.summaries import plant_summary


@pytest.fixture
def make_summary() -> Callable[..., dict[str, Any]]:
    """Return `plant_summary`."""
    return plant_summary


@pytest.fixture
def make_population(make_summary: Callable[..., dict[str, Any]]) -> Callable[..., Population]:
    """Return a function that makes a population; it takes what `make_summary` takes and a ``label``."""

    def make(n_models: int = 6, *, label: str = "population", **options: Any) -> Population:
        summary = make_summary(n_models, **options)
        summary["metrics"].sort(key=lambda entry: int(entry["model_name"].removeprefix("model-")))
        return from_summary(summary, label=label)

    return make


@pytest.fixture
def write_summary(make_summary: Callable[..., dict[str, Any]]) -> Callable[..., Path]:
    """Return a function that writes ``<folder>/evaluation_summary.json``; it takes what `make_summary` takes."""

    def write(folder: Path, n_models: int = 6, **options: Any) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / "evaluation_summary.json"
        path.write_text(json.dumps(make_summary(n_models, **options)), encoding="utf-8")
        return path

    return write

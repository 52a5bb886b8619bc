"""Traces of associative memories that store pairs, and what one linear memory does, step by step."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from emt.commands.known_systems import memories


@pytest.fixture
def trace_of() -> Callable[..., Any]:
    """Return `memories.trace_of`."""
    return memories.trace_of


@pytest.fixture
def recall() -> Callable[..., tuple[np.ndarray, np.ndarray]]:
    """Return `memories.recall_by_loop`."""
    return memories.recall_by_loop


@pytest.fixture
def make_recording() -> Callable[..., Any]:
    """Return `memories.plant_pairs`."""
    return memories.plant_pairs

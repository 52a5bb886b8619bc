"""Tasks whose first batch is fixed to the byte: on every machine, and in every later version."""

import hashlib

import pytest

from emt.options import load
from emt.tasks import TASKS

FIRST = {
    "unique_keys": "b0d7da7690ff3adb",
    "repeated_keys": "2c4eb4b21b2541ac",
    "parity": "5c817a2b3c6a0b1b",
    "modular_addition": "b57d4919594851eb",
    "word_problem": "989646c5dbf564b3",
    "mqar": "95a05fde316efa36",
    "induction": "b93e50707a8002e4",
    "selective_copy": "b817249efde05ab7",
}
"""Hashes of ids and answers of a first training batch of 8 rows, with default options."""


@pytest.mark.parametrize("name", FIRST)
def test_the_first_batch_has_the_bytes_it_always_had(name):
    task = load(TASKS, name, "task")()
    batch = task.batch([0], "train", 0, task.shape(0, "train", 0, 1), 8)
    content = b"".join(part.astype("<i8").tobytes() for part in (batch.inputs, batch.targets))
    assert hashlib.sha256(content).hexdigest()[:16] == FIRST[name]

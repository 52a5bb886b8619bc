"""The resume state's file: aligned tensors, and a checksum of all of it."""

import contextlib

import numpy as np
import pytest
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load

from emt.training.resume import read_resume_state, resume_file

ALIGNMENT = 64
"""What torch aligns its own memory to, in bytes."""


@pytest.fixture
def content():
    tensors = {
        "weight.a": torch.arange(7, dtype=torch.float32) / 3,
        "frozen": torch.tensor([True, False, True]),
        "steps": torch.tensor(5),
        "sums.1": torch.linspace(0, 1, 11, dtype=torch.float64),
    }
    return resume_file(tensors, {"step": 3, "numbers": [1, 2]}), tensors


def test_what_is_read_is_what_was_written(content, tmp_path):
    (tmp_path / "state").write_bytes(content[0])
    tensors, about = read_resume_state(tmp_path / "state")
    assert about == {"step": 3, "numbers": [1, 2]}
    assert all(torch.equal(tensors[name], tensor) for name, tensor in content[1].items())


def test_what_is_read_is_aligned(content, tmp_path):
    path = tmp_path / "state"
    path.write_bytes(content[0])
    tensors, _ = read_resume_state(path)
    assert {tensor.data_ptr() % ALIGNMENT for tensor in tensors.values()} == {0}
    # Control: the file's own memory is not.
    with safe_open(path, framework="pt") as file:
        assert any(file.get_tensor(name).data_ptr() % ALIGNMENT for name in tensors)


def test_a_flipped_bit_is_refused_or_changes_nothing(content, tmp_path):
    path, (whole, tensors) = tmp_path / "state", content
    generator, silent = np.random.default_rng(0), 0
    for place in generator.integers(8, len(whole), size=200):
        damaged = bytearray(whole)
        damaged[place] ^= 1 << int(generator.integers(8))
        path.write_bytes(damaged)
        # True is any byte but zero: some bits of it say nothing.
        with contextlib.suppress(SafetensorError, KeyError, TypeError, ValueError):
            assert equal(read_resume_state(path)[0], tensors)
        with contextlib.suppress(SafetensorError):
            silent += not equal(load(bytes(damaged)), tensors)
    # Control: many of these are good files to the library, with other numbers.
    assert silent > 30


def equal(found, expected):
    return found.keys() == expected.keys() and all(
        torch.equal(found[name], expected[name]) for name in expected
    )

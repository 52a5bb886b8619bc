"""Safetensors files with a checksum."""

import contextlib

import numpy as np
import pytest
import safetensors.numpy
import torch
from safetensors.torch import load as load_torch

from emt import tensor_file

ARRAYS = {
    "weight": np.random.default_rng(0).standard_normal((3, 5)).astype(np.float32),
    "turned": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    "step": np.array(7),
    "kept": np.array([True, False]),
    "none": np.zeros((0, 4)),
}


def equal(found, expected=ARRAYS):
    return found.keys() == expected.keys() and all(
        found[n].dtype == a.dtype and found[n].shape == a.shape and (found[n] == a).all()
        for n, a in expected.items()
    )


def test_it_survives_its_file_and_others_read_it():
    content = tensor_file.to_bytes(ARRAYS, "about é\n")
    arrays, about = tensor_file.from_bytes(content, checked=True)
    assert equal(arrays)
    assert about == "about é\n"
    assert equal(safetensors.numpy.load(content))
    assert torch.equal(load_torch(content)["weight"], torch.tensor(ARRAYS["weight"]))
    assert tensor_file.from_bytes(tensor_file.to_bytes(ARRAYS))[1] is None


def test_the_bytes_are_a_function_of_the_content():
    turned = dict(reversed(ARRAYS.items()))
    turned = {name: turned[name] for name in sorted(turned, key=lambda name: turned[name].ndim)}
    assert len({tensor_file.to_bytes(arrays, "x") for arrays in (turned, ARRAYS) for _ in range(9)}) == 1
    assert tensor_file.to_bytes(ARRAYS, "y") != tensor_file.to_bytes(ARRAYS, "x")


def test_a_file_of_others_is_read_unless_a_checksum_is_asked_for():
    content = safetensors.numpy.save({n: np.ascontiguousarray(a) for n, a in ARRAYS.items()})
    assert set(tensor_file.from_bytes(content)[0]) == set(ARRAYS)
    with pytest.raises(ValueError, match=r"^no checksum$"):
        tensor_file.from_bytes(content, checked=True)


def test_damage_is_found_wherever_the_library_finds_none():
    whole, random, unnoticed = tensor_file.to_bytes(ARRAYS, "about"), np.random.default_rng(1), 0
    for place in random.integers(8, len(whole), size=300):
        damaged = bytearray(whole)
        damaged[place] ^= 1 << int(random.integers(8))
        with contextlib.suppress(ValueError):
            assert equal(tensor_file.from_bytes(bytes(damaged))[0])
        unnoticed += differs(bytes(damaged))
    assert unnoticed > 50


def differs(content):
    try:
        return not equal(safetensors.numpy.load(content))
    except Exception:
        return False


@pytest.mark.parametrize("content", [b"", b"\xff" * 8, bytes(8), (2).to_bytes(8, "little") + b"[]"])
def test_what_is_no_such_file_is_refused(content):
    with pytest.raises(ValueError, match=r"^[^\n]+$"):
        tensor_file.from_bytes(content)

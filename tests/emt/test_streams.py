import numpy as np
import pytest

from emt.streams import stream


def draws(kind="bits", seed=3, split="train", step=5):
    return stream(kind, seed, split, step).integers(2**62, size=8).tolist()


def test_same_purpose_same_numbers():
    np.random.default_rng(0)
    assert draws() == draws()


@pytest.mark.parametrize("other", [{"kind": "marker"}, {"seed": 4}, {"split": "validation"}, {"step": 6}])
def test_other_purpose_other_numbers(other):
    assert not set(draws(**other)) & set(draws())


def test_long_draws_of_neighbouring_steps_do_not_overlap():
    first = stream("bits", 0, "train", 0).bytes(4096)
    second = stream("bits", 0, "train", 1).bytes(4096)
    assert first[8:16] not in second
    assert second[:8] not in first


def test_global_generator_is_left_alone():
    np.random.seed(1)  # noqa: NPY002
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    draws()
    np.testing.assert_array_equal(before, np.random.get_state()[1])  # noqa: NPY002

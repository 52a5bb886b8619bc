"""What memories return of pairs of symbols, against closed forms."""

import numpy as np
import pytest

from experiments.key_capacity.measure import KEYS, LOADS, keys_of, main, measure, reads, unit
from experiments.key_capacity.theory import error_of_best, error_of_sum


def drawn(size=12, load=100):
    generator = np.random.default_rng(3)
    symbols = unit(generator.standard_normal((10, size)))
    first, second = np.divmod(generator.permutation(100)[:load], 10)
    return first, second, keys_of(symbols[first], symbols[second])


@pytest.mark.parametrize("load", [5, 19, 40, 100])
@pytest.mark.parametrize("kind", KEYS)
def test_errors_are_those_of_theory(kind, load):
    """Of orthonormal values errors are equal to their means over independent ones."""
    first, second, keys = drawn(load=load)
    values = np.eye(load)
    for write, expected in {
        "best": error_of_best(first, second, product=kind == KEYS[0]),
        "sum": error_of_sum(keys[kind]),
    }.items():
        error = np.square(reads(keys[kind], values, write) - values).sum(axis=1).mean()
        assert error == pytest.approx(expected, abs=1e-10)


def test_a_hundred_keys_side_by_side_have_nineteen_dimensions():
    first, second, keys = drawn()
    assert error_of_best(first, second, product=False) == pytest.approx(0.81)
    assert [np.linalg.matrix_rank(keys[kind]) for kind in KEYS] == [100, 19]


def test_dependent_symbols_make_dependent_products():
    """Ten symbols of five numbers: a hundred products in 25 dimensions, which no matrix holds."""
    _, _, keys = drawn(size=5)
    error = np.square(reads(keys[KEYS[0]], np.eye(100), "best") - np.eye(100)).sum(axis=1).mean()
    assert error == pytest.approx(1 - 25 / 100)


def test_the_delta_rule_stores_orthogonal_keys_and_replaces_parts_of_others():
    keys = keys_of(np.eye(10)[[0, 0, 1]], np.eye(10)[[0, 1, 2]])
    values = np.eye(3)
    np.testing.assert_allclose(reads(keys[KEYS[0]], values, "delta rule"), values, atol=1e-15)
    # The second key shares half of the first: M₂ k₁ = v₁ / 1 + (v₂ − v₁ / 2) / 2.
    np.testing.assert_allclose(reads(keys[KEYS[1]], values, "delta rule")[0], [0.75, 0.5, 0], atol=1e-15)


def test_the_command_writes_and_prints_every_cell(tmp_path, capsys):
    assert main(["--seeds", "2", "--size", "12", "--out", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    assert "side by side" in printed
    lines = (tmp_path / "key_capacity.csv").read_text().splitlines()
    assert len(lines) == 1 + 2 * 3 * len(LOADS)
    assert (tmp_path / "key_capacity.png").exists()


def test_draws_differ_by_seed():
    first, second = measure(0, 12), measure(1, 12)
    assert not np.allclose(first["error"], second["error"])
    np.testing.assert_array_equal(first["error"], measure(0, 12)["error"])

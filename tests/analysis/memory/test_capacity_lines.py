"""Lines of theory, against enumeration, simulation and the numbers that were published or derived elsewhere."""

from itertools import product

import numpy as np
import pytest

from analysis.memory.capacity_lines import (
    delta_rule,
    interference,
    least_squares,
    mean_of_values,
    rank_floor,
    repeated_sum,
    summed,
    value_floor,
)


def unit(rng, *shape):
    vectors = rng.normal(size=shape)
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def losses(returned, values):
    """Return plain and scaled errors of what was returned, (memory, pair, value), each averaged over memories."""
    total, square = np.sum(values**2), np.sum(returned**2, axis=(1, 2))
    along = np.sum(returned * values, axis=(1, 2))
    plain = (total - 2 * along + square) / total
    # The best scale of all memories together, as the expectations have it.
    return plain, 1 - along.sum() ** 2 / (square.sum() * total * len(along))


@pytest.mark.parametrize(("features", "pairs"), [(8, 5), (12, 12), (10, 25)])
def test_random_keys_lose_what_the_lines_say(features, pairs):
    rng, memories = np.random.default_rng(features), 1500
    keys, values = unit(rng, memories, pairs, features), np.eye(pairs)
    gram = keys @ np.swapaxes(keys, 1, 2)
    delta = np.zeros((memories, pairs, features))
    for i in range(pairs):
        k = keys[:, i, :, None]
        delta = delta - (delta @ k) * np.swapaxes(k, 1, 2)
        delta[:, i] += keys[:, i]
    projection = np.linalg.pinv(keys) if pairs <= features else None
    found = {summed: gram, delta_rule: keys @ np.swapaxes(delta, 1, 2)}
    for line, returned in found.items():
        plain, scaled = losses(returned, values)
        noise = plain.std() / np.sqrt(memories)
        moments = line(features, pairs)
        assert abs(plain.mean() - moments.error()) < 4 * noise
        assert scaled == pytest.approx(moments.scaled_error(), abs=0.01)
    # Least squares: M = V K⁺, exact up to F pairs, above that a projection.
    inverse = np.linalg.pinv(np.swapaxes(keys, 1, 2)) if projection is None else np.swapaxes(projection, 1, 2)
    plain, _ = losses(np.swapaxes(inverse @ np.swapaxes(keys, 1, 2), 1, 2), values)
    np.testing.assert_allclose(plain, least_squares(features, pairs).error(), atol=1e-9)
    assert least_squares(features, pairs).scaled_error() == pytest.approx(rank_floor(features, pairs))


def test_lines_have_the_numbers_that_they_had():
    assert delta_rule(32, 48).error() == pytest.approx(0.8547, abs=5e-5)
    assert [round(delta_rule(32, n).error(), 3) for n in (8, 32, 64)] == [0.128, 0.596, 1.058]
    assert [summed(32, n).scaled_error() for n in (8, 64)] == pytest.approx([7 / 39, 63 / 95])
    assert rank_floor(64, 80) / 2 == pytest.approx(0.1)
    assert rank_floor(64, 60) == 0
    assert delta_rule(7, 1).error() == summed(7, 1).error() == 0


def test_one_pass_of_the_delta_rule_beats_a_sum_for_few_pairs_only():
    for features in (32, 64, 128):
        better = [
            n
            for n in range(2, 2 * features)
            if delta_rule(features, n).error() < summed(features, n).scaled_error()
        ]
        assert better == list(range(2, len(better) + 2))
        assert better[-1] / features == pytest.approx(0.66, abs=0.01 + 1 / features)


def test_no_memory_is_below_the_floor_and_a_projection_is_at_it():
    rng = np.random.default_rng(1)
    for pairs, features, size in ((9, 4, 9), (7, 3, 5), (5, 8, 6)):
        values = rng.normal(size=(pairs, size))
        floor = value_floor(values, features)
        for _ in range(60):
            keys, memory = rng.normal(size=(pairs, features)), rng.normal(size=(features, size))
            best = np.linalg.lstsq(keys, values, rcond=None)[0]
            for held in (memory, best):
                assert np.sum((keys @ held - values) ** 2) / np.sum(values**2) >= floor - 1e-12
        left, singular, right = np.linalg.svd(values, full_matrices=False)
        nearest = left[:, :features] * singular[:features] @ right[:features]
        assert np.sum((nearest - values) ** 2) / np.sum(values**2) == pytest.approx(floor, abs=1e-12)
    assert value_floor(np.eye(9), 4) == pytest.approx(rank_floor(4, 9))
    assert value_floor(np.zeros((3, 2)), 1) == 0


@pytest.mark.parametrize(("symbols", "writes"), [(2, 3), (3, 4)])
def test_a_mean_of_values_loses_what_enumeration_says(symbols, writes):
    total = 0.0
    for values in product(range(symbols), repeat=writes):
        found = np.eye(symbols)[list(values)]
        total += np.sum((found.mean(axis=0) - found[-1]) ** 2) / 2
    assert mean_of_values(np.array(writes), symbols) == pytest.approx(total / symbols**writes)


def test_repeated_keys_average_over_how_often_they_come():
    rng, symbols, length = np.random.default_rng(2), 6, 9
    counts = rng.binomial(length, 1 / symbols, 100_000)
    expected = mean_of_values(counts[counts > 0], symbols)
    assert repeated_sum(symbols, length) == pytest.approx(expected.mean(), abs=1e-3)
    assert repeated_sum(4000, 4000) == pytest.approx(0.1165, abs=1e-4)
    assert repeated_sum(2000, 4000) == pytest.approx(0.2116, abs=5e-5)


def test_two_summed_pairs_disturb_each_other_by_the_cosine_of_their_keys():
    for cosine in (0.0, 0.3, 0.9):
        gram = np.array([[1, cosine], [cosine, 1]])
        _, scaled = losses(gram[None], np.eye(2))
        assert interference(np.array(cosine)) == pytest.approx(scaled)

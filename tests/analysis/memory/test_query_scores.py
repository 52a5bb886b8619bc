"""The probability of finding what is asked for."""

from itertools import product

import numpy as np
import pytest

from analysis.memory.query_scores import score_queries

NAN = np.nan


def score_single(weight, target):
    """Score asks for one item each, (ask, write)."""
    target = np.asarray(target, dtype=bool)[:, None]
    return score_queries(np.asarray(weight), target, np.ones(target.shape[:2], dtype=bool))


def test_scores_are_counts_of_hits():
    weight = np.array(
        [[[0.5, -0.9, 0.1]], [[0.5, 0.9, NAN]], [[0.2, 0.2, 0.2]], [[0.1, NAN, NAN]], [[NAN, NAN, NAN]]]
    )
    hits, chance = score_single(weight, [[1, 0, 0], [1, 0, 0], [1, 0, 1], [0, 1, 0], [1, 0, 0]])
    np.testing.assert_allclose(hits, [1, 0, 2 / 3, NAN, NAN])
    np.testing.assert_allclose(chance, [1 / 3, 1 / 2, 2 / 3, NAN, NAN])


def test_reads_that_do_not_happen_neither_help_nor_hurt():
    once, padded = [[[0.1, 0.4]]], [[[0.1, 0.4], [NAN, NAN]]]
    assert score_single(once, [[True, False]]) == score_single(padded, [[True, False]]) == (0.0, 0.5)


def test_two_reads_hit_more_often_by_chance_than_one():
    assert score_single([[[0.1, 0.4], [0.5, 0.2]]], [[True, False]]) == (1.0, 0.75)


def test_nothing_asked_gives_empty_scores():
    hits, chance = score_queries(
        np.empty((0, 2, 3)), np.empty((0, 1, 3), dtype=bool), np.empty((0, 1), dtype=bool)
    )
    assert hits.shape == chance.shape == (0,)


@pytest.mark.parametrize("n_items", [1, 2, 3])
def test_chance_of_several_items_is_that_of_all_landings_counted(n_items):
    reads, writes = 3, 7
    held = np.zeros((1, 4, writes), dtype=bool)
    held[0, 0, [1, 2]], held[0, 1, [4]], held[0, 2, [2, 5, 6]] = (
        True,
        True,
        True,
    )  # a write of two items among them
    wanted = np.arange(4)[None] < n_items
    found = np.array([writes, writes, 4])  # the last read finds fewer
    weight = np.where(np.arange(writes) < found[:, None], 1.0, NAN)[None]
    largest_writes = list(product(*(range(n) for n in found)))
    right = [all(held[0, i, list(landing)].any() for i in range(n_items)) for landing in largest_writes]
    hits, chance = score_queries(weight, held, wanted)
    assert chance[0] == hits[0] == pytest.approx(np.mean(right))
    assert len(largest_writes) == writes**2 * 4
    assert reads == len(found)


def test_every_item_must_be_found():
    held = np.eye(5, dtype=bool)[None, [0, 3]]
    wanted = np.ones((1, 2), dtype=bool)
    weight = np.full((4, 2, 5), 0.1)
    for ask, places in enumerate([(0, 3), (3, 0), (0, 0), (0, 1)]):
        weight[ask, [0, 1], places] = 0.9
    hits, chance = score_queries(weight, held.repeat(4, axis=0), wanted.repeat(4, axis=0))
    assert hits.tolist() == [1, 1, 0, 0]
    np.testing.assert_allclose(chance, 2 / 25)


def test_more_items_than_reads_or_unwritten_ones_are_not_scored():
    held = np.eye(5, dtype=bool)[None, :2].repeat(3, axis=0)
    held[2, 1] = False
    weight = np.full((3, 2, 5), 0.1)
    weight[0, 1] = NAN
    hits, chance = score_queries(weight, held, np.ones((3, 2), dtype=bool))
    assert np.isnan(hits).tolist() == np.isnan(chance).tolist() == [True, False, True]

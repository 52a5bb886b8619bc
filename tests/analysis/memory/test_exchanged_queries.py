"""Scores under exchanged queries, against a twin that scores each exchange as the observed queries are."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from analysis.memory import exchanged_queries
from analysis.memory.exchanged_queries import exchanged_trials, relabelled_scores, same_queries
from analysis.memory.log import event_of, select
from analysis.memory.queries import find_queries, queried_writes, read_queries
from analysis.memory.query_scores import score_queries
from analysis.statistics import chance_test


def scores_one_by_one(reading, orders, scored):
    asks, means = reading.asks, []
    for order in orders:
        items = asks.items[order]
        held = queried_writes(reading.recording, asks.sequence, asks.step, items)
        hits, _ = score_queries(reading.ranked(), held, items >= 0)
        means.append(np.nanmean(hits[scored]))
    return means


@pytest.mark.parametrize("reads", [1, 3])
def test_scores_are_those_of_the_exchanged_queries(make_recording, reads):
    recording = make_recording(members=1, trials=9, reads=reads, shuffled=True)
    reading = read_queries(recording, "fast")
    scored = np.arange(len(reading.asks.step)) != 2
    means, different = relabelled_scores(reading, scored)
    orders = exchanged_trials(reading.asks, event_of(recording, "trial"))
    np.testing.assert_allclose(means, scores_one_by_one(reading, orders, scored), rtol=1e-12)
    assert 20 < different <= len(means) + 1


def test_a_place_for_a_second_item_that_no_question_has_changes_no_score(make_recording):
    reading = read_queries(make_recording(members=1, trials=9, reads=2, shuffled=True), "fast")
    asks, scored = reading.asks, np.ones(9, dtype=bool)
    wider = replace(
        asks,
        items=np.pad(asks.items, [(0, 0), (0, 1)], constant_values=-1),
        held=np.pad(asks.held, [(0, 0), (0, 1), (0, 0)]),
    )
    alone, _ = relabelled_scores(reading, scored)
    np.testing.assert_allclose(relabelled_scores(replace(reading, asks=wider), scored)[0], alone, rtol=1e-12)
    assert 0 < np.mean(alone) < 1


def test_a_memory_that_stores_nothing_scores_as_much_with_any_query(make_recording):
    reading = read_queries(make_recording(members=1, strength=0.0), "fast")
    hits, _ = score_queries(reading.weight, reading.asks.held, reading.asks.wanted)
    means, _ = relabelled_scores(reading, np.ones(len(hits), dtype=bool))
    np.testing.assert_allclose(means, hits.mean(), rtol=1e-12)


def test_trials_exchange_their_queries_as_a_whole_with_those_that_ask_as_often():
    """Three trials ask twice (for one item, then two), one asks once: it keeps its own."""
    sequence, step = np.array([0, 0, 1, 1, 2, 2, 3]), np.array([4, 6, 3, 5, 4, 5, 6])
    items = np.array([[7, -1], [5, 6], [8, -1], [3, 4], [9, -1], [1, 2], [0, -1]])
    asks = find_none(sequence, step, items)
    orders = exchanged_trials(asks, np.full((4, 8), -1))
    assert (orders[:, 6] == 6).all()
    assert (orders[:, 1:6:2] == orders[:, :6:2] + 1).all()
    assert {tuple(order[:6:2]) for order in orders} == {
        (0, 2, 4), (0, 4, 2), (2, 0, 4), (2, 4, 0), (4, 0, 2), (4, 2, 0)
    }  # fmt: skip
    stream = exchanged_trials(replace(asks, sequence=np.zeros(7, int)), np.arange(8)[None])
    assert (np.sort(stream, axis=1) == np.arange(7)).all()


def find_none(sequence, step, items):
    from analysis.memory.queries import Queries

    return Queries(sequence, step, items, np.zeros((*items.shape, 8), dtype=bool))


def test_large_recordings_have_fewer_exchanges(make_recording, monkeypatch):
    reading = read_queries(make_recording(members=1), "fast")
    monkeypatch.setattr(exchanged_queries, "LARGEST_WORK", 10)
    assert len(relabelled_scores(reading, np.ones(20, dtype=bool))[0]) == exchanged_queries.FEWER_RELABELLINGS


def test_members_that_were_asked_for_other_items_do_not_share_queries(make_recording):
    recording = make_recording(members=2)
    first, second = (find_queries(select(recording, member=[k])) for k in (0, 1))
    assert same_queries([first, second])
    assert same_queries([first])
    assert not same_queries([first, replace(second, items=second.items[::-1])])


def blind_test(reading, seed, members=7):
    """Return the test of members that read the same writes, whatever is asked for, but for a few of their own."""
    rng, n = np.random.default_rng(seed), len(reading.asks.step)
    shared, scores, null = rng.normal(size=reading.weight.shape), [], []
    for _ in range(members):
        weight = np.where(np.isnan(reading.weight), np.nan, shared + 0.05 * rng.normal(size=shared.shape))
        scores.append(np.mean(score_queries(weight, reading.asks.held, reading.asks.wanted)[0]))
        means, different = relabelled_scores(replace(reading, weight=weight), np.ones(n, dtype=bool))
        null.append(means)
    return chance_test(scores, np.stack(null, axis=1), different=different)


def test_reads_that_ignore_the_query_are_found_over_members_and_not_over_trials(make_recording, monkeypatch):
    monkeypatch.setattr(exchanged_queries, "RELABELLINGS", 39)
    reading = read_queries(make_recording(members=1), "fast")
    tests = [blind_test(reading, seed) for seed in range(40)]
    level = stats.binom.ppf(0.975, 40, 0.05)
    assert sum(test.p <= 0.05 for test in tests) <= level
    assert sum(test.members.p <= 0.05 for test in tests) > 2 * level

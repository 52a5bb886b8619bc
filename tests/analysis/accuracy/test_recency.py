"""Losses of two models by how often and how long ago a word was read."""

import numpy as np
import pytest

from analysis.accuracy.recency import STRATA, compare_by_recency, strata_of
from analysis.errors import AnalysisError

LABELS, SEEDS = ("memory", "lstm"), (3, 5, 8)


def text():
    """Six articles of 300 words: a frequent word, and rare ones that come again after 50 and after 200 words."""
    words = np.zeros(1800, int)
    for article in range(6):
        start = 300 * article
        words[start] = words[start + 50] = words[start + 250] = 1 + article
    return words, np.arange(1800) // 300


def strata_slowly(words):
    found, last = [], {}
    for place, word in enumerate(words.tolist()):
        gap = place - last.get(word, -10_000)
        last[word] = place
        rare = (words == word).sum() <= 10
        found.append(3 if not rare else 0 if gap <= 70 else 1 if gap <= 500 else 2)
    return found


def test_strata_are_those_of_a_loop_over_words():
    words = np.random.default_rng(0).zipf(1.3, 3000) % 2000
    assert strata_of(words).tolist() == strata_slowly(words)
    assert min(np.bincount(strata_of(words), minlength=4)) > 5
    # Both bounds belong to the shorter gap.
    edges = np.arange(1200)
    edges[70], edges[171], edges[501], edges[1003] = 0, 100, 1, 502
    assert [strata_of(edges)[place] for place in (70, 171, 501, 1003)] == [0, 1, 1, 2]


def test_a_new_word_is_in_no_stratum_of_gaps_however_short_the_text_is():
    text = np.array([4, 7, 4, 5, 7])
    assert strata_of(text).tolist() == [2, 2, 0, 2, 0]
    assert [STRATA[place] for place in (0, 2)] == ["rare, gap to 70", "rare, new or further"]


def test_a_gain_at_words_read_a_short_time_ago_is_found_there_and_nowhere_else():
    words, articles = text()
    places = np.arange(1, 1800)
    draw = np.random.default_rng(1)
    memory = draw.random((3, len(places)))
    gain = 0.5 * (strata_of(words)[places] == 0) + 0.01 * draw.standard_normal((3, len(places)))
    for losses in (memory, gain):
        losses.setflags(write=False)
    result = compare_by_recency(words, articles, places, (memory, memory + gain), LABELS, SEEDS)
    table = result.strata.set_index("stratum")
    assert table.loc[STRATA[0], "low"] > 0.4
    assert (table.loc[list(STRATA[1:]), "difference"].abs() < 0.02).all()
    of_first = result.seeds[result.seeds["stratum"] == STRATA[0]]
    assert of_first["n"].tolist() == [6] * 3
    assert (of_first["low"] > 0.4).all()
    np.testing.assert_allclose(of_first["difference"], of_first["loss_b"] - of_first["loss_a"])


def test_intervals_count_articles_and_not_words():
    words, articles = text()
    places = np.arange(1800)
    # All words of an article are better or worse together.
    apart = np.repeat(np.random.default_rng(2).standard_normal(6), 300)[None]
    zero = np.zeros_like(apart)
    row = compare_by_recency(words, articles, places, (zero, apart), LABELS, (3,)).seeds.iloc[0]
    whole = compare_by_recency(words, places // 5, places, (zero, apart), LABELS, (3,)).seeds.iloc[0]
    assert row["difference"] == pytest.approx(whole["difference"])
    assert row["high"] - row["low"] > 3 * (whole["high"] - whole["low"])


def test_losses_of_other_words_are_refused():
    words, articles = text()
    losses = np.zeros((3, 5))
    with pytest.raises(
        AnalysisError, match=r"expected losses of the shape \(3, 4\); got \[\(3, 5\), \(3, 5\)\]"
    ):
        compare_by_recency(words, articles, np.arange(4), (losses, losses), LABELS, SEEDS)

"""Sets of strings: the published optima by enumeration, levels against simulated predictors, what is recalled."""

import itertools
from collections import Counter, defaultdict

import numpy as np
import pytest

from emt.tasks.character_sets import CharacterSet, best_level, character_set, encode, one_string

# Nats per character and share of characters: whole prefix, last character, last two.
PUBLISHED = {
    ("key_recall", 2): [(0.5459, 0.7156), (1.0748, 0.5111), (0.9832, 0.5111)],
    ("resequence", 2): [(0.4332, 0.875), (1.7329, 0.5), (0.4332, 0.875)],
    ("resequence", 3): [(0.7834, 0.75), (2.0228, 0.333), (1.3388, 0.583)],
    ("resequence", 4): [(1.0917, 0.625), (2.1219, 0.25), (1.6182, 0.4375)],
    ("palindrome", 2): [(1.0986, 0.5556), (2.1972, 0.111), (1.9804, 0.333)],
    ("palindromes", 2): [(0.4165, 0.875), (1.6323, 0.411), (0.8331, 0.75)],
    ("palindromes", 3): [(0.5074, 0.8333), (1.5810, 0.413), (1.1538, 0.611)],
    ("small_palindromes", 2): [(0.2599, 0.875), (1.0059, 0.5), (0.5199, 0.75)],
    ("small_palindromes", 3): [(0.2986, 0.8333), (0.9546, 0.472), (0.7363, 0.611)],
}
KNOWN = ("prefix", "last_one", "last_two")
SETS = [*PUBLISHED, ("resequence", 1), ("palindromes", 1), ("small_palindromes", 1), ("small_palindromes", 4)]


def spell(chars, row):
    return "".join(chars.alphabet[c] for c in chars.strings[row] if c >= 0)


@pytest.mark.parametrize(("kind", "n"), PUBLISHED)
def test_the_published_optima_are_those_of_the_process(kind, n):
    chars = character_set(kind, n)
    for known, (loss, accuracy) in zip(KNOWN, PUBLISHED[kind, n], strict=True):
        level = best_level(chars, known)
        assert level.loss == pytest.approx(loss, abs=6e-5)
        assert level.accuracy == pytest.approx(accuracy, abs=6e-4)


def test_another_process_has_another_optimum():
    chars = character_set("resequence", 2)
    skewed = CharacterSet(chars.alphabet, chars.strings, chars.items, np.linspace(0, 2 / 81, 81))
    assert abs(best_level(skewed, "prefix").loss - 0.4332) > 0.01


@pytest.mark.parametrize(("kind", "n"), SETS)
def test_a_set_is_a_distribution_over_different_strings(kind, n):
    chars = character_set(kind, n)
    assert chars.probability.sum() == pytest.approx(1)
    texts = [spell(chars, row) for row in range(len(chars.strings))]
    assert len(set(texts)) == len(texts)
    for string, text in zip(chars.strings, texts, strict=True):
        assert (string[len(text) :] == -1).all()
    for string, items in zip(chars.strings, chars.items, strict=True):
        for item in range(items.max() + 1):
            assert len(set(string[items == item])) == 1, "an item is one character"


@pytest.mark.parametrize(
    ("kind", "n", "text", "items", "recalled"),
    [
        # After "ab" a third character may come, after "aba" not.
        ("resequence", 3, "0?0?0", [0, 1, 0, 1, 0], [0, 0, 1, 1]),
        ("resequence", 2, "0?0?0", [0, 1, 0, 1, 0], [0, 1, 1, 1]),
        ("resequence", 3, "00000", [0, 0, 0, 0, 0], [0, 1, 1, 1]),
        ("palindrome", 2, "0?!?0", [0, 1, 2, 1, 0], [0, 0, 1, 1]),
        ("small_palindromes", 2, "23.32", [0, 1, -1, 1, 0], [0, 0, 1, 1]),
        ("small_palindromes", 2, "3.3  ", [0, -1, 0, -1, -1], [0, 1, 0, 0]),
        ("key_recall", 2, "00?,0!,", [-1, -1, -1, 0, -1, -1, 0], [0, 0, 0, 0, 0, 1]),
    ],
)
def test_what_is_recalled_are_copies_that_are_certain(kind, n, text, items, recalled):
    chars = character_set(kind, n)
    [row] = [row for row in range(len(chars.strings)) if spell(chars, row) == text]
    assert chars.items[row, : len(text)].tolist() == items
    assert chars.recalled[row, : len(recalled)].tolist() == [bool(r) for r in recalled]
    assert not chars.recalled[row, len(recalled) :].any()


def level_by_hand(chars, context_of):
    """Count contexts string by string; return loss, accuracy, recall of one most likely character, largest recall."""
    follow, wanted = defaultdict(Counter), defaultdict(Counter)
    for row, p in enumerate(chars.probability):
        text = spell(chars, row)
        for t in range(len(text) - 1):
            context = context_of(text[: t + 1])
            follow[context][text[t + 1]] += p
            wanted[context][text[t + 1]] += p * chars.recalled[row, t]
    total, total_wanted = (sum(c.total() for c in counts.values()) for counts in (follow, wanted))
    loss = -sum(p * np.log(p / c.total()) for c in follow.values() for p in c.values())
    recall = 0.0
    for context, c in follow.items():
        most = max(c.values())
        equal = [char for char, p in c.items() if np.isclose(p, most)]
        recall += sum(wanted[context][char] for char in equal) / len(equal)
    return (
        loss / total,
        sum(max(c.values()) for c in follow.values()) / total,
        recall / total_wanted,
        sum(max(c.values()) for c in wanted.values()) / total_wanted,
    )


@pytest.mark.parametrize(("kind", "n"), SETS)
def test_levels_are_those_of_counting_by_hand(kind, n):
    chars = character_set(kind, n)
    contexts = {
        "prefix": lambda s: s,
        "last_one": lambda s: s[-1],
        "last_two": lambda s: s[-2:].rjust(2, "^"),
    }
    for known, context_of in contexts.items():
        level = best_level(chars, known)
        got = (level.loss, level.accuracy, level.recall, level.most_recall)
        assert got == pytest.approx(level_by_hand(chars, context_of), abs=1e-12)


def test_memory_gives_perfect_recall_and_its_lack_does_not():
    for kind, n in SETS:
        chars = character_set(kind, n)
        levels = {known: best_level(chars, known) for known in KNOWN}
        assert levels["prefix"].recall == 1
        assert levels["prefix"].loss <= levels["last_two"].loss <= levels["last_one"].loss
        assert all(level.recall <= level.most_recall + 1e-12 for level in levels.values())
    small = best_level(character_set("small_palindromes", 2), "last_one")
    assert (small.recall, small.most_recall) == pytest.approx((1 / 3, 1 / 2))
    # Whoever sees two characters needs no memory here, and who sees one needs none of one character again and again.
    assert best_level(character_set("resequence", 2), "last_two").recall == 1
    assert best_level(character_set("resequence", 1), "last_one").recall == 1


def test_a_text_is_counted():
    ids = encode("abxab", "abc")
    assert ids.tolist() == [0, 1, 0, 1]
    chars = one_string(np.array([0, 1, 0, 2, 0, 1]), "abc")
    level = best_level(chars, "last_one")
    # After a: b, c, b; after b and c: a.
    assert level.loss == pytest.approx(-(2 * np.log(2 / 3) + np.log(1 / 3)) / 5)
    assert level.accuracy == pytest.approx(4 / 5)
    assert np.isnan(level.recall)


def test_all_kinds_have_a_length_that_fits():
    sizes = {kind: character_set(kind, 3).strings.shape[1] for kind, _ in SETS}
    assert sizes == {
        "key_recall": 11,
        "resequence": 5,
        "palindrome": 5,
        "palindromes": 7,
        "small_palindromes": 7,
    }
    assert len(character_set("resequence", 4).strings) == sum(
        len([*itertools.permutations(range(9), r)]) for r in (1, 2, 3, 4)
    )

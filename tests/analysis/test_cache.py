"""Cached results equal computed ones; a new or changed member costs one computation, a broken file is recomputed."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from analysis.cache import all_pairs, cached_in, content_hash, each_item
from analysis.homology import nulls
from analysis.homology.persistence import analyse_persistence


def gaps(items, computed, pairs):
    """Return distances and squared distances of numbers, and note which pairs were asked for."""
    first, second = pairs
    computed.extend(sorted(tuple(sorted((items[i], items[j]))) for i, j in zip(first, second, strict=True)))
    differences = np.abs(np.array(items)[first] - np.array(items)[second])
    return np.stack([differences, differences**2])


def distances_of(items):
    """Return distances of numbers and the pairs that were computed for them."""
    computed = []
    keys = [content_hash(np.array(item)) for item in items]
    return all_pairs("gaps", keys, partial(gaps, items, computed), 2), computed


@pytest.fixture
def cache(tmp_path):
    with cached_in(tmp_path):
        yield tmp_path / "cache"


@pytest.mark.usefixtures("cache")
def test_distances_are_symmetric_and_of_all_pairs():
    (distances, squares), computed = distances_of([1.0, 4.0, 9.0])
    np.testing.assert_array_equal(distances, [[0, 3, 8], [3, 0, 5], [8, 5, 0]])
    np.testing.assert_array_equal(squares, distances**2)
    assert computed == [(1, 4), (1, 9), (4, 9)]


@pytest.mark.usefixtures("cache")
def test_one_more_member_costs_its_own_pairs():
    distances_of([1.0, 4.0, 9.0])
    distances, computed = distances_of([1.0, 2.0, 4.0, 9.0])
    assert computed == [(1, 2), (2, 4), (2, 9)]
    np.testing.assert_array_equal(distances[0, 1], [1, 0, 2, 7])
    np.testing.assert_array_equal(distances, distances.swapaxes(1, 2))
    assert distances_of([9.0, 2.0])[1] == []


@pytest.mark.usefixtures("cache")
def test_a_changed_member_costs_its_own_pairs():
    distances_of([1.0, 4.0, 9.0])
    distances, computed = distances_of([1.0, 5.0, 9.0])
    assert computed == [(1, 5), (5, 9)]
    np.testing.assert_array_equal(distances[0], [[0, 4, 8], [4, 0, 4], [8, 4, 0]])


def test_outside_of_a_folder_nothing_is_cached():
    assert len(distances_of([1.0, 4.0])[1]) == len(distances_of([1.0, 4.0])[1]) == 1


@pytest.mark.parametrize("damage", [b"", b"PK\x03\x04 broken", None])
def test_a_broken_file_is_recomputed(cache, damage):
    expected, _ = distances_of([1.0, 4.0])
    content = (cache / "gaps.npz").read_bytes()
    (cache / "gaps.npz").write_bytes(content[: len(content) // 2] if damage is None else damage)
    found, computed = distances_of([1.0, 4.0])
    np.testing.assert_array_equal(found, expected)
    assert computed == [(1, 4)]
    assert distances_of([1.0, 4.0])[1] == []


def test_a_file_of_other_contents_is_recomputed(cache):
    cache.mkdir()
    np.savez(cache / "gaps.npz", keys=np.array(["a", "b"]), distances=np.zeros((1, 2, 2)))
    assert distances_of([1.0, 4.0])[1] == [(1, 4)]


@pytest.mark.usefixtures("cache")
def test_items_of_any_shape_are_cached_and_those_no_longer_needed_dropped():
    computed = []

    def lengths(keys):
        def compute(places):
            for place in places:
                computed.append(keys[place])
                yield np.arange(int(keys[place]))

        return [len(values) for values in each_item("ranges", keys, compute)]

    assert lengths(["3", "1"]) == [3, 1]
    assert lengths(["1", "5", "3"]) == [1, 5, 3]
    assert lengths(["5"]) == [5]
    assert computed == ["3", "1", "5"]
    assert lengths(["3"]) == [3]
    assert computed[-1] == "3"


def test_hashes_see_values_types_shapes_and_arguments():
    a = np.arange(6.0)
    same = content_hash(a, "x", (1, a))
    assert same == content_hash(a.copy(), "x", (1, a[::-1][::-1]))
    others = [
        (a + 1e-15, "x", (1, a)),
        (a.astype(int), "x", (1, a)),
        (a.reshape(2, 3), "x", (1, a)),
        (a, "y", (1, a)),
    ]
    others += [
        (1, 23),
        (12, 3),
        ((1,), 23),
        (partial(gaps, 1),),
        (partial(gaps, 2),),
        (partial(gaps, items=1),),
    ]
    assert len({same, *(content_hash(*parts) for parts in others)}) == 11


@pytest.mark.usefixtures("cache")
def test_an_analysis_that_is_repeated_computes_nothing_twice(make_population, monkeypatch):
    population = make_population(4)
    first = analyse_persistence(population, null_clouds=19)

    def fail(*_):
        raise AssertionError("computed again")

    for name in (
        "persistence.persistence_diagrams",
        "diagram_distances.diagram_distance",
        "nulls.longest_bars",
    ):
        monkeypatch.setattr(f"analysis.homology.{name}", fail)
    again = analyse_persistence(population, null_clouds=19)
    np.testing.assert_array_equal(again.distances, first.distances)
    np.testing.assert_array_equal(again.features, first.features)
    assert again.tests.members.equals(first.tests.members)
    with pytest.raises(AssertionError, match="computed again"):
        analyse_persistence(make_population(4, noise=0.2))


@pytest.mark.usefixtures("cache")
def test_null_clouds_of_one_more_member_change_and_cost_its_own_alone(make_population, monkeypatch):
    population, drawn = make_population(4), []
    some = [0, 2, 3]
    without = replace(
        population,
        names=tuple(population.names[i] for i in some),
        eigenvalues=tuple(population.eigenvalues[i] for i in some),
        scalars=population.scalars.iloc[some],
    )
    test_one = nulls._test_one

    def counted(*arguments):
        drawn.append(arguments[-1][1].name)
        return test_one(*arguments)

    monkeypatch.setattr(nulls, "_test_one", counted)
    columns = ["p", "null_95", "subset_low"]
    fewer = analyse_persistence(without, null_clouds=19).tests.members
    all_four = analyse_persistence(population, null_clouds=19).tests.members
    assert drawn == ["model-1", "model-3", "model-4", "model-2"]
    assert all_four.loc[fewer.index, columns].equals(fewer[columns])


@pytest.mark.parametrize("keys", ["abab", "aab", "bbaa", "aaab"])
def test_equal_items_have_the_distance_that_was_computed(keys, tmp_path):
    """Distances of random projections, say, are not zero for equal items; a cache of them never says so."""

    def compute(places):
        return np.array([[7.0 if keys[i] == keys[j] else 3.0 for i, j in zip(*places, strict=True)]])

    expected = np.array(
        [
            [
                [0.0 if i == j else 7.0 if keys[i] == keys[j] else 3.0 for j in range(len(keys))]
                for i in range(len(keys))
            ]
        ]
    )
    before, keys = keys, "ab"
    with cached_in(tmp_path):
        all_pairs("d", list(keys), compute)
        keys = before
        for _ in range(3):
            np.testing.assert_array_equal(all_pairs("d", list(keys), compute), expected)

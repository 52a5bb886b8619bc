"""What is asked for, and where it is held."""

from dataclasses import replace

import numpy as np

from analysis.memory.log import select
from analysis.memory.queries import (
    find_queries,
    largest_writes,
    queried_writes,
    ranked_weights,
    read_queries,
    share_of_weight,
    share_on_items,
)


def test_an_item_is_looked_for_in_the_last_trial_that_wrote_it(make_recording):
    recording = make_recording(members=1, trials=1, pairs=4)
    events = {
        "written": [0, 1, -1, 0, 2, -1, 1, 0, -1, -1, 1],
        "asked": [-1, -1, 0, -1, -1, 2, -1, 2, 3, 0, 1],
        "trial": [7, 7, 7, 9, 9, 9, 3, 3, 3, 3, 3],  # numbers in any order
    }
    for name, values in events.items():
        recording[name].values[:] = values
    asks = find_queries(select(recording, member=[0]))
    found = {int(t): np.flatnonzero(held[0]).tolist() for t, held in zip(asks.step, asks.held, strict=True)}
    assert found == {
        2: [0],
        5: [4],
        7: [4],  # not written in this trial, but in the one before
        8: [],
        9: [7],
        10: [6, 10],  # twice in this trial; a memory that reads first does not find the second
    }


def test_items_stand_in_front_and_each_has_its_writes(make_stories):
    recording = select(make_stories(), member=[0])
    asks = find_queries(recording)
    assert asks.wanted.sum(axis=1).tolist() == [1, 2, 2, 3] * 3
    assert (asks.held.sum(axis=-1) == 4 * asks.wanted).all()
    reversed_items = recording.copy(deep=True)
    reversed_items["asked"].values[:] = recording["asked"].values[..., ::-1]
    assert (np.sort(find_queries(reversed_items).items) == np.sort(asks.items)).all()
    assert (find_queries(reversed_items).items[:, 0] >= 0).all()
    last = queried_writes(recording, asks.sequence, asks.step, np.full((12, 1), 4))
    np.testing.assert_array_equal(last[:, 0].argmax(axis=-1), asks.step - 6)
    assert not queried_writes(recording, asks.sequence, asks.step, np.full((12, 1), -1)).any()


def test_a_write_may_hold_several_items(make_stories):
    recording = select(make_stories(), member=[0])
    asks = find_queries(recording)
    written = recording["written"]
    both = written.expand_dims(item=2, axis=-1).copy(deep=True)
    both.values[..., 0] = np.where(written.values >= 0, 17, -1)
    recording = recording.assign(written=both.isel(item=[0, 1, 1]))
    np.testing.assert_array_equal(find_queries(recording).held, asks.held)


def test_weights_that_are_equal_up_to_single_precision_share_a_landing():
    """Two writes of one key: their weights differ by rounding, and a read lands on both."""
    weight = np.array([[[0.3, 0.1, 0.3 * (1 + 1e-8), np.nan]], [[-0.5, -0.5 - 1e-9, -0.7, -0.6]]])
    largest, found = largest_writes(weight)
    assert largest[:, 0].tolist() == [[True, False, True, False], [True, True, False, False]]
    assert found[0, 0].tolist() == [True, True, True, False]
    assert largest_writes(np.array([[[0.3, 0.3 + 1e-5]]]))[0].tolist() == [[[False, True]]]


def test_the_largest_weight_is_another_by_sign_than_by_magnitude():
    weight = np.array([[[0.3, -0.5, 0.1, np.nan]]])
    assert largest_writes(ranked_weights(weight, "sign"))[0].tolist() == [[[True, False, False, False]]]
    assert largest_writes(ranked_weights(weight, "magnitude"))[0].tolist() == [[[False, True, False, False]]]


def test_shares_add_up_to_one_and_keep_signs():
    share = share_of_weight(np.array([[0.3, -0.1, np.nan], [0.0, 0.0, np.nan], [np.nan] * 3]))
    np.testing.assert_allclose(share[0], [0.75, -0.25, np.nan])
    np.testing.assert_allclose(share[1], [0, 0, np.nan])
    assert np.isnan(share[2]).all()


def test_share_on_items_is_one_where_each_read_finds_its_item_alone(make_stories):
    reading = read_queries(select(make_stories(), member=[1]), "fwm")
    np.testing.assert_allclose(share_on_items(reading), 1, atol=1e-5)
    blurred = replace(reading, weight=reading.weight + 0.01)
    assert (share_on_items(blurred) < 0.8).all()

"""Scores of reads against what was asked for."""

import numpy as np
import pytest
import xarray as xr

from analysis.errors import AnalysisError
from analysis.memory.matching import match_memories

NAN = np.nan


def test_a_planted_memory_is_matched_and_a_shuffled_one_is_at_chance(make_recording):
    planted, shuffled = (
        match_memories(make_recording()),
        match_memories(make_recording(trials=300, shuffled=True)),
    )
    assert (planted.scores["score"] == 1).all()
    assert planted.population.loc["fast", "chance"] == pytest.approx(0.1)
    assert (planted.scores["above_chance"] == 1).all()
    assert (np.abs(shuffled.scores["score"] - 0.1) < 0.06).all()
    assert shuffled.population.loc["fast", "low"] < 0.1 < shuffled.population.loc["fast", "high"]


def test_a_memory_that_stores_nothing_is_at_chance_exactly(make_recording):
    scores = match_memories(make_recording(strength=0.0)).scores
    np.testing.assert_allclose(scores["score"], scores["chance"])
    assert scores["above_chance"].to_numpy() == pytest.approx(np.zeros(3))


def test_with_several_reads_any_may_match_and_chance_counts_them(make_recording):
    planted = match_memories(make_recording(reads=3))
    assert (planted.scores["score"] == 1).all()
    assert planted.population.loc["fast", "chance"] == pytest.approx(1 - 0.9**3)
    shuffled = match_memories(make_recording(trials=300, reads=3, shuffled=True))
    assert shuffled.population.loc["fast", "score"] < 0.4


def test_decay_decides_which_of_two_equal_keys_wins(make_recording):
    recording = make_recording(members=1, trials=4, decay=0.5)
    keys = recording["memory/fast/write_key"].values
    keys[:, :, 9] = keys[:, np.arange(4), 2 * recording["asked"].values[:, -1] + 1]
    assert match_memories(recording).scores["score"].tolist() == [0.0]
    recording["memory/fast/write_keep"].values[:] = 1.01  # now the older one weighs more
    assert match_memories(recording).scores["score"].tolist() == [1.0]


def test_steps_that_cannot_be_answered_are_not_scored(make_recording):
    recording = make_recording(trials=10)
    recording["asked"].values[:3, -1] = 17
    scores = match_memories(recording).scores
    assert (scores["asks"] == 7).all()
    assert (scores["score"] == 1).all()
    recording["asked"].values[:, -1] = 17
    match = match_memories(recording)
    assert match.scores["score"].isna().all()
    assert "nothing is scored" in match.headline()


def test_a_task_that_asks_nothing_still_gets_its_grids(make_recording):
    match = match_memories(make_recording(asked=False))
    assert len(match.grids) == 3
    assert not match.grids[0].asked.any()
    assert match.scores["recall_error"].between(1e-9, 1e-5).all()


def test_recall_error_shows_a_broken_log(make_recording):
    recording = make_recording(trials=4)
    recording["memory/fast/write_keep"].values[1] = 0.8
    assert (match_memories(recording).scores["recall_error"] > 1e-3).tolist() == [False, True, False]


def test_weight_lies_on_the_asked_for_items_write(make_recording):
    aligned = match_memories(make_recording()).aligned
    assert aligned["share"].idxmax() == ("fast", 1, 0)
    assert (aligned["members"] == 3).all()
    shuffled = match_memories(make_recording(trials=100, shuffled=True)).aligned
    assert shuffled["share"].max() < 0.3 < aligned["share"].max()


def test_each_memory_is_scored_by_itself(make_recording):
    match = match_memories(make_recording(memories=("a", "b")))
    assert match.scores.index.unique("memory").tolist() == ["a", "b"]
    assert [grid.memory for grid in match.grids] == ["a"] * 3 + ["b"] * 3
    assert match_memories(make_recording(memories=("a", "b")), memory="b").population.index.tolist() == ["b"]
    assert len(match.headline().splitlines()) == 2


def test_grids_name_tokens_and_steps(make_recording):
    grid = match_memories(make_recording(), trials=1).grids[0]
    assert grid.weight.shape == (10, 10)  # the first read and the last write have nothing to match
    assert grid.rows.tolist() == list(range(1, 11))
    assert grid.column_labels[-2:] == ("?", "?")
    assert grid.row_labels[-1] == grid.column_labels[grid.columns[grid.asked[-1]][0] - 1]
    assert np.isnan(grid.weight[2, 3:]).all()
    numbers = match_memories(make_recording(tokens=False), trials=1).grids[0]
    assert numbers.column_labels[-1] == "36"


def test_long_recordings_are_drawn_where_something_is_asked(make_recording, monkeypatch):
    recording = make_recording(members=1)
    assert set(match_memories(recording, trials=1).grids[0].rows) == set(range(1, 11))
    monkeypatch.setattr("analysis.memory.matching.LARGEST_GRID", 10)
    assert match_memories(recording, trials=1).grids[0].rows.tolist() == [10]
    assert set(match_memories(make_recording(members=1, asked=False), trials=1).grids[0].rows) == set(
        range(1, 11)
    )


def test_the_median_model_is_drawn_unless_another_is_asked_for(make_recording):
    recording = make_recording()
    shuffled = make_recording(shuffled=True)
    for name in recording["memory/fast"].data_vars:
        recording[f"memory/fast/{name}"].values[0] = shuffled[f"memory/fast/{name}"].values[0]
    match = match_memories(recording)
    assert match.scores["score"].idxmin() == ("fast", "model-1")
    assert {grid.model_name for grid in match.grids} == {"model-3"}
    assert {grid.model_name for grid in match_memories(recording, model=1).grids} == {"model-1"}


def test_trials_to_draw(make_recording):
    recording = make_recording(trials=2)
    assert [grid.trial for grid in match_memories(recording).grids] == [0, 1]
    assert match_memories(recording, trials=0).grids == ()
    with pytest.raises(AnalysisError, match=r"^trials: must be 0 or more; got -1$"):
        match_memories(recording, trials=-1)
    with pytest.raises(AnalysisError, match=r"^model: must be one of 1, 3, 5; got 2$"):
        match_memories(recording, model=2)


def test_results_are_tables_arrays_and_a_sentence(make_recording):
    match = match_memories(make_recording(), trials=2)
    names = {"match_scores", "match_population", "match_items", "match_reads", "match_aligned", "match_asks"}
    assert set(match.tables()) == names
    assert set(match.arrays()) == {f"match_fast_model-3_trial-{k}" for k in (1, 2)}
    assert match.headline() == (
        "memory fast: the largest weight is on the queried item in 100.0 % of queries (95 % interval 100.0 % to "
        "100.0 %, members: 3, queries: 20 in 20 trials); counted by magnitude (linear memory), as many by sign; "
        f"chance 10.0 %, shuffled {100 * match.population.loc['fast', 'shuffled']:.1f} % ({match.tests['fast']}); "
        f"weights reproduce the reads to {match.scores['recall_error'].max():.0e} of the largest value"
    )
    assert str(match.tests["fast"]).startswith("p = 0.005 over trials, too few for a p: 0.12 is the smallest")
    row = match.population.loc["fast"]
    assert row["p_trials"] == 1 / 200
    assert np.isnan(row["p"])
    assert "interval" not in match_memories(make_recording(members=1)).headline()


def test_a_memory_that_answers_is_told_from_one_that_does_not_over_trials_and_members(make_recording):
    planted, shuffled = (match_memories(make_recording(members=6, shuffled=s)) for s in (False, True))
    assert planted.population.loc["fast", "p"] == planted.tests["fast"].members.p == 1 / 2**6
    assert "(p = 0.016, the larger of 0.005 over trials and 0.016 over members)" in planted.headline()
    assert not shuffled.population.loc["fast", "p"] <= 0.05


# -- by sign and by magnitude --


def delta_recording(make_recording, recall, *, negated, members=2):
    """Return a recording of a delta memory, M (I - b k kᵀ) + b v kᵀ, with b = 0.8; some key and value may be negated.

    The queried item's key was written one step earlier too, so in a read with that key the two writes weigh b
    (1 - b) = 0.16 and b = 0.8. Negated together, key and value of the item's write leave v kᵀ and k kᵀ as
    they were, and with them all that the memory holds and returns; but the write's own weight is now -0.8. By
    sign the earlier write has the largest weight, in every query.
    """
    recording = make_recording(members=members, trials=7, pairs=3)
    node, place = recording["memory/fast"], (slice(None), np.arange(7))
    right = 2 * recording["asked"].values[:, -1] + 1
    names = ("write_key", "write_value", "write_strength", "write_erase", "write_keep", "read_query")
    key, value, strength, erase, keep, _ = log = [node[name].values for name in names]
    key[(*place, right - 1)] = key[(*place, right)]
    strength[:], erase[:], keep[:] = 0.8, 0.8, 1
    for array in (key, value) if negated else ():
        array[(*place, right)] *= -1
    for index in np.ndindex(members, 7):
        node["read_value"].values[index] = recall(*(array[index] for array in log), "before")[1]
    return recording


def test_a_linear_memory_is_scored_by_magnitude_since_signs_of_keys_and_values_cancel(make_recording, recall):
    plain, negated = (delta_recording(make_recording, recall, negated=n) for n in (False, True))
    answers = [one["memory/fast/read_value"].values for one in (plain, negated)]
    np.testing.assert_allclose(answers[1], answers[0], atol=1e-6)
    columns = ["score", "score_sign", "score_magnitude"]
    assert match_memories(plain).scores[columns].to_numpy().tolist() == [[1, 1, 1]] * 2
    match = match_memories(negated)
    assert match.scores[columns].to_numpy().tolist() == [[1, 0, 1]] * 2
    assert match.items.loc["fast", columns].to_numpy().tolist() == [[1, 0, 1]]
    assert (match.scores["convention"] == "magnitude").all()
    assert (match.scores["recall_error"] < 1e-5).all()
    assert "100.0 % of queries" in match.headline()
    assert "counted by magnitude (linear memory), by sign 0.0 %; chance 12.5 %" in match.headline()


def test_a_negative_write_strength_weighs_negatively_and_is_found_by_magnitude(make_recording):
    scores = match_memories(make_recording(strength=-0.5)).scores
    assert (scores[["score", "score_magnitude"]] == 1).all(axis=None)
    assert (scores["score_sign"] == 0).all()


def test_chance_is_tested_for_the_score_that_the_headline_gives(make_recording, recall):
    match = match_memories(delta_recording(make_recording, recall, negated=True, members=6))
    row = match.population.loc["fast"]
    assert (row["score_sign"], row["score_magnitude"], row["score"]) == (0, 1, 1)
    assert row["shuffled"] < 0.6
    assert row["p_members"] == 1 / 2**6
    assert row["p_trials"] < 0.05
    assert (match.reads["share"] == 1).all()


@pytest.mark.parametrize("averaged", [False, True])
@pytest.mark.parametrize("negated", [False, True])
def test_a_dictionary_scores_as_many_by_sign_as_by_magnitude(make_recording, averaged, negated):
    """Its weights are not negative. The negated key of a dictionary is another key, which the query does not find."""
    recording = make_recording(members=2, trials=7, pairs=3)
    rule = '"kind": "dictionary", "similarity": "cosine", "recall": ' + (
        '"kernel"' if averaged else '"nearest"'
    )
    recording.attrs["about"] = recording.attrs["about"].replace('"kind": "linear"', rule)
    if negated:
        right = 2 * recording["asked"].values[:, -1] + 1
        recording["memory/fast/write_key"].values[:, np.arange(7), right] *= -1
    match = match_memories(recording)
    columns = ["score", "score_sign", "score_magnitude"]
    assert (match.scores[columns] == (0 if negated else 1)).all(axis=None)
    assert (match.scores["convention"] == "sign").all()
    assert "counted by sign (dictionary memory), as many by magnitude" in match.headline()


def test_nothing_is_written_to_the_recording(make_recording):
    recording = make_recording()
    before = recording.copy(deep=True)
    match_memories(recording)
    assert before.identical(recording)


# -- stories: several items, several reads --


def test_planted_chains_are_followed_and_control_scores_are_low(make_stories):
    match = match_memories(make_stories())
    scores = match.scores
    assert (scores["score"] == 1).all()
    assert (scores["recall_error"] < 1e-6).all()
    assert (scores["asks"] == 12).all()
    assert (scores["trials"] == 12).all()
    assert (scores[["chance", "shuffled"]] < 0.35).all(axis=None)
    assert match.items.loc["fwm", "asks"].tolist() == [3, 6, 3]
    assert (match.items["score"] == 1).all()
    assert match.items["chance"].is_monotonic_decreasing
    assert match.groups.loc["fwm"].index.tolist() == [1, 2, 3]


def test_shuffled_stories_are_at_chance_and_empty_ones_exactly(make_stories):
    shuffled = match_memories(make_stories(1, 20, shuffled=True)).scores.iloc[0]
    assert shuffled["low"] < shuffled["chance"] < shuffled["high"]
    assert shuffled["low"] < shuffled["shuffled"] < shuffled["high"] < 0.4
    empty = match_memories(make_stories(1, strength=0.0)).scores
    np.testing.assert_allclose(empty[["score", "shuffled"]], empty[["chance", "chance"]])


def test_each_read_finds_the_item_planted_for_it(make_stories):
    reads = match_memories(make_stories()).reads["share"].loc["fwm"]
    for n_items in (1, 2, 3):
        table = reads.loc[n_items].unstack("item").to_numpy()[:n_items]
        np.testing.assert_allclose(table[:, :n_items], np.eye(n_items))


def test_asks_for_more_items_than_reads_are_counted_and_not_scored(make_stories):
    recording = make_stories()
    reads = recording["memory/fwm"].to_dataset(inherit=False).isel(read=slice(2))
    recording["memory/fwm"] = xr.DataTree(reads)
    match = match_memories(recording)
    assert (match.scores["too_many"] == 3).all()
    assert (match.scores["asks"] == 9).all()
    assert (match.scores["score"] == 1).all()
    assert "; 3 queries of more items than reads are not scored; " in match.headline()
    assert "each queried item has the largest weight of a read" in match.headline()


def test_the_questions_followed_best_are_drawn(make_stories):
    match = match_memories(make_stories(), trials=4)
    assert match.grids == ()
    table = match.asks.loc["fwm", "model-1"]
    assert [len(grid.items) for grid in match.questions] == [
        3,
        3,
        2,
        2,
    ]  # three in the first stream, answered wrongly
    assert all(table.loc[grid.ask, "correct"] for grid in match.questions)
    shares = table.loc[[grid.ask for grid in match.questions], "share"].to_numpy()
    assert shares[0] >= shares[1]
    assert set(match.arrays()) == {f"match_fwm_model-1_ask-{grid.ask}" for grid in match.questions}
    assert len(match_memories(make_stories(), trials=99).questions) == 12


def test_questions_can_be_chosen_by_number(make_stories, make_recording):
    match = match_memories(make_stories(), asks=(5, 2))
    assert [grid.ask for grid in match.questions] == [5, 2]
    assert [grid.ask for grid in match_memories(make_recording(), asks=(7,)).questions] == [7]
    with pytest.raises(AnalysisError, match=r"^asks: must be numbers from 1 to 12; got 13$"):
        match_memories(make_stories(), asks=(1, 13))


def test_several_reads_of_a_long_stream_are_drawn_by_question(make_recording, monkeypatch):
    recording = make_recording(reads=2)
    assert match_memories(recording).questions == ()
    monkeypatch.setattr("analysis.memory.matching.LARGEST_GRID", 10)
    assert len(match_memories(recording).questions) == 3
    assert match_memories(make_recording(reads=2, asked=False)).questions == ()


def test_recall_error_shows_a_rescale_that_is_left_out(make_stories):
    recording = make_stories(1)
    assert match_memories(recording).scores["recall_error"].max() < 1e-6
    recording["memory/fwm/write_keep"].values[:] = 1.0
    assert match_memories(recording).scores["recall_error"].max() > 1e-2


def test_a_task_without_tokens_has_steps_without_names(make_recording):
    recording = make_recording(members=1, tokens=False)
    recording["token"].values[:] = -1
    grid = match_memories(recording).grids[0]
    assert set(grid.row_labels) == set(grid.column_labels) == {""}

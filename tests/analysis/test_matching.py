"""Scores of reads against what was asked for."""

import numpy as np
import pytest

from analysis.logs import select
from analysis.matching import asked_writes, match_memories, score_asks
from analysis.population import AnalysisError

NAN = np.nan


def test_a_planted_memory_is_matched_and_a_shuffled_one_is_at_chance(make_recording):
    planted, shuffled = match_memories(make_recording()), match_memories(make_recording(trials=300, shuffled=True))
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


def test_scores_are_counts_of_hits():
    weight = np.array([[[0.5, -0.9, 0.1]], [[0.5, 0.9, NAN]], [[0.2, 0.2, 0.2]], [[0.1, NAN, NAN]], [[NAN, NAN, NAN]]])
    target = np.array([[1, 0, 0], [1, 0, 0], [1, 0, 1], [0, 1, 0], [1, 0, 0]], dtype=bool)
    hits, chance = score_asks(weight, target)
    np.testing.assert_allclose(hits, [1, 0, 2 / 3, NAN, NAN])
    np.testing.assert_allclose(chance, [1 / 3, 1 / 2, 2 / 3, NAN, NAN])


def test_reads_that_do_not_happen_neither_help_nor_hurt():
    once, padded = np.array([[[0.1, 0.4]]]), np.array([[[0.1, 0.4], [NAN, NAN]]])
    target = np.array([[True, False]])
    assert score_asks(once, target) == score_asks(padded, target) == (0.0, 0.5)


def test_two_reads_hit_more_often_by_chance_than_one():
    weight, target = np.array([[[0.1, 0.4], [0.5, 0.2]]]), np.array([[True, False]])
    assert score_asks(weight, target) == (1.0, 0.75)


def test_nothing_asked_gives_empty_scores():
    hits, chance = score_asks(np.empty((0, 2, 3)), np.empty((0, 3), dtype=bool))
    assert hits.shape == chance.shape == (0,)


def test_an_item_is_looked_for_in_the_last_trial_that_wrote_it(make_recording):
    recording = make_recording(members=1, trials=1, pairs=4)
    events = {
        "written": [0, 1, -1, 0, 2, -1, 1, 0, -1, -1, 1],
        "asked": [-1, -1, 0, -1, -1, 2, -1, 2, 3, 0, 1],
        "trial": [0, 0, 0, 1, 1, 1, 2, 2, 2, 2, 2],
    }
    for name, values in events.items():
        recording[name].values[:] = values
    steps = np.arange(11)
    found = asked_writes(select(recording, member=[0]), steps, steps)[0]
    assert {t: np.flatnonzero(found[t]).tolist() for t in steps if found[t].any()} == {
        2: [0],
        5: [4],
        7: [4],  # not written in this trial, but in the one before
        9: [7],
        10: [6, 10],  # twice in this trial; a memory that reads first does not find the second
    }


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
    assert aligned["share"].idxmax() == ("fast", 0, 0)
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
    recording = make_recording(members=1, reads=2)
    assert set(match_memories(recording, trials=1).grids[0].rows) == set(range(1, 11))
    monkeypatch.setattr("analysis.matching.LARGEST_GRID", 10)
    grid = match_memories(recording, trials=1).grids[0]
    assert grid.rows.tolist() == [10, 10]
    assert grid.reads.tolist() == [0, 1]
    assert set(match_memories(make_recording(members=1, asked=False), trials=1).grids[0].rows) == set(range(1, 11))


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
    with pytest.raises(AnalysisError, match=r"^--trials: expected 0 or more; got -1$"):
        match_memories(recording, trials=-1)
    with pytest.raises(AnalysisError, match=r"^--model: expected one of 1, 3, 5; got 2$"):
        match_memories(recording, model=2)


def test_results_are_tables_arrays_and_a_sentence(make_recording):
    match = match_memories(make_recording(), trials=2)
    assert set(match.tables()) == {"match_scores", "match_population", "match_aligned"}
    assert set(match.arrays()) == {f"match_fast_model-3_trial-{k}" for k in (1, 2)}
    assert match.headline() == (
        "memory fast: the largest weight is on the asked-for item in 100.0 % of asks (95 % interval 100.0 % to "
        "100.0 %, members: 3, asks: 20 in 20 sequences); chance 10.0 %; weights give what was read to "
        f"{match.scores['recall_error'].max():.0e} of the largest value"
    )
    assert "interval" not in match_memories(make_recording(members=1)).headline()


def test_nothing_is_written_to_the_recording(make_recording):
    recording = make_recording()
    before = recording.copy(deep=True)
    match_memories(recording)
    assert before.identical(recording)

"""How a population stands, from status files that others wrote."""

import os
import time

import pytest
from rich.console import Console

from emt import files
from emt.training.population import Chunk
from emt.training.progress import Display, describe, standing


@pytest.fixture
def chunks(make_config, tmp_path):
    """Return three chunks of 3, 2 and 2 models; the first is at step 30 of 120 and one of its models is done."""
    config = make_config(num_models=7)
    three = [Chunk(tmp_path, config, numbers) for numbers in ((1, 2, 3), (4, 5), (6, 7))]
    write(three[0], step=30, stacked=(1, 3), done={"2": "stopped early"})
    return three


def write(chunk, *, step, stacked, done=None, cost=None, rate=10.0):
    content = {
        "step": step,
        "total_steps": 120,
        "members": {n: {"step": step, "horizon": 4, "accuracy": 0.5, "frozen": False} for n in stacked},
        "done": done or {},
        "model_steps_per_s": rate,
        "seconds_per_model_step": cost,
    }
    files.write_json(chunk.status_path, content)


def test_chunks_that_nobody_started_count_as_work_left(chunks):
    now = standing(chunks)
    assert (now.members, now.done, now.model_steps_per_s) == (7, 1, 10.0)
    assert now.share == (2 * 30 + 120) / (7 * 120)
    assert "1 of 7 models done" in describe(now)


def test_the_time_left_is_when_the_last_chunk_ends_at_the_last_horizon(chunks):
    assert standing(chunks).seconds_at_most is None
    write(chunks[0], step=30, stacked=(1, 3), cost=0.5)
    one, two = 0.5 * 2 * 90, 0.5 * 2 * 120
    assert standing(chunks, 1).seconds_at_most == one + two + two
    assert standing(chunks, 2).seconds_at_most == one + two
    assert standing(chunks, 3).seconds_at_most == two
    write(chunks[1], step=60, stacked=(4, 5), cost=1.5)
    assert standing(chunks, 2).seconds_at_most == one + 1.0 * 2 * 120
    assert standing(chunks, 3).seconds_at_most == 1.0 * 2 * 120


def test_the_time_left_is_a_bound_where_models_may_stop_early(chunks, capsys):
    write(chunks[0], step=30, stacked=(1, 3), cost=0.1)
    assert describe(standing(chunks)).endswith(", estimated time remaining: 66 s")
    assert describe(standing(chunks), early=True).endswith(", time remaining: at most 66 s")
    Display(Console(soft_wrap=True), members=7, workers=3, stop_accuracy=0.9).show(chunks)
    assert capsys.readouterr().out.startswith(
        "Time remaining: at most 24 s for all epochs; models that reach"
    )


def test_a_machine_that_is_slower_than_measured_needs_longer(chunks):
    write(chunks[0], step=30, stacked=(1, 3), cost=0.1)
    expected = 0.1 * (2 * 90 + 4 * 120)
    assert standing(chunks).seconds_at_most == pytest.approx(expected)
    for rate, factor in ((1000.0, 1.0), (4.0, 2.5), (0.0, 1.0)):
        write(chunks[0], step=30, stacked=(1, 3), cost=0.1, rate=rate)
        assert standing(chunks).seconds_at_most == pytest.approx(factor * expected)


def test_a_chunk_that_an_earlier_version_started_costs_what_the_others_do(chunks):
    write(chunks[0], step=30, stacked=(1, 3), cost=0.1)
    write(chunks[1], step=60, stacked=(4, 5))
    content = files.read_json(chunks[1].status_path)
    del content["seconds_per_model_step"]
    files.write_json(chunks[1].status_path, content)
    assert standing(chunks).seconds_at_most == pytest.approx(0.1 * (2 * 90 + 2 * 60 + 2 * 120))


def test_members_that_an_earlier_process_finished_are_done(chunks):
    write(chunks[0], step=30, stacked=(1, 3))
    assert standing(chunks).done == 1


def test_what_failed_is_said_at_once_and_is_no_work_left(chunks):
    write(chunks[0], step=30, stacked=(1, 3), cost=0.1)
    write(chunks[1], step=60, stacked=(5,), done={"4": "finished"})
    for chunk in chunks[1:]:
        chunk.failed_path.touch()
    now = standing(chunks)
    assert (now.members, now.done, now.failed) == (7, 2, 3)
    assert now.seconds_at_most == pytest.approx(0.1 * 2 * 90)
    assert "2 of 7 models done, 3 failed, " in describe(now)


def test_the_rate_of_a_killed_process_is_not_counted(chunks):
    write(chunks[1], step=60, stacked=(4, 5))
    assert standing(chunks).model_steps_per_s == 20
    past = time.time() - 3600
    os.utime(chunks[1].status_path, (past, past))
    now = standing(chunks)
    assert now.model_steps_per_s == 10
    assert now.share == (2 * 30 + 120 + 2 * 60) / (7 * 120)


def test_nothing_is_known_before_anybody_started(chunks):
    chunks[0].status_path.unlink()
    now = standing(chunks)
    assert (now.done, now.share, now.seconds_at_most) == (0, 0.0, None)


@pytest.mark.parametrize(("hint", "wanted"), [("", "24 s."), ("Wait less.", "24 s. Wait less.")])
def test_the_first_estimate_ends_with_the_hint(hint, wanted, chunks, capsys):
    write(chunks[0], step=120, stacked=(), cost=0.1)
    write(chunks[1], step=60, stacked=(4, 5), cost=0.1)
    display = Display(Console(soft_wrap=True), members=7, workers=3, stop_accuracy=None, hint=hint)
    display.show(chunks)
    display.show(chunks)
    assert capsys.readouterr().out == f"Estimated time remaining: {wanted}\n"


@pytest.fixture
def stopping_early(make_config, tmp_path):
    """Return two chunks of models that stop early: of 3 at step 70, and of 2 that nobody has started."""
    config = make_config(num_models=5, stop_accuracy=0.9)
    chunks = [Chunk(tmp_path, config, numbers) for numbers in ((1, 2, 3), (4, 5))]
    write(chunks[0], step=70, stacked=(1, 2, 3), cost=0.1, rate=1000.0)
    return chunks


def write_course(chunk, at, spent):
    content = files.read_json(chunk.status_path)
    files.write_json(chunk.status_path, content | {"course": {"at": at, "spent": spent}, "stop_window": 10})


def test_nothing_is_expected_before_a_model_has_left_a_horizon(stopping_early):
    write_course(stopping_early[0], {"1": (4, 0), "2": (4, 0), "3": (4, 0)}, {})
    now = standing(stopping_early)
    assert now.seconds_expected is None
    assert describe(now, early=True).endswith("time remaining: at most 39 s")


def test_what_is_expected_follows_those_that_have_gone_on(stopping_early):
    """Horizons 4, 6 and 9: the first took 40 and 50 steps, the second 8, and the third at least a window of 10."""
    write_course(stopping_early[0], {"1": (9, 66), "2": (6, 65), "3": (6, 55)}, {"4": [40, 50, 50], "6": [8]})
    # Model 3 is 7 steps beyond the 8 of the one that has left: θ is 7 at the second horizon and thereafter.
    steps = (10 - 4 + 7) + (8 - 5 + 7 + 10 + 7) + (7 + 10 + 7)
    waiting = 2 * (40 + 10 + 8 + 7 + 10 + 7)
    now = standing(stopping_early)
    assert now.seconds_expected == pytest.approx(0.1 * (steps + waiting))
    assert describe(now, early=True).endswith("estimated time remaining: 23 s")


def test_no_more_is_expected_than_the_epochs_hold(stopping_early):
    write_course(stopping_early[0], {"1": (9, 0), "2": (4, 0), "3": (4, 0)}, {"4": [700]})
    now = standing(stopping_early)
    assert now.seconds_expected == pytest.approx(0.1 * ((700 - 70) * 0 + 3 * 50 + 2 * 120))
    assert now.seconds_expected == now.seconds_at_most

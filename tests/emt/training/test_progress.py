"""How a population stands, from status files that others wrote."""

import os
import time

import pytest
from rich.console import Console

from emt import runs
from emt.training.population import Chunk
from emt.training.progress import Display, describe, standing


@pytest.fixture
def chunks(make_config, tmp_path):
    """Return three chunks of 3, 2 and 2 models; the first is at step 30 of 120 and one of its models is done."""
    config = make_config(num_models=7)
    three = [Chunk(tmp_path, config, numbers) for numbers in ((1, 2, 3), (4, 5), (6, 7))]
    write(three[0], step=30, stacked=(1, 3), done={"2": "stopped early"})
    return three


def write(chunk, *, step, stacked, done=None, seconds_per_step=0.0):
    content = {
        "step": step,
        "total_steps": 120,
        "members": {n: {"step": step, "horizon": 4, "accuracy": 0.5, "frozen": False} for n in stacked},
        "done": done or {},
        "model_steps_per_s": 10.0,
        "seconds_per_step": seconds_per_step,
    }
    runs.write_json(chunk.status_path, content)


def test_chunks_that_nobody_started_count_as_work_left(chunks):
    now = standing(chunks)
    assert (now.members, now.done, now.model_steps_per_s) == (7, 1, 10.0)
    assert now.seconds_left == (2 * 90 + 4 * 120) / 10
    assert now.share == (2 * 30 + 120) / (7 * 120)
    assert "1 of 7 models done" in describe(now)


def test_steps_that_are_left_count_as_those_at_the_last_horizon_where_these_take_longer(chunks):
    write(chunks[0], step=30, stacked=(1, 3), seconds_per_step=0.1)
    assert standing(chunks).seconds_left == (2 * 90 + 4 * 120) / 10
    write(chunks[0], step=30, stacked=(1, 3), seconds_per_step=0.5)
    assert standing(chunks).seconds_left == 0.5 * (90 + 2 * 120)
    write(chunks[1], step=60, stacked=(4, 5), seconds_per_step=1.5)
    assert standing(chunks).seconds_left == (0.5 * 90 + 1.5 * 60 + (0.5 + 1.5) / 2 * 120) / 2


def test_members_that_an_earlier_process_finished_are_done(chunks):
    write(chunks[0], step=30, stacked=(1, 3))
    assert standing(chunks).done == 1


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
    assert (now.done, now.share, now.seconds_left) == (0, 0.0, None)


@pytest.mark.parametrize(("hint", "wanted"), [("", "to come."), ("Wait less.", "to come. Wait less.")])
def test_the_first_estimate_ends_with_the_hint(hint, wanted, chunks, capsys):
    write(chunks[0], step=120, stacked=(), seconds_per_step=0.5)
    write(chunks[1], step=60, stacked=(4, 5), seconds_per_step=0.5)
    display = Display(Console(soft_wrap=True), members=7, workers=3, stop_accuracy=None, hint=hint)
    display.show(chunks)
    display.show(chunks)
    assert capsys.readouterr().out == f"About 45 s for the epochs {wanted}\n"

"""Members on their way through the horizons, each by its own accuracy; no network is needed."""

from types import SimpleNamespace

import numpy as np
import pytest

from emt.config import TrainingConfig
from emt.training import curriculum
from emt.training.curriculum import Curriculum

NOBODY = np.zeros(3, bool)


@pytest.fixture
def make_curriculum(monkeypatch):
    """Return a function that makes three members' way through the horizons 4, 6 and 9."""
    monkeypatch.setattr(curriculum, "STOP_WINDOW", 2)

    def make(depends=True, **training):
        settings = {"curriculum_horizons": (4, 6, 9), "curriculum_threshold": 0.9, **training}
        return Curriculum(TrainingConfig(**settings), SimpleNamespace(curriculum=depends), 3)

    return make


def test_members_move_up_one_level_at_a_time_and_only_strictly_above_the_threshold(make_curriculum):
    course = make_curriculum()
    assert course.horizons().tolist() == [4, 4, 4]
    course.advance(1, np.array([0.9, 0.91, 1.0]), NOBODY)
    assert course.horizons().tolist() == [4, 6, 6]
    course.advance(2, np.array([1.0, 0.1, 1.0]), NOBODY)
    assert course.horizons().tolist() == [6, 6, 9]
    course.advance(3, np.array([1.0, 1.0, 1.0]), NOBODY)
    assert course.horizons().tolist() == [9, 9, 9]


@pytest.mark.parametrize(("depends", "switched_on"), [(False, True), (True, False)])
def test_without_a_curriculum_all_are_at_the_last_horizon(make_curriculum, depends, switched_on):
    course = make_curriculum(depends, curriculum=switched_on)
    course.advance(1, np.array([1.0, 1.0, 0.0]), NOBODY)
    assert course.horizons().tolist() == [9, 9, 9]


def test_the_first_step_above_the_threshold_at_the_last_horizon_is_remembered(make_curriculum):
    course = make_curriculum(curriculum=False)
    for step, accuracy in enumerate(([0.8, 0.95, 0.9], [0.92, 0.99, 0.9]), 1):
        course.advance(step, np.array(accuracy), NOBODY)
    assert course.progress.passed.tolist() == [2, 1, 0]
    course = make_curriculum()
    course.advance(1, np.ones(3), NOBODY)
    assert course.progress.passed.tolist() == [0, 0, 0], "steps at earlier horizons do not count"


def test_a_member_that_is_frozen_stays(make_curriculum):
    course, frozen = make_curriculum(), np.array([False, True, False])
    course.advance(1, np.ones(3), frozen)
    course.advance(2, np.ones(3), frozen)
    course.advance(3, np.ones(3), frozen)
    assert course.horizons().tolist() == [9, 4, 9]
    assert course.progress.diverged.tolist() == [0, 1, 0], "the step at which it was frozen, not a later one"
    assert course.progress.passed.tolist() == [3, 0, 3]


def test_members_may_stop_when_the_mean_of_a_full_window_reaches_stop_accuracy(make_curriculum):
    course = make_curriculum(curriculum=False, stop_accuracy=0.5)
    course.advance(1, np.array([1.0, 0.25, 0.5]), NOBODY)
    assert not course.may_stop(NOBODY).any(), "the window of two is not full"
    course.advance(2, np.array([0.0, 0.5, 1.0]), NOBODY)
    assert course.may_stop(NOBODY).tolist() == [True, False, True]
    assert course.may_stop(np.array([True, False, False])).tolist() == [False, False, True]
    course.advance(3, np.array([0.5, 0.5, 0.0]), NOBODY)
    assert course.may_stop(NOBODY).tolist() == [False, True, True], "only the last two batches count"
    assert not make_curriculum().may_stop(NOBODY).any()


def test_members_that_leave_take_their_progress_along(make_curriculum):
    course = make_curriculum()
    course.advance(1, np.array([0.1, 1.0, 0.1]), np.array([True, False, False]))
    course.keep(np.array([0, 1]))
    assert course.horizons().tolist() == [4, 6]
    assert course.progress.diverged.tolist() == [1, 0]
    assert course.progress.window.shape == (2, 2)
    course.move_to_last()
    assert course.horizons().tolist() == [9, 9]

"""Steps that members spend at each horizon, and the steps expected to come."""

import json

import pytest

from emt.training.course import Course, steps_to_come

HORIZONS = (4, 6, 9)


def test_a_course_counts_steps_at_each_horizon():
    course = Course()
    for step, horizon in enumerate([4, 4, 4, 6, 9, 9], start=1):
        course.record(7, step, horizon)
    course.leave(7, 6)
    assert course.spent == {4: [3], 6: [1], 9: [2]}


def test_a_course_goes_on_from_json():
    course, whole = Course(), Course()
    steps = list(enumerate([4, 4, 6, 6, 6, 9, 9], start=1))
    for step, horizon in steps:
        whole.record(2, step, horizon)
    for cut, (step, horizon) in enumerate(steps):
        course = Course.from_json(json.loads(json.dumps(course.to_json()))) if cut == 4 else course
        course.record(2, step, horizon)
    assert course == whole


@pytest.mark.parametrize(
    ("horizon", "steps", "spent", "expected"),
    [
        (4, 5, {}, None),
        (4, 5, {4: [20, 30, 40]}, 25 + 30 + 50),
        (4, 35, {4: [20, 30, 40]}, 5 + 30 + 50),
        (4, 46, {4: [20, 30, 40]}, 26 / 3 + 30 + 50),
        (6, 0, {4: [20], 6: [8, 12], 9: [60, 70]}, 10 + 65),
        (9, 15, {4: [20]}, 35),
        (9, 15, {9: [60, 70]}, 50),
        (6, 0, {9: [70]}, 70 + 70),
    ],
)
def test_steps_to_come(horizon, steps, spent, expected):
    assert steps_to_come(horizon, steps, spent, HORIZONS, 50) == (None if expected is None else pytest.approx(expected))

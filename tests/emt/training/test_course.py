"""Steps that members spend at each horizon, and the steps expected to come."""

import json

import numpy as np
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
    ("horizon", "steps", "spent", "present", "expected"),
    [
        (4, 5, {}, {4: [5]}, None),
        # Delay 20, θ = (0 + 10 + 20) / 2 = 15; nobody has left horizons 6 and 9: the same, in the last 50 at least.
        (4, 5, {4: [20, 30, 40]}, {}, (20 - 5 + 15) + (20 + 15) + (50 + 15)),
        # Two are still there: θ = (0 + 10 + 20 + 26 + 4) / 2 = 30, for those that come next too.
        (4, 46, {4: [20, 30, 40]}, {4: [46, 24]}, 30 + (20 + 30) + (50 + 30)),
        (6, 0, {4: [20], 6: [8, 12], 9: [60, 70]}, {}, (8 + 4) + (60 + 10)),
        # At the last horizon nobody has stopped within 35 and 5 steps beyond the window: as long again, 20.
        (9, 85, {4: [20]}, {9: [85, 55]}, 20),
        (9, 15, {9: [60, 70]}, {}, 45 + 10),
        (6, 0, {9: [70]}, {}, 70 + 70),
    ],
)
def test_steps_to_come(horizon, steps, spent, present, expected):
    found = steps_to_come(horizon, steps, spent, present, HORIZONS, 50)
    assert found == (None if expected is None else pytest.approx(expected))


def test_stragglers_are_counted():
    """Of 40 members that leave after 100 steps and an exponential time of mean 300, the 11 fastest have left."""
    rng, found, fastest = np.random.default_rng(0), [], []
    for _ in range(400):
        times = np.sort(100 + rng.exponential(300, 40))
        spent, present = {9: times[:11].tolist()}, {9: [times[10]] * 29}
        found.append(steps_to_come(9, times[10], spent, present, HORIZONS, 50))
        fastest.append(np.mean(times[:11]) - times[0])
    assert np.mean(found) == pytest.approx(300, rel=0.05)
    assert np.mean(fastest) < 100, "their own mean would be too short"

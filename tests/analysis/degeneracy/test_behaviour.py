import numpy as np
import pytest

from analysis.degeneracy.behaviour import measure_behaviour
from analysis.errors import AnalysisError
from emt import trace


def recorded(outputs, targets, rule, scored=None):
    members, batch, time, _ = outputs.shape
    variables = {
        "inputs": (("batch", "time", "channel"), np.zeros((batch, time, 1))),
        "targets": (("batch", "time", "target"), targets),
        "scored": (("batch", "time"), np.ones((batch, time), np.int8) if scored is None else scored),
        "outputs": ((*trace.MEMBER_TIME, "output"), outputs),
        "hidden": ((*trace.MEMBER_TIME, "unit"), np.zeros((members, batch, time, 0))),
    }
    return trace.make(variables, [1, 2], {"accuracy": rule} if rule else {})


def test_answers_by_sign_differ_where_one_number_does():
    targets = np.ones((1, 4, 2))
    outputs = np.ones((2, 1, 4, 2))
    outputs[1, 0, 0] = -1  # both numbers of a step
    outputs[1, 0, 1, 0] = -0.5  # one number
    found = measure_behaviour(recorded(outputs, targets, "sign"))
    assert found.disagreement.tolist() == [[0.0, 0.5], [0.5, 0.0]]
    assert found.accuracy.tolist() == [1.0, 5 / 8]
    assert found.loss.tolist() == [0.0, (4 + 4 + 2.25) / 8]
    # Steps that are not judged do not count.
    judged = np.array([[0, 0, 1, 1]], np.int8)
    assert measure_behaviour(recorded(outputs, targets, "sign", judged)).disagreement.max() == 0


def test_of_classes_the_largest_output_is_the_answer_and_the_loss_is_cross_entropy():
    targets = np.eye(3)[None]
    outputs = np.stack([np.log([[0.5, 0.25, 0.25], [0.2, 0.7, 0.1], [0.1, 0.1, 0.8]]), np.zeros((3, 3))])[
        :, None
    ]
    outputs[1, 0, :, 2] = 1e4
    found = measure_behaviour(recorded(outputs, targets, "argmax"))
    assert found.disagreement[0, 1] == pytest.approx(2 / 3)
    assert found.accuracy.tolist() == [1.0, pytest.approx(1 / 3)]
    assert found.loss[0] == pytest.approx(-np.log([0.5, 0.7, 0.8]).mean())
    assert found.loss[1] == pytest.approx(2e4 / 3)


def test_without_right_answers_nothing_is_compared():
    with pytest.raises(AnalysisError, match="no known right answers"):
        measure_behaviour(recorded(np.zeros((2, 1, 3, 1)), np.zeros((1, 3, 1)), None))

"""Windows and their continuation, and codes in which slots differ by magnitudes."""

import numpy as np
import pytest

from emt.codes import Codes, continued, magnitude_fit, share_explained
from emt.tasks.variable_binding import VariableBinding

SLOTS, WIDTH, UNITS = 4, 3, 11
POSITIONS = np.arange(SLOTS * WIDTH)


@pytest.mark.parametrize("code", [(7, 0, 0), (273, 0, 0), (273, 5, 3)])
def test_windows_go_on_as_the_task_does(code):
    task = VariableBinding(seq_length=3, input_dim=3, task_id=code)
    batch = task.test_batch(0, 3, 8, 5)
    windows = batch.inputs[0, :, :3].reshape(5, 9).astype(float)
    np.testing.assert_array_equal(continued(windows, task.operator(3), 8), batch.targets[0, :, 3:])


@pytest.mark.parametrize("strength", ["unit", "scalar"])
def test_a_code_of_magnitudes_is_its_own_fit(strength):
    """Ψ of slot j is diag(g_j) E, with numbers g_j for each unit, or one."""
    rng = np.random.default_rng(0)
    shared = rng.standard_normal((UNITS, WIDTH))
    factors = rng.standard_normal((UNITS if strength == "unit" else 1, SLOTS))
    basis = (factors[:, :, None] * shared[:, None]).reshape(UNITS, -1)
    fit = magnitude_fit(basis, POSITIONS, WIDTH, strength)
    np.testing.assert_allclose(fit, basis, atol=1e-12)
    assert share_explained(basis, fit) == pytest.approx(1)
    other = magnitude_fit(basis, POSITIONS, WIDTH, "scalar" if strength == "unit" else "unit")
    assert (share_explained(basis, other) > 0.99) == (strength == "scalar")


def test_of_random_directions_magnitudes_explain_the_more_the_freer_they_are():
    basis = np.random.default_rng(0).standard_normal((20, UNITS, len(POSITIONS)))
    shares = {
        s: share_explained(basis, magnitude_fit(basis, POSITIONS, WIDTH, s)) for s in ("unit", "scalar")
    }
    # The first of three singular values of 4 by 3 numbers explains a third at least; of 4 by 33 there are four.
    assert (shares["unit"] > 1 / 3).all()
    assert (shares["scalar"] > 1 / 4).all()
    assert shares["scalar"].mean() < 0.5
    assert (shares["unit"] > shares["scalar"]).all()


def test_slots_without_the_same_bits_have_no_fit():
    basis = np.ones((UNITS, 5))
    assert np.isnan(magnitude_fit(basis, np.array([0, 1, 2, 3, 5]), WIDTH, "unit")).all()


def test_the_next_slot_of_a_bit():
    nothing = np.zeros((1, 2, 6))
    codes = Codes(nothing, nothing.mT, np.arange(6), np.zeros((6, 2)))
    assert codes.moved_on().tolist() == [2, 3, 4, 5, 0, 1]
    assert Codes(nothing, nothing.mT, np.array([0, 1, 2]), np.zeros((6, 2))).moved_on().tolist() == [2, -1, 0]

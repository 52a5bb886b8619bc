"""Codes of variables in recorded states and their certificates."""

import numpy as np
import pytest

from analysis.variables.from_trajectories import (
    Trials,
    certify,
    column_angles,
    fit_each,
    fit_trajectories,
    reconstruct_each_step,
    task_windows,
)

TRIALS, STEPS, VARIABLES, UNITS = 23, 7, 4, 11


@pytest.fixture
def planted():
    """Return states of a code with noise, its basis, and the trials; all steps but the first are used."""
    rng = np.random.default_rng(0)
    variables = rng.choice([-1.0, 1.0], (TRIALS, STEPS, VARIABLES))
    variables[:, 0, :2] = np.nan
    used = np.ones((TRIALS, STEPS), dtype=bool)
    used[:, 0] = False
    basis, clock = rng.normal(size=(UNITS, VARIABLES)), 5 * rng.normal(size=(STEPS, UNITS))
    noise = 0.05 * rng.normal(size=(TRIALS, STEPS, UNITS))
    states = np.nan_to_num(variables) @ basis.T + clock + noise
    for array in (states, variables, used):
        array.setflags(write=False)
    return states, basis, Trials(variables, used)


def certificate_of(states, trials):
    return certify(
        fit_trajectories(states, trials), fit_each(states, trials, fit_trajectories), states, trials
    )


def test_windows_hold_the_last_vectors_oldest_first_and_start_anew_with_each_trial():
    values = np.arange(2 * 8 * 2.0).reshape(2, 8, 2)
    present = np.ones((2, 8), dtype=bool)
    present[0, 3] = False
    trial = np.array([[0] * 8, [0] * 5 + [1] * 3])
    windows = task_windows(values, present, trial, 3)
    assert windows.shape == (2, 8, 6)
    np.testing.assert_array_equal(windows[0, 1], [np.nan, np.nan, 0, 1, 2, 3])
    np.testing.assert_array_equal(windows[0, 2], [0, 1, 2, 3, 4, 5])
    np.testing.assert_array_equal(windows[0, 3], windows[0, 2])
    np.testing.assert_array_equal(windows[0, 4], [2, 3, 4, 5, 8, 9])
    np.testing.assert_array_equal(windows[1, 5], [np.nan] * 4 + [26, 27])


def test_a_planted_basis_is_found_whatever_all_trials_share(planted):
    states, basis, trials = planted
    code = fit_trajectories(states, trials)
    assert column_angles(code.basis, basis).max() < 1
    assert code.condition_number == pytest.approx(np.linalg.cond(basis), rel=0.02)
    used = trials.used
    assert np.abs(code.decode(states) - trials.variables)[used].max() < 0.3
    assert np.abs(code.encode(np.nan_to_num(trials.variables)) - states)[used].max() < 0.3
    swapped = Trials(trials.variables[..., ::-1], used)
    assert column_angles(fit_trajectories(states, swapped).basis, basis).max() > 10


def test_the_certificate_says_how_much_held_out_trials_follow_the_code(planted):
    states, _, trials = planted
    certificate = certificate_of(states, trials)
    noise = 0.05**2 * UNITS
    differing = np.var(states[:, 1:], axis=0).sum(axis=-1).mean()
    assert certificate.reconstruction.estimate == pytest.approx(1 - noise / differing, abs=2e-4)
    assert certificate.reconstruction.n == TRIALS
    assert certificate.reconstruction.low > 0.99
    assert certificate.reading.low > 0.99
    assert 0 < certificate.precision_deg < 1


def test_states_of_other_trials_have_no_code(planted):
    states, _, trials = planted
    shuffled = np.random.default_rng(1).permutation(states, axis=0)
    certificate = certificate_of(shuffled, trials)
    assert certificate.reconstruction.estimate < 0
    assert certificate.reading.estimate < 0
    assert certificate.precision_deg > 20


def test_a_basis_that_turns_with_time_shows_only_step_by_step(planted):
    states, _, trials = planted
    rng = np.random.default_rng(2)
    turned = np.stack(
        [np.nan_to_num(trials.variables[:, t]) @ rng.normal(size=(VARIABLES, UNITS)) for t in range(STEPS)],
        axis=1,
    )
    assert reconstruct_each_step(turned, trials) > 0.99
    assert certificate_of(turned, trials).reconstruction.estimate < 0.5
    assert reconstruct_each_step(states, trials) > 0.99
    assert np.isnan(reconstruct_each_step(states[:5], trials.take(np.arange(5))))


def test_one_trial_certifies_nothing(planted):
    states, _, trials = planted
    certificate = certificate_of(states[:1], trials.take(np.array([0])))
    assert np.isnan(certificate.reconstruction.estimate)
    assert np.isnan(certificate.precision_deg)


def test_too_few_trials_or_units_do_not_tell_variables_apart(planted):
    states, _, trials = planted
    constant = Trials(np.broadcast_to(trials.variables[:, 1:2], trials.variables.shape), trials.used)
    few = np.arange(3)
    assert np.isinf(fit_trajectories(states[few], constant.take(few)).condition_number)
    assert np.isfinite(fit_trajectories(states, constant).condition_number)
    assert np.isinf(fit_trajectories(states[..., :3], trials).condition_number)


def test_angles_between_columns():
    a = np.array([[1.0, 0.0, 1.0], [0.0, 2.0, 1.0]])
    b = np.array([[3.0, -1.0, 0.0], [0.0, 0.0, 1.0]])
    np.testing.assert_allclose(column_angles(a, b), [0, 90, 45], atol=1e-12)
    np.testing.assert_allclose(column_angles(a, -a), [180] * 3)
    assert np.isnan(column_angles(a, np.zeros_like(a))).all()

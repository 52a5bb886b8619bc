"""Variable memories of planted networks: found where they are, refused where they are not."""

import re
from dataclasses import replace

import numpy as np
import pytest

from analysis.errors import AnalysisError
from analysis.memory.log import select
from analysis.variables.find import find_variables
from analysis.variables.from_trajectories import column_angles

TASKS = {
    "repeat copy": {},
    "different delays": {"seq_length": 5, "task_id": (1 + 2**4 + 2**8, 0, 4)},
    "end marker": {"use_eos": True},
    "stream": {"seq_length": (5, 5), "infinite_horizon": True, "output_horizon": 9, "total_length": 60},
}


def angles(result, bases):
    return [column_angles(m.code.basis, q).max() for m, q in zip(result.found, bases, strict=True)]


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("estimator", ["powers", "trajectories"])
def test_an_exact_network_gives_back_its_basis_and_the_task(make_circuits, task, estimator):
    recording, bases, variables = make_circuits(TASKS[task])
    result = find_variables(recording, estimator=estimator)
    assert (result.members["estimator"] == estimator).all()
    assert max(angles(result, bases)) < 1e-4
    assert (result.members[["transition_angle_deg", "observed_angle_deg", "spectral_error_deg"]] < 1e-3).all(
        axis=None
    )
    assert result.members["transition_gain"].to_numpy() == pytest.approx([1, 1])
    assert (result.members[["reconstruction", "reading"]] > 0.9999).all(axis=None)
    complete = np.isfinite(variables[0]).all(axis=-1)
    assert result.shown.used.tolist() == complete.tolist()
    np.testing.assert_array_equal(result.shown.known[complete], variables[0, complete])
    np.testing.assert_allclose(result.shown.read[complete], variables[0, complete], atol=1e-4)


@pytest.mark.parametrize("condition", [1.0, 10.0, 1e3])
@pytest.mark.parametrize("weight_noise", [0.0, 0.01])
def test_planted_circuits_are_recovered_to_less_than_a_degree(make_circuits, condition, weight_noise):
    recording, bases, _ = make_circuits(condition=condition, weight_noise=weight_noise)
    result = find_variables(recording)
    assert len(result.found) == len(bases)
    assert max(angles(result, bases)) < 1
    assert (result.members["observed_angle_deg"] < 1).all()
    assert result.members["condition_number"].to_numpy() == pytest.approx([condition] * 2, rel=0.02)


@pytest.mark.parametrize("condition", [1.0, 10.0, 1e3])
def test_transitions_of_networks_that_run_on_noise_are_recovered_to_less_than_a_degree(
    make_circuits, condition
):
    recording, bases, _ = make_circuits(condition=condition, circuit_noise=0.01, rolled=True)
    result = find_variables(recording)
    assert len(result.found) == len(bases)
    assert (result.members[["transition_angle_deg", "observed_angle_deg"]] < 1).all(axis=None)
    assert (result.members["observed_angle_deg"] > 0.1).all()
    # Each answer is a step further from the circuit: the directions themselves have moved.
    assert 1 < np.mean([column_angles(m.code.basis, q) for m, q in zip(result.found, bases, strict=True)]) < 2


def test_noise_that_breaks_a_network_leaves_it_without_variables(make_circuits):
    """Entries of an ill-conditioned W are large against the circuit: 1 % of them gives eigenvalues far above 1."""
    recording, *_ = make_circuits(condition=1e3, weight_noise=0.01, rolled=True)
    assert np.abs(np.linalg.eigvals(recording["step_matrix"].to_numpy())).max() > 5
    result = find_variables(recording)
    assert result.found == ()
    mild = find_variables(make_circuits(condition=3.0, weight_noise=0.01, rolled=True)[0])
    assert (mild.members[["transition_angle_deg", "observed_angle_deg"]] < 1).all(axis=None)


def test_the_headline_says_what_a_basis_for_each_step_would_explain(make_circuits):
    result = find_variables(make_circuits(condition=1e8)[0])
    texts = [
        replace(result, members=result.members.assign(reconstruction_each_step=each)).headline()
        for each in (0.75, 0.0, np.nan)
    ]
    said = "(with a separate basis at each step, reconstruction 0.75)"
    assert [said in text for text in texts] == [True, False, False]
    assert "separate basis" not in texts[1] + texts[2]


@pytest.mark.parametrize("weight_noise", [0.0, 0.01])
def test_a_condition_number_of_a_hundred_million_is_not_identifiable(make_circuits, weight_noise):
    result = find_variables(make_circuits(condition=1e8, weight_noise=weight_noise)[0])
    assert result.found == ()
    assert result.shown is None
    assert (result.members["estimator"] == "none").all()
    assert result.members["condition_number"].isna().all()
    assert "model-3 not identifiable: powers: condition number" in result.headline()
    assert result.arrays() == {}


def test_the_headline_gives_few_reasons_and_names_all(make_circuits):
    result = find_variables(make_circuits(members=5, condition=1e8)[0])
    *reasons, others = result.headline().splitlines()[1:]
    assert [line.partition(" ")[0] for line in reasons] == ["model-1", "model-3", "model-5"]
    assert others == "also not identifiable (reasons in variables_estimates): model-7, model-9"


def test_powers_of_noisy_weights_are_taken_only_as_far_as_they_hold(make_circuits):
    recording, bases, _ = make_circuits(condition=10.0, weight_noise=0.01)
    powers = find_variables(recording, estimator="powers")
    assert max(angles(powers, bases)) > 1
    assert powers.members["precision_deg"].isna().all()
    result = find_variables(recording)
    assert (result.members["estimator"] == "trajectories").all()
    assert (result.members["agreement_deg"] > 0.1).all()
    verdicts = find_variables(make_circuits(condition=1e3)[0]).estimates["verdict"]
    assert verdicts.xs("powers", level="estimator").str.startswith("condition number").all()
    assert (verdicts.xs("trajectories", level="estimator") == "identified").all()


def test_a_state_in_two_tensors_is_one_state(make_circuits):
    recording, bases, _ = make_circuits(split=12)
    whole = find_variables(recording)
    assert whole.found[0].code.basis.shape == (29, 15)
    assert max(angles(whole, bases)) < 1e-4
    # The planted readout takes from the second tensor too; as in an LSTM the trace has it for the first alone.
    assert (whole.members["estimator"] == "trajectories").all()


def test_what_all_trials_share_is_no_variable(make_circuits):
    recording, bases, _ = make_circuits(clock=3.0)
    result = find_variables(recording, estimator="trajectories")
    assert max(angles(result, bases)) < 1e-3
    assert (result.members["shared_activity"] > 0.9).all()
    quiet = find_variables(make_circuits()[0], estimator="trajectories")
    assert (quiet.members["shared_activity"] < 0.2).all()


def test_a_network_that_keeps_other_trials_has_no_variables(make_circuits):
    recording = make_circuits(trials=40)[0].copy(deep=True)
    hidden = recording["hidden"]
    hidden.values[:] = np.roll(hidden.values, 1, axis=1)
    result = find_variables(recording)
    assert result.found == ()
    assert (result.estimates["reading"] < 0).all()
    assert "held-out reconstruction" in result.headline()
    assert "share directions" not in result.headline()
    assert not result.codes().known.any()


def test_variables_that_share_directions_are_said_to(make_circuits):
    recording = make_circuits(condition=1e3, trials=40)[0].copy(deep=True)
    hidden = recording["hidden"]
    noise = np.random.default_rng(4).normal(size=hidden.shape)
    hidden.values[:] += 0.05 * noise
    [first, second] = find_variables(recording, estimator="trajectories").estimates["verdict"]
    for verdict in (first, second):
        assert re.search(
            r"the variables explain 9\d\.\d% of the states: they share directions \(condition", verdict
        )
    drowned = make_circuits(condition=1.0, trials=40)[0].copy(deep=True)
    drowned["hidden"].values[:] += 4 * noise
    verdicts = find_variables(drowned, estimator="trajectories").estimates["verdict"]
    assert verdicts.str.contains("held-out reading").all()
    assert not verdicts.str.contains("share directions").any()


def test_variables_that_share_directions_can_be_exchanged_and_their_reader_reads(make_circuits):
    """Ψ* multiplies noise by a thousand; the least-squares reader weighs it, and is better than nothing."""
    recording = make_circuits(condition=1e3, trials=40)[0].copy(deep=True)
    recording["hidden"].values[:] += 0.05 * np.random.default_rng(4).normal(size=recording["hidden"].shape)
    result = find_variables(recording, estimator="trajectories")
    assert result.found == ()
    codes = result.codes()
    assert codes.known.all()
    assert codes.fitted == 40
    states = np.asarray(recording["hidden"], dtype=float)
    used = np.asarray(recording["scored"], dtype=bool).all(axis=0)
    for place in range(len(states)):
        centred = (states[place] - states[place].mean(axis=0))[:, used].reshape(-1, states.shape[-1])
        read, misread = centred @ codes.reader[place].T, centred @ np.linalg.pinv(codes.basis[place]).T
        # Least squares shrinks, so that what is read is no larger than ±1.
        assert np.mean(read**2) < 1
        assert np.mean(misread**2) > 10


def test_a_model_without_a_linear_readout_is_judged_by_its_trajectories(make_circuits):
    recording = make_circuits()[0].copy()
    del recording["readout"]
    result = find_variables(recording)
    assert (result.estimates.xs("powers", level="estimator")["verdict"] == "no linear readout").all()
    assert (result.members["estimator"] == "trajectories").all()
    assert result.members["agreement_deg"].isna().all()


def test_model_and_trial_choose_what_is_shown(make_circuits):
    recording, _, variables = make_circuits()
    shown = find_variables(recording, model=3, trial=4).shown
    assert (shown.model_name, shown.trial) == ("model-3", 4)
    np.testing.assert_allclose(shown.read[-1], variables[3, -1], atol=1e-4)
    with pytest.raises(AnalysisError, match=r"^model: must be one of 1, 3; got 2$"):
        find_variables(recording, model=2)
    with pytest.raises(AnalysisError, match=r"^trial: must be 1 to 17; got 18$"):
        find_variables(recording, trial=18)


def test_tasks_without_a_theory_and_old_recordings_are_refused(make_circuits, make_recording):
    with pytest.raises(AnalysisError, match="task 'unknown' has no linear operator"):
        find_variables(make_recording())
    old = make_circuits()[0].copy()
    del old["step_matrix"]
    with pytest.raises(AnalysisError, match="expected a recorded run with 'step_matrix'; record it again"):
        find_variables(old)


@pytest.mark.parametrize("name", ["operator", "step_matrix", "readout", "hidden"])
def test_numbers_that_are_not_finite_are_refused(make_circuits, name):
    recording = make_circuits()[0].copy(deep=True)
    recording[name].values.reshape(-1)[-1] = np.nan
    with pytest.raises(AnalysisError, match=f"expected finite numbers in '{name}'; got NaN or infinity"):
        find_variables(recording)


def test_a_single_trial_identifies_nothing(make_circuits):
    result = find_variables(select(make_circuits()[0], batch=[0]))
    assert result.found == ()


def test_results_are_tables_arrays_and_a_sentence(make_circuits):
    recording, _, _ = make_circuits({"task_id": (1 + 2**4 + 2**8, 0, 0)}, members=3)
    result = find_variables(recording)
    kept = len(result.theory.positions)
    assert kept == 12
    tables = result.tables()
    assert tables["variables_members"].index.tolist() == ["model-1", "model-3", "model-5"]
    assert tables["variables_estimates"].index.names == ["model_name", "estimator"]
    assert tables["variables_population"].loc["reconstruction", "n"] == 3
    assert tables["variables_trial"].shape == (18 * kept, 2)
    shapes = {name: array.shape for name, array in result.arrays().items()}
    assert shapes == {
        "variables_basis": (3, 29, kept),
        "variables_dual": (3, kept, 29),
        "variables_transition": (3, kept, kept),
        "variables_transition_observed": (3, kept, kept),
    }
    assert result.headline().startswith("variable memories in 3 of 3 members (from ")


def test_nothing_is_written_to_the_recording(make_circuits):
    recording = make_circuits()[0]
    before = recording.copy(deep=True)
    find_variables(recording)
    assert before.identical(recording)

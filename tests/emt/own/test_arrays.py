"""States given as arrays: what is not given is absent, and trials that are not the same are not compared."""

import numpy as np
import pytest
import xarray as xr

import emt
from analysis import analyse_topology, compare_states, measure_dimensionality
from analysis.errors import AnalysisError
from emt import trace
from emt.errors import UserError

MEMBERS, TRIALS, STEPS, UNITS = 3, 6, 8, 5
LENGTHS = [8, 6, 8, 7, 6, 8]


@pytest.fixture
def states():
    return np.random.default_rng(0).normal(size=(MEMBERS, TRIALS, STEPS, UNITS)).astype(np.float32)


def ragged(states):
    """Return members as lists of trials that end where LENGTHS says."""
    return [[trial[:length] for trial, length in zip(member, LENGTHS, strict=True)] for member in states]


def test_what_is_not_given_is_absent(states, tmp_path):
    run = emt.from_arrays(states, label="animals")
    sizes = run.recording.sizes
    assert (sizes["channel"], sizes["target"], sizes["output"]) == (0, 0, 0)
    absent = {"present", "units", "step_matrix", "readout", "operator", "token", "group"}
    assert not absent & set(run.recording.data_vars)
    np.testing.assert_array_equal(run.recording["hidden"], states)
    run.save(tmp_path)
    xr.testing.assert_identical(trace.load(tmp_path / "traces" / f"seq{STEPS}.nc"), run.recording)
    [entry, *_] = run.summary()["metrics"]
    assert np.isnan(entry["accuracy"])
    assert not any(name.startswith("eigenvalues") for name in entry)


def test_trials_of_different_length_are_told_in_three_ways(states):
    expected = emt.from_arrays(ragged(states)).recording
    padded = states.copy()
    for trial, length in enumerate(LENGTHS):
        padded[:, trial, length:] = np.nan
    for other in (emt.from_arrays(padded), emt.from_arrays(states, lengths=LENGTHS)):
        xr.testing.assert_identical(other.recording, expected)
    assert expected["present"].values.sum(axis=1).tolist() == LENGTHS


def test_tails_do_not_count(states):
    """What stands behind a trial's end changes no number."""
    tails = states.copy()
    for trial, length in enumerate(LENGTHS):
        tails[:, trial, length:] = 1e3
    for analyse in (
        lambda r: analyse_topology(r, points=20, null_clouds=19).tests.members,
        lambda r: measure_dimensionality(r).members,
        lambda r: compare_states({"a": r}).sets,
    ):
        a, b = (analyse(emt.from_arrays(s, lengths=LENGTHS).recording) for s in (states, tails))
        np.testing.assert_array_equal(a.to_numpy(), b.to_numpy())
    whole, cut = (emt.from_arrays(states, lengths=n).recording for n in (None, LENGTHS))
    assert not measure_dimensionality(whole).members.equals(measure_dimensionality(cut).members)


def test_a_mask_of_all_steps_changes_no_bit(states):
    plain = emt.from_arrays(states).recording
    masked = plain.assign(present=xr.Variable(("batch", "time"), np.ones((TRIALS, STEPS), np.int8)))
    for analyse in (
        lambda r: analyse_topology(r, points=20, null_clouds=19).tests.members,
        lambda r: measure_dimensionality(r).members,
        lambda r: compare_states({"a": r}).sets,
    ):
        np.testing.assert_array_equal(analyse(plain).to_numpy(), analyse(masked).to_numpy())


def test_members_of_different_size_are_what_they_are_alone(states):
    """Units that only others have are no units: not in distances, not in the dimensions that random states fill."""
    members = [member[..., :size] for member, size in zip(states, (3, 5, 4), strict=True)]
    together = emt.from_arrays(members, label="a").recording
    assert trace.unit_counts(together) == (3, 5, 4)
    alone = [emt.from_arrays([member], label="a").recording for member in members]
    random, smallest = (measure_dimensionality(r).members for r in (together, alone[0]))
    assert "48 states of 3 to 5 numbers" in measure_dimensionality(together).headline()
    of_first = ("model-1", "random")
    np.testing.assert_array_equal(random.loc[of_first], smallest.loc[of_first])
    assert (random.loc[of_first] < random.loc["model-2", "random"]).all()
    within = compare_states({"a": together}).distances
    between = compare_states({str(k): one for k, one in enumerate(alone)}).distances
    for measure, distances in within.items():
        np.testing.assert_allclose(distances, between[measure], atol=1e-9, err_msg=measure)


def test_matrices_of_a_step_are_those_of_each_members_units():
    members = [np.ones((2, 4, size)) * np.arange(1, 5)[:, None] for size in (2, 3)]
    rotations = [np.array([[0.0, -1], [1, 0]]), np.diag([0.9, 0.5, 0.1])]
    run = emt.from_arrays(members, step_matrix=rotations, label="fit")
    spectra = [np.array(entry["eigenvalues_rnn_seq4"]) for entry in run.summary()["metrics"]]
    np.testing.assert_allclose(sorted(map(tuple, spectra[0])), [(0, -1), (0, 1)], atol=1e-12)
    np.testing.assert_allclose(spectra[1], [(0.9, 0), (0.5, 0), (0.1, 0)], atol=1e-12)
    assert trace.about(run.recording).step_matrix == "given"


ORDER = [3, 0, 1, 2, 5, 4]


@pytest.mark.parametrize("known", ["inputs", "group", "trial_ids"])
def test_trials_in_another_order_are_refused(states, known):
    values = {
        "inputs": np.random.default_rng(1).normal(size=(TRIALS, STEPS, 2)),
        "group": np.array(["left", "left", "right", "up", "right", "down"]),
        "trial_ids": np.array([f"t{k}" for k in range(TRIALS)]),
    }[known]
    a, b = (
        emt.from_arrays(states[:, order], label="a", **{known: values[order]}).recording
        for order in (np.arange(TRIALS), np.array(ORDER))
    )
    with pytest.raises(AnalysisError, match=r"so that states compare one by one; .* of 'a' and 'b' differ"):
        compare_states({"a": a, "b": b})
    assert "Nothing tells" not in compare_states({"a": a, "b": a}).remark


def test_trials_of_which_nothing_is_known_are_compared_and_said(states):
    plain = emt.from_arrays(states).recording
    told = compare_states({"a": plain, "b": emt.from_arrays(states[::-1]).recording}).remark
    assert told.startswith(
        "Nothing tells which trials are those of a in b (no inputs, conditions or identities"
    )


def test_neurons_compare_with_networks_by_identities_of_trials(states):
    inputs, ids = np.random.default_rng(1).normal(size=(TRIALS, STEPS, 2)), np.arange(TRIALS)
    network = emt.from_arrays(states, inputs=inputs, trial_ids=ids).recording
    neurons = emt.from_arrays(states[:, :, :, :3], trial_ids=ids).recording
    assert compare_states({"network": network, "neurons": neurons}).n_states == TRIALS * STEPS
    with pytest.raises(AnalysisError, match="inputs of 'network' and 'neurons' differ"):
        compare_states({"network": network, "neurons": emt.from_arrays(states[:, :, :, :3]).recording})
    shorter = emt.from_arrays(ragged(states), trial_ids=ids).recording
    with pytest.raises(
        AnalysisError, match=r"lengths of 'network' and 'neurons' differ .*6 trials of 6 to 8 steps"
    ):
        compare_states({"network": network, "neurons": shorter})


def test_means_over_conditions_compare_members_of_other_trials(states):
    groups = [["a", "b", "a", "b", "a", "b"], ["b", "b", "a", "b"]]
    members = [ragged(states)[0], [states[1, k, :7] for k in range(4)]]
    run = emt.from_arrays(members, group=groups, average=True)
    recorded = run.recording
    assert trace.about(recorded).groups == ("a", "b")
    assert recorded["present"].values.sum(axis=1).tolist() == [6, 6] if "present" in recorded else True
    np.testing.assert_allclose(recorded["hidden"][0, 0], states[0, [0, 2, 4], :6].mean(axis=0), atol=1e-6)
    np.testing.assert_allclose(recorded["hidden"][1, 1], states[1, [0, 1, 3], :6].mean(axis=0), atol=1e-6)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"hidden": [np.ones((20, 4, 2)), np.ones((24, 4, 2))]},
            r"hidden: .*member 2 has 24, member 1 has 20 \(average",
        ),
        ({"hidden": [[np.ones((4, 2))], [np.ones((5, 2))]]}, "trial 0 has 5 in member 2, 4 in member 1"),
        ({"hidden": np.ones((3, 4, 2))}, "hidden: expected .* member 1, trial 0 has the axes"),
        (
            {"hidden": [[[[1.0], [np.nan], [2.0]]]]},
            "NaN only after a trial's end; not so in member 1, trial 0",
        ),
        ({"hidden": []}, "hidden: expected at least one member"),
        ({"average": True}, "group: expected the condition of each trial"),
        ({"average": True, "group": [1, 1, 2]}, "group: expected 2 conditions of member 1; got 3"),
        ({"step_matrix": np.ones((1, 3, 3))}, r"step_matrix: expected finite numbers \(2, 2\) of member 1"),
        ({"outputs": np.ones((1, 2, 5, 1))}, r"outputs: expected \(1, 2, 4\) and axes of its own"),
        (
            {"further": {"inputs": np.ones((1, 2, 4, 1))}},
            "further: expected names that recordings do not use",
        ),
        ({"inputs": np.ones((2, 5, 1))}, "lengths|inputs: expected 4 steps"),
        ({"seeds": [1, 2]}, "seeds: expected one for each of 1 members; got 2"),
    ],
)
def test_what_does_not_fit_is_refused(arguments, message):
    with pytest.raises(UserError, match=message):
        emt.from_arrays(**{"hidden": np.ones((1, 2, 4, 2)), **arguments})

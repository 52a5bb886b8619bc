"""One member's entry of the summary."""

import json
from dataclasses import replace

import numpy as np
import pytest

from analysis.errors import AnalysisError
from analysis.evaluation.summary import leading_eigenvalues, sequence_accuracy, summarise, wrong_outputs
from analysis.population import from_summary
from analysis.spectra.values import spectral_error
from analysis.variables.companion import companion_eigenvalues, companion_matrix

PER_LENGTH = {
    "eigenvalues_rnn",
    "eigenvalues_theory",
    "spectral_error_deg",
    "spectral_relative_error",
    "missing_modes",
    "angle_histogram_rnn",
    "magnitude_histogram_rnn",
}
REFERENCE = {"variance_ratio", "frob_error", "frob_relative", "eigenvalues_rnn_reference"}
PLAIN = {
    "model_name",
    "accuracy",
    "accuracy_interval",
    "accuracy_rule",
    "seq_lengths",
    "hidden_dim",
    "input_dim",
    "batch_size",
    "histogram_bins",
}


def repeat_copy(length, width):
    operator = np.zeros((length * width, width))
    operator[range(width), range(width)] = 1
    return operator


def keys_at(entry, length):
    return {key.removesuffix(f"_seq{length}") for key in entry if key.endswith(f"_seq{length}")}


def test_accuracy_counts_signs_and_zero_of_either_sign_as_positive():
    targets = np.array([[[1.0, -1.0], [1.0, 1.0], [-1.0, -1.0]]])
    outputs = np.array([[[0.2, -3.0], [-0.0, 0.0], [0.5, -0.1]]])
    scored = np.array([[True, True, False]])
    assert sequence_accuracy(outputs, targets, scored)[0] == 1
    assert sequence_accuracy(outputs, targets, ~scored)[0] == 0.5


def test_sequences_count_by_what_is_scored_in_them():
    targets = np.ones((2, 3, 1))
    outputs = np.array([[[1.0], [1.0], [1.0]], [[-1.0], [-1.0], [-1.0]]])
    scored = np.array([[True, True, True], [True, False, False]])
    assert sequence_accuracy(outputs, targets, scored)[0] == pytest.approx(3 / 4)


def test_the_interval_covers_the_true_rate_as_often_as_it_says():
    covered = 0
    for seed in range(200):
        rng = np.random.default_rng(seed)
        # All bits of a sequence are right or wrong together: counting bits would give far too narrow intervals.
        outputs = np.where(rng.random((40, 1, 1)) < 0.8, 1.0, -1.0) * np.ones((40, 5, 3))
        _, (low, high) = sequence_accuracy(outputs, np.ones((40, 5, 3)), np.ones((40, 5), dtype=bool))
        covered += low <= 0.8 <= high
    assert 0.88 <= covered / 200 <= 0.99


def test_intervals_are_repeatable_and_without_width_where_sequences_agree():
    rng = np.random.default_rng(2)
    targets = rng.choice([-1.0, 1.0], (6, 4, 3))
    scored = np.ones((6, 4), dtype=bool)
    outputs = rng.normal(size=targets.shape)
    assert sequence_accuracy(outputs, targets, scored) == sequence_accuracy(outputs, targets, scored)
    assert sequence_accuracy(targets, targets, scored) == (1.0, (1.0, 1.0))


def test_an_accuracy_that_is_undefined_is_nan():
    targets = np.ones((3, 4, 2))
    scored = np.ones((3, 4), dtype=bool)
    broken = targets.copy()
    broken[1, 2, 0] = np.nan
    assert np.isnan(sequence_accuracy(broken, targets, scored)[0])
    assert np.isnan(sequence_accuracy(targets, targets, ~scored)[0])
    assert sequence_accuracy(targets[:1], targets[:1], scored[:1])[0] == 1
    assert np.isnan(sequence_accuracy(targets[:1], targets[:1], scored[:1])[1]).all()


def test_an_exact_solution_in_a_rotated_basis_has_no_error(plant):
    member = plant(units=31, length=5, width=3, bulk=0.4)
    entry = summarise(member, {5: repeat_copy(5, 3)})
    assert entry["accuracy"] == 1
    assert entry["accuracy_interval"] == [1, 1]
    assert entry["spectral_error_deg_seq5"] < 1e-6
    assert entry["spectral_relative_error_seq5"] < 1e-10
    assert entry["missing_modes_seq5"] == 0
    # Another basis is a large error for the reference implementation's measure.
    assert entry["frob_relative_seq5"] > 0.5
    wrong = summarise(member, {6: repeat_copy(6, 3)})
    assert wrong["spectral_error_deg_seq6"] > 10


def test_the_entry_holds_the_documented_keys_and_goes_through_json(plant):
    member = plant(units=31, length=5, width=3, noise=0.05)
    entry = summarise(member, {4: repeat_copy(4, 3), 5: repeat_copy(5, 3)})
    assert {key for key in entry if "_seq" not in key} == PLAIN
    assert keys_at(entry, 4) >= PER_LENGTH | REFERENCE
    assert keys_at(entry, 5) - {"spectral_error_deg_reference"} == PER_LENGTH | REFERENCE
    assert [len(entry[f"eigenvalues_rnn_seq{s}"]) for s in (4, 5)] == [12, 15]
    assert (entry["hidden_dim"], entry["input_dim"], entry["batch_size"]) == (31, 3, 4)
    population = from_summary({"metrics": [json.loads(json.dumps(entry, allow_nan=False))]}, seq_length=5)
    assert np.allclose(population.eigenvalues[0], leading_eigenvalues(member.matrix, 15))
    assert np.allclose(population.theory, companion_eigenvalues(companion_matrix(repeat_copy(5, 3), 5)))
    assert population.scalars.loc["model-3", "spectral_error_deg"] == pytest.approx(
        spectral_error(population.eigenvalues[0], population.theory).angle_deg
    )


def test_a_network_narrower_than_the_window_is_summarised(plant):
    member = plant(units=13, length=5, width=3)
    entry = summarise(member, {5: repeat_copy(5, 3)})
    assert len(entry["eigenvalues_rnn_seq5"]) == 13
    assert entry["missing_modes_seq5"] >= 2
    assert "frob_error_seq5" not in entry
    assert np.isfinite(entry["spectral_error_deg_seq5"])


def test_without_an_operator_the_whole_spectrum_of_the_jacobian_is_stored(plant):
    member = plant(units=24, length=3, width=2)
    member = replace(member, recurrent=None, jacobian=member.recurrent)
    entry = summarise(member, {}, lengths=[7])
    assert keys_at(entry, 7) == {"eigenvalues_rnn", "angle_histogram_rnn", "magnitude_histogram_rnn"}
    assert len(entry["eigenvalues_rnn_seq7"]) == 24
    with_theory = summarise(member, {3: repeat_copy(3, 2)})
    assert keys_at(with_theory, 3) == PER_LENGTH


def test_weights_that_are_not_finite_are_named(plant):
    member = plant()
    broken = np.array(member.recurrent)
    broken[2, 3] = np.nan
    with pytest.raises(AnalysisError, match=r"model-3: expected finite numbers in W_hh; got NaN or infinity"):
        summarise(replace(member, recurrent=broken), {3: repeat_copy(3, 2)})


def test_without_a_matrix_there_is_no_spectrum(plant):
    member = plant()
    known, unknown = (summarise(m, {3: repeat_copy(3, 2)}) for m in (member, replace(member, recurrent=None)))
    assert any(name.endswith("_seq3") for name in known)
    assert not any(name.endswith("_seq3") for name in unknown)
    assert unknown["accuracy"] == known["accuracy"]


def test_by_argmax_an_output_is_right_when_the_largest_number_is_in_the_right_place():
    outputs = np.array([[[0.1, -3.0, 2.0], [5.0, 5.0, 1.0]], [[-1.0, -2.0, -3.0], [0.0, 1.0, 0.0]]])
    targets = np.eye(3)[[[2, 1], [0, 1]]]
    wrong = wrong_outputs(outputs, targets, "argmax")
    assert wrong.tolist() == [[[False] * 3, [True, False, False]], [[False] * 3, [False] * 3]]
    everything = np.ones((2, 2), dtype=bool)
    accuracy, (low, high) = sequence_accuracy(outputs, targets, everything, "argmax")
    assert accuracy == 0.75
    assert (low, high) == (0.5, 1.0)
    assert sequence_accuracy(outputs, targets, everything)[0] != 0.75, "signs would count each number"
    assert sequence_accuracy(outputs, targets, ~wrong.any(axis=2), "argmax")[0] == 1


def test_by_argmax_predictions_are_probabilities(plant):
    member = plant()
    assert member.predictions is member.outputs
    choosing = replace(member, rule="argmax", outputs=7000 * member.outputs)
    np.testing.assert_allclose(choosing.predictions.sum(axis=-1), 1)
    np.testing.assert_array_equal(choosing.predictions.argmax(axis=-1), member.outputs.argmax(axis=-1))

"""Populations as read from a summary, and what is said of numbers that some members lack."""

import json

import numpy as np
import pandas as pd
import pytest

from analysis.errors import AnalysisError
from analysis.population import complex_of, from_summary, median_over_members, undefined_text
from analysis.spectra.values import eigenvalue_statistics
from emt.files import read_json, write_json


def test_the_sign_of_zero_survives_the_file(tmp_path):
    """-1 - 0i has the angle -π and -1 + 0i has π: a mean angle of the two is 0, of one of them twice it is π."""
    values = np.array([complex(-1.0, -0.0), complex(-1.0, 0.0), complex(-0.0, 1.0)])
    write_json(tmp_path / "x.json", {"pairs": np.column_stack([values.real, values.imag])})
    read = complex_of(read_json(tmp_path / "x.json")["pairs"], "x")
    np.testing.assert_array_equal(np.signbit(read.real), np.signbit(values.real))
    np.testing.assert_array_equal(np.signbit(read.imag), np.signbit(values.imag))
    assert eigenvalue_statistics(read) == eigenvalue_statistics(values)
    pairs = np.array(read_json(tmp_path / "x.json")["pairs"])
    assert np.angle((pairs[:, 0] + 1j * pairs[:, 1])[0]) == np.pi  # the sum of parts


@pytest.mark.parametrize("broken", [[0.5, 0.1], [[0.5, 0.1], [0.2]], [[0.5, 0.1, 0.0]], "text", [["a", "b"]]])
@pytest.mark.parametrize("key", ["eigenvalues_rnn_seq8", "eigenvalues_theory_seq8"])
def test_a_spectrum_that_is_no_list_of_pairs_is_refused_in_one_line(make_summary, broken, key):
    summary = json.loads(json.dumps(make_summary(3, lengths=(8,))))
    summary["metrics"][0][key] = broken
    with pytest.raises(
        AnalysisError, match=rf"{key}: expected a list of pairs of numbers \[re, im\]; got"
    ) as error:
        from_summary(summary)
    assert "\n" not in str(error.value)


def test_members_without_a_number_are_counted_and_named():
    values = pd.Series([1.0, np.nan, 5.0, np.inf], index=["a", "b", "c", "d"])
    assert median_over_members(values) == 3.0
    assert undefined_text(values) == "undefined for 2 of 4: b, d"
    assert undefined_text(values.iloc[[0, 2]]) == ""
    assert np.isnan(median_over_members(values.iloc[[1]]))


def test_a_population_holds_each_model_once(make_summary):
    summary = make_summary(3, lengths=[8])
    twice = summary | {"metrics": [*summary["metrics"], summary["metrics"][1]]}
    with pytest.raises(AnalysisError, match=r"^mine: expected each model once; got model-2 \(2 times\)$"):
        from_summary(twice, label="mine")


def test_the_interval_of_an_accuracy_is_read_where_there_is_one(make_summary):
    summary = make_summary(3, lengths=[8])
    assert "accuracy_low" not in from_summary(summary).scalars
    for entry, interval in zip(summary["metrics"], ([0.5, 1], [None, None], [0.25, 0.75]), strict=True):
        entry["accuracy_interval"] = interval
    scalars = from_summary(summary).scalars
    np.testing.assert_array_equal(scalars["accuracy_low"], [0.5, np.nan, 0.25])
    np.testing.assert_array_equal(scalars["accuracy_high"], [1, np.nan, 0.75])


def test_members_have_one_theory(make_summary):
    summary = make_summary(3, lengths=[8])
    other = [[re + 1e-9, im] for re, im in summary["metrics"][1]["eigenvalues_theory_seq8"]]
    summary["metrics"][1]["eigenvalues_theory_seq8"] = other
    assert len(from_summary(summary)) == 3
    other[0][0] += 0.1
    name = summary["metrics"][1]["model_name"]
    with pytest.raises(
        AnalysisError, match=rf"eigenvalues_theory_seq8: expected one theory .* {name} has another"
    ):
        from_summary(summary)

"""Which conditions must agree, and what is said of those that do not."""

import dataclasses

import numpy as np
import pytest

from analysis.comparability import MEASUREMENT, Conditions, check_same, differences, remark
from analysis.errors import AnalysisError
from analysis.figures.spectra import comparison as figures
from analysis.spectra.comparison import compare_populations
from analysis.spectra.emergence import follow_training

ROOTS = np.exp(2j * np.pi * np.arange(5) / 5)
WHOLE = Conditions(8, 100, "sign", {"name": "variable_binding", "task_id": "T1", "bits": 4}, ROOTS)
OTHERS = {
    "seq_length": (4, "sequence length (a: 8, b: 4)"),
    "test_horizon": (None, "number of output steps (a: 100, b: unknown)"),
    "accuracy_rule": ("argmax", "accuracy rule (a: sign, b: argmax)"),
    "task": ({"name": "flip_flop", "bits": 4}, "task (a: variable_binding, b: flip_flop)"),
    "theory": (None, "theory (a: 5 modes, b: none)"),
}


@pytest.mark.parametrize("name", MEASUREMENT)
def test_each_condition_that_differs_is_named_with_what_each_set_has(name):
    value, text = OTHERS[name]
    sets = {"a": WHOLE, "b": dataclasses.replace(WHOLE, **{name: value})}
    assert differences(sets) == {name: text}
    assert differences(sets, tuple(set(MEASUREMENT) - {name})) == {}
    assert remark(sets) == f"The sets differ in {text}: what is found may be due to that."
    with pytest.raises(AnalysisError, match=r"^x; these differ in ") as error:
        check_same(sets, MEASUREMENT, "x")
    assert text in str(error.value)


def test_sets_in_the_same_conditions_need_no_remark():
    rounded = dataclasses.replace(WHOLE, theory=ROOTS * (1 + 1e-12), task=dict(WHOLE.task))
    assert differences({"a": WHOLE, "b": rounded, "c": WHOLE}) == {}
    assert remark({"a": Conditions(), "b": Conditions()}) == ""
    check_same({"a": WHOLE, "b": rounded}, MEASUREMENT, "x")


def test_of_one_task_the_options_that_differ_are_given():
    task = {"name": "variable_binding", "task_id": "T2", "bits": 4, "end": True}
    sets = {"a": WHOLE, "b": dataclasses.replace(WHOLE, task=task)}
    assert differences(sets)["task"] == "task (a: task_id T1 end null, b: task_id T2 end true)"
    many = {f"s{k}": Conditions(seq_length=k) for k in range(9)}
    assert differences(many)["seq_length"] == "sequence length (s0: 0, s1: 1, s2: 2, s3: 3, …)"


def test_spectra_at_other_lengths_are_compared_with_a_word(make_population):
    """Both sets are of one origin, but of the second 12 eigenvalues are kept, of the first 15."""
    first, second = (
        make_population(5, label="a", lengths=(5,)),
        make_population(5, label="b", lengths=(4,), seed=1),
    )
    result = compare_populations([first, second])
    assert result.distance_tests["p"].item() < 0.05
    assert (
        "The sets differ in sequence length (a: 5, b: 4); theory (a: 15 modes, b: 12 modes)"
        in result.headline()
    )
    assert "At other lengths spectra differ by construction" in result.headline()
    free = [dataclasses.replace(p, theory=None) for p in (first, second)]
    assert "by construction" not in compare_populations(free).headline()


def test_other_tasks_and_theories_are_said_in_headline_and_captions(make_population):
    first = dataclasses.replace(make_population(5, label="a"), task={"name": "variable_binding"})
    second = dataclasses.replace(
        make_population(6, label="b", seed=1), task={"name": "flip_flop"}, theory=ROOTS
    )
    result = compare_populations([first, second])
    text = "The sets differ in task (a: variable_binding, b: flip_flop); theory (a: 15 modes, b: 5 modes)"
    assert text in result.headline()
    captions = [" ".join(figure.get_suptitle().split()) for _, figure in figures.draw(result)]
    assert any(text in caption for caption in captions)
    same = compare_populations([first, dataclasses.replace(second, task=first.task, theory=first.theory)])
    assert "differ in" not in same.headline()


def test_accuracies_by_other_rules_are_not_compared(make_population):
    sets = [dataclasses.replace(make_population(5, label=x), accuracy_rule=x) for x in ("sign", "argmax")]
    result = compare_populations(sets)
    assert "accuracy" not in result.members
    assert (
        "Accuracies are not compared: sets differ in accuracy rule (sign: sign, argmax: argmax)"
        in result.headline()
    )
    alike = compare_populations([dataclasses.replace(p, accuracy_rule="sign") for p in sets])
    assert "accuracy" in alike.members


@pytest.mark.parametrize("name", ["test_horizon", "accuracy_rule", "task", "theory"])
def test_along_a_training_no_condition_may_change(make_population, name):
    population = make_population(4)
    value = {"test_horizon": 7, "accuracy_rule": "sign", "task": {"name": "x"}, "theory": ROOTS}[name]
    other = dataclasses.replace(population, **{name: value})
    with pytest.raises(
        AnalysisError, match=r"^step 9: expected an evaluation in the conditions of the first checkpoint"
    ):
        follow_training({0: population, 9: other})
    follow_training({0: population, 9: population})

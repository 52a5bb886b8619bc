"""Figures of one member."""

from dataclasses import replace

import matplotlib as mpl
import numpy as np

from analysis.evaluation.inspection import inspect_member
from analysis.figures.evaluation.inspection import draw_model, plot_full_spectrum, plot_trial
from analysis.figures.style import caption, save_figure
from analysis.figures.variables.from_powers import plot_transition

ALWAYS = {
    "test_sample",
    "eigenspectrum_full",
    "eigenvalue_angle_distribution",
    "eigenvalue_magnitude_distribution",
}
THEORY = {"phi_theoretical", "pca_subspace_analysis", "subspace_overlap_analysis"}
VARIABLES = {"phi_empirical_all_lengths", "transition_func_all_lengths", "variable_basis_eigenspectra"}
SEVERAL = {
    "multi_length_pca_analysis",
    "eigenvalue_distribution_vs_length",
    "eigenvalue_statistics_vs_length",
}


def repeat_copy(length, width):
    operator = np.zeros((length * width, width))
    operator[range(width), range(width)] = 1
    return operator


def names_of(inspection):
    names = []
    for name, figure in draw_model(inspection):
        names.append(name)
        assert figure.axes
        assert "n = " in caption(figure), name
        for ax in figure.axes:
            assert ax.has_data(), f"{name} has empty axes"
    assert len(names) == len(set(names))
    return set(names)


def test_one_length_has_the_figures_that_make_sense_for_it(plant):
    assert names_of(inspect_member(plant(), {3: repeat_copy(3, 2)})) == ALWAYS | THEORY | VARIABLES


def test_several_lengths_add_those_over_lengths(plant):
    member = plant(units=31, length=5, width=3)
    inspection = inspect_member(member, {s: repeat_copy(s, 3) for s in range(3, 8)})
    assert names_of(inspection) == ALWAYS | THEORY | VARIABLES | SEVERAL


def test_captions_say_when_states_are_of_some_sequences_only(plant):
    whole = plant()
    some = np.arange(3)
    part = replace(whole, hidden=whole.hidden[some], inputs=whole.inputs[some], recorded=some)
    text = f"states of 3 of {len(whole.scored)} sequences"
    for member, named in ((whole, set()), (part, VARIABLES | THEORY - {"phi_theoretical"})):
        figures = draw_model(inspect_member(member, {3: repeat_copy(3, 2)}))
        assert {name for name, figure in figures if text in caption(figure)} == named


def test_subspaces_that_fill_the_space_are_not_compared(plant):
    inspection = inspect_member(plant(units=13, length=5, width=3), {5: repeat_copy(5, 3)})
    assert names_of(inspection) == (ALWAYS | THEORY | VARIABLES) - {"subspace_overlap_analysis"}


def test_a_jacobian_has_no_variable_memories_and_without_a_theory_only_its_spectrum(plant):
    member = plant()
    member = replace(member, recurrent=None, jacobian=member.recurrent)
    assert names_of(inspect_member(member, {3: repeat_copy(3, 2)})) == ALWAYS | THEORY
    assert names_of(inspect_member(member, {}, lengths=[3])) == ALWAYS


def test_the_trial_shows_scored_steps_of_the_first_sequence(plant):
    member = plant(horizon=60)
    inspection = inspect_member(member, {3: repeat_copy(3, 2)})
    image = plot_trial(inspection, "target")
    assert np.array_equal(image.get_array(), member.targets[0, 1:41].T)
    error = plot_trial(inspection, "error").get_array()
    assert np.allclose(error, np.abs(member.outputs - member.targets)[0, 1:41].T)


def test_the_spectrum_shows_every_eigenvalue_once_and_no_padded_theory(plant):
    inspection = inspect_member(plant(), {3: repeat_copy(3, 2)})
    rest, leading, theory = plot_full_spectrum(inspection, inspection.lengths[0]).collections
    assert len(rest.get_offsets()) + len(leading.get_offsets()) == 24
    assert len(leading.get_offsets()) == 6
    assert len(theory.get_offsets()) == 3


def test_a_basis_that_is_not_identifiable_says_so(plant):
    narrow = inspect_member(plant(units=13, length=5, width=3), {5: repeat_copy(5, 3)})
    assert "not identifiable" in plot_transition(narrow, narrow.lengths[0]).get_title("left")
    wide = inspect_member(plant(), {3: repeat_copy(3, 2)})
    assert "not identifiable" not in plot_transition(wide, wide.lengths[0]).get_title("left")


def test_figures_are_saved_without_touching_the_settings(plant, tmp_path):
    before = dict(mpl.rcParams)
    inspection = inspect_member(plant(noise=0.1), {s: repeat_copy(s, 2) for s in (2, 3)})
    for name, figure in draw_model(inspection):
        (path,) = save_figure(figure, tmp_path / name, formats=("png",), dpi=50)
        assert path.stat().st_size > 1000
    assert dict(mpl.rcParams) == before


def test_where_the_largest_output_counts_a_cross_marks_the_wrong_choice(plant):
    member = plant()
    targets = np.eye(member.targets.shape[2])[member.targets.argmax(axis=2)]
    scored = np.zeros_like(member.scored)
    scored[:, -1] = True
    wrong = targets[:3, -1].argmax(axis=1)
    outputs = 5 * targets
    outputs[1, -1] = 5 * np.roll(targets[1, -1], 1)
    choosing = replace(member, outputs=outputs, targets=targets, scored=scored, rule="argmax")
    image = plot_trial(inspect_member(choosing, {}, [3]), "error")
    (crosses,) = image.axes.lines
    assert crosses.get_xdata().tolist() == [1], "one scored step of each sequence"
    assert crosses.get_ydata().tolist() == [(wrong[1] + 1) % targets.shape[2]]
    assert image.get_clim() == (0, 1)

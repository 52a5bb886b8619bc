"""A threshold of moduli hides eigenvalues in figures and changes no number."""

import numpy as np
import pandas as pd
import pytest

from analysis import AnalysisError, from_summary, summarise_eigenvalues
from analysis.figures.spectra.eigenvalue import draw, plot_overlay, plot_spectrum
from emt.commands.known_systems.summaries import plant_summary


@pytest.fixture
def population():
    return from_summary(plant_summary(4, lengths=[3]), label="a")


def points(ax):
    return sum(len(c.get_offsets()) for c in ax.collections if c.get_label() in ("model", "models"))


def test_figures_show_fewer_and_say_so_and_tables_stay(population):
    every = np.abs(np.concatenate(population.eigenvalues))
    threshold = float(np.sort(every)[5]) - 1e-9
    whole = summarise_eigenvalues(population)
    part = summarise_eigenvalues(population, magnitude_threshold=threshold)
    assert points(plot_overlay(whole)) == every.size
    assert points(plot_overlay(part)) == every.size - 5
    shown = [points(plot_spectrum(part, member)) for member in range(len(population))]
    assert sum(shown) == every.size - 5
    for name, table in whole.tables().items():
        pd.testing.assert_frame_equal(part.tables()[name], table)
    titles = {name: figure.get_suptitle() for name, figure in draw(part)}
    assert f"|λ| ≥ {threshold:g}" in titles["spectra_overlay"]
    assert f"|λ| ≥ {threshold:g}" in titles["complex_plane_examples"]
    assert all("≥" not in figure.get_suptitle() for _, figure in draw(whole))


@pytest.mark.parametrize("threshold", [-0.1, 1e9, float("nan")])
def test_a_threshold_that_leaves_nothing_is_refused(population, threshold):
    with pytest.raises(
        AnalysisError, match=r"^magnitude_threshold: must be from 0 to .*, the largest modulus; got"
    ):
        summarise_eigenvalues(population, magnitude_threshold=threshold)

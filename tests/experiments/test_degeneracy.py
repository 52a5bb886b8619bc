"""Degeneracy: groups of runs that differ in one thing, and a sweep from end to end."""

import numpy as np
import pandas as pd
import pytest

from analysis import Networks, measure_degeneracy
from emt.commands.known_systems.recordings import plant_answers, plant_states
from emt.commands.sweep import read
from experiments.degeneracy import sweep
from experiments.degeneracy.configs import FACTORS, OUTSIDE, SEEDS, SWEEPS
from experiments.degeneracy.figures import draw_widths

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@pytest.mark.parametrize("question", SWEEPS)
def test_runs_of_a_group_differ_in_its_setting_alone_and_have_the_same_seeds(question):
    configs = {config.metadata["experiment_name"]: config for config in read(f"degeneracy/{question}")}
    for factor in FACTORS[question].values():
        options = [
            {**configs[name].task, **configs[name].model, **configs[name].training.model_dump()}
            for name in factor.runs
        ]
        different = {key for own in options for key in own if own[key] != options[0][key]}
        assert different == {factor.setting}
        assert all(configs[name].training.num_models == SEEDS for name in factor.runs)
    assert set(configs) == {name for factor in FACTORS[question].values() for name in factor.runs}
    assert set(OUTSIDE) == set(SWEEPS)


def planted(setting, values, rng):
    networks = {}
    for value in values:
        outputs = np.where(rng.random((4, 12, 6, 1)) < 0.8, 1.0, -1.0)
        states = plant_states(rng.normal(size=(4, 12, 6, 3)))
        networks[f"{setting}{value}"] = Networks(
            states, plant_answers(outputs, np.ones((12, 6, 1))), {setting: value}
        )
    return measure_degeneracy(networks)


def test_the_figure_has_a_line_for_each_penalty_and_the_floor_of_dynamics(layout_faults):
    rng = np.random.default_rng(0)
    groups = {f"width_l2_{penalty}": planted("hidden_dim", (16, 32, 64), rng) for penalty in (0, 0.001)}
    figure = draw_widths(groups | {"bits": planted("bits", (1, 2, 3), rng)})
    assert layout_faults(figure) == []
    axes = {ax.get_title(): ax for ax in figure.axes[:2]}
    assert len(axes["dynamics with inputs"].containers) == 2
    rows = groups["width_l2_0"].settings.xs("dmdc", level="measure")
    drawn = axes["dynamics with inputs"].containers[0].lines[0]
    assert np.allclose(drawn.get_ydata(), rows["estimate"])
    assert np.allclose(drawn.get_xdata(), [4, 5, 6])


@pytest.mark.slow
@pytest.mark.usefixtures("in_this_process")
def test_a_sweep_ends_in_trends(tmp_path, capsys):
    words = "flip_flop --hidden_dim 16 --num_models 3 --epochs 1 --epoch_batches 2 --engine inline --accelerator cpu"
    assert sweep.main([*words.split(), "--output_dir", str(tmp_path)]) == 0
    summary = tmp_path / "degeneracy_flip_flop" / "summary"
    trends = pd.read_csv(summary / "degeneracy_trends.csv").set_index(["group", "measure"])
    assert ("penalty_units16", "dmdc") in trends.index
    assert trends["per"].unique().tolist() == ["setting"]
    assert (summary / "degeneracy.png").is_file()
    assert (summary / "penalty_units16" / "degeneracy_pairs.csv").is_file()
    assert "penalty_units16:" in capsys.readouterr().out

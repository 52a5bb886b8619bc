"""Delayed match: one command from training to the figure."""

import pytest

from experiments.delayed_match import sweep

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@pytest.mark.slow
@pytest.mark.usefixtures("in_this_process")
def test_one_command_trains_analyses_and_draws(tmp_path, layout_faults, monkeypatch):
    drawn = []
    draw = sweep.draw_population
    monkeypatch.setattr(sweep, "draw_population", lambda results: drawn.append(draw(results)) or drawn[0])
    monkeypatch.setattr(
        sweep,
        "ANALYSES",
        {name: f"{flags} --permutations 39".strip() for name, flags in sweep.ANALYSES.items()}
        | {"degeneracy": ""},
    )
    words = "rates --num_models 5 --epochs 1 --epoch_batches 3 --engine inline --accelerator cpu"
    assert sweep.main([*words.split(), "--output_dir", str(tmp_path)]) == 0
    folder = tmp_path / "delayed_match_rates" / "rates"
    assert (folder / "summary" / "delayed_match.png").is_file()
    for name in sweep.ANALYSES:
        assert list((folder / f"{name}_analysis").glob("*.csv"))
    assert layout_faults(drawn[0]) == []

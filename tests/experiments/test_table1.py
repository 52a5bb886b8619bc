"""The paper's table 1 from evaluations that are planted."""

import csv
import re

import numpy as np
import pytest

from analysis.spectra.values import spectral_error
from emt import files
from emt.errors import UserError
from emt.training.sweep import complete
from experiments.table1 import table
from experiments.table1.configs import CONFIGS

MODES = 1j ** np.arange(4)


def plant(folder, accuracies, degrees, reference=None, horizon=200, failed=(), missing=(), **changed):
    """Write an evaluation of networks whose modes are all turned by some angle; some lack the last one."""
    entries = []
    for i, (accuracy, degree) in enumerate(zip(accuracies, degrees, strict=True), 1):
        values = MODES[: len(MODES) - (i in missing)] * np.exp(1j * np.radians(degree))
        error = spectral_error(values, MODES)
        entry = {
            "model_name": f"model-{i}",
            "accuracy": accuracy,
            "spectral_error_deg_seq8": error.angle_deg,
            "spectral_relative_error_seq8": error.relative,
            "missing_modes_seq8": error.missing,
            "eigenvalues_rnn_seq8": [[v.real, v.imag] for v in values],
            "eigenvalues_theory_seq8": [[v.real, v.imag] for v in MODES],
        }
        entries.append(entry)
    if reference is not None:
        entries[0]["spectral_error_deg_reference_seq8"] = reference
    evaluation = {"evaluation": {"test_horizon": horizon}}
    content = {"metrics": entries, "evaluation_config": evaluation}
    files.write_json(
        folder / "evaluation_summary.json", content | {"failed": [{"model_name": n} for n in failed]}
    )
    config = next(c for c in CONFIGS if c.metadata["experiment_name"] == folder.name)
    files.write_json(folder / "config.json", complete(config).model_dump() | changed)


def test_medians_are_over_all_seeds_and_beside_them_over_those_that_converged(tmp_path, capsys):
    plant(tmp_path / "T2_hidden64_l2_0", [1.0, 0.995, 0.6, 0.5], [0.2, 0.4, 30.0, 40.0], reference=1.8)
    assert table.main([str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    [row] = csv.DictReader((tmp_path / "table1.csv").read_text().splitlines())
    assert (row["task"], row["units"], row["n"], float(row["converged"])) == ("T2", "64", "4", 0.5)
    assert float(row["angle"]) == pytest.approx(np.radians(15.2))
    assert float(row["angle_converged"]) == pytest.approx(np.radians(0.3))
    assert float(row["angle_low"]) < float(row["angle"]) < float(row["angle_high"])
    assert float(row["reference"]) == pytest.approx(np.radians(1.8))
    assert float(row["paper"]) == 0.0075
    assert "50%" in printed
    assert (
        "the 2 seeds of all populations that converged: angle 0.0052 (n = 2), reference 0.0314 (n = 1),"
        in printed
    )
    assert "Populations not evaluated yet: 15" in printed


def test_seeds_that_converged_are_put_together_over_populations(tmp_path, capsys):
    plant(tmp_path / "T2_hidden64_l2_0", [1.0, 0.995, 0.6], [0.2, 0.4, 30.0])
    plant(tmp_path / "T3_hidden64_l2_0", [1.0, 0.5], [2.0, 30.0])
    table.main([str(tmp_path)])
    assert (
        "the 3 seeds of all populations that converged: angle 0.0070 (n = 3), ref" in capsys.readouterr().out
    )


def test_modes_that_converged_seeds_lack_are_told_apart_from_angles(tmp_path, capsys):
    plant(tmp_path / "T3_hidden64_l2_0.001", [1.0, 1.0, 1.0, 0.6], [0.2, 0.5, 0.4, 0.1], missing=(2,))
    table.main([str(tmp_path)])
    [row] = csv.DictReader((tmp_path / "table1.csv").read_text().splitlines())
    assert (row["whole_n"], row["converged_n"]) == ("2", "3")
    assert float(row["angle_converged"]) == pytest.approx(np.radians(0.4))
    assert float(row["found_converged"]) == pytest.approx(np.radians(0.4))
    assert re.search(r"all modes +of found .*\n.*2 of 3 +0\.0070", capsys.readouterr().out)
    plant(tmp_path / "T3_hidden64_l2_0.001", [1.0, 1.0, 1.0, 0.6], [0.2, 0.5, 0.4, 0.1], missing=(1, 2))
    table.main([str(tmp_path)])
    [row] = csv.DictReader((tmp_path / "table1.csv").read_text().splitlines())
    assert float(row["angle_converged"]) == pytest.approx(np.radians((0.2 * 3 + 180) / 4))
    assert float(row["found_converged"]) == pytest.approx(np.radians(0.4))


def test_seeds_that_could_not_be_evaluated_have_not_converged(tmp_path, capsys):
    plant(tmp_path / "T2_hidden64_l2_0", [1.0, 0.995], [0.2, 0.4], failed=["model-3", "model-4"])
    table.main([str(tmp_path)])
    [row] = csv.DictReader((tmp_path / "table1.csv").read_text().splitlines())
    assert (row["n"], float(row["converged"]), row["accuracy_n"]) == ("4", 0.5, "2")
    printed = capsys.readouterr().out
    assert ", n = 2" in printed
    assert "Trained with other settings" not in printed


def test_populations_that_were_trained_otherwise_are_named(tmp_path, capsys):
    name = "T2_hidden64_l2_0"
    training = CONFIGS[0].model_dump()["training"] | {"curriculum_threshold": 0.96}
    plant(tmp_path / name, [1.0, 0.995], [0.2, 0.4], training=training)
    table.main([str(tmp_path)])
    assert (
        f"Trained with other settings, {name}: training.curriculum_threshold: 0.99 → 0.96"
        in capsys.readouterr().out
    )


def test_what_the_reference_leaves_undefined_is_said_to_be_so(tmp_path, capsys):
    plant(tmp_path / "T1_hidden64_l2_0", [1.0, 1.0], [0.1, 0.3])
    table.main([str(tmp_path)])
    assert "undefined" in capsys.readouterr().out


def test_another_horizon_or_nothing_evaluated_is_refused(tmp_path):
    with pytest.raises(UserError, match="expected evaluated populations such as T3_hidden64_l2_0"):
        table.main([str(tmp_path)])
    plant(tmp_path / "T1_hidden64_l2_0", [1.0], [0.1], horizon=50)
    with pytest.raises(UserError, match="--test_horizon 200; got 50"):
        table.main([str(tmp_path)])

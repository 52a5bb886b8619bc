"""GRUs with two latches, trained by a plain loop: what is due, and that they are recorded with their fixed points."""

import numpy as np
import pytest

from emt import dynamics_file, trace
from experiments.own_models import latches


def test_a_bit_is_the_last_input_that_set_it():
    inputs, bits = latches.trials("train", 3, 20)
    held = np.zeros((20, latches.BITS))
    for step in range(latches.LENGTH):
        held = np.where(inputs[:, step] != 0, inputs[:, step], held)
        np.testing.assert_array_equal(bits[:, step], held)
    assert 0.05 < (inputs[:, 1:] != 0).mean() < 0.15
    assert not np.array_equal(bits, latches.trials("test", 3, 20)[1])


@pytest.mark.slow
def test_networks_are_recorded_with_their_fixed_points(tmp_path):
    out = tmp_path / "run"
    small = ["--num_models", "2", "--hidden_dim", "3", "--steps", "2", "--trials", "4"]
    assert latches.main([*small, "--out", str(out)]) == 0
    recording = trace.load(out / "traces" / f"seq{latches.LENGTH}.nc")
    assert dict(recording["hidden"].sizes) == {"member": 2, "batch": 4, "time": latches.LENGTH, "unit": 3}
    assert dynamics_file.load(out / "dynamics" / f"seq{latches.LENGTH}.nc").sizes["member"] == 2

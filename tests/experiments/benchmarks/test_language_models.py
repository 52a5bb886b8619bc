"""The measurement of what recording a language model costs."""

import pytest

from emt.errors import UserError
from experiments.benchmarks import language_models

pytest.importorskip("transformers", reason="the extra 'hf' is not installed")


def test_a_log_has_the_size_that_its_numbers_need(capsys):
    """Two keys, two values and three rates a step and head, 4 bytes each: 8 steps, 16 heads."""
    assert language_models.main(["--steps", "8", "--turns", "1"]) == 0
    rows = [
        line.split() for line in capsys.readouterr().out.splitlines() if line.startswith(("Qwen", "Mamba"))
    ]
    sizes = {row[0]: float(row[2]) for row in rows}
    assert sizes["Qwen3-Next"] == pytest.approx(4 * 8 * 16 * (2 * 128 + 2 * 128 + 3) / 1e6, abs=1e-3)
    assert sizes["Mamba-2"] == pytest.approx(4 * 8 * 16 * (2 * 128 + 2 * 64 + 3) / 1e6, abs=1e-3)


def test_nothing_to_measure_is_refused():
    with pytest.raises(UserError, match="must be at least 1"):
        language_models.main(["--steps", "0"])

import pytest

from emt.config import RunConfig, TrainingConfig


@pytest.fixture
def make_config():
    """Return a small run; members reach different horizons within a few dozen steps."""

    def make(model="rnn", task=None, hidden_dim=24, bias=False, **training):
        settings = {
            "num_models": 4,
            "epochs": 2,
            "epoch_batches": 60,
            "batch_size": 16,
            "learning_rate": 5e-3,
            "curriculum_threshold": 0.68,
            "curriculum_horizons": (4, 6, 9),
            "validation_batches": 3,
        }
        return RunConfig(
            task={"name": "variable_binding", "seq_length": 3, "input_dim": 4, **(task or {})},
            model={"type": model, "hidden_dim": hidden_dim, "bias": bias},
            training=TrainingConfig(**(settings | training)),
        )

    return make

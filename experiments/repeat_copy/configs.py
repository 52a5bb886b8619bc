"""Repeat copy at the default size: 8 bits, sequences of 8, 128 units, fifty seeds."""

from emt.config import RunConfig, TrainingConfig

CONFIGS = (
    RunConfig(
        metadata={"experiment_name": "repeat_copy"},
        task={"name": "variable_binding", "seq_length": 8},
        model={"type": "rnn"},
        training=TrainingConfig(num_models=50, stop_accuracy=0.99),
    ),
)

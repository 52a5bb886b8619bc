"""Twenty rate networks that say whether the second of two noisy stimuli is the first one again."""

from emt.config import RunConfig, TrainingConfig

RATES = RunConfig(
    metadata={"experiment_name": "rates"},
    task={"name": "delayed_match"},
    model={"type": "rate_rnn", "hidden_dim": 48},
    training=TrainingConfig(
        num_models=20,
        learning_rate=1e-3,
        epochs=15,
        epoch_batches=100,
        batch_size=32,
        stop_accuracy=0.94,
        curriculum=False,
        curriculum_horizons=(1,),
        validation_batches=4,
    ),
)

SWEEPS = {"rates": (RATES,)}

OUTSIDE = ("shortest_delay=40", "longest_delay=40")
"""Trials other than in training: delays of twice the longest."""

"""Twenty rate networks that say whether the second of two noisy stimuli is the first one again."""

from emt.config import RunConfig
from experiments.populations import tested_every_100

RATES = RunConfig(
    metadata={"experiment_name": "rates"},
    task={"name": "delayed_match"},
    model={"type": "rate_rnn", "hidden_dim": 48},
    training=tested_every_100(
        5000, num_models=20, learning_rate=1e-3, stop_accuracy=0.97, validation_batches=16
    ),
)

SWEEPS = {"rates": (RATES,)}

OUTSIDE = ("shortest_delay=40", "longest_delay=40")
"""Trials other than in training: delays of twice the longest."""

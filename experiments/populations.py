"""Training that experiments without a curriculum share."""

from typing import Any

from emt.config import TrainingConfig

STEPS = 100
"""Training steps in an epoch."""


def tested_every_100(steps: int, **options: Any) -> TrainingConfig:
    """Return training without a curriculum, validated after every 100 steps, with further or other ``options``."""
    return TrainingConfig(
        **{
            "epochs": steps // STEPS,
            "epoch_batches": STEPS,
            "batch_size": 32,
            "curriculum": False,
            "curriculum_horizons": (1,),
            "validation_batches": 4,
            **options,
        }
    )

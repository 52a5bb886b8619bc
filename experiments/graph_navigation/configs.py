"""Agents on graph navigation: those of the paper's figure, what its program does otherwise, and other memories."""

from typing import Any

from emt.config import RunConfig, TrainingConfig

SEEDS = 3

FWM: dict[str, Any] = {"type": "fwm", "variant": "meta_rl", "hidden_dim": 32, "memory_dim": 16, "reads": 3}

EPOCH = 500
"""Updates between validations."""

KEPT = 1000
"""Updates between weights that are kept, and tested."""


def run(
    name: str, model: dict[str, Any], updates: int = 20_000, seeds: int = SEEDS, **task: Any
) -> RunConfig:
    """Return a population of agents, trained as published but for its seeds and the number of updates."""
    return RunConfig(
        metadata={"experiment_name": name},
        task={"name": "graph_navigation", **task},
        model=model,
        training=TrainingConfig(
            num_models=seeds,
            epochs=updates // EPOCH,
            epoch_batches=EPOCH,
            batch_size=600,
            learning_rate=1e-3,
            adam_epsilon=1e-4,
            gradient_clip=0.0,
            curriculum=False,
            curriculum_horizons=(1,),
            validation_batches=1,
            keep_checkpoints=tuple(range(0, updates + 1, KEPT)),
        ),
    )


def lstm(units: int) -> dict[str, Any]:
    """Return torch's LSTM with a linear readout."""
    return {"type": "lstm", "hidden_dim": units, "bias": True}


FIGURE_5 = (
    run("fwm", FWM),
    run("lstm_128", lstm(128)),
    run("lstm_512", lstm(512), updates=10_000, seeds=1),
)
"""The published agent, one of its baselines, and a smaller baseline with several seeds."""

CORRECTED = (
    run("fwm_own_critic", FWM, critic="own"),
    run("fwm_paper_inputs", FWM, sees="paper"),
    run("fwm_paper_dynamics", FWM, dynamics="paper"),
)
"""One at a time what the published program does otherwise than the paper."""

OTHERS = {
    "rnn": {"bias": True},
    "gru": {"bias": True},
    "alstm": {},
    "fw": {},
    "linear_attention": {},
    "deltanet": {},
    "attention": {},
    "dnd_lstm": {},
}

MEMORIES = tuple(
    run(name, {"type": name, "hidden_dim": 32, **options}, updates=10_000) for name, options in OTHERS.items()
)
"""Other networks of 32 units."""

SWEEPS = {"figure_5": FIGURE_5, "corrected": CORRECTED, "memories": MEMORIES}

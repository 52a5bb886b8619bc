"""Associative recall, induction and selective copying: each model with and without a convolution, at four rates."""

from typing import Any

from emt.config import RunConfig
from experiments.populations import tested_every_100

SEEDS = 10
RATES = (3e-4, 1e-3, 3e-3, 1e-2)

WIDTH: dict[str, Any] = {"hidden_dim": 32}

MODELS: dict[str, dict[str, Any]] = {
    "linear_attention": {"type": "linear_attention", **WIDTH, "heads": 2},
    "deltanet": {"type": "deltanet", **WIDTH, "heads": 2},
    "gated_deltanet": {"type": "gated_deltanet", **WIDTH, "heads": 2},
    "mamba2": {"type": "mamba2", **WIDTH, "heads": 2},
    "attention": {"type": "attention", **WIDTH, "heads": 1, "context_length": 513},
}
"""Models that are layers of a memory."""

CONDITIONS: dict[str, dict[str, Any]] = {
    "conv": {"layers": 1, "conv_size": 4},
    "no_conv": {"layers": 1, "conv_size": 0},
    "two_layers": {"layers": 2, "conv_size": 0},
}
"""A convolution shows a step the three tokens before its own; without one, a second layer may look them up."""

TITLES = {
    "conv": "convolution",
    "no_conv": "no convolution",
    "two_layers": "two layers, no convolution",
}
"""What figures call the conditions."""

NAMES = {
    "linear_attention": "linear attention",
    "deltanet": "DeltaNet",
    "gated_deltanet": "gated DeltaNet",
    "mamba2": "Mamba-2",
    "attention": "attention",
    "gru": "GRU",
}
"""What figures call the models."""

GRU: dict[str, Any] = {"type": "gru", **WIDTH, "bias": True}


def run(
    name: str,
    task: dict[str, Any],
    model: dict[str, Any],
    steps: int,
    rates: tuple[float, ...] = RATES,
) -> RunConfig:
    """Return a population with as many seeds at each learning rate; members that have learned the task stop."""
    return RunConfig(
        metadata={"experiment_name": name},
        task=task,
        model=model,
        training=tested_every_100(
            steps, num_models=SEEDS * len(rates), learning_rates=rates, batch_size=16, stop_accuracy=0.99
        ),
    )


def grid(task: dict[str, Any], steps: int) -> tuple[RunConfig, ...]:
    """Return a task's populations: each model in each condition, and a GRU."""
    runs = [
        run(f"{name}_{condition}", task, {**model, **options}, steps)
        for condition, options in CONDITIONS.items()
        for name, model in MODELS.items()
    ]
    return (*runs, run("gru", task, GRU, steps))


LONGER = tuple(
    run(
        f"{name}_conv",
        {"name": "mqar", "pairs": 4},
        {**MODELS[name], **CONDITIONS["conv"]},
        4000,
        (1e-3, 3e-3),
    )
    for name in ("gated_deltanet", "mamba2")
)
"""Those that have not learnt the task after 1,000 steps, at the two rates in the middle."""

SWEEPS = {
    **{f"mqar_{n}": grid({"name": "mqar", "pairs": n}, 1000 if n == 4 else 4000) for n in (4, 8, 16)},
    "mqar_4_longer": LONGER,
    "induction": grid({"name": "induction"}, 1000),
    "selective_copy": grid({"name": "selective_copy"}, 4000),
}

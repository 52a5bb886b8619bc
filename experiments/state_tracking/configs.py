"""Parity with write strengths to 1 and to 2, at three learning rates; word problems of permutations."""

from typing import Any

from emt.config import RunConfig
from experiments.populations import tested_every_100

SEEDS = 20
RATES = (3e-4, 1e-3, 3e-3)

SMALL = {"hidden_dim": 32, "heads": 2, "conv_size": 0}
"""One layer without a convolution: a step sees its own token only."""


def run(name: str, task: dict[str, Any], model: dict[str, Any], steps: int = 1500) -> RunConfig:
    """Return a population with as many seeds at each learning rate."""
    return RunConfig(
        metadata={"experiment_name": name},
        task=task,
        model=model,
        training=tested_every_100(steps, num_models=SEEDS * len(RATES), learning_rates=RATES),
    )


PARITY = {"name": "parity", "steps": 40}

PARITY_RUNS = (
    run("beta_to_1", PARITY, {"type": "deltanet", **SMALL, "max_beta": 1.0}),
    run("beta_to_2", PARITY, {"type": "deltanet", **SMALL, "max_beta": 2.0}),
    run("linear_attention", PARITY, {"type": "linear_attention", **SMALL}),
    run("mlstm", PARITY, {"type": "mlstm", **SMALL}),
    run("mamba2", PARITY, {"type": "mamba2", **SMALL}),
    run("gru", PARITY, {"type": "gru", "hidden_dim": 32, "bias": True}),
)
"""Prefix parity of 40 bits."""


def permutations(name: str, elements: str, max_beta: float, group: int = 3) -> RunConfig:
    """Return a population on a word problem of 32 permutations."""
    task = {"name": "word_problem", "symmetric_group": group, "elements": elements, "steps": 32}
    return run(name, task, {"type": "deltanet", **SMALL, "max_beta": max_beta})


WORDS = (
    permutations("s3_swaps_beta_to_1", "swaps", 1.0),
    permutations("s3_swaps_beta_to_2", "swaps", 2.0),
    permutations("s3_all_beta_to_2", "all", 2.0),
    permutations("s5_swaps_beta_to_1", "swaps", 1.0, group=5),
    permutations("s5_swaps_beta_to_2", "swaps", 2.0, group=5),
)
"""Products of permutations: of swaps, each a reflection, and of all six elements of S3."""

SWEEPS = {"parity": PARITY_RUNS, "words": WORDS}

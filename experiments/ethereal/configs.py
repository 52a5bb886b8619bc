"""The experiment's populations as data: results and controls, the paper's table, the published rules, the map."""

from collections.abc import Sequence
from itertools import product
from typing import Any

from emt.config import RunConfig, TrainingConfig
from experiments.ethereal.settings import DATASET, MODEL_TYPES, setting_of, task_of, training_of

SEEDS = 5
VALIDATE_EVERY = 500

PAPER_WORDS = {
    ("rnn", "dfa", True): "Fail",
    ("rnn", "dfa", False): "Fail",
    ("rnn", "backprop", True): "Good",
    ("rnn", "backprop", False): "Poor",
    ("rnn", "bptt", True): "Good",
    ("rnn", "bptt", False): "Poor",
    ("ethereal", "dfa", True): "Good",
    ("ethereal", "dfa", False): "Good",
    ("ethereal", "backprop", True): "Poor",
    ("ethereal", "backprop", False): "Poor",
    ("ethereal", "bptt", True): "Mixed",
    ("ethereal", "bptt", False): "Fail",
}
"""The paper's appendix: how model, updater and recurrence go together, from single runs."""


def run(
    name: str,
    model_type: str,
    updater: str,
    *,
    dataset: str = DATASET,
    n_iters: int | None = None,
    learning_rate: float | None = None,
    batch_size: int | None = None,
    num_models: int = SEEDS,
    **options: Any,
) -> RunConfig:
    """Return a population with the settings of its model and updater, and what else is given."""
    setting = setting_of(model_type, updater, compatibility=options.get("compatibility", False))
    rate = setting.learning_rate if learning_rate is None else learning_rate
    model = {"type": MODEL_TYPES[model_type], "updater": updater, **setting.model, **options}
    if model_type == "ethereal":
        model["eta"] = rate
    training = training_of(
        n_iters=n_iters or setting.n_iters,
        every=VALIDATE_EVERY,
        batch_size=batch_size or setting.batch_size,
        learning_rate=rate,
        num_models=num_models,
    )
    return RunConfig(
        metadata={"experiment_name": name},
        task={"name": "characters", **task_of(dataset)},
        model=model,
        training=TrainingConfig(**training),
    )


RESULTS = (
    run("dfa", "ethereal", "dfa"),
    run("backprop", "ethereal", "backprop"),
    run("bptt", "ethereal", "bptt"),
    run("dfa_plasticity_1", "ethereal", "dfa", n_iters=2500, plast_clip=1.0),
    run("dfa_no_mask", "ethereal", "dfa", n_iters=2500, plast_proportion=0.0),
    run("backprop_plasticity_1", "ethereal", "backprop", n_iters=2500, plast_clip=1.0),
)
"""The three updaters, and the first two with nothing that is plastic."""

TABLE_ITERS = {"dfa": 2500, "backprop": 3000, "bptt": 1000}

TABLE = tuple(
    run(
        f"{model_type}_{updater}_{'recurrent' if recurrence else 'feedforward'}",
        model_type,
        updater,
        n_iters=TABLE_ITERS[updater],
        enable_recurrence=recurrence,
    )
    for model_type, updater, recurrence in PAPER_WORDS
)
"""The cells of the paper's table, each long enough to see whether it learns."""

COMPATIBILITY = tuple(
    run(f"published_{updater}", "ethereal", updater, n_iters=n_iters, compatibility=True)
    for updater, n_iters in TABLE_ITERS.items()
)
"""The published program's rules, as long as in the table."""

MAP_RATES = (0.001, 0.003, 0.01, 0.03, 0.1)
MAP_CLIPS = (10.0, 100.0, 1000.0, 10_000.0, 100_000.0)


def explosion_map(
    rates: Sequence[float] = MAP_RATES, clips: Sequence[float] = MAP_CLIPS, **options: Any
) -> tuple[RunConfig, ...]:
    """Return a population for each learning rate and plasticity under feedback alignment: the paper's figure 6."""
    chosen = {"dataset": "3_palindrome_dataset_vary_length", "n_iters": 500, "num_models": 4, **options}
    return tuple(
        run(f"rate{rate:g}_clip{clip:g}", "ethereal", "dfa", learning_rate=rate, plast_clip=clip, **chosen)
        for rate, clip in product(rates, clips)
    )


SWEEPS = {"results": RESULTS, "table": TABLE, "compatibility": COMPATIBILITY, "map": explosion_map()}
"""What ``python -m experiments.ethereal.sweep`` can train."""

"""The runs as data: the published ones at full size, their first epochs, a reduced comparison, and a small one.

The folder of the text and the number of validation batches are filled in when a sweep starts.
"""

from collections.abc import Sequence
from typing import Any

from emt.config import RunConfig, TrainingConfig

LABELS = {"awd_fwm": "FWM", "awd_lstm": "LSTM"}
"""What figures and tables call the models."""

MODELS = tuple(LABELS)

WIKITEXT2 = {
    "token_dropout": 0.1,
    "input_dropout": 0.7,
    "layer_dropout": 0.25,
    "output_dropout": 0.4,
    "recurrent_dropout": 0.61,
}
"""Rates of dropout in the logs of the published runs; table 4 of the paper has others."""

PTB = {
    "token_dropout": 0.1,
    "input_dropout": 0.5,
    "layer_dropout": 0.3,
    "output_dropout": 0.4,
    "recurrent_dropout": 0.66,
}

OWN_RECIPES = {
    "wikitext2": {**WIKITEXT2, "input_dropout": 0.65, "layer_dropout": 0.2, "recurrent_dropout": 0.5},
    "ptb": {**PTB, "input_dropout": 0.4, "layer_dropout": 0.25, "recurrent_dropout": 0.5},
}
"""Rates of Merity et al. (2018)."""

TRAINING: dict[str, Any] = {
    "gradient_clip": 0.25,
    "l2_penalty": 1.2e-6,
    "curriculum": False,
    "curriculum_horizons": (1,),
    "validation_batches": 1,
    "keep": "lowest_loss",
}


def run(name: str, model: dict[str, Any], task: dict[str, Any] | None = None, **training: Any) -> RunConfig:
    """Return a run under a name, of this model, with these options of the task and of training."""
    return RunConfig(
        metadata={"experiment_name": name},
        task={"name": "words", **(task or {})},
        model=model,
        training=TrainingConfig(**{**TRAINING, **training}),
    )


def seeds(*numbers: int) -> dict[str, Any]:
    """Return training of one model for each of these seeds."""
    return {"num_models": len(numbers), "seed": numbers[0], "member_seeds": numbers}


def full(text: str, rates: dict[str, float], **training: Any) -> tuple[RunConfig, ...]:
    """Return the published run of a text, the same without its memory, and AWD-LSTM by its authors' recipe."""
    epochs = {"wikitext2": 750, "ptb": 500}[text]
    # Gradient descent at the rate 30, averaged once the validation stalls.
    recipe = {"optimizer": "sgd", "learning_rate": 30.0, "average_rate": 30.0, "average_patience": 5}
    left_out = {**training, "epochs": epochs, "average_after": None, **recipe}
    own = run(f"{text}_own_recipe", {"type": "awd_lstm", **OWN_RECIPES[text]}, **left_out)
    return (*(run(f"{text}_{model}", {"type": model, **rates}, **training) for model in MODELS), own)


FULL_WIKITEXT2 = full(
    "wikitext2",
    WIKITEXT2,
    **seeds(1881, 1882, 1883),
    epochs=1600,
    batch_size=80,
    learning_rate=1e-3,
    average_rate=0.5,
    average_after=1372,
)
"""Schlag et al. (2021): three seeds."""

FULL_PTB = full(
    "ptb",
    PTB,
    **seeds(141, 142, 143),
    epochs=900,
    batch_size=20,
    learning_rate=1e-3,
    average_rate=2.0,
    average_after=766,
)

FIRST_EPOCHS = (
    run(
        "wikitext2_first_epochs",
        {"type": "awd_fwm", **WIKITEXT2},
        **seeds(1881),
        epochs=3,
        batch_size=80,
        learning_rate=1e-3,
    ),
)
"""The first three of 1,600 epochs, beside the logs at equal epochs."""

PUBLISHED = 1e-5
"""What is added to the variance of a read in its layer normalisation, in the published programs."""

LIGHT = {
    "token_dropout": 0.05,
    "input_dropout": 0.2,
    "layer_dropout": 0.1,
    "output_dropout": 0.2,
    "recurrent_dropout": 0.2,
}
"""Rates for a few epochs, in which nothing is learnt by heart."""


def comparison(
    name: str,
    words: int,
    sizes: dict[str, int],
    memory: int,
    epsilons: Sequence[float] = (PUBLISHED,),
    **training: Any,
) -> tuple[RunConfig, ...]:
    """Return both models with a vocabulary of so many words, FWM with each of these epsilons."""
    own: dict[str, dict[str, Any]] = {
        "awd_fwm" if epsilon == PUBLISHED else f"awd_fwm_{epsilon:g}": {
            "type": "awd_fwm",
            "memory_dim": memory,
            "norm_epsilon": epsilon,
        }
        for epsilon in epsilons
    }
    return tuple(
        run(
            f"{name}_{model}",
            {**options, **sizes, **LIGHT},
            {"vocabulary_size": words},
            batch_size=20,
            learning_rate=2e-3,
            **training,
        )
        for model, options in {**own, "awd_lstm": {"type": "awd_lstm"}}.items()
    )


REDUCED = comparison(
    "reduced", 10_000, {"hidden_dim": 400, "embedding_dim": 200}, 32, **seeds(1881, 1882, 1883), epochs=3
)
SMALL = comparison(
    "small",
    5_000,
    {"hidden_dim": 128, "embedding_dim": 64},
    16,
    epsilons=(PUBLISHED, 1e-3, 1e-1),
    **seeds(*range(1881, 1891)),
    epochs=1,
    epoch_batches=500,
)
"""Comparisons of the two models among themselves: sizes, rates of dropout and of learning are untuned. The small one
is a third of a pass, 0.68 million words."""

SWEEPS = {
    "full_wikitext2": FULL_WIKITEXT2,
    "full_ptb": FULL_PTB,
    "first_epochs": FIRST_EPOCHS,
    "reduced": REDUCED,
    "small": SMALL,
}
"""What ``python -m experiments.language_model.sweep`` can train."""

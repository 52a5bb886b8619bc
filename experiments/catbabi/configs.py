"""The runs of the paper as data: table 1, the ablations of its appendix E, and searches over settings.

The number of validation batches is filled in when a sweep starts: it follows from the data and the batch
size.
"""

from typing import Any

from emt.config import RunConfig, TrainingConfig

LABELS = {"fwm": "FWM", "stacked_lstm": "LSTM", "fw": "fast weights", "transformer_xl": "Transformer-XL"}
"""What figures and tables call the models."""

PAPER_ACCURACIES = {
    ("fwm", "qa"): 96.75,
    ("transformer_xl", "qa"): 87.66,
    ("stacked_lstm", "qa"): 80.88,
    ("fw", "qa"): 13.22,
    ("fwm", "lm"): 93.04,
    ("transformer_xl", "lm"): 90.23,
    ("stacked_lstm", "lm"): 80.15,
}
"""Test accuracy in percent by model and mode: Schlag et al. 2021, table 1. Its metalearned neural memory has 88.97 (qa)
and 69.30 (lm)."""

DROPOUTS = ("token_dropout", "embedding_dropout", "recurrent_dropout", "layer_dropout")

MODELS: dict[str, dict[str, Any]] = {
    "fwm": {"type": "fwm", "hidden_dim": 256, "embedding_dim": 256, "memory_dim": 32, "reads": 3},
    "lstm": {"type": "stacked_lstm", "hidden_dim": 512, "layers": 4, "embedding_dim": 256}
    | dict.fromkeys(DROPOUTS, 0.1),
    "fw": {"type": "fw", "hidden_dim": 256, "embedding_dim": 256},
    "txl": {
        "type": "transformer_xl",
        "hidden_dim": 512,
        "layers": 3,
        "heads": 8,
        "embedding_dim": 256,
        "memory_length": 1200,
    },
}
"""The paper's sizes, where it gives them; the rates of dropout, the heads of Transformer-XL and the size of the fast
weights are this project's."""

TRAINING: dict[str, Any] = {
    "num_models": 3,
    "epochs": 200,
    "epoch_batches": 250,
    "batch_size": 64,
    "gradient_clip": 0.0,
    "curriculum": False,
    "curriculum_horizons": (1,),
    "validation_batches": 1,
    "keep": "best",
}
"""50,000 steps of 64 · 200 words, three seeds; the published scripts clip no gradients."""

SETTINGS: dict[str, dict[str, Any]] = {
    "txl": {"learning_rate": 2.5e-4, "warmup_steps": 1000, "gradient_clip": 0.25},
}
"""What models are trained with instead: appendix F.3; the clipping is that of Transformer-XL's own program."""


def run(name: str, model: dict[str, Any], mode: str = "qa", **training: Any) -> RunConfig:
    """Return a run of table 1 under another name, with this model and what else is given."""
    return RunConfig(
        metadata={"experiment_name": name},
        task={"name": "catbabi", "mode": mode, "segment": 200},
        model=model,
        training=TrainingConfig(**{**TRAINING, **training}),
    )


TABLE1 = tuple(
    run(f"{name}_{mode}", model, mode, **SETTINGS.get(name, {}))
    for mode in ("qa", "lm")
    for name, model in MODELS.items()
)

MAIN = (run("fwm_46M_words", MODELS["fwm"], num_models=1, epochs=30, epoch_batches=240, batch_size=32),)
"""7,200 steps of 32 · 200 words, after which the published code has 90 % of the validation questions right."""

CHANGES: dict[str, dict[str, Any]] = {
    "reads_3": {},
    "reads_2": {"reads": 2},
    "reads_1": {"reads": 1},
    "concatenated_keys": {"keys": "concatenated"},
}

ABLATIONS = tuple(
    run(name, MODELS["fwm"] | changes, epochs=7, batch_size=32) for name, changes in CHANGES.items()
)
"""Appendix E in short: 1,750 steps of 32 · 200 words, three seeds each."""

SEARCH: dict[str, Any] = {"num_models": 1, "epochs": 120}
BATCHES = (64, 128)

SWEEPS = {
    "table1": TABLE1,
    "main": MAIN,
    "ablations": ABLATIONS,
    "search_fwm": tuple(
        run(f"fwm_batch{size}_lr{rate:g}", MODELS["fwm"], batch_size=size, learning_rate=rate, **SEARCH)
        for size in BATCHES
        for rate in (1e-3, 5e-4, 2.5e-4)
    ),
    "search_lstm": tuple(
        run(
            f"lstm_batch{size}_dropout{rate:g}",
            MODELS["lstm"] | dict.fromkeys(DROPOUTS, rate),
            batch_size=size,
            **SEARCH,
        )
        for size in BATCHES
        for rate in (0.0, 0.1, 0.3)
    ),
    "search_fw": tuple(
        run(
            f"fw_batch{size}_eta{eta:g}_lam{lam:g}",
            MODELS["fw"] | {"eta": eta, "lam": lam},
            batch_size=size,
            **SEARCH,
        )
        for size in BATCHES
        for eta in (0.1, 0.5)
        for lam in (0.9, 0.95, 0.99)
    ),
}
"""What ``python -m experiments.catbabi.sweep`` can train. The searches stand for appendices F.1, F.4 and F.5: the batch
sizes are the paper's, the other values this project's, and 30,000 steps the paper's shortest run."""

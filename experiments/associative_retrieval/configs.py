"""The paper's table 1 as data: R = 20, 50, 100 units and four models, five seeds each, four pairs."""

from emt.config import RunConfig, TrainingConfig

LABELS = {"fw": "fast weights", "alstm": "A-LSTM", "ar_lstm": "LSTM", "irnn": "IRNN"}
"""What figures and tables call the models."""

UNITS = (20, 50, 100)
STEPS = {"fw": 12_000, "alstm": 20_000, "ar_lstm": 20_000, "irnn": 20_000}
VALIDATE_EVERY = 500

PAPER_ERRORS = {
    ("irnn", 20): 62.11,
    ("ar_lstm", 20): 60.81,
    ("alstm", 20): 60.13,
    ("fw", 20): 1.81,
    ("irnn", 50): 60.23,
    ("ar_lstm", 50): 1.85,
    ("alstm", 50): 1.62,
    ("fw", 50): 0.0,
    ("irnn", 100): 0.34,
    ("ar_lstm", 100): 0.0,
    ("alstm", 100): 0.0,
    ("fw", 100): 0.0,
}
"""Test error in percent by model and units: Ba et al. 2016, table 1, which does not say how many pairs."""

CONFIGS = tuple(
    RunConfig(
        metadata={"experiment_name": f"{model}_R{units}"},
        task={"name": "associative_retrieval", "pairs": 4},
        model={"type": model, "hidden_dim": units},
        training=TrainingConfig(
            num_models=5,
            epochs=steps // VALIDATE_EVERY,
            epoch_batches=VALIDATE_EVERY,
            batch_size=128,
            gradient_clip=0.0,
            curriculum=False,
            curriculum_horizons=(1,),
            validation_batches=79,
            keep="best",
        ),
    )
    for units in UNITS
    for model, steps in STEPS.items()
)

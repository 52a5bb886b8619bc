"""Four tasks, three widths, four penalties, two thresholds; twenty seeds each."""

from itertools import product

from emt.config import RunConfig, TrainingConfig

PENALTIES = (0.0, 0.001, 0.1, 10.0)
WIDTHS = (128, 64, 32)
THRESHOLDS = (0.9, 0.98)
TASKS = ("T1", "T2", "T3", "T4")

PAPER_ERRORS = {
    (128, 0.0): {"T1": 0.0005, "T2": 0.0055, "T3": 0.0031, "T4": 0.0022},
    (64, 0.0): {"T2": 0.0075, "T3": 0.0026, "T4": 0.0112},
    (128, 0.001): {"T2": 0.0031, "T3": 0.0005, "T4": 0.0006},
    (64, 0.001): {"T3": 0.0010, "T4": 0.0011},
}
"""Spectral errors of the paper's table 1 by width and penalty; tasks that are absent have none there."""

CONFIGS = tuple(
    RunConfig(
        metadata={"experiment_name": f"{task}_hidden{width}_l2_{penalty:g}_threshold{threshold:g}"},
        task={"name": "variable_binding", "task_id": task, "seq_length": 8, "input_dim": 8},
        model={"type": "rnn", "hidden_dim": width},
        training=TrainingConfig(
            num_models=20,
            epochs=10,
            stop_accuracy=0.999,
            l2_penalty=penalty,
            curriculum_threshold=threshold,
        ),
    )
    for penalty, width, task, threshold in product(PENALTIES, WIDTHS, TASKS, THRESHOLDS)
)

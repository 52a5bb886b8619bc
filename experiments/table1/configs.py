"""The paper's four tasks, two widths and two penalties of its table 1; twenty seeds each."""

from itertools import product

from emt.config import RunConfig, TrainingConfig

PENALTIES = (0.0, 0.001)
WIDTHS = (64, 128)
TASKS = ("T3", "T4", "T2", "T1")
"""Those that networks learn soonest first."""

CONFIGS = tuple(
    RunConfig(
        metadata={"experiment_name": f"{task}_hidden{width}_l2_{penalty:g}"},
        task={"name": "variable_binding", "task_id": task, "seq_length": 8, "input_dim": 8},
        model={"type": "rnn", "hidden_dim": width},
        training=TrainingConfig(
            num_models=20,
            epochs=10,
            stop_accuracy=0.999,
            l2_penalty=penalty,
            curriculum_threshold=0.99,
            curriculum_horizons=(10, 20, 40, 100),
        ),
    )
    for task, penalty, width in product(TASKS, PENALTIES, WIDTHS)
)

"""Both settings of the paper: every cell that has published values, up to 200 and 100 keys, twenty seeds each."""

from typing import Any

from emt.config import RunConfig
from experiments.populations import tested_every_100

SEEDS = 20

CELLS: dict[str, dict[str, Any]] = {
    "elu": {"features": "elu"},
    "dpfp1": {"features": "dpfp", "nu": 1},
    "dpfp2": {"features": "dpfp", "nu": 2},
    "softmax": {"features": "softmax"},
    "sum_dpfp1": {"features": "dpfp", "nu": 1},
    "delta_dpfp1": {"features": "dpfp", "nu": 1, "write_rule": "delta"},
    "delta_elu": {"features": "elu", "write_rule": "delta"},
    "fwm_dpfp1": {"features": "dpfp", "nu": 1, "write_rule": "fwm"},
    "fwm_tanh": {"features": "tanh", "write_rule": "fwm"},
}
"""Options of the model by the name of a cell."""


def run(task: str, cell: str, keys: int, steps: int, **training: Any) -> RunConfig:
    """Return the population of a cell: as published but for its seeds, and for a limit on its steps."""
    return RunConfig(
        metadata={"experiment_name": f"{cell}_{keys}"},
        task={"name": task, "num_keys": keys},
        model={"type": "fwp", "hidden_dim": 64, **CELLS[cell]},
        training=tested_every_100(
            steps,
            **{
                "num_models": SEEDS,
                "learning_rate": 1e-3,
                "gradient_clip": 0.0,
                "validation_batches": 1,
                "stop_loss": 0.001,
                "patience": 11,
                **training,
            },
        ),
    )


def cell_of(config: RunConfig) -> str:
    """Return the name of a run's cell, without its number of keys."""
    return str(config.metadata["experiment_name"]).rpartition("_")[0]


UNIQUE = tuple(
    run("unique_keys", cell, keys, 7500)
    for cell in ("elu", "dpfp1", "dpfp2", "softmax")
    for keys in (20, 40, 60, 80, 100, 120, 140, 160, 200)
)
"""Setting 1: the sum and softmax."""

FWM = {"fwm_dpfp1": {}, "fwm_tanh": {"learning_rate": 1e-4, "batch_size": 128}}

REPEATED = (
    *(
        run("repeated_keys", cell, keys, 3000)
        for cell in ("sum_dpfp1", "delta_dpfp1", "delta_elu")
        for keys in (20, 40, 60, 80, 100)
    ),
    *(
        run("repeated_keys", cell, keys, 3000, **training)
        for cell, training in FWM.items()
        for keys in (20, 40)
    ),
)
"""Setting 2: three rules."""

SWEEPS = {"unique_keys": UNIQUE, "repeated_keys": REPEATED}

"""Flip-flop and variable binding over widths, penalties and task loads, with twenty seeds each."""

from typing import NamedTuple

from emt.config import RunConfig
from experiments.populations import tested_every_100

SEEDS = 20
WIDTHS = (16, 32, 64, 128)
PENALTIES = (0.0, 1e-4, 1e-3)
FLIP_FLOP_STEPS = 30


class Factor(NamedTuple):
    """What a group of runs differs in.

    Attributes
    ----------
    setting
        Option, as `emt analyze degeneracy --setting` takes it.
    runs
        Their names.
    scale
        Of the trend.
    """

    setting: str
    runs: tuple[str, ...]
    scale: str = "auto"


def flip_flop(width: int, penalty: float, bits: int = 3) -> RunConfig:
    """Return networks that hold some bits, each trained until a validation loss of .02."""
    return RunConfig(
        metadata={"experiment_name": f"units{width}_bits{bits}_l2_{penalty:g}"},
        task={"name": "flip_flop", "bits": bits, "steps": FLIP_FLOP_STEPS},
        model={"type": "rnn", "hidden_dim": width, "bias": True},
        training=tested_every_100(
            3000, num_models=SEEDS, learning_rate=3e-3, stop_loss=0.02, l2_penalty=penalty
        ),
    )


def variable_binding(width: int, penalty: float, vectors: int = 4) -> RunConfig:
    """Return networks that repeat some vectors for 20 steps, each trained until 99 % of the bits are right."""
    return RunConfig(
        metadata={"experiment_name": f"units{width}_vectors{vectors}_l2_{penalty:g}"},
        task={"name": "variable_binding", "seq_length": vectors, "input_dim": 2},
        model={"type": "rnn", "hidden_dim": width},
        training=tested_every_100(
            6000,
            num_models=SEEDS,
            learning_rate=1e-3,
            stop_accuracy=0.99,
            l2_penalty=penalty,
            curriculum_horizons=(20,),
        ),
    )


FLIP_FLOP = (
    *(flip_flop(width, penalty) for width in WIDTHS for penalty in PENALTIES),
    *(flip_flop(64, 0.0, bits) for bits in (1, 2, 4)),
)

VARIABLE_BINDING = (
    *(variable_binding(width, penalty) for penalty in (0.0, 1e-4) for width in (32, 64, 128)),
    *(variable_binding(64, 0.0, vectors) for vectors in (2, 6)),
)

SWEEPS = {"flip_flop": FLIP_FLOP, "variable_binding": VARIABLE_BINDING}

OUTSIDE = {
    "flip_flop": ("steps=150", "pulse_rate=0.05", "input_noise=0.1"),
    "variable_binding": ("horizon=100", "input_noise=0.1"),
}
"""Trials other than in training, by task: longer, with rarer pulses, with noise."""


def _width(penalty: float, kind: str, widths: tuple[int, ...]) -> Factor:
    return Factor("hidden_dim", tuple(f"units{width}_{kind}_l2_{penalty:g}" for width in widths))


def _penalty(width: int, kind: str, penalties: tuple[float, ...]) -> Factor:
    return Factor("l2_penalty", tuple(f"units{width}_{kind}_l2_{penalty:g}" for penalty in penalties))


FACTORS = {
    "flip_flop": {
        **{f"width_l2_{penalty:g}": _width(penalty, "bits3", WIDTHS) for penalty in PENALTIES},
        **{f"penalty_units{width}": _penalty(width, "bits3", PENALTIES) for width in WIDTHS},
        "bits": Factor("bits", tuple(f"units64_bits{bits}_l2_0" for bits in (1, 2, 3, 4)), "linear"),
    },
    "variable_binding": {
        **{f"width_l2_{penalty:g}": _width(penalty, "vectors4", (32, 64, 128)) for penalty in (0.0, 1e-4)},
        **{f"penalty_units{width}": _penalty(width, "vectors4", (0.0, 1e-4)) for width in (32, 64, 128)},
        "vectors": Factor("seq_length", tuple(f"units64_vectors{n}_l2_0" for n in (2, 4, 6)), "linear"),
    },
}
"""Groups of runs that differ in one thing, by task and name."""

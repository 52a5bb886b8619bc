"""Linear networks with planted variables, and one that holds none."""

from collections.abc import Iterator

import numpy as np

from emt.commands.known_systems.answers import Answer, analyse
from emt.commands.known_systems.variables import plant_variables
from emt.tasks.variable_binding import VariableBinding


def planted_variables() -> Iterator[Answer]:
    """Networks that keep the variables of repeat copy (length 3, 2 bits) in a random basis Q of condition 3.

    W = Q Φ Q⁺ and the readout is the newest rows of Q⁺, so that powers of W and regression of the recorded
    states both give Q and Φ. Recordings are in single precision: angles are right to some 1e-5°, shares to
    1e-7.
    """
    recording, bases, _ = plant_variables(_task(), trials=11, horizon=9, units=17)
    result = analyse("variables", recording)
    row = result.members.iloc[0]
    yield Answer("variables", "members with variable memories", 2.0, len(result.found), 0.0)
    yield Answer("variables", "condition number", 3.0, row["condition_number"], 1e-3)
    yield Answer("variables", "held-out reconstruction", 1.0, row["reconstruction"], 1e-6)
    yield Answer("variables", "angle of Φ, degrees", 0.0, row["transition_angle_deg"], 1e-2)
    yield Answer("variables", "gain of Φ", 1.0, row["transition_gain"], 1e-4)
    yield Answer("variables", "angle of two estimators, degrees", 0.0, row["agreement_deg"], 1e-2)
    found = result.arrays()["variables_basis"]
    worst = np.abs(found - bases).max()
    yield Answer("variables", "largest error of the basis", 0.0, worst, 1e-4)


def no_variables() -> Iterator[Answer]:
    """The same networks with states of normal noise: on held-out trials nothing can be read or reconstructed."""
    recording, *_ = plant_variables(_task(), trials=11, horizon=9, units=17)
    noise = np.random.default_rng(8).normal(size=recording["hidden"].shape)
    recording["hidden"].values[:] = noise
    result = analyse("variables", recording)
    yield Answer("variables", "members with variable memories, noise", 0.0, len(result.found), 0.0)


def _task() -> VariableBinding:
    return VariableBinding(seq_length=3, input_dim=2)

"""States of which it is known when a label can be read from them."""

from collections.abc import Iterator

import numpy as np

from emt.commands.known_systems.answers import Answer, analyse
from emt.commands.known_systems.recordings import plant_states

MEMBERS, TRIALS, PERMUTATIONS = 6, 40, 99


def turning_code() -> Iterator[Answer]:
    """Two classes that stand on both sides of zero along an axis, which turns by a quarter and by a half turn.

    Every class is recognised where a decoder was trained, and none after half a turn, where the classes have
    changed sides: recalls of 1 and 0. No permutation of labels does as well, so that p is 1 / (1 + 99) over trials,
    and, since all six members are far above their chance, 2⁻⁶ over members.
    """
    label = np.arange(TRIALS) % 2
    axis = np.eye(4)[[0, 1, 0]] * np.array([1.0, 1.0, -1.0])[:, None]
    state = (2 * label - 1)[:, None, None] * axis
    hidden = np.broadcast_to(state, (MEMBERS, *state.shape))
    recording = plant_states(hidden, sample=np.repeat(label[:, None], 3, axis=1))
    options = {"matrix": True, "permutations": PERMUTATIONS, "probe_noise": 0.0}
    result = analyse("decode", recording, label="sample", **options)
    mean = result.matrix.mean(axis=0)
    yield Answer("decode", "recall at the trained step", 1.0, mean[0, 0], 0.0)
    yield Answer("decode", "recall after half a turn", 0.0, mean[0, 2], 0.0)
    yield Answer("decode", "p over trials", 1 / (1 + PERMUTATIONS), result.times["p_trials"].max(), 1e-12)
    yield Answer("decode", "p over members", 2.0**-MEMBERS, result.times["p_members"].max(), 1e-12)

"""States of which it is known when a label can be read from them, which way they go, and how far apart they are."""

from collections.abc import Iterator

import numpy as np

from emt.commands.known_systems.answers import Answer, analyse
from emt.commands.known_systems.recordings import plant_states, random_frame

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


def two_circles() -> Iterator[Answer]:
    """Three members whose states go once round a circle, in six directions of their own, at the heights 1/2 and -1/2.

    The height is that of the two conditions. Along the three axes the variances of the means are 1/2, 1/2 and
    1/4: shares of 2/5, 2/5 and 1/5, of which 4/5 is time and 1/5 the label. A step of 1/8 of a turn is 2 sin(π/8)
    long, in units of the spread √(5/4 / 6) of six directions. At one step there are two states: one dimension. But for
    their directions members are equal: they share 1 of their means.
    """
    rng = np.random.default_rng(5)
    label, turn = np.arange(TRIALS) % 2, 2 * np.pi * np.arange(8) / 8
    circle = np.stack([np.cos(turn), np.sin(turn), np.zeros(8)], axis=1)
    state = circle + (label - 0.5)[:, None, None] * np.eye(3)[2]
    hidden = np.stack([state @ random_frame(6, 3, rng).T for _ in range(3)])
    recording = plant_states(hidden, sample=np.repeat(label[:, None], 8, axis=1))
    result = analyse("trajectories", recording, label=("sample",), demix=True, permutations=19)
    own = result.axes.loc["model-1", "of_means"]
    speed = 2 * np.sin(np.pi / 8) / np.sqrt(5 / 4 / 6)
    for quantity, expected, got in (
        ("share that members have in common", 1.0, result.shared.loc["states", "agreement"]),
        ("share of the third axis", 1 / 5, own.loc[3]),
        ("share of three axes", 1.0, own.sum()),
        ("longest step", speed, result.speed["mean"].max()),
        ("shortest step", speed, result.speed["mean"].min()),
        ("dimensions of states", 1.0, result.dimension["states"].max()),
        ("dimensions of means", 1.0, result.dimension["means"].max()),
        ("share of the label", 1 / 5, result.demixed.parts.loc["sample", "share"]),
    ):
        yield Answer("trajectories", quantity, expected, float(got), 1e-9)


def rectangle() -> Iterator[Answer]:
    """Four conditions at the corners (±1, ±1/2) of a rectangle, in another plane of six directions in each member.

    Squared sides are 4 and 1, the diagonal 5, and the spread of six directions is √(5/4 / 6), so that distances
    over the number of directions are 16/5, 4/5 and 4. The centred second moment is 4 x xᵀ + y yᵀ with x and y of norm
    1, those of the models x xᵀ and y yᵀ: cosines of 4/√17 and 1/√17. All members are alike, so that the best model
    would come to 1.
    """
    rng = np.random.default_rng(6)
    label = np.arange(TRIALS)
    first, second = label % 2, label // 2 % 2
    state = np.stack([2 * first - 1, second - 0.5], axis=1)[:, None]
    hidden = np.stack([state @ random_frame(6, 2, rng).T for _ in range(3)])
    recording = plant_states(hidden, first=first[:, None], second=second[:, None])
    options = {"noise": "identity", "probe_noise": 0.0, "permutations": 19}
    result = analyse("geometry", recording, label=("first", "second"), **options)
    distances, models = result.matrices[0, 0], result.models.loc[0]
    for quantity, expected, got in (
        ("distance along the long side", 16 / 5, distances[0, 2]),
        ("distance along the short side", 4 / 5, distances[0, 1]),
        ("distance along the diagonal", 4.0, distances[0, 3]),
        ("cosine with the long side", 4 / np.sqrt(17), models.loc["first", "coefficient"]),
        ("cosine with the short side", 1 / np.sqrt(17), models.loc["second", "coefficient"]),
        ("noise ceiling", 1.0, models.loc["first", "lower"]),
        ("smallest p of three pairings", 1 / 3, models.loc["first", "smallest_p"]),
    ):
        yield Answer("geometry", quantity, expected, float(got), 1e-9)

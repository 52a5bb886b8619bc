"""Networks that differ by a known amount: in their answers, in the eigenvalues of their steps, in their weights."""

from collections.abc import Iterator

import numpy as np

from analysis.degeneracy.networks import Networks
from emt import trace
from emt.commands.known_systems.answers import Answer, analyse
from emt.commands.known_systems.recordings import plant_answers, random_frame

TRIALS, STEPS, UNITS = 24, 12, 5


def linear_networks() -> Iterator[Answer]:
    """Three linear networks with inputs: a network, itself with other units in other places, and one half as slow.

    h_t = W h_{t-1} + U u_t is the linear model that is fitted, so that eigenvalues are those of W, whatever half of
    the trials is taken: floors are 0. The second network is P W Pᵀ with signs, whose weights are at the distance 0; its
    eigenvalues are the same. The third has W / 2: eigenvalues of moduli r_k and r_k / 2 in the same directions, so that
    their distance is the mean of r_k / 2 where the r_k are .9, .8, .7, .6, .5: .35. Answers are by sign of one output:
    the third answers wrongly at a quarter of the steps, so that pairs differ at 0, 1/4 and 1/4 of them.
    """
    rng = np.random.default_rng(8)
    frame = random_frame(UNITS, UNITS, rng)
    first = frame * np.array([0.9, 0.8, 0.7, 0.6, 0.5]) @ frame.T
    order, signs = rng.permutation(UNITS), rng.choice([-1.0, 1.0], UNITS)
    driving, readout = rng.normal(size=(UNITS, 2)), rng.normal(size=(1, UNITS))
    turned = (first[order][:, order] * signs * signs[:, None], driving[order] * signs[:, None])
    networks = [(first, driving), turned, (first / 2, driving)]
    readouts = [readout, readout[:, order] * signs, readout]
    inputs = rng.normal(size=(TRIALS, STEPS, 2))
    recording = _recorded(inputs, networks, readouts)
    outputs = np.ones((3, TRIALS, STEPS, 1))
    outputs[2, :, :3] = -1
    answered = plant_answers(outputs, np.ones((TRIALS, STEPS, 1)))
    result = analyse("degeneracy", {"known": Networks(recording, answered)}, components=UNITS)
    pairs, rows = result.pairs.loc["known"], result.settings.loc["known"]
    copy, other = ("model-1", "model-2"), ("model-1", "model-3")
    for quantity, expected, got in (
        ("weights of a copy with other units in other places", 0.0, pairs.loc[copy, "weights"]),
        ("dynamics of a copy", 0.0, pairs.loc[copy, "dmdc"]),
        ("dynamics with half the eigenvalues", 0.35, pairs.loc[other, "dmdc"]),
        ("floor of dynamics", 0.0, rows.loc["dmdc", "floor"]),
        ("different answers of a copy", 0.0, pairs.loc[copy, "disagreement"]),
        ("different answers", 0.25, pairs.loc[other, "disagreement"]),
        ("mean over pairs", 1 / 6, rows.loc["disagreement", "estimate"]),
    ):
        yield Answer("degeneracy", quantity, expected, float(got), 1e-9)


def _recorded(
    inputs: np.ndarray, networks: list[tuple[np.ndarray, np.ndarray]], readouts: list[np.ndarray]
) -> trace.xr.DataTree:
    """Return the trace of linear networks with weights (unit, from unit) and (unit, channel)."""
    hidden = np.zeros((len(networks), *inputs.shape[:2], UNITS))
    for own, (recurrent, driving) in zip(hidden, networks, strict=True):
        state = np.zeros((len(inputs), UNITS))
        for step in range(inputs.shape[1]):
            state = state @ recurrent.T + inputs[:, step] @ driving.T
            own[:, step] = state
    variables = {
        "inputs": (("batch", "time", "channel"), inputs),
        "targets": (("batch", "time", "target"), np.ones((*inputs.shape[:2], 1))),
        "scored": (("batch", "time"), np.ones(inputs.shape[:2], np.int8)),
        "outputs": ((*trace.MEMBER_TIME, "output"), np.zeros((*hidden.shape[:3], 1))),
        "hidden": ((*trace.MEMBER_TIME, "unit"), hidden),
        "recurrence": (("member", "gate", "unit", "from_unit"), np.stack([w for w, _ in networks])[:, None]),
        "incoming": (("member", "gate", "unit", "source"), np.stack([u for _, u in networks])[:, None]),
        "readout": (("member", "output", "unit"), np.stack(readouts)),
    }
    about = {"model": {"type": "known"}, "symmetry": {"acts": "sign", "signed": [0]}}
    return trace.make(variables, [1, 2, 3], about)

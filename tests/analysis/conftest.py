"""Planted circuits: linear networks that solve a task exactly in a known basis, with what they would record."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import xarray as xr
from numpy.typing import NDArray

from analysis.evaluation.summary import Circuit
from analysis.variables.companion import companion_matrix

Plant = Callable[..., Circuit]


def selection_operator(positions: list[int], signs: list[float], length: int) -> NDArray[np.float64]:
    operator = np.zeros((length * len(positions), len(positions)))
    operator[positions, np.arange(len(positions))] = signs
    return operator


def repeat_copy(length: int, width: int) -> NDArray[np.float64]:
    return selection_operator(list(range(width)), [1.0] * width, length)


def simulate(circuit_matrix, readout, basis, batch, length, operator, horizon, rng):
    """Roll out h_{t+1} = W h_t from states that hold random windows; targets come from the operator alone."""
    width = operator.shape[1]
    windows = rng.choice([-1.0, 1.0], (batch, length * width))
    hidden = [windows @ basis.T]
    for _ in range(horizon):
        hidden.append(hidden[-1] @ circuit_matrix.T)
    targets = [windows[:, -width:]]
    for _ in range(horizon):
        windows = np.hstack([windows[:, width:], windows @ operator])
        targets.append(windows[:, -width:])
    states = np.stack(hidden, axis=1)
    return states, states @ readout.T, np.stack(targets, axis=1)


def plant_circuit(
    units: int = 24,
    length: int = 3,
    width: int = 2,
    *,
    operator: NDArray[np.float64] | None = None,
    oblique: float = 0.0,
    noise: float = 0.0,
    bulk: float = 0.0,
    batch: int = 4,
    horizon: int = 11,
    seed: int = 0,
    name: str = "model-3",
) -> Circuit:
    """Return W = Q Φ Q⁺ + a block of spectral radius about ``bulk`` outside + noise, C = (newest block) Q⁺."""
    rng = np.random.default_rng(seed)
    operator = repeat_copy(length, width) if operator is None else operator
    size = length * width
    frame = np.linalg.qr(rng.normal(size=(units, units)))[0]
    q, outside = frame[:, :size], frame[:, size:]
    if units < size:
        q = rng.normal(size=(units, size)) / np.sqrt(units)
    q = q @ (np.eye(size) + oblique * rng.normal(size=(size, size)) / np.sqrt(size))
    dual = np.linalg.pinv(q)
    recurrent = q @ companion_matrix(operator, length) @ dual
    rest = outside.shape[1]
    recurrent += bulk * outside @ rng.normal(size=(rest, rest)) @ outside.T / np.sqrt(max(rest, 1))
    recurrent += noise * rng.normal(size=(units, units)) / np.sqrt(units)
    readout = dual[-width:]
    hidden, outputs, targets = simulate(recurrent, readout, q, batch, length, operator, horizon, rng)
    scored = np.ones(hidden.shape[:2], dtype=bool)
    scored[:, 0] = False
    arrays = (recurrent, readout, hidden, outputs, targets, scored)
    for array in arrays:
        array.setflags(write=False)
    return Circuit(name, recurrent, readout, None, hidden, np.zeros((batch, horizon + 1, width)), *arrays[3:])


@pytest.fixture
def plant() -> Plant:
    return plant_circuit


SENTENCE, SENTENCES = 4, 5
STORY = SENTENCE * SENTENCES + 4
"""Words of a story: its sentences, a question of three and an answer."""


def read_stories(words: np.ndarray, asks: np.ndarray) -> dict[str, np.ndarray]:
    """Return the events of streams of stories (stream, story, word) that ask for items (stream, story, item)."""
    streams, stories, _ = words.shape
    events = {name: np.full(words.shape, -1) for name in ("written", "trial", "group")}
    events["written"][:, :, :-4] = np.repeat(np.arange(SENTENCES), SENTENCE)
    events["trial"][:] = (7 * np.arange(streams * stories) % 50).reshape(streams, stories, 1)  # as shuffled stories are
    events["group"][:] = (asks >= 0).sum(axis=-1, keepdims=True)
    asked = np.full((*words.shape, asks.shape[-1]), -1)
    asked[:, :, -2] = asks
    flat = {name: event.reshape(streams, -1) for name, event in (events | {"token": words}).items()}
    return flat | {"asked": asked.reshape(streams, -1, asks.shape[-1])}


@pytest.fixture
def make_stories(trace_of: Any, recall: Any) -> Callable[..., Any]:
    """Return a function that makes a trace of members that read streams of stories into a fast memory of two factors.

    A story is five sentences of four words, a question of two words and "?", and its answer, the last word of the last
    item; stories ask for 1, 2, 2 and 3 sentences in turn, and read i returns what was written at the last word of the
    ith. Every step writes by the delta rule, under keys orthogonal to each other, and rescales; reads come after the
    write. With ``shuffled`` the written keys of each stream change places, with ``strength`` 0 nothing is stored; the
    answers of the first stream are wrong.
    """

    def make(
        members: int = 2, streams: int = 3, *, shuffled: bool = False, strength: float = 1.0, seed: int = 0
    ) -> Any:
        rng = np.random.default_rng(seed)
        stories, reads, names = 4, 3, [*(f"word{i}" for i in range(30)), ".", "?"]
        words = rng.integers(0, 30, (streams, stories, STORY))
        words[:, :, SENTENCE - 1 : SENTENCE * SENTENCES : SENTENCE], words[:, :, -2] = 30, 31
        order = rng.permuted(np.tile(np.arange(SENTENCES), (streams, stories, 1)), axis=-1)[..., :reads]
        asks = np.where(np.arange(reads) < np.array([1, 2, 2, 3])[:, None], order, -1)
        last_word = SENTENCE * order + 2
        last_item = np.array([0, 1, 1, 2])
        answered = last_word[:, np.arange(stories), last_item]
        words[:, :, -1] = np.take_along_axis(words, answered[..., None], axis=-1)[..., 0]
        events = read_stories(words, asks)
        shape = (members, streams, stories * STORY)
        size = 10  # of a factor: more keys than steps
        pairs = np.stack(np.unravel_index(rng.permutation(size**2)[: shape[-1]], (size, size)), axis=-1)
        frames = np.linalg.qr(rng.normal(size=(members, 2, size, size)))[0]
        keys = np.stack([frames[:, f][:, pairs[:, f]] for f in (0, 1)], axis=-2)[:, None].repeat(streams, axis=1)
        queries = rng.normal(size=(*shape, reads, 2, size)) / size
        for stream, story, read in np.argwhere(asks >= 0):
            start = story * STORY
            found = keys[:, stream, start + last_word[stream, story, read]]
            queries[:, stream, start + STORY - 2, read] = found
        if shuffled:
            for place in np.ndindex(members, streams):
                keys[place] = rng.permutation(keys[place])
        values = rng.normal(size=(*shape, 5))
        erase, keep = strength * rng.uniform(0.4, 1.0, shape), rng.uniform(0.95, 1.0, shape)
        log = {"write_key": keys, "write_value": values, "write_strength": erase * keep, "write_erase": erase}
        log |= {"write_keep": keep, "read_query": queries, "read_value": np.empty((*shape, reads, 5))}
        products = [(x[..., 0, :, None] * x[..., 1, None, :]).reshape(*x.shape[:-2], -1) for x in (keys, queries)]
        for place in np.ndindex(members, streams):
            rule = [log[n][place] for n in ("write_value", "write_strength", "write_erase", "write_keep")]
            log["read_value"][place] = recall(products[0][place], *rule, products[1][place], "after")[1]
        memory = {n: a.astype(np.float32) for n, a in log.items()} | {"rule": {"kind": "linear", "reads": "after"}}
        recording = trace_of({"fwm": memory}, events, {"tokens": names, "accuracy": "argmax"})
        right = np.eye(len(names))[np.roll(events["token"], -1, axis=1)]
        outputs = np.tile(5 * right, (members, 1, 1, 1))
        outputs[:, 0] = outputs[:, 0, :, ::-1]
        return recording.assign(
            targets=xr.Variable(("batch", "time", "target"), right),
            outputs=xr.Variable(("member", "batch", "time", "output"), outputs),
        )

    return make

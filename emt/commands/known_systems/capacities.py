"""Memories whose capacity is exact by construction: a tight frame of keys at the floor, and reflections."""

from collections.abc import Iterator

import numpy as np

from emt.commands.known_systems.answers import Answer, analyse
from emt.commands.known_systems.memories import recall_by_loop, trace_of
from emt.commands.known_systems.recordings import random_frame

MEMBERS, TRIALS, FEATURES = 3, 4, 6
PAIRS = 2 * FEATURES

ROUNDING = 1e-5
"""Logs are in single precision, seven digits."""


def tight_frame() -> Iterator[Answer]:
    """A sum of 2F one-hot values under keys of F features, two orthonormal bases, which lose the least that keys can.

    With K the matrix of keys, K Kᵀ = 2 I, so that the keys' products KᵀK, what is returned for them, are
    twice a projection on F of 2F directions: the best scaling halves it, and 1 - F / 2F = ½ of the squares
    are lost, the floor of Eckart and Young for any keys. Nothing is erased or forgotten: all eigenvalues are
    1, and all of every write is left. Without scaling the projection is doubled: ‖2P - I‖² / 2F = 1.
    """
    rng = np.random.default_rng(12)
    keys = np.empty((MEMBERS, TRIALS, PAIRS, FEATURES))
    for place in np.ndindex(MEMBERS, TRIALS):
        bases = [random_frame(FEATURES, FEATURES, rng).T for _ in range(2)]
        keys[place] = np.concatenate(bases)[rng.permutation(PAIRS)]
    values = np.broadcast_to(np.eye(PAIRS), (MEMBERS, TRIALS, PAIRS, PAIRS))
    capacity = analyse("capacity", {PAIRS: _recording(keys, values, erase=0.0)})
    row = capacity.pairs.loc["store", PAIRS]
    yield Answer("capacity", "share lost by a tight frame", 0.5, row["error"], ROUNDING)
    yield Answer("capacity", "the same without scaling", 1.0, row["plain_error"], ROUNDING)
    yield Answer("capacity", "floor of these values", 0.5, row["value_floor"], ROUNDING)
    yield Answer("capacity", "smallest eigenvalue of a sum", 1.0, capacity.transitions["store"].min(), 0.0)
    left = capacity.lags.loc["store"]["left"]
    yield Answer("capacity", "least share left of a sum", 1.0, float(left.min()), ROUNDING)


def reflections() -> Iterator[Answer]:
    """One unit key, written again and again with an erase of 2: each write reflects what is held along it.

    The transition I - 2 k kᵀ has the eigenvalue -1 on the key, so that what is left of a write changes its
    sign at every later one: -1 after one step, 1 after two.
    """
    steps = 5
    rng = np.random.default_rng(13)
    keys = np.broadcast_to(random_frame(FEATURES, 1, rng).T, (MEMBERS, TRIALS, steps, FEATURES))
    values = rng.normal(size=(MEMBERS, TRIALS, steps, 3))
    capacity = analyse("capacity", {steps: _recording(keys, values, erase=2.0)})
    values_of = capacity.transitions["store"]
    yield Answer("capacity", "eigenvalue of a reflection", -1.0, float(values_of.max()), ROUNDING)
    share = capacity.eigenvalues["share_negative"].min()
    yield Answer("capacity", "share of eigenvalues below zero", 1.0, float(share), 0.0)
    left = capacity.lags.loc["store"]["left"]
    yield Answer("capacity", "what a reflection leaves", -1.0, float(left.loc[1.0]), ROUNDING)
    yield Answer("capacity", "what two reflections leave", 1.0, float(left.loc[2.0]), ROUNDING)


def _recording(keys: np.ndarray, values: np.ndarray, erase: float) -> object:
    """Return the trace of a memory that writes at every step with strength 1, and reads its own key after it."""
    shape = keys.shape[:3]
    ones, erased = np.ones(shape), np.full(shape, erase)
    answers = np.empty((*shape, 1, values.shape[-1]))
    for place in np.ndindex(shape[:2]):
        log = keys[place], values[place], ones[place], erased[place], ones[place], keys[place][:, None]
        answers[place] = recall_by_loop(*log, "after")[1]
    memory = {"write_key": keys, "write_value": values, "write_strength": ones, "write_erase": erased}
    memory |= {"write_keep": ones, "read_query": keys[..., None, :], "read_value": answers}
    written = np.broadcast_to(np.arange(shape[2]), shape[1:])
    single = {name: array.astype(np.float32) for name, array in memory.items()}
    rule = {"kind": "linear", "reads": "after"}
    return trace_of({"store": single | {"rule": rule}}, {"written": written.copy()}, {})

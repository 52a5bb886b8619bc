"""State tracking: every token acts on a state of a finite set, and the target is the state so far.

Parity of bits, sums modulo m, and the word problem of permutations (Grazzi et al. 2025, arXiv:2411.12537; Siems
et al. 2025, arXiv:2502.10297; Merrill et al. 2024, arXiv:2404.08819). A row is a random word; the state starts
at the neutral element and takes up one token a step.
"""

import itertools
from collections.abc import Mapping, Sequence
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from emt.errors import UserError
from emt.streams import Split, stream
from emt.tasks.base import Batch

Scored = Literal["every", "last"]


class StateTracking:
    """Random words, and the state after each of their tokens.

    Attributes
    ----------
    table
        The next state of each state (from 0, the first) and token, (state, token).
    """

    loss: Literal["cross_entropy"] = "cross_entropy"
    curriculum = False
    epoch_batches = 500
    loss_options: Mapping[str, float] = {}
    carries = False

    def __init__(
        self,
        table: NDArray[np.int64],
        tokens: tuple[str, ...],
        steps: int,
        scored: Scored,
        shortest: int | None,
    ) -> None:
        shortest = steps if shortest is None else shortest
        if not 1 <= shortest <= steps:
            raise UserError(f"must be from 1 to {steps}, --steps; got {shortest}", parameter="shortest")
        self.table, self.tokens = table, tokens
        self.scored, self.shortest, self.steps = scored, shortest, steps
        self.output_channels, self.input_channels = table.shape
        self.lengths = (steps,)

    @property
    def chance(self) -> float:
        """Accuracy of a guess, one in the number of states: long words of a group end in all of them equally often."""
        return 1 / self.output_channels

    def operator(self, length: int) -> None:
        """Return None: the task has no linear operator."""

    def shape(self, seed: int, split: Split, step: int, horizon: int) -> int:
        """Return the number of steps, the same for all batches; shorter words are padded."""
        return self.steps

    def batch(self, seeds: Sequence[int], split: Split, step: int, shape: int, size: int) -> Batch:
        """Return one batch of words for each seed, every split a stream without end."""
        return self._words(seeds, split, step, shape, size, self.shortest)

    def test_batch(self, seed: int, length: int, horizon: int, size: int) -> Batch:
        """Return held-out words of ``length`` tokens, one member wide."""
        return self._words([seed], "test", length, length, size, length)

    def _words(
        self, seeds: Sequence[int], split: Split, step: int, steps: int, size: int, shortest: int
    ) -> Batch:
        generators = [stream("words", seed, split, step) for seed in seeds]
        ids = np.stack([g.integers(0, self.input_channels, (size, steps)) for g in generators])
        lengths = np.stack([g.integers(shortest, steps, size, endpoint=True) for g in generators])
        place, length = np.arange(steps), lengths[..., None]
        there = place < length
        states = running_states(self.table, ids)
        scored = there if self.scored == "every" else place == length - 1
        return Batch(
            inputs=np.where(there, ids, -1),
            answers=np.where(scored, states, -1),
            scored=scored,
            events={
                "token": np.where(there, ids, -1),
                "phase": np.where(there, np.where(scored, 1, 0), -1),
                "trial": np.where(there, 0, -1),
            },
        )


class Parity(StateTracking):
    """Parity: whether the number of ones so far is odd.

    Parameters
    ----------
    steps
        bits in a row, at most.
    scored
        which answers are scored: after every bit, or after a row's last one.
    shortest
        fewest bits in a row; lengths are uniform from there to --steps (default: --steps).
    """

    def __init__(
        self,
        *,
        steps: Annotated[int, Field(ge=1)] = 40,
        scored: Literal["every", "last"] = "every",
        shortest: int | None = None,
    ) -> None:
        super().__init__(sums_modulo(2), ("0", "1"), steps, scored, shortest)


class ModularAddition(StateTracking):
    """Modular addition: the sum of all numbers so far, modulo m.

    Parameters
    ----------
    modulus
        m; the numbers are 0 to m - 1.
    steps
        numbers in a row, at most.
    scored
        which answers are scored: after every number, or after a row's last one.
    shortest
        fewest numbers in a row; lengths are uniform from there to --steps (default: --steps).
    """

    def __init__(
        self,
        *,
        modulus: Annotated[int, Field(ge=2)] = 3,
        steps: Annotated[int, Field(ge=1)] = 40,
        scored: Literal["every", "last"] = "every",
        shortest: int | None = None,
    ) -> None:
        tokens = tuple(map(str, range(modulus)))
        super().__init__(sums_modulo(modulus), tokens, steps, scored, shortest)


class WordProblem(StateTracking):
    """Word problem: the product of all permutations so far.

    Parameters
    ----------
    symmetric_group
        n of the symmetric group S_n: permutations of n things, of which there are n!.
    elements
        tokens: all permutations, or the identity and those that swap two things.
    steps
        permutations in a row, at most.
    scored
        which answers are scored: after every permutation, or after a row's last one.
    shortest
        fewest permutations in a row; lengths are uniform from there to --steps (default: --steps).
    """

    def __init__(
        self,
        *,
        symmetric_group: Annotated[int, Field(ge=2, le=5)] = 3,
        elements: Literal["all", "swaps"] = "all",
        steps: Annotated[int, Field(ge=1)] = 32,
        scored: Literal["every", "last"] = "every",
        shortest: int | None = None,
    ) -> None:
        group = permutations(symmetric_group)
        chosen = (
            np.arange(len(group))
            if elements == "all"
            else np.flatnonzero((group != group[0]).sum(axis=1) <= 2)
        )
        tokens = tuple("".join(map(str, 1 + group[i])) for i in chosen)
        table = products(group)[:, chosen]
        super().__init__(table, tokens, steps, scored, shortest)


def running_states(table: NDArray[np.int64], ids: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the state after each token of words (…, time), the first state being 0."""
    states, state = np.empty_like(ids), np.zeros(ids.shape[:-1], np.int64)
    for t in range(ids.shape[-1]):
        state = table[state, ids[..., t]]
        states[..., t] = state
    return states


def sums_modulo(m: int) -> NDArray[np.int64]:
    """Return (i + j) mod m, (state, token)."""
    return np.add.outer(np.arange(m), np.arange(m)) % m


def permutations(n: int) -> NDArray[np.int64]:
    """Return all permutations of 0 … n − 1 in lexicographic order, (n!, n): the identity first."""
    return np.array(list(itertools.permutations(range(n))))


def products(group: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the number of p ∘ g, g acting first, for permutations p and g by number, (p, g)."""
    number = {tuple(p): i for i, p in enumerate(group.tolist())}
    return np.array([[number[tuple(p[g].tolist())] for g in group] for p in group])

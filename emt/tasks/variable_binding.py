"""Repeat copy and linear variable binding (Karuvally et al. 2023, Episodic Memory Theory, arXiv:2310.02430).

A window holds the last s vectors of d values in {−1, +1}. The next vector is a signed selection of the
window's s·d values, given by three integers; repeat copy selects the oldest vector. A network sees the first
s vectors and then has to produce the following ones without input.
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import repeat
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from emt.errors import UserError
from emt.streams import Split, stream
from emt.tasks.base import Batch, Copies

PRESETS: dict[str, tuple[int, int, int]] = {
    "T1": (255, 0, 0),
    "T2": (9241421688590303745, 0, 0),
    "T3": (9241421688590303745, 262676, 189),
    "T4": (9241421688590303745, 38637, 145),
}
"""The four tasks of the paper, all for d = s = 8."""


class Trial(NamedTuple):
    """Time shape: lengths of the segments' input phases, and outputs in each segment (the last may be cut)."""

    lengths: tuple[int, ...]
    horizon: int
    steps: int


class VariableBinding:
    """Linear variable binding: s input vectors, then their continuation from memory.

    Parameters
    ----------
    seq_length
        s, the number of input vectors; two numbers give an inclusive range, one length being drawn for each
        batch.
    task_id
        three integers (a b c), or repeat_copy, T1, T2, T3 or T4. a: its d one-bits are the window positions
        that the next vector copies; b: swaps among them, digits in base d; c: bits that are negated.
    input_dim
        d, bits in each vector.
    use_eos
        add an input channel that marks the end of the input phase with -1.
    infinite_horizon
        stream mode: many sequences of input, end marker and output, one after the other, in one long stream.
        One seq_length s then gives the range from s - 2 to s + 2, as far as the task exists there.
    output_horizon
        outputs after each sequence, stream mode only.
    total_length
        steps in a stream, stream mode only.
    """

    loss: Literal["mse"] = "mse"
    tokens: tuple[str, ...] = ()
    loss_options: Mapping[str, float] = {}
    carries = False

    def __init__(
        self,
        *,
        seq_length: int | tuple[int, int],
        task_id: Literal["repeat_copy", "T1", "T2", "T3", "T4"] | tuple[int, int, int] = "repeat_copy",
        input_dim: int = 8,
        use_eos: bool = False,
        infinite_horizon: bool = False,
        output_horizon: int = 15,
        total_length: int = 300,
    ) -> None:
        shortest, longest = seq_length if isinstance(seq_length, tuple) else (seq_length, seq_length)
        if not 1 <= shortest <= longest:
            raise UserError(
                f"must be one length ≥ 1 or an ascending range; got {seq_length}", parameter="seq_length"
            )
        for name, value in (("input_dim", input_dim), ("output_horizon", output_horizon)):
            if value < 1:
                raise UserError(f"must be at least 1; got {value}", parameter=name)
        if infinite_horizon and use_eos:
            raise UserError("the stream mode has its own end marker; remove the flag", parameter="use_eos")
        code = (2**input_dim - 1, 0, 0) if task_id == "repeat_copy" else PRESETS.get(str(task_id), task_id)
        if infinite_horizon and not isinstance(seq_length, tuple):
            needed = -(-int(code[0]).bit_length() // input_dim)
            shortest, longest = max(1, shortest - 2, min(shortest, needed)), longest + 2
        self.input_dim = input_dim
        self.lengths = tuple(range(shortest, longest + 1))
        self.use_eos = use_eos
        self.infinite_horizon = infinite_horizon
        self.output_horizon = output_horizon
        self.total_length = total_length
        if infinite_horizon and total_length < longest + 1 + min(output_horizon, longest):
            raise UserError(
                f"expected room for one sequence of length {longest}; got {total_length}",
                parameter="total_length",
            )
        self.task_id: tuple[int, int, int] = code  # type: ignore[assignment]
        for length in self.lengths:
            selection(self.task_id, length, input_dim)
        self.input_channels = input_dim + use_eos
        self.output_channels = input_dim
        self.curriculum = not infinite_horizon
        self.epoch_batches = 500 if infinite_horizon else 2000

    def operator(self, length: int) -> NDArray[np.float64]:
        """Return f, (length · d, d): next vector = window (a row, oldest first) @ f."""
        positions, signs = selection(self.task_id, length, self.input_dim)
        f = np.zeros((length * self.input_dim, self.input_dim))
        f[positions, np.arange(self.input_dim)] = signs
        return f

    def shape(self, seed: int, split: Split, step: int, horizon: int) -> Trial:
        """Return segment lengths, outputs in each segment and number of steps of one batch."""
        draws = self._lengths(seed, split, step)
        if not self.infinite_horizon:
            length = next(draws)
            return Trial((length,), horizon, length + horizon)
        lengths: list[int] = []
        used = 0
        while used + (s := next(draws)) + 1 + min(self.output_horizon, s) <= self.total_length:
            lengths.append(s)
            used += s + 1 + self.output_horizon
        return Trial(tuple(lengths), self.output_horizon, self.total_length)

    def _lengths(self, seed: int, split: Split, step: int) -> Iterator[int]:
        if len(self.lengths) == 1:
            yield from repeat(self.lengths[0])
        generator = stream("length", seed, split, step)
        while True:
            yield int(generator.integers(self.lengths[0], self.lengths[-1], endpoint=True))

    def batch(self, seeds: Sequence[int], split: Split, step: int, shape: Trial, size: int) -> Batch:
        """Return one batch for each seed; targets are gathered from the inputs, no rollout."""
        vectors = sum(shape.lengths)
        bits = np.stack([_bits(seed, split, step, (size, vectors, self.input_dim)) for seed in seeds])
        if self.infinite_horizon:
            _free_the_marker(bits, seeds, split, step)
        return self._segments(2 * bits.astype(np.float32) - 1, shape)

    def test_batch(self, seed: int, length: int, horizon: int, size: int) -> Batch:
        """Return a held-out batch, one member wide, whose sequences all have one length."""
        if not self.infinite_horizon:
            return self.batch([seed], "test", length, Trial((length,), horizon, length + horizon), size)
        room = self.total_length - length - 1 - min(self.output_horizon, length)
        segments = 1 + room // (length + 1 + self.output_horizon)
        shape = Trial((length,) * segments, self.output_horizon, self.total_length)
        return self.batch([seed], "test", length, shape, size)

    def _segments(self, values: NDArray[np.float32], shape: Trial) -> Batch:
        """Lay the vectors ``values`` (member, batch, vector, d) out in time; targets say which of them they copy."""
        leading, d = values.shape[:2], self.input_dim
        marker = int(self.infinite_horizon)
        seen = shape.steps if marker else shape.lengths[0] + self.use_eos
        inputs = np.zeros((*leading, seen, self.input_channels), np.float32)
        places, signs = np.zeros((shape.steps, d), np.int64), np.zeros((shape.steps, d), np.float32)
        phase, asked = np.full(shape.steps, -1), np.full(shape.steps, -1)
        written, trial = np.full(shape.steps, -1), np.full(shape.steps, -1)
        start = first = 0
        for number, s in enumerate(shape.lengths):
            answer = start + s + marker
            end = min(answer + shape.horizon, shape.steps)
            inputs[:, :, start : start + s, :d] = values[:, :, first : first + s]
            index, signs[answer:end] = continuation(self.task_id, s, d, end - answer)
            places[answer:end] = (start + index // d) * self.input_channels + index % d
            phase[start:answer], phase[answer:end] = 0, 1
            trial[start:end], written[start : start + s] = number, np.arange(s)
            asked[answer:end] = _asked_item(index, d)
            if marker:
                inputs[:, :, start + s, :d] = -1
            start, first = end, first + s
        if self.use_eos:
            inputs[:, :, shape.lengths[0], d] = -1
        full = (*leading, shape.steps)
        events = {"phase": phase, "written": written, "asked": asked, "trial": trial}
        return Batch(
            inputs=inputs,
            answers=Copies(places, signs),
            scored=np.broadcast_to(phase == 1, full),
            events={name: np.broadcast_to(event, full) for name, event in events.items()},
        )


def selection(
    task_id: tuple[int, int, int], length: int, input_dim: int
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Decode a task: which window position (slot · d + bit, slot 0 oldest) each output copies, and its sign.

    Returns
    -------
    positions, signs
        Both (d,).

    Raises
    ------
    UserError
        If the three integers are no code of a task with these sizes.
    """
    a, b, c = task_id
    if min(task_id) < 0:
        raise UserError(f"must be three integers ≥ 0; got {task_id}", parameter="task_id")
    positions = [i for i in range(a.bit_length()) if a >> i & 1]
    if len(positions) != input_dim:
        raise UserError(
            f"must have {input_dim} one-bits in the first integer (input_dim); got {len(positions)} in {a}",
            parameter="task_id",
        )
    if positions[-1] >= length * input_dim:
        raise UserError(
            f"must have bits below seq_length x input_dim = {length * input_dim} in the first integer; "
            f"got bit {positions[-1]}",
            parameter="task_id",
        )
    for i, digit in enumerate(_digits(b, input_dim)):
        if i + digit >= input_dim:
            raise UserError(
                f"expected digit {i} of the second integer in base {input_dim} below {input_dim - i}; got {digit}",
                parameter="task_id",
            )
        positions[i], positions[i + digit] = positions[i + digit], positions[i]
    if c.bit_length() > input_dim:
        raise UserError(
            f"must have at most {input_dim} bits (input_dim) in the third integer; got {c.bit_length()} in {c}",
            parameter="task_id",
        )
    signs = [-1 if c >> k & 1 else 1 for k in range(input_dim)]
    return np.array(positions), np.array(signs, np.float32)


@lru_cache(maxsize=256)
def continuation(
    task_id: tuple[int, int, int], length: int, input_dim: int, horizon: int
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Return positions in the first window and signs, both (horizon, d), of the next ``horizon`` vectors."""
    positions, signs = selection(task_id, length, input_dim)
    index = np.arange((length + horizon) * input_dim)
    sign = np.ones((length + horizon) * input_dim, np.float32)
    for step in range(horizon):
        source = step * input_dim + positions
        new = slice((length + step) * input_dim, (length + step + 1) * input_dim)
        index[new], sign[new] = index[source], sign[source] * signs
    first = length * input_dim
    return index[first:].reshape(horizon, input_dim), sign[first:].reshape(horizon, input_dim)


def _digits(number: int, base: int) -> list[int]:
    digits = []
    while number and base > 1:
        number, digit = divmod(number, base)
        digits.append(digit)
    return [number] if base == 1 and number else digits


def _bits(seed: int, split: Split, step: int, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    count = int(np.prod(shape))
    packed = stream("bits", seed, split, step).bytes(-(-count // 8))
    return np.unpackbits(np.frombuffer(packed, np.uint8), count=count).reshape(shape)


def _free_the_marker(bits: NDArray[np.uint8], seeds: Sequence[int], split: Split, step: int) -> None:
    """Set one random bit of every all −1 vector, since all −1 is the end marker."""
    for member, seed in enumerate(seeds):
        rows = np.flatnonzero(~bits[member].any(axis=-1).ravel())
        chosen = stream("marker", seed, split, step).integers(bits.shape[-1], size=bits[member, ..., 0].size)
        bits[member].reshape(-1, bits.shape[-1])[rows, chosen[rows]] = 1


def _asked_item(index: NDArray[np.int64], d: int) -> NDArray[np.int64]:
    """Return the input vector that each output repeats, or −1 where it mixes several."""
    item = index // d
    return np.where((item == item[:, :1]).all(axis=1), item[:, 0], -1)

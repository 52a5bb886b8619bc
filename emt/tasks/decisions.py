"""Two tasks that animals and rate networks are trained on: a noisy stimulus is kept in mind, or evidence is weighed.

A trial goes through stages of several steps; what it is made of is in events of its own, at all of its steps, for
analyses by condition. Answers are scored in the last stage only.
"""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from scipy.special import ndtr

from emt.errors import UserError
from emt.streams import Split, stream
from emt.tasks.base import Batch

Array = NDArray[np.float64]
Integers = NDArray[np.int64]


class StagedTask:
    """Trials of stages, the last of which answers.

    Attributes
    ----------
    steps
        Steps of the longest trial.
    """

    loss: Literal["cross_entropy"] = "cross_entropy"
    output_channels = 2
    chance = 0.5
    curriculum = False
    epoch_batches = 200
    tokens: tuple[str, ...] = ()
    loss_options: Mapping[str, float] = {}
    carries = False
    steps: int

    @property
    def lengths(self) -> tuple[int, ...]:
        """The steps of the longest trial."""
        return (self.steps,)

    def operator(self, length: int) -> None:
        """Return None: the task has no linear operator."""

    def shape(self, seed: int, split: Split, step: int, horizon: int) -> int:
        """Return the number of steps, the same for all batches."""
        return self.steps

    def batch(self, seeds: Sequence[int], split: Split, step: int, shape: int, size: int) -> Batch:
        """Return one batch for each seed, every split a stream without end."""
        return _stacked([self._trials(seed, split, step, shape, size) for seed in seeds])

    def test_batch(self, seed: int, length: int, horizon: int, size: int) -> Batch:
        """Return held-out trials of ``length`` steps, one member wide."""
        return _stacked([self._trials(seed, "test", length, length, size)])

    @abstractmethod
    def _trials(self, seed: int, split: Split, step: int, steps: int, size: int) -> Batch:
        """Return trials of one member, without its axis."""


class DelayedMatch(StagedTask):
    """Delayed match to sample: say whether the second of two noisy stimuli, some time apart, is the first one again.

    Stimuli are K channels, one of which is 1; one channel more is 1 until an answer is due. In half of the trials the
    second stimulus is the first one again, else any other with the same probability, so that it says nothing by
    itself.

    Parameters
    ----------
    stimuli
        K, different stimuli.
    fixation_steps
        steps before the first stimulus.
    sample_steps
        steps of the first stimulus.
    shortest_delay
        fewest steps between the stimuli.
    longest_delay
        most steps between them; delays are uniform in between.
    test_steps
        steps of the second stimulus.
    response_steps
        steps at which the answer is due.
    stimulus_noise
        standard deviation of the noise of each channel and step.
    """

    def __init__(
        self,
        *,
        stimuli: Annotated[int, Field(ge=2)] = 4,
        fixation_steps: Annotated[int, Field(ge=1)] = 4,
        sample_steps: Annotated[int, Field(ge=1)] = 6,
        shortest_delay: Annotated[int, Field(ge=0)] = 12,
        longest_delay: Annotated[int, Field(ge=0)] = 20,
        test_steps: Annotated[int, Field(ge=1)] = 6,
        response_steps: Annotated[int, Field(ge=1)] = 4,
        stimulus_noise: Annotated[float, Field(ge=0)] = 0.5,
    ) -> None:
        if shortest_delay > longest_delay:
            raise UserError(
                f"must be at most {longest_delay}, --longest_delay; got {shortest_delay}",
                parameter="shortest_delay",
            )
        self.stimuli, self.noise = stimuli, stimulus_noise
        self.delays = (shortest_delay, longest_delay)
        self.others = (fixation_steps, sample_steps, test_steps, response_steps)
        self.steps = sum(self.others) + longest_delay
        self.input_channels = stimuli + 1

    def _trials(self, seed: int, split: Split, step: int, steps: int, size: int) -> Batch:
        sample = stream("sample", seed, split, step).integers(0, self.stimuli, size)
        draws = stream("match", seed, split, step)
        match = draws.integers(0, 2, size)
        # Another stimulus is one to K − 1 places further on.
        test = (sample + (1 - match) * draws.integers(1, self.stimuli, size)) % self.stimuli
        stage, delay = self._stages(seed, split, step, steps, size)
        shown = np.where(stage == 1, sample[:, None], np.where(stage == 3, test[:, None], -1))
        noise = stream("noise", seed, split, step).standard_normal((size, steps, self.input_channels))
        inputs = (shown[..., None] == np.arange(self.input_channels)) + self.noise * noise
        inputs[..., -1] += (stage >= 0) & (stage < 4)
        inputs[stage < 0] = 0
        return _batch(
            inputs, match, stage, 4, {"sample": sample, "test": test, "match": match, "delay": delay}
        )

    def _stages(self, seed: int, split: Split, step: int, steps: int, size: int) -> tuple[Integers, Integers]:
        """Return the stage of each step, (batch, time), −1 after the end, and delays; all are long in longer trials."""
        shortest, longest = self.delays
        if steps != self.steps:
            shortest = longest = steps - sum(self.others)
        delay = stream("delay", seed, split, step).integers(shortest, longest, size, endpoint=True)
        fixation, sample, test, response = (np.full(size, own) for own in self.others)
        ends = np.cumsum([fixation, sample, delay, test, response], axis=0)
        stage = (np.arange(steps) >= ends[..., None]).sum(axis=0)
        return np.where(stage < len(ends), stage, -1), delay

    def ideal_accuracy(self, batch: Batch) -> float:
        """Return the share of a batch's trials that who knows the task answers right, from their inputs.

        With x̄ the mean of a stimulus' n steps, P(stimulus k) ∝ exp(n x̄_k / σ²). With a and b these of the first
        and the second stimulus it is a match if Σ_k a_k b_k is above (1 − Σ_k a_k b_k) / (K − 1).
        """
        inputs, stage = np.asarray(batch.inputs, dtype=float)[..., : self.stimuli], batch.events["stage"]
        known = []
        for shown in (1, 3):
            evidence = (
                np.where((stage == shown)[..., None], inputs, 0).sum(axis=2) / max(self.noise, 1e-9) ** 2
            )
            likelihood = np.exp(evidence - evidence.max(axis=-1, keepdims=True))
            known.append(likelihood / likelihood.sum(axis=-1, keepdims=True))
        same = np.sum(known[0] * known[1], axis=-1)
        answer = same > (1 - same) / (self.stimuli - 1)
        return float(np.mean(answer == batch.events["match"][:, :, 0]))


COHERENCES = (-0.4, -0.2, -0.1, -0.05, 0.05, 0.1, 0.2, 0.4)
"""Means of the evidence of both modalities."""


class ContextIntegration(StagedTask):
    """Context-dependent integration (Mante et al. 2013): say whether the evidence that counts is above zero.

    Two channels are noise about a mean each, drawn from `COHERENCES`; two more say which of them counts.

    Parameters
    ----------
    blank_steps
        steps before the evidence.
    evidence_steps
        steps of evidence, through which the context is shown.
    answer_steps
        steps at which the answer is due.
    evidence_noise
        standard deviation of the noise of each modality and step.
    """

    input_channels = 4

    def __init__(
        self,
        *,
        blank_steps: Annotated[int, Field(ge=0)] = 4,
        evidence_steps: Annotated[int, Field(ge=1)] = 20,
        answer_steps: Annotated[int, Field(ge=1)] = 4,
        evidence_noise: Annotated[float, Field(ge=0)] = 1.0,
    ) -> None:
        self.blank, self.answering, self.noise = blank_steps, answer_steps, evidence_noise
        self.steps = blank_steps + evidence_steps + answer_steps

    def _trials(self, seed: int, split: Split, step: int, steps: int, size: int) -> Batch:
        context = stream("context", seed, split, step).integers(0, 2, size)
        drawn = stream("coherence", seed, split, step).integers(0, len(COHERENCES), (size, 2))
        means = np.array(COHERENCES)[drawn]
        choice = (means[np.arange(size), context] > 0).astype(np.int64)
        place = np.arange(steps)
        stage = np.tile(
            np.where(place < self.blank, 0, np.where(place < steps - self.answering, 1, 2)), (size, 1)
        )
        inputs = np.zeros((size, steps, self.input_channels))
        noise = stream("noise", seed, split, step).standard_normal((size, steps, 2))
        inputs[..., :2] = means[:, None] + self.noise * noise
        inputs[..., 2:] = (context[:, None] == np.arange(2))[:, None]
        inputs[stage != 1] = 0
        known = {"context": context, "choice": choice, "first": drawn[:, 0], "second": drawn[:, 1]}
        congruent = (means > 0).all(axis=1) | (means < 0).all(axis=1)
        return _batch(inputs, choice, stage, 2, known | {"congruent": congruent.astype(np.int64)})

    def ideal_accuracy(self, batch: Batch) -> float:
        """Return the share of a batch's trials in which the sum of the evidence that counts has the right sign."""
        inputs, stage = np.asarray(batch.inputs, dtype=float), batch.events["stage"]
        evidence = np.where((stage == 1)[..., None], inputs[..., :2], 0).sum(axis=2)
        context = batch.events["context"][:, :, 0]
        counts = np.take_along_axis(evidence, context[..., None], axis=-1)[..., 0]
        return float(np.mean((counts > 0) == batch.events["choice"][:, :, 0]))

    def strategies(self) -> dict[str, float]:
        """Return expected accuracies: of the modality that counts, of either one by chance, and of the sum of both.

        A sum of n steps of mean c has the right sign with the probability Φ(|c| √n / σ), that of both with
        Φ((|c| ± |c'|) √(n / 2) / σ).
        """
        steps = self.steps - self.blank - self.answering
        size = np.unique(np.abs(COHERENCES))
        scale = max(self.noise, 1e-9)
        ideal = float(ndtr(size * np.sqrt(steps) / scale).mean())
        other = size[:, None] + np.concatenate([size, -size])
        return {
            "ideal": ideal,
            "random modality": (ideal + 0.5) / 2,
            "both modalities": float(ndtr(other * np.sqrt(steps / 2) / scale).mean()),
        }


def _batch(inputs: Array, answer: Integers, stage: Integers, last: int, known: Mapping[str, Any]) -> Batch:
    """Return trials of one member whose answers are due in the last stage, without its axis."""
    due, there = stage == last, stage >= 0
    whole = {name: np.where(there, values[:, None], -1) for name, values in known.items()}
    return Batch(
        inputs=inputs.astype(np.float32),
        answers=np.where(due, answer[:, None], -1),
        scored=due,
        events={
            **whole,
            "stage": stage,
            "phase": np.where(there, due.astype(np.int64), -1),
            "trial": np.where(there, 0, -1),
        },
    )


def _stacked(batches: Sequence[Batch]) -> Batch:
    """Return the batches of members, each without the axis, as one."""
    return Batch(
        inputs=np.stack([batch.inputs for batch in batches]),
        answers=np.stack([batch.targets for batch in batches]),
        scored=np.stack([batch.scored for batch in batches]),
        events={name: np.stack([batch.events[name] for batch in batches]) for name in batches[0].events},
    )

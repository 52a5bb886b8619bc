"""Scores of decoders that are trained at one step: of the labels, of permuted ones, and at other steps."""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from analysis.conditions.discriminant import discriminants, whiten
from analysis.conditions.folds import Split
from analysis.conditions.labels import NONE, Labels

Array = NDArray[np.float64]
Score = Literal["recall", "r2"]


@dataclass(frozen=True)
class Plan:
    """What is decoded from each member's states.

    Attributes
    ----------
    labels
        Of the trials.
    present
        (trial, time), steps that exist.
    splits
        Trials to train and to test on.
    orders
        (1 + permutation, trial): whose labels trials take, those of the data first.
    steps
        Steps that are analysed.
    score
        Mean of recalls, or R².
    matrix
        Whether decoders are also tested at other steps.
    """

    labels: Labels
    present: NDArray[np.bool_]
    splits: tuple[Split, ...]
    orders: NDArray[np.intp]
    steps: tuple[int, ...]
    score: Score
    matrix: bool

    def scores(self, states: Array) -> Array:
        """Return scores (1 + permutation, step) of a member's states (trial, time, unit).

        With ``matrix`` the scores by training step and test step follow, (1 + permutation + step, step).
        """
        method: _Recall | _Regression = _Regression(self) if self.score == "r2" else _Recall(self)
        steps, observed = list(self.steps), self.orders[:1]
        own = np.zeros((2, len(self.orders), len(steps), method.columns))
        across = np.zeros((2, len(steps) if self.matrix else 0, len(steps), method.columns))
        for split in self.splits:
            for place, step in enumerate(steps):
                trained = split.train[self.present[split.train, step]]
                space = whiten(states[trained, step])
                labels = method.labels[:, step][self.orders[:, trained]]
                decoder = method.train(space.train, labels)
                tested = space.of(states[split.test, step])[:, None]
                labels = self._tested(method, self.orders, split.test, [step])
                own[:, :, place] += method.count(decoder, tested, labels)[:, :, 0]
                if self.matrix:
                    tested = space.of(states[split.test][:, steps])
                    first = tuple(part[:1] for part in decoder)
                    labels = self._tested(method, observed, split.test, steps)
                    across[:, place] += method.count(first, tested, labels)[:, 0]
        return method.score(np.concatenate([own, across], axis=1))

    def _tested(
        self,
        method: "_Recall | _Regression",
        orders: NDArray[np.intp],
        trials: NDArray[np.intp],
        steps: list[int],
    ) -> NDArray[Any]:
        """Return the labels of tested trials, (labelling, trial, step), none at steps that do not exist."""
        labels = method.labels[:, steps][orders[:, trials]]
        return np.where(self.present[trials][:, steps], labels, method.none)


class _Recall:
    """Trials recognised and trials there, of each class."""

    none = NONE

    def __init__(self, plan: Plan) -> None:
        self.labels, self.columns = plan.labels.classes, len(plan.labels.values)

    def train(self, whitened: Array, labels: NDArray[Any]) -> tuple[Array, ...]:
        """Return the discriminants of all labellings (labelling, trial)."""
        return discriminants(whitened, labels, self.columns)

    def count(self, decoder: tuple[Array, ...], tested: Array, labels: NDArray[Any]) -> Array:
        """Return how many trials each labelling's decoder puts into its class of them, and how many there are.

        States are (trial, step, coordinate), labels (labelling, trial, step), counts (2, labelling, step, class).
        """
        weights, offsets = decoder
        guess = np.argmax(
            np.einsum("pcr,nsr->pnsc", weights, tested, optimize=True) + offsets[:, None, None], axis=-1
        )
        one_hot = labels[..., None] == np.arange(self.columns)
        right = one_hot & (guess == labels)[..., None]
        return np.stack([right.sum(axis=1), one_hot.sum(axis=1)])

    def score(self, counts: Array) -> Array:
        """Return the mean over classes of recalls; NaN where a class has no trial."""
        right, there = counts
        return np.divide(right, there, out=np.full_like(right, np.nan), where=there > 0).mean(axis=-1)


class _Regression:
    """Squares of errors and of deviations from the mean of the training trials."""

    none, columns = np.nan, 1

    def __init__(self, plan: Plan) -> None:
        self.labels = np.where(plan.present, plan.labels.numbers, np.nan)

    def train(self, whitened: Array, labels: NDArray[Any]) -> tuple[Array, ...]:
        """Return weights (labelling, coordinate) and means (labelling,) of ridge regressions."""
        means = np.nanmean(labels, axis=1)
        # Of permuted labels some trials may have none at a step.
        return np.nan_to_num(labels - means[:, None]) @ whitened / labels.shape[1], means

    def count(self, decoder: tuple[Array, ...], tested: Array, labels: NDArray[Any]) -> Array:
        """Return sums over trials of squared errors and of squared deviations, (2, labelling, step, 1)."""
        weights, means = decoder
        numbers = labels - means[:, None, None]
        errors = numbers - np.einsum("pr,nsr->pns", weights, tested, optimize=True)
        return np.stack([np.nansum(part**2, axis=1)[..., None] for part in (errors, numbers)])

    def score(self, counts: Array) -> Array:
        """Return R²; NaN where numbers do not vary."""
        errors, deviations = counts[..., 0]
        return 1 - np.divide(errors, deviations, out=np.full_like(errors, np.nan), where=deviations > 0)

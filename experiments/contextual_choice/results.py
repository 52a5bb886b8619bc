"""Returns of agents during learning, and their choices with frozen weights."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.statistics import Interval, mean_interval
from emt import files, runs
from emt.config import RunConfig
from emt.tasks.base import Batch
from emt.tasks.contextual_choice import SEEN, UNSEEN

if TYPE_CHECKING:
    from emt.record import Loaded

LAST_EPOCHS = 5
"""Epochs at the end of training whose return is given."""

EPISODES, EPISODES_AT_ONCE = 32, 4
"""Held-out episodes that an agent is evaluated on, each agent on its own."""

CONDITIONS = ("unseen", "seen", "retrieval off")


def returns_of(folder: Path, config: RunConfig, numbers: Sequence[int]) -> pd.DataFrame:
    """Return each agent's ``return`` (right choices in a trial) and ``value_loss`` by (model, epoch), as it learnt.

    Each is the mean over the training curve's points in the epoch; actions are sampled, and the weights
    change from trial to trial.
    """
    length = config.training.epoch_batches or 1
    rows = []
    for number in numbers:
        curve = files.read_curve(runs.model_folder(folder, number) / "training_curve.csv")
        for point in (point for point in curve if point.is_training):
            epoch = (point.step - 1) // length + 1
            rows.append((number, epoch, config.task["steps"] * point.train_acc, point.train_loss))
    table = pd.DataFrame(rows, columns=["model", "epoch", "return", "value_loss"])
    return table.groupby(["model", "epoch"])[["return", "value_loss"]].mean()


def last_returns(returns: pd.DataFrame) -> Interval:
    """Return the mean over agents of the return in the last epochs, with its interval."""
    epochs = returns.index.get_level_values("epoch")
    return mean_interval(returns[epochs > epochs.max() - LAST_EPOCHS]["return"].groupby("model").mean())


def evaluate(folder: Path, config: RunConfig, numbers: Sequence[int]) -> pd.DataFrame:
    """Return how often agents choose correctly with frozen weights, by (model, condition, step).

    Columns: ``greedy``, the share of trials whose most probable action is correct; ``sampled``, the mean
    probability of the correct action. Trials "seen" are an episode's second half; "retrieval off" are the
    same trials when nothing is recalled.
    """
    from emt.record import load_members

    loaded = load_members(folder, config, numbers)
    rates = np.mean([_three_rates(loaded, batch) for batch in _episodes(loaded)], axis=0)
    steps = range(config.task["steps"])
    index = pd.MultiIndex.from_product([numbers, CONDITIONS, steps], names=["model", "condition", "step"])
    return pd.DataFrame(rates.reshape(-1, 2), index=index, columns=["greedy", "sampled"])


def _episodes(loaded: "Loaded") -> Iterator[Batch]:
    """Yield each agent's own held-out episodes, a few at a time."""
    for number in range(EPISODES // EPISODES_AT_ONCE):
        yield loaded.task.episodes(loaded.model.seeds, "test", number, EPISODES_AT_ONCE)  # type: ignore[attr-defined]


def _three_rates(loaded: "Loaded", batch: Batch) -> NDArray[np.float64]:
    """Return rates of right choices, greedy and sampled, (member, condition, step, 2)."""
    as_trained, off = _rates(loaded, batch), _rates(loaded, batch, retrieval=False)
    return np.stack([as_trained[:, UNSEEN], as_trained[:, SEEN], off[:, SEEN]], axis=1)


def _rates(loaded: "Loaded", batch: Batch, *, retrieval: bool = True) -> NDArray[np.float64]:
    """Return rates of right choices, greedy and sampled, (member, group, step, 2); ``retrieval`` False turns it off."""
    import torch

    model = loaded.model
    before, model.retrieval = model.retrieval, model.retrieval and retrieval  # type: ignore[assignment]
    context = {name: torch.tensor(batch.events[name]) for name in model.context}
    with torch.no_grad():
        outputs, _, _ = model(torch.tensor(batch.inputs), None, None, context)
    model.retrieval = before
    logits, targets = outputs[..., :-1], torch.tensor(batch.targets)
    greedy = logits.argmax(dim=-1) == targets.argmax(dim=-1)
    sampled = (logits.softmax(dim=-1) * targets).sum(dim=-1)
    members, rows, _ = greedy.shape
    steps = loaded.task.sizes.steps  # type: ignore[attr-defined]
    # An episode's first half is unseen, its second half seen.
    both = torch.stack([greedy.to(sampled), sampled], dim=-1).view(members, rows, 2, -1, steps, 2)
    rates: NDArray[np.float64] = both.mean(dim=(1, 3)).double().numpy()
    return rates

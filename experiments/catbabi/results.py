"""What the experiment writes beside the run directory's own files: test.json and test_by_task.csv.

::

    <run>/test.json                  size of the model; mean, spread and interval over members for each start state
    <run>/test.csv                   a row for each member and start state
    <run>/test_by_task.csv           a row for each member, start state and task
    <run>/model-k/test.json          a member's figures
    <run>/model-k/test_by_task.csv   a row for each start state and task

``accuracy`` is that of all questions together, ``accuracy_whole`` that of the questions of tasks whose
training file is there, ``accuracy_mean`` the mean over tasks; questions are what counts in both modes.
``loss`` is the mean over the ``words`` that count for the loss in the run's mode, answers (qa) or all (lm),
in nats, and ``perplexity`` its exponential. ``validation`` has the figures of the validation at which the
member's weights were the best.
"""

import csv
import io
import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field

from analysis.statistics import mean_interval
from emt import files, locks, runs
from emt.config import RunConfig
from emt.errors import UserError
from emt.models.base import State
from emt.ops import fast_matmul
from emt.record import Loaded, load_members, to_array, to_tensors
from emt.schema import Count, Positive, Schema, Share
from emt.tasks.babi_data import TASKS
from emt.tasks.catbabi import CatBabi
from experiments.training import Tested, read_test

Start = Literal["zero", "first_row"]
"""The state before the first word: zeros, or what the first row carried when the kept weights were validated."""

FIGURES = ("accuracy", "accuracy_whole", "accuracy_mean", "loss", "perplexity")
COUNTS = ("questions", "words")
RANGES = dict.fromkeys(FIGURES[:3], (0.0, 1.0)) | {"loss": (0.0, np.inf), "perplexity": (1.0, np.inf)}
"""Smallest and largest possible value of each of `FIGURES`."""


@dataclass(frozen=True)
class Answers:
    """What members made of one segment, at the words that count for its loss or its accuracy.

    Attributes
    ----------
    loss
        Cross entropy in nats, (member, word).
    right
        Whether the largest output is the next word's, (member, word).
    target, trial, group
        Next word, number of the story and its task, (word,).
    scored, judged
        Whether the word counts for the loss, and for the accuracy, (word,).
    """

    loss: NDArray[np.float64]
    right: NDArray[np.bool_]
    target: NDArray[np.int64]
    trial: NDArray[np.int64]
    group: NDArray[np.int64]
    scored: NDArray[np.bool_]
    judged: NDArray[np.bool_]


@dataclass(frozen=True)
class Tally:
    """Sums over a whole split.

    Attributes
    ----------
    right
        Right answers, (member, task).
    questions, words
        How many questions there were, and words that count for the loss, (task,).
    loss
        Sum over these words, (member, task).
    """

    right: NDArray[np.int64]
    questions: NDArray[np.int64]
    loss: NDArray[np.float64]
    words: NDArray[np.int64]


def write_results(
    run: Path, config: RunConfig, starts: Sequence[Start], size: int = 1, device: str = "cpu"
) -> dict[int, dict[str, Any]]:
    """Test the members that have ended, those with current figures excepted, and write all files.

    Parameters
    ----------
    run, config
        The run.
    starts
        Start states that figures are wanted for; earlier figures for others are kept.
    size
        Rows that the test stories are laid out in; the paper has one.
    device
        Where members run.

    Returns
    -------
    results
        Content of each member's test.json by model number.
    """
    from emt.training.population import done_markers

    with locks.writing_into(run):
        done = done_markers(config, run)
        results = {n: _earlier(run, n, marker, size) for n, marker in done.items()}
        for start in starts:
            waiting = [n for n, result in results.items() if start not in result["starts"]]
            if waiting:
                loaded = load_members(run, config, waiting, device)
                assert isinstance(loaded.task, CatBabi)
                whole = whole_tasks(loaded.task)
                tally = take(run_through(loaded, start_state(run, loaded, start, size), size))
                for position, number in enumerate(waiting):
                    results[number]["starts"][start] = figures(tally, position, whole)
        for number, result in results.items():
            _write_member(runs.model_folder(run, number), result)
        if results:
            _write_run(run, config, results)
    return results


TaskNumber = Annotated[str, Field(pattern=r"^[0-9]{1,2}$")]


class TaskFigures(Schema):
    """A member's figures of one task."""

    accuracy: Share


class StartFigures(Schema):
    """A member's figures from one start state."""

    accuracy: Share
    accuracy_whole: Share | None
    accuracy_mean: Share
    loss: float | None
    perplexity: float | None
    questions: Count
    words: Count
    by_task: dict[TaskNumber, TaskFigures]


class MemberTest(Tested):
    """Content of a member's test.json."""

    seed: Count
    rows: Positive
    validation: dict[str, float | None] | None
    starts: dict[str, StartFigures]


class Spread(Schema):
    """Mean and spread of a figure over members."""

    n: Count
    mean: float | None
    sd: float | None
    low: float | None
    high: float | None


class RunTest(Schema):
    """Content of a run's test.json."""

    starts: dict[str, dict[str, Spread]]


def _earlier(run: Path, number: int, marker: dict[str, Any], size: int) -> dict[str, Any]:
    """Return a member's test.json where it is of these weights and rows, else one without figures."""
    about = {"seed": marker["seed"], "step": marker["step"], "best_step": marker.get("best_step")}
    about |= {"rows": size, "weights_sha256": marker["sha256"]}
    folder = runs.model_folder(run, number)
    try:
        content = read_test(folder, MemberTest)
    except UserError:
        # It is missing, broken, or of an earlier version with fewer figures.
        content = {}
    current = all(content.get(k) == about[k] for k in ("rows", "weights_sha256"))
    starts = content["starts"] if current else {}
    return {**about, "validation": best_validation(folder, about["best_step"]), "starts": starts}


def best_validation(folder: Path, best_step: int | None) -> dict[str, float] | None:
    """Return accuracy, loss and perplexity of the validation at a member's best step; None where it has none."""
    for point in files.read_curve(folder / "training_curve.csv"):
        if point.is_validation and point.step == best_step:
            return {
                "accuracy": point.val_acc,
                "loss": point.val_loss,
                "perplexity": float(np.exp(point.val_loss)),
            }
    return None


def start_state(run: Path, loaded: Loaded, start: Start, size: int) -> State | None:
    """Return the state before the first word, (member, row, …); None for zeros.

    Raises
    ------
    UserError
        If a member has no state beside its weights.
    """
    if start == "zero":
        return None
    try:
        states = [runs.read_state(runs.model_folder(run, number)) for number in loaded.numbers]
    except UserError as error:
        raise UserError(f"first_row: {error}", parameter="start") from None
    stacked = {
        name: torch.tensor(np.stack([state[name] for state in states])).to(loaded.device)
        for name in loaded.model.state_dims
    }
    return {name: value[:, None].repeat(1, size, *[1] * (value.ndim - 1)) for name, value in stacked.items()}


@torch.no_grad()
def run_through(loaded: Loaded, state: State | None = None, size: int = 1) -> Iterator[Answers]:
    """Run members through the test stories in segments, the state carried; yields what they made of each segment."""
    task, seed = loaded.task, loaded.model.seeds[0]
    shape = task.shape(seed, "test", 0, 1)
    with fast_matmul():
        for step in itertools.count():
            batch = task.batch([seed], "test", step, shape, size)
            if not batch.sequences:
                return
            wanted = batch.scored | batch.judged_steps
            inputs, context = to_tensors(loaded, batch)
            context_of_batch = {
                **context,
                "needed_steps": torch.tensor(wanted).to(loaded.device).expand(len(loaded.numbers), -1, -1),
            }
            outputs, state, _ = loaded.model(inputs, state, batch.steps, context_of_batch)
            target = batch.targets[wanted].astype(np.int64)
            chosen = outputs[:, torch.tensor(wanted[0]).to(loaded.device)].log_softmax(dim=-1)
            index = torch.tensor(target).to(loaded.device).expand(chosen.shape[:2])[..., None]
            yield Answers(
                loss=-to_array(chosen.gather(2, index).squeeze(2)).astype(np.float64),
                right=to_array(chosen.argmax(dim=-1)) == target,
                target=target,
                **{name: batch.events[name][wanted] for name in ("trial", "group")},
                scored=batch.scored[wanted],
                judged=batch.judged_steps[wanted],
            )


def take(answers: Iterator[Answers]) -> Tally:
    """Sum up what members answered, by task."""

    def by_task(group: NDArray[np.int64], values: NDArray[Any]) -> NDArray[Any]:
        sums = [np.bincount(group, row, minlength=TASKS[-1] + 1) for row in np.atleast_2d(values)]
        return np.stack(sums)[:, TASKS[0] :]

    right = questions = loss = words = np.zeros(())
    for a in answers:
        asked, counted = a.group[a.judged], a.group[a.scored]
        right = right + by_task(asked, a.right[:, a.judged])
        questions = questions + by_task(asked, np.ones(len(asked)))[0]
        loss = loss + by_task(counted, a.loss[:, a.scored])
        words = words + by_task(counted, np.ones(len(counted)))[0]
    return Tally(right.astype(int), questions.astype(int), loss, words.astype(int))


def whole_tasks(task: CatBabi) -> set[int]:
    """Return the tasks whose training file is there as it was published."""
    absent = {int(match[1]) for name in task.missing if (match := re.match(r"qa(\d+)_train\.", name))}
    return set(TASKS) - absent


def figures(tally: Tally, position: int, whole: set[int]) -> dict[str, Any]:
    """Return one member's figures as test.json has them."""
    right, lost = tally.right[position], tally.loss[position]
    asked = [i for i, n in enumerate(tally.questions) if n]
    complete = [i for i in asked if TASKS[i] in whole]
    loss = float(lost.sum() / tally.words.sum())
    shares = {i: right[i] / tally.questions[i] for i in asked}
    return {
        "accuracy": float(right.sum() / tally.questions.sum()),
        "accuracy_whole": float(right[complete].sum() / tally.questions[complete].sum())
        if complete
        else None,
        "accuracy_mean": float(np.mean(list(shares.values()))),
        "loss": loss,
        "perplexity": float(np.exp(loss)),
        "questions": int(tally.questions.sum()),
        "words": int(tally.words.sum()),
        "by_task": {
            str(TASKS[i]): {
                "accuracy": float(shares[i]),
                "questions": int(tally.questions[i]),
                "loss": float(lost[i] / tally.words[i]),
                "trained_on_whole_set": TASKS[i] in whole,
            }
            for i in asked
        },
    }


def _write_member(folder: Path, result: dict[str, Any]) -> None:
    files.write_json(folder / "test.json", result)
    files.write_text(folder / "test_by_task.csv", _table(_task_rows(result)))


def _task_rows(result: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        {"start": start, "task": int(task), **row}
        for start, figure in result["starts"].items()
        for task, row in figure["by_task"].items()
    ]


def _write_run(run: Path, config: RunConfig, results: dict[int, dict[str, Any]]) -> None:
    named = {f"model-{number}": result for number, result in results.items()}
    starts = dict.fromkeys(start for result in named.values() for start in result["starts"])
    validated = [result["validation"] or {} for result in named.values()]
    validation = {
        name: spread([one.get(name) for one in validated], RANGES[name])
        for name in ("accuracy", "loss", "perplexity")
    }
    summary = {}
    for start in starts:
        tested = [result["starts"][start] for result in named.values() if start in result["starts"]]
        summary[start] = {name: spread([one[name] for one in tested], RANGES[name]) for name in FIGURES}
    weights, activations = sizes(run, config, min(results))
    about = {
        "mode": config.task["mode"],
        "model": config.model_type,
        "weights": weights,
        "activations": activations,
    }
    files.write_json(run / "test.json", {**about, "validation": validation, "starts": summary})
    rows = [
        {"model": name, "seed": result["seed"], "best_step": result["best_step"], "start": start}
        | {name: figure[name] for name in (*FIGURES, *COUNTS)}
        for name, result in named.items()
        for start, figure in result["starts"].items()
    ]
    files.write_text(run / "test.csv", _table(rows))
    by_task = [{"model": name, **row} for name, result in named.items() for row in _task_rows(result)]
    files.write_text(run / "test_by_task.csv", _table(by_task))


def spread(values: Sequence[float | None], bounds: tuple[float, float]) -> dict[str, float]:
    """Return mean, standard deviation (dividing by n − 1) and 95 % interval over members of values within bounds."""
    sample = np.array([np.nan if v is None else v for v in values])
    interval = mean_interval(sample, bounds=bounds)
    known = sample[np.isfinite(sample)]
    deviation = float(known.std(ddof=1)) if len(known) > 1 else float("nan")
    return {
        "mean": interval.estimate,
        "sd": deviation,
        "low": interval.low,
        "high": interval.high,
        "n": interval.n,
    }


def sizes(run: Path, config: RunConfig, number: int) -> tuple[int, int]:
    """Return a model's weights, and the numbers that a word depends on besides itself, at most (table 1's columns)."""
    model = load_members(run, config, [number]).model
    weights = sum(p.numel() for p in model.parameters())
    return weights, model.activations(config.task["segment"])


def _table(rows: list[dict[str, Any]]) -> str:
    text = io.StringIO()
    table = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    table.writeheader()
    table.writerows(rows)
    return text.getvalue()

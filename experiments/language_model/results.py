"""What the experiment writes beside the run directory's own files.

::

    <run>/test.csv                         a row for each member: its losses and perplexities
    <run>/model-k/test.json                the same of one member, and the weights, rows and text they are of
    <run>/model-k/test_losses.safetensors  ``loss`` and ``tempered`` of each predicted word of the test text, in nats,
                                           (row, word), and the hash of the weights

Losses are cross entropies in nats, means over all words of a text but the first one of each row. ``tempered`` is with
y divided by the temperature, before the readout, that is best on the validation text.
"""

import json
from bisect import bisect_left
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from emt import files, locks, runs, tensor_file
from emt.config import RunConfig
from emt.errors import UserError
from emt.models.base import Factored, State
from emt.ops import fast_matmul
from emt.ops.wide_readout import wide_cross_entropy
from emt.progress import Progress
from emt.record import Loaded, load_members, to_array, to_tensors
from emt.schema import Count, Positive
from emt.streams import Split
from emt.tasks.words import Words
from experiments.training import Tested, read_test

TEMPERATURES = tuple(round(0.8 + 0.01 * i, 2) for i in range(71))
"""Tried in this order, until the validation loss rises for the first time."""

LOSSES = "test_losses.safetensors"

TOGETHER = 8
"""Members that are tested together: their states on both texts are held until they are, and a stop loses no others."""


class Readouts(NamedTuple):
    """What a member reads out along a text.

    Attributes
    ----------
    hidden
        y, (row, word, unit).
    table, bias
        What it is read out with, (output, unit) and (output,).
    targets
        The words to be named, (row, word).
    """

    hidden: Tensor
    table: Tensor
    bias: Tensor
    targets: Tensor


class MemberTest(Tested):
    """Content of a member's test.json."""

    seed: Count
    step: Count
    best_step: Count | None
    rows: Positive
    words: Positive
    temperature: float
    validation_loss: float
    validation_perplexity: float
    validation_tempered_perplexity: float
    test_loss: float
    test_perplexity: float
    test_tempered_loss: float
    test_tempered_perplexity: float


def write_results(run: Path, config: RunConfig, rows: int, device: str = "cpu") -> dict[int, dict[str, Any]]:
    """Test the members that have ended, those with current figures excepted, and write all files.

    Parameters
    ----------
    run, config
        The run.
    rows
        Rows that each text is cut into; the paper has one.
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
        results = {number: earlier(run, number, marker["sha256"], rows) for number, marker in done.items()}
        waiting = [number for number, result in results.items() if not result]
        with Progress(f"{run.name}: models", total=len(waiting)) as progress:
            for begin in range(0, len(waiting), TOGETHER):
                together = waiting[begin : begin + TOGETHER]
                loaded = load_members(run, config, together, device)
                texts = [read_out(loaded, split, rows) for split in ("validation", "test")]
                for tested, (number, *of) in enumerate(zip(together, *texts, strict=True), begin + 1):
                    results[number] = _test_member(runs.model_folder(run, number), done[number], *of)
                    progress.update(tested)
        if results:
            _write_table(run, results)
    return results


def earlier(run: Path, number: int, sha256: str, rows: int) -> dict[str, Any]:
    """Return a member's test.json if it is of these weights and rows, else nothing."""
    folder = runs.model_folder(run, number)
    try:
        content = read_test(folder, MemberTest)
    except UserError:
        return {}
    current = (content["rows"], content["weights_sha256"]) == (rows, sha256) and (folder / LOSSES).exists()
    return content if current else {}


@torch.no_grad()
def read_out(loaded: Loaded, split: Split, rows: int) -> list[Readouts]:
    """Return what each member reads out along a text, segment by segment with the state carried."""
    task = loaded.task
    assert isinstance(task, Words)
    state: State | None = None
    parts: list[tuple[Tensor, Tensor]] = []
    segments = -(-(len(task.splits[split]) // rows - 1) // task.segment)
    with fast_matmul(), Progress(f"segments of the {split} text", total=segments) as progress:
        while True:
            batch = task.held_out(split, len(parts), rows)
            if not batch.sequences:
                break
            inputs, context = to_tensors(loaded, batch)
            wide = {**context, "factored": inputs.new_zeros(0)}
            outputs, state, _ = loaded.model(inputs, state, batch.steps, wide)
            if not isinstance(outputs, Factored):
                raise UserError(f"expected awd_lstm or awd_fwm; got {loaded.labels['model']['type']}")
            parts.append((outputs.hidden.clone(), torch.tensor(batch.targets[0])))
            progress.update(len(parts))
    hidden, targets = (
        torch.cat(tensors, dim=dim) for tensors, dim in zip(zip(*parts, strict=True), (2, 1), strict=True)
    )
    readouts = zip(hidden, outputs.table, outputs.bias, strict=True)
    return [Readouts(*member, targets.to(hidden.device)) for member in readouts]


@torch.no_grad()
def losses_of(text: Readouts, temperature: float = 1.0) -> NDArray[np.float64]:
    """Return a member's losses on a text, (row, word): y is divided by the temperature, and so the bias is not."""
    hidden, target = text.hidden.flatten(0, 1) / temperature, text.targets.flatten()
    with fast_matmul():
        _, losses, _ = wide_cross_entropy(
            hidden, text.table, text.bias, target, hidden.new_zeros(len(hidden))
        )
    return to_array(losses).astype(np.float64).reshape(text.targets.shape)


def best_temperature(losses: Any, grid: Sequence[float] = TEMPERATURES) -> tuple[float, float]:
    """Return the temperature before the first rise of a loss over the grid, and that loss, by bisection.

    Cross entropy is convex in the factor of the logits, so that it rises with all temperatures above the best one.

    Parameters
    ----------
    losses
        Function of a temperature.
    grid
        Temperatures, ascending.

    Examples
    --------
    >>> best_temperature(lambda t: (t - 1.05) ** 2)[0]
    1.05
    """
    known = cache(losses)
    place = bisect_left(range(len(grid) - 1), True, key=lambda i: known(grid[i + 1]) > known(grid[i]))
    return grid[place], known(grid[place])


def _test_member(
    folder: Path, marker: dict[str, Any], validation: Readouts, test: Readouts
) -> dict[str, Any]:
    """Test one member, write its files, and return its figures."""
    temperature, tempered_validation = best_temperature(lambda t: float(losses_of(validation, t).mean()))
    plain, tempered = (losses_of(test, t) for t in (1.0, temperature))
    validation_loss = float(losses_of(validation).mean())
    result = {
        **{name: marker.get(name) for name in ("seed", "step", "best_step")},
        "rows": len(plain),
        "words": plain.size,
        "temperature": temperature,
        "validation_loss": validation_loss,
        "validation_perplexity": float(np.exp(validation_loss)),
        "validation_tempered_perplexity": float(np.exp(tempered_validation)),
    }
    for name, losses in (("test", plain), ("test_tempered", tempered)):
        result |= {f"{name}_loss": float(losses.mean()), f"{name}_perplexity": float(np.exp(losses.mean()))}
    result["weights_sha256"] = marker["sha256"]
    about = json.dumps({"weights_sha256": marker["sha256"], "temperature": temperature})
    arrays = {"loss": plain.astype(np.float32), "tempered": tempered.astype(np.float32)}
    files.write_bytes(folder / LOSSES, tensor_file.to_bytes(arrays, about))
    files.write_json(folder / "test.json", result)
    return result


def read_losses(folder: Path) -> dict[str, NDArray[np.float32]]:
    """Return a member's losses by word, ``loss`` and ``tempered``, (row, word).

    Raises
    ------
    UserError
        If it has not been tested, or the file is damaged.
    """
    path = folder / LOSSES
    try:
        arrays, _ = tensor_file.from_bytes(path.read_bytes(), checked=True)
    except FileNotFoundError:
        raise UserError(
            f"{folder}: not tested yet: run python -m experiments.language_model.evaluate"
        ) from None
    except ValueError as error:
        raise UserError(f"{path}: damaged ({error}); delete it and test again") from None
    return arrays


def _write_table(run: Path, results: dict[int, dict[str, Any]]) -> None:
    import pandas as pd

    from analysis.tables import to_csv

    rows = {f"model-{number}": result for number, result in sorted(results.items())}
    table = pd.DataFrame.from_dict(rows, orient="index").rename_axis("model").drop(columns="weights_sha256")
    files.write_bytes(run / "test.csv", to_csv(table))

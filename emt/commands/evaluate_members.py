"""What worker processes of an evaluation do: one model after the other, then the population as a whole."""

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from emt import files, runs, stopping
from emt.commands.working_memory import (
    check_fits,
    explained_allocations,
    kept_sequences,
    member_blocks,
    sequence_blocks,
)
from emt.devices import choose_device
from emt.errors import UserError
from emt.evaluation import (
    Work,
    entry_path,
    is_current,
    test_sequences,
    trace_batch,
    write_entry,
)
from emt.tasks.base import ACCURACY
from emt.text import visible


def evaluate_share(work: Work) -> dict[int, str]:
    """Evaluate a share of the models; return what failed, by model number.

    Raises
    ------
    UserError
        If the evaluation needs more memory or disk than is free; no model is evaluated then.
    """
    import torch

    torch.set_num_threads(1)
    check_share(work)
    failed = {}
    for number in work.numbers:
        try:
            runs.read_checkpoint(runs.model_folder(work.experiment, number), work.step)
            if not is_current(work, number):
                with explained_allocations():
                    evaluate_model(work, number)
        except UserError as error:
            failed[number] = error.in_flags()
        except OSError as error:
            failed[number] = files.explain_os_error(error)
        except Exception as error:
            # Compiled code may turn an interruption into an error of its own.
            stopping.check()
            failed[number] = f"{type(error).__name__}: {error}"
    return failed


def check_share(work: Work) -> None:
    """Refuse a share that needs more memory or disk than is free, by the first of its models that can be loaded.

    Raises
    ------
    UserError
        Naming the option to change.
    """
    from emt import record

    for number in () if all(is_current(work, n) for n in work.numbers) else work.numbers:
        try:
            loaded = record.load_members(work.experiment, work.config, [number], "cpu", work.step)
        except (UserError, OSError):
            continue
        check_fits(work, loaded)
        return


def evaluate_model(work: Work, number: int) -> None:
    """Write one model's figures and then its entry."""
    from analysis.evaluation.inspection import inspect_member
    from analysis.evaluation.summary import sequence_accuracy, summarise
    from analysis.figures.evaluation.inspection import draw_model
    from analysis.figures.style import save_figure

    member, operators, parts = load_member(work, number)
    lengths = work.settings.seq_lengths
    folder = entry_path(work, number).parent
    entry = summarise(member, operators, lengths)
    for length, rows in parts.items():
        accuracy, interval = sequence_accuracy(
            member.outputs[rows], member.targets[rows], member.scored[rows], member.rule
        )
        entry |= {f"accuracy_seq{length}": accuracy, f"accuracy_interval_seq{length}": interval}
    entry |= {"model_path": str(runs.model_folder(work.experiment, number)), "output_dir": str(folder)}
    if work.settings.figures:
        for name, figure in draw_model(inspect_member(member, operators, lengths)):
            save_figure(figure, folder / name, formats=("png",), dpi=150)
    write_entry(work, number, entry)


def load_member(work: Work, number: int) -> tuple[Any, dict[int, Any], dict[int, slice]]:
    """Record a model on its held-out sequences, a part of them at a time in memory.

    Returns
    -------
    member, operators, rows
        The member as arrays, all lengths one after the other on the batch axis and padded with steps that are
        not scored; the task's operator for each length; the batch rows of each length.
    """
    from analysis.evaluation.summary import TrainedMember
    from emt import record

    device = choose_device(work.settings.accelerator)
    loaded = record.load_members(work.experiment, work.config, [number], device, work.step)
    weights = runs.read_checkpoint(runs.model_folder(work.experiment, number), work.step)
    lengths, model = work.settings.seq_lengths, loaded.model
    recurrent = weights[model.recurrent_name] if model.recurrent_name else None
    kept = kept_sequences(work, loaded)
    samples = [
        record_sample(work, loaded, n, kept, mean=recurrent is None and n == lengths[0]) for n in lengths
    ]
    # A data set may hold fewer held-out sequences than are asked for.
    ends = np.cumsum([len(s.scored) for s in samples]).tolist()
    rows = {n: slice(first, end) for n, first, end in zip(lengths, [0, *ends], ends, strict=False)}
    member = TrainedMember(
        name=f"model-{number}",
        recurrent=None if recurrent is None else recurrent.astype(float),
        readout=weights[model.readout_name].astype(float) if model.readout_name else None,
        jacobian=record.jacobian_at_mean(loaded, samples[0].mean, samples[0].channels)[0]
        if samples[0].mean
        else None,
        hidden=_join([s.kept["hidden"] for s in samples]),
        inputs=_join([s.kept["inputs"] for s in samples]),
        outputs=_join([s.outputs for s in samples]),
        targets=_join([s.targets for s in samples]),
        scored=_join([s.scored for s in samples]),
        rule=ACCURACY[loaded.task.loss],
        returns=None if samples[0].returns is None else np.concatenate([s.returns for s in samples]),
        recorded=np.concatenate([np.arange(row.start, row.stop)[:kept] for row in rows.values()]),
    )
    return (
        member,
        {n: s.operator for n, s in zip(lengths, samples, strict=True) if s.operator is not None},
        rows,
    )


class Sample(NamedTuple):
    """What is kept of a model's run on the held-out sequences of one length.

    Attributes
    ----------
    outputs, targets, scored
        Of all sequences, (batch, time, …).
    kept
        The ``hidden`` states and ``inputs`` of the first sequences.
    mean
        `emt.record.mean_state` over all sequences; empty where it is not asked for.
    operator
        The task's, or None.
    channels
        Numbers of an input.
    returns
        Of all sequences, (batch,), where members act; or None.
    """

    outputs: NDArray[Any]
    targets: NDArray[Any]
    scored: NDArray[np.bool_]
    kept: dict[str, NDArray[Any]]
    mean: dict[str, Any]
    operator: NDArray[Any] | None
    channels: int
    returns: NDArray[Any] | None


def record_sample(work: Work, loaded: Any, length: int, kept: int, mean: bool) -> Sample:
    """Record a model on the held-out sequences of a length; ``kept`` sequences keep their states and inputs."""
    from emt import record

    batch = loaded.task.test_batch(
        work.config.training.seed, length, work.settings.test_horizon, test_sequences(loaded.task)
    )
    sequences = batch.scored.shape[1]
    blocks = sequence_blocks(record.step_bytes(loaded, length) * batch.steps, sequences)
    found: dict[str, list[NDArray[Any]]] = {}
    means: dict[str, Any] = {}
    for block in blocks:
        recorded = record.record_run(loaded, batch.part(block), length)
        wanted = {"outputs": None, "targets": None, "scored": None, "hidden": kept, "inputs": kept}
        for name, last in wanted.items():
            variable = recorded.data_vars[name]
            values = variable.squeeze("member").values if "member" in variable.dims else variable.values
            found.setdefault(name, []).append(
                values[: None if last is None else max(0, last - block.start)].copy()
            )
        if "reward" in recorded.data_vars:
            rewards = recorded.data_vars["reward"].values
            found.setdefault("returns", []).append(rewards[0].sum(axis=-1))
        share = (block.stop - block.start) / sequences
        for name, value in (record.mean_state(loaded, recorded) if mean else {}).items():
            means[name] = means.get(name, 0) + share * value
    arrays = {name: np.concatenate(parts) for name, parts in found.items()}
    return Sample(
        # A critic's value, the last output, is no choice and has no target.
        outputs=arrays["outputs"][..., : arrays["targets"].shape[2]],
        targets=arrays["targets"],
        scored=arrays["scored"].astype(bool),
        kept={name: arrays[name] for name in ("hidden", "inputs")},
        mean=means,
        operator=loaded.task.operator(length),
        channels=arrays["inputs"].shape[2],
        returns=arrays.get("returns"),
    )


def _join(arrays: Sequence[NDArray[Any]]) -> NDArray[Any]:
    """Return arrays (batch, time, …) after each other along the batch, padded in time with zeros."""
    steps = max(a.shape[1] for a in arrays)
    if all(a.shape[1] == steps for a in arrays):
        return np.concatenate(arrays) if len(arrays) > 1 else arrays[0]
    padding = [[(0, 0), (0, steps - a.shape[1])] + [(0, 0)] * (a.ndim - 2) for a in arrays]
    return np.concatenate([np.pad(a, widths) for a, widths in zip(arrays, padding, strict=True)])


def finish_population(item: tuple[Work, float]) -> bool:
    """Record all models on the same trials, draw the figures across models; return whether they keep a memory."""
    from analysis.figures.spectra.overview import draw_population
    from analysis.figures.style import save_figure
    from analysis.population import from_summary

    work, threshold = item
    summary = runs.read_summary(work.folder)
    several = len(work.settings.seq_lengths) > 1
    for length in work.settings.seq_lengths:
        with explained_allocations():
            keeps_memory = write_trace(work, length)
        if not work.settings.figures:
            continue
        population = from_summary(summary, label=visible(work.experiment.name), seq_length=length)
        for name, figure in draw_population(population, magnitude_threshold=threshold):
            stem = f"{name}_seq{length}" if several else name
            save_figure(figure, work.folder / "global_analysis" / stem)
    return keeps_memory


def write_trace(work: Work, length: int) -> bool:
    """Record all models on the same trials, some at a time in memory; return whether they keep a memory."""
    from emt import record, trace

    device = choose_device(work.settings.accelerator)
    load = partial(record.load_members, work.experiment, work.config, device=device, step=work.step)
    first = load(work.numbers[:1])
    batch = trace_batch(work, first.task, length)
    member_bytes = work.settings.trace_sequences * batch.steps * record.step_bytes(first, length)
    blocks = member_blocks(work.numbers, member_bytes)
    pieces = (record.record(load(numbers), batch, length) for numbers in blocks)
    seeds = [work.config.training.seeds()[number - 1] for number in work.numbers]
    trace.save_members(pieces, work.numbers, seeds, work.folder / "traces" / f"seq{length}.nc")
    return bool(first.model.memories)

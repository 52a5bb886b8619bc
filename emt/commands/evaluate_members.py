"""What worker processes of an evaluation do: one model after the other, then the population as a whole."""

from collections.abc import Sequence
from typing import Any

from emt import files, runs, stopping
from emt.devices import choose_device
from emt.errors import UserError
from emt.evaluation import TEST_SEQUENCES, Work, entry_path, fingerprint, is_current, trace_batch
from emt.tasks.base import ACCURACY


def evaluate_share(work: Work) -> dict[int, str]:
    """Evaluate a share of the models; return what failed, by model number."""
    import torch

    torch.set_num_threads(1)
    failed = {}
    for number in work.numbers:
        try:
            runs.read_checkpoint(runs.model_folder(work.experiment, number), work.step)
            if not is_current(work, number):
                evaluate_model(work, number)
        except UserError as error:
            failed[number] = error.in_flags()
        except OSError as error:
            failed[number] = str(error)
        except Exception as error:
            # Compiled code may turn an interruption into an error of its own.
            stopping.check()
            failed[number] = f"{type(error).__name__}: {error}"
    return failed


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
    files.write_json(entry_path(work, number), {"fingerprint": fingerprint(work, number), "entry": entry})


def load_member(work: Work, number: int) -> tuple[Any, dict[int, Any], dict[int, slice]]:
    """Record a model on its held-out sequences.

    Returns
    -------
    member, operators, rows
        The member as arrays, all lengths one after the other on the batch axis and padded with steps that are not
        scored; the task's operator for each length; the batch rows of each length.
    """
    from analysis.evaluation.summary import TrainedMember
    from emt import record

    device = choose_device(work.settings.accelerator)
    loaded = record.load_members(work.experiment, work.config, [number], device, work.step)
    weights = runs.read_checkpoint(runs.model_folder(work.experiment, number), work.step)
    seed, horizon = work.config.training.seed, work.settings.test_horizon
    lengths = work.settings.seq_lengths
    traces = [
        record.record(loaded, loaded.task.test_batch(seed, length, horizon, TEST_SEQUENCES), length)
        for length in lengths
    ]
    model = loaded.model
    recurrent = weights[model.recurrent_name] if model.recurrent_name else None
    member = TrainedMember(
        name=f"model-{number}",
        recurrent=None if recurrent is None else recurrent.astype(float),
        readout=weights[model.readout_name].astype(float) if model.readout_name else None,
        jacobian=None if recurrent is not None else record.mean_state_jacobian(loaded, traces[0])[0],
        hidden=_join(traces, "hidden"),
        inputs=_join(traces, "inputs"),
        # A critic's value, the last output, is no choice and has no target.
        outputs=_join(traces, "outputs")[..., : traces[0].sizes["target"]],
        targets=_join(traces, "targets"),
        scored=_join(traces, "scored").astype(bool),
        rule=ACCURACY[loaded.task.loss],
    )
    operators = {n: t["operator"].values for n, t in zip(lengths, traces, strict=True) if "operator" in t}
    rows = {n: slice(i * TEST_SEQUENCES, (i + 1) * TEST_SEQUENCES) for i, n in enumerate(lengths)}
    return member, operators, rows


def _join(traces: Sequence[Any], name: str) -> Any:
    """Return a variable of one member's traces, batches after each other, padded in time with zeros."""
    import numpy as np

    steps = max(t.sizes["time"] for t in traces)
    values = [np.asarray(t[name]) for t in traces]
    arrays = [v[0] if "member" in t[name].dims else v for v, t in zip(values, traces, strict=True)]
    padding = [(0, 0), (0, steps)] + [(0, 0)] * (arrays[0].ndim - 2)
    return np.concatenate([np.pad(a, padding)[:, :steps] for a in arrays])


def finish_population(item: tuple[Work, float]) -> bool:
    """Record all models on the same trials, draw the figures across models; return whether they keep a memory."""
    from analysis.figures.spectra.overview import draw_population
    from analysis.figures.style import save_figure
    from analysis.population import from_summary
    from emt import record, trace

    work, threshold = item
    device = choose_device(work.settings.accelerator)
    loaded = record.load_members(work.experiment, work.config, work.numbers, device, work.step)
    summary = runs.read_summary(work.folder)
    several = len(work.settings.seq_lengths) > 1
    for length in work.settings.seq_lengths:
        recorded = record.record(loaded, trace_batch(work, loaded.task, length), length)
        trace.save(recorded, work.folder / "traces" / f"seq{length}.nc")
        if not work.settings.figures:
            continue
        population = from_summary(summary, label=work.experiment.name, seq_length=length)
        for name, figure in draw_population(population, magnitude_threshold=threshold):
            stem = f"{name}_seq{length}" if several else name
            save_figure(figure, work.folder / "global_analysis" / stem)
    return bool(loaded.model.memories)

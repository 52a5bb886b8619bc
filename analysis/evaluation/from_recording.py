"""Members and an evaluation summary from a recorded run alone: no weights, no configuration.

The matrix whose spectrum is read is the recording's ``step_matrix``; members without one have no spectrum.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from analysis.evaluation.summary import TrainedMember, sequence_accuracy, summarise
from emt import trace


def recorded_members(recording: xr.DataTree) -> list[TrainedMember]:
    """Return the members of a recorded run, as evaluation has them.

    Steps that do not exist are zero and not scored; of members of different size each has its own units.

    Examples
    --------
    >>> members = recorded_members(trace.load("demo/repeat_copy/traces/seq8.nc"))
    >>> members[0].name, members[0].recurrent.shape, len(members)
    ('model-1', (128, 128), 5)
    """
    about, present = trace.about(recording), trace.present_steps(recording)
    matrices = _float(recording, "step_matrix") if "step_matrix" in recording else None
    readouts = _float(recording, "readout") if "readout" in recording else None
    scored = recording["scored"].to_numpy().astype(bool) & present
    whole_state = about.states != ("hidden",)
    members = []
    for place, (name, units) in enumerate(
        zip(trace.member_names(recording), trace.unit_counts(recording), strict=True)
    ):
        size = None if whole_state else units
        matrix = None if matrices is None else matrices[place, :size, :size]
        weights = about.step_matrix == "weights"
        targets = _of_member(recording, "targets", place)
        members.append(
            TrainedMember(
                name=name,
                recurrent=matrix if weights else None,
                readout=None if readouts is None else readouts[place],
                jacobian=None if weights else matrix,
                hidden=_known(recording["hidden"].to_numpy()[place, ..., :units], present),
                inputs=_of_member(recording, "inputs", place),
                # A critic's value, the last output, is no choice and has no target.
                outputs=_known(recording["outputs"].to_numpy()[place], present)[..., : targets.shape[-1]],
                targets=targets,
                scored=scored,
                rule=about.accuracy or "sign",
                returns=_returns(recording, place),
            )
        )
    return members


def _returns(recording: xr.DataTree, place: int) -> NDArray[np.float64] | None:
    if "reward" not in recording.data_vars:
        return None
    return np.asarray(recording["reward"].to_numpy()[place].sum(axis=-1), dtype=np.float64)


def recorded_operators(recording: xr.DataTree) -> Mapping[int, NDArray[np.float64]]:
    """Return the operator of the recording's length, if its task is linear."""
    return {_length(recording): _float(recording, "operator")} if "operator" in recording else {}


def summarise_recording(recording: xr.DataTree) -> dict[str, Any]:
    """Return what an ``evaluation_summary.json`` says of a recorded run, but for the time and the paths.

    Parameters
    ----------
    recording
        A trace (`emt.trace`).

    Returns
    -------
    dict
        JSON-able, with the keys that `emt.runs` lists. Members of a recording without ``step_matrix`` have no
        keys of a spectrum, and an accuracy only where outputs and targets are known.

    Examples
    --------
    >>> summary = summarise_recording(trace.load("demo/own_gru/traces/seq24.nc"))
    >>> from_summary(summary, label="own GRU")
    Population 'own GRU': 4 members at sequence length 24
    """
    about, length = trace.about(recording), _length(recording)
    operators = recorded_operators(recording)
    entries = []
    for member in recorded_members(recording):
        accuracy, interval = sequence_accuracy(member.outputs, member.targets, member.scored, member.rule)
        at_length = {f"accuracy_seq{length}": accuracy, f"accuracy_interval_seq{length}": list(interval)}
        entries.append(summarise(member, operators, (length,)) | at_length)
    return {
        "n_models": len(entries),
        "evaluation_config": {
            "evaluation": {"seq_lengths": [length], "test_sequences": recording.sizes["batch"]},
            "training_config": {"task": dict(about.task), "model": dict(about.model)},
        },
        "failed": [],
        "metrics": entries,
    }


def _length(recording: xr.DataTree) -> int:
    length = trace.about(recording).length
    return recording.sizes["time"] if length is None else length


def _float(recording: xr.DataTree, name: str) -> NDArray[np.float64]:
    return recording[name].to_numpy().astype(np.float64)


def _of_member(recording: xr.DataTree, name: str, place: int) -> NDArray[Any]:
    return recording[name].isel(member=place, missing_dims="ignore").to_numpy()


def _known(values: NDArray[Any], present: NDArray[np.bool_]) -> NDArray[Any]:
    """Return values (batch, time, …) with zeros at steps that do not exist."""
    return values if present.all() else np.where(present[..., None], values, 0)

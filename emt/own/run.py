"""A recorded run of one's own networks: its Trace, the summary that analyses of spectra take, its folder.

The folder is that of an evaluated experiment, without weights and without code to import::

    <folder>/
      adopted.json                what was recorded: members, trials, proofs (`describe`)
      traces/seqT.nc              the Trace (`emt.trace`); T, sequence length, or steps of the longest trial
      evaluation_summary.json     numbers of all members, made from the Trace (`emt.runs`)
      dynamics/seqT.nc            fixed points and exponents (`emt.dynamics_file`), with ``dynamics=True``
      checkpoints/step-N/         all of that after N training steps, with ``step=N``
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from html import escape
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from emt import dynamics_file, files, locks, trace
from emt.errors import UserError
from emt.own.folder import ABOUT, FORMAT_VERSION, WITHOUT_STEPS, check_free, recordings, write_summary


@dataclass(frozen=True, eq=False, repr=False)
class Run:
    """What was recorded of networks, or given as arrays.

    Attributes
    ----------
    recording
        The Trace (`emt.trace`), which analyses of states and memories take.
    networks
        The networks as `emt.record.Loaded`, which can run again; None where they have no steps.
    batch
        What they are shown then.
    members
        For each member its class, and the hash of its weights.
    """

    recording: xr.DataTree
    networks: Any = None
    batch: Any = None
    members: Sequence[Mapping[str, Any]] = ()

    @property
    def label(self) -> str:
        """What figures call the run."""
        return trace.label(self.recording)

    @property
    def length(self) -> int:
        """The sequence length that results are filed under."""
        return int(trace.about(self.recording).length or self.recording.sizes["time"])

    @cached_property
    def _summary(self) -> dict[str, Any]:
        # Analyses are above recordings: only who asks for numbers imports them.
        from analysis.evaluation.from_recording import summarise_recording

        return summarise_recording(self.recording)

    def summary(self) -> dict[str, Any]:
        """Return what ``evaluation_summary.json`` says of all members, as `analysis.from_summary` takes it."""
        return dict(self._summary)

    @cached_property
    def _dynamics(self) -> dict[int | None, xr.Dataset]:
        return {}

    def dynamics(self, *, starts: int | None = None) -> xr.Dataset:
        """Return fixed and slow points, Jacobians there and Lyapunov exponents, for `analysis.analyse_dynamics`.

        It takes seconds for each network of tens of units, shows which of them it is at, and is computed once.

        Parameters
        ----------
        starts
            searches of each network (default: as ``emt evaluate``)

        Raises
        ------
        UserError
            If the run is of arrays, or the networks have no step in double precision.
        """
        if self.networks is None or not self.networks.model.state_dims:
            what = WITHOUT_STEPS.get(
                trace.about(self.recording).recorded_with,
                "a memory that a module keeps itself is no state to start from (emt.from_cells)",
            )
            raise UserError(f"dynamics: expected a run of networks, whose steps can be searched; {what}")
        if starts is not None and starts < 1:
            raise UserError(f"must be at least 1; got {starts}", parameter="starts")
        from emt.own.dynamics import describe_networks

        if starts not in self._dynamics:
            about = {"length": self.length}
            self._dynamics[starts] = describe_networks(self.networks, self.batch, about, starts)
        return self._dynamics[starts]

    def save(self, folder: str | Path, *, dynamics: bool = False, step: int | None = None) -> Path:
        """Write the run as a folder that every command takes, and return the folder.

        Parameters
        ----------
        folder
            the folder; made if it does not exist
        dynamics
            whether fixed points and exponents are searched and written too
        step
            training step after which the networks were recorded: the run becomes one of the folder's
            checkpoints, which ``emergence`` follows

        Raises
        ------
        UserError
            If the folder is that of another run.
        """
        home = Path(folder)
        check_free(home, self.label)
        target = home if step is None else home / "checkpoints" / f"step-{step}"
        portrait = self.dynamics() if dynamics else None
        name = f"seq{self.length}.nc"
        with locks.writing_into(target):
            for old in (*recordings(target / "traces"), *recordings(target / "dynamics")):
                old.unlink()
            files.write_json(target / ABOUT, self.describe())
            trace.save(self.recording, target / "traces" / name)
            if portrait is not None:
                dynamics_file.save(portrait, target / "dynamics" / name)
            write_summary(target, self.summary())
        return target

    def describe(self) -> dict[str, Any]:
        """Return the content of ``adopted.json``."""
        about = trace.about(self.recording)
        names, seeds = trace.member_names(self.recording), about.seeds or [None] * len(self.members)
        shown = {n: self.recording[n].to_numpy() for n in ("inputs", "token") if n in self.recording}
        return {
            "format_version": FORMAT_VERSION,
            "recorded_with": about.recorded_with,
            "label": self.label,
            "members": [
                {"name": name, "seed": seed, **member}
                for name, seed, member in zip(names, seeds, self.members, strict=True)
            ],
            "trials": {
                **{axis: self.recording.sizes[axis] for axis in ("batch", "time")},
                "sha256": files.sha256(b"".join(np.ascontiguousarray(v).tobytes() for v in shown.values())),
            },
            "proof": dict(about.proof),
            "libraries": {name: version(name) for name in _LIBRARIES[about.recorded_with]},
        }

    def __repr__(self) -> str:
        return f"<emt run {self.label!r}: {', '.join(f'{k} {v}' for k, v in self._facts().items())}>"

    def _repr_html_(self) -> str:
        rows = "".join(f"<tr><th>{escape(k)}</th><td>{escape(v)}</td></tr>" for k, v in self._facts().items())
        return f"<table><caption>{escape(self.label)}</caption>{rows}</table>"

    def _facts(self) -> dict[str, str]:
        sizes, about = self.recording.sizes, trace.about(self.recording)
        steps = trace.present_steps(self.recording).sum(axis=1)
        units = sorted(set(trace.unit_counts(self.recording)))
        facts = {
            "members": str(sizes["member"]),
            "trials": str(sizes["batch"]),
            "steps": _span(steps.min(), steps.max()),
            "units": _span(units[0], units[-1]),
            "states": ", ".join(about.states),
        }
        if about.proof:
            facts["proofs passed"] = ", ".join(f"{name} ({value:.0e})" for name, value in about.proof.items())
        return facts


_LIBRARIES = {
    "from_arrays": ("numpy", "xarray"),
    "from_torch": ("numpy", "xarray", "torch"),
    "from_cells": ("numpy", "xarray", "torch"),
    "from_transformers": ("numpy", "xarray", "torch", "transformers"),
}
"""Libraries whose versions a folder records, by the function that recorded it."""


def _span(low: Any, high: Any) -> str:
    return str(low) if low == high else f"{low} to {high}"

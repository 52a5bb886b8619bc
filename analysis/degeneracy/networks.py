"""What is compared: recorded networks of one setting, their outputs on other trials, and how they were trained."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import xarray as xr

from emt import trace


@dataclass(frozen=True)
class Networks:
    """Members of one experiment.

    Attributes
    ----------
    recording
        Trace of trials like those that were trained on.
    outside
        Trace of the same members on other trials, without states; None if there is none.
    options
        Options of the task, the model and the training, by name.

    Examples
    --------
    >>> def read(name):
    ...     return Networks(trace.load(f"demo/{name}/traces/seq8.nc"), options={"hidden_dim": 128})
    >>> degeneracy = measure_degeneracy({name: read(name) for name in ("repeat_copy", "orthogonal")})
    >>> len(degeneracy.pairs)  # 10 of five networks, 3 of three
    13
    """

    recording: xr.DataTree
    outside: xr.DataTree | None = None
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def seq_length(self) -> int | None:
        """Sequence length of the recording."""
        return trace.about(self.recording).length

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the members."""
        return trace.member_names(self.recording)

    @property
    def answered(self) -> xr.DataTree:
        """The trials whose answers are compared: other ones than in training if they were recorded."""
        return self.recording if self.outside is None else self.outside

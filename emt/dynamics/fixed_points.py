"""Fixed points of any step function: `emt.fixed_points`.

The search is that of `emt.dynamics.points`: Levenberg–Marquardt steps on q(h) = ½|F(h, x) − h|², all starts at once
and in double precision.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from emt.dynamics.function_map import FunctionMap, StepFunction, block_size, check_map, in_float64
from emt.dynamics.points import Search, joined, merge, search_block
from emt.dynamics_file import UNIT_TOLERANCE
from emt.errors import UserError
from emt.progress import Progress

Array = NDArray[np.float64]

TOLERANCE = 1e-7
"""Largest |F(h) − h| of a fixed point: the rounding of a float32 number near 1, which weights are known to."""

MERGE_DISTANCE = 1e-3
"""Points that are nearer than this are one."""

LISTED = 20
"""Points in the table of a notebook."""


@dataclass(frozen=True, repr=False)
class FixedPoints:
    """The points that a search found: fixed ones in the order of the first start that ended there, then slow ones.

    Attributes
    ----------
    points
        (point, unit), in the units of the state.
    residual
        ``|F(h) − h|``, (point,).
    jacobian
        ∂F/∂h, (point, unit, from_unit): entry (i, j) is the change of number i with number j.
    eigenvalues
        Of the Jacobians, (point, mode), by descending modulus.
    slow
        Whether a point is slow, not fixed, (point,).
    hits
        Starts that ended there, (point,).
    found_from
        Number of the first of these starts, (point,), from 0.
    distance
        From the nearest start, (point,), in the units of the state: a point far from all states that the network
        visits may not matter to it.
    starts
        How many starts have been searched from.
    tolerance, slow_speed, merge_distance
        As given to `fixed_points`.
    """

    points: Array
    residual: Array
    jacobian: Array
    eigenvalues: NDArray[np.complex128]
    slow: NDArray[np.bool_]
    hits: NDArray[np.int64]
    found_from: NDArray[np.int64]
    distance: Array
    starts: int
    tolerance: float
    slow_speed: float | None
    merge_distance: float

    def __len__(self) -> int:
        return len(self.points)

    @property
    def q(self) -> Array:
        """The speed q = ``½|F(h) − h|²``, (point,)."""
        return self.residual**2 / 2

    @property
    def unstable(self) -> NDArray[np.int64]:
        """How many eigenvalues have a modulus above 1, by more than rounding (1e-5), (point,)."""
        count: NDArray[np.int64] = (np.abs(self.eigenvalues) > 1 + UNIT_TOLERANCE).sum(axis=1)
        return count

    @property
    def stable(self) -> NDArray[np.bool_]:
        """Whether no eigenvalue has a modulus above 1, (point,); along a line of fixed points some are 1."""
        return self.unstable == 0

    @property
    def kind(self) -> list[str]:
        """Of each point "stable", "saddle" (some directions are unstable), "repeller" (all are) or "slow"."""
        units = self.points.shape[1]
        kinds = ["stable" if n == 0 else "repeller" if n == units else "saddle" for n in self.unstable]
        return ["slow" if slow else kind for slow, kind in zip(self.slow, kinds, strict=True)]

    def table(self) -> Any:
        """Return a `pandas.DataFrame`, a row for each point."""
        import pandas as pd

        moduli = np.abs(self.eigenvalues)
        columns = {
            "kind": self.kind,
            "unstable": self.unstable,
            "spectral_radius": moduli.max(axis=1, initial=0.0),
            "residual": self.residual,
            "hits": self.hits,
            "distance": self.distance,
            "found_from": self.found_from,
        }
        return pd.DataFrame(columns, index=pd.RangeIndex(len(self), name="point"))

    def __repr__(self) -> str:
        kinds = self.kind
        counts = [(kinds.count(kind), kind) for kind in ("stable", "saddle", "repeller", "slow")]
        named = ", ".join(f"{n} {kind}" for n, kind in counts if n) or "none found"
        ended = f"{self.hits.sum()} of {self.starts} starts ended in one"
        largest = f", largest residual {self.residual.max():.0e}" if len(self) else ""
        return f"FixedPoints({len(self)} of {self.points.shape[1]} units: {named}; {ended}{largest})"

    def _repr_html_(self) -> str:
        more = f"<p>and {len(self) - LISTED} more: .table()</p>" if len(self) > LISTED else ""
        return f"<p>{self!r}</p>{self.table().head(LISTED).to_html()}{more}"


def fixed_points(
    step: StepFunction,
    starts: ArrayLike | Tensor,
    *,
    inputs: ArrayLike | Tensor | None = None,
    tolerance: float = TOLERANCE,
    slow_speed: float | None = None,
    merge_distance: float = MERGE_DISTANCE,
    progress: bool = True,
    report: Callable[[FixedPoints], None] | None = None,
) -> FixedPoints:
    """Find fixed points of a step function, and their stability.

    From each start q(h) = ``½|F(h, x) − h|²`` (Sussillo & Barak 2013, eq. 1) is minimised by Levenberg–Marquardt steps
    (Marquardt 1963) in double precision, all starts at once. Being steps for the equation F(h, x) = h they end in
    saddles as readily as in stable points, and within rounding of them. What ends elsewhere is dropped. No search
    proves that all points were found: where many points have one hit, there are more.

    Parameters
    ----------
    step
        Maps states (batch, unit) to the next ones (batch, unit), each row by itself: a module or any function of
        torch tensors. Of a module a copy computes, in double precision and evaluation mode; a function must
        compute in float64 when its argument is float64. With ``inputs`` it is called as torch's cells are,
        ``step(x, h)`` with x (batch, channel). A state of several tensors, such as (h, c), is joined to one.
    starts
        States to search from, (start, unit), such as recorded ones with noise and places between them.
    inputs
        Constant input x, (channel,); None for a step that takes the state alone.
    tolerance
        Largest ``|F(h, x) − h|`` of a fixed point.
    slow_speed
        Also keep *slow* points, minima of q below this that are not fixed (1e-4 is a usual choice); None keeps none.
    merge_distance
        Points nearer to each other than this, in the units of the state, are one.
    progress
        Show a bar on a terminal, and elsewhere a line on standard error every 10 s.
    report
        Called with what has been found so far each time some of the starts are done, so that nothing is lost if
        the search is interrupted: ``report=found.append``.

    Raises
    ------
    UserError
        If ``starts`` are not finite numbers (start, unit), or the step cannot be searched: it does not return
        states of that shape, computes in single precision, cannot be differentiated, is random, or lets rows of
        a batch change each other.

    Examples
    --------
    >>> latch = lambda h: torch.tanh(2 * h)
    >>> emt.fixed_points(latch, torch.linspace(-1, 1, 8)[:, None])
    FixedPoints(3 of 1 units: 2 stable, 1 repeller; 8 of 8 starts ended in one, largest residual ...)

    Of a cell under a constant input, from random states:

    >>> cell = torch.nn.GRUCell(3, 8)
    >>> found = emt.fixed_points(cell, torch.randn(32, 8), inputs=torch.zeros(3))
    >>> found.points.shape[1], found.starts
    (8, 32)
    """
    computed, device = in_float64(step)
    at = _to_tensor(starts, "starts", ("start", "unit"), device)
    held = None if inputs is None else _to_tensor(inputs, "inputs", ("channel",), device)
    function = FunctionMap(computed, held)
    check_map(function, at)
    finder = _Finder(function, at, tolerance, slow_speed, merge_distance)
    with Progress("starts", len(at), enabled=progress) as shown:
        for block in at.split(block_size(at.shape[1])):
            finder.search(block, shown.update)
            if report:
                report(finder.result())
    return finder.result()


@dataclass(frozen=True)
class _Finder:
    """Searches so far, with what was computed at the points they found."""

    function: FunctionMap
    starts: Tensor
    tolerance: float
    slow_speed: float | None
    merge_distance: float
    searches: list[Search] = field(default_factory=list)
    known: dict[int, tuple[Array, NDArray[np.complex128]]] = field(default_factory=dict)

    def search(self, block: Tensor, tick: Callable[[int, str], None]) -> None:
        """Search from the next starts; ``tick`` is told how many searches have ended, and how many in a point."""
        before = sum(s.speed.shape[1] for s in self.searches)
        note = f"{self._ended()} ended in a point" if before else ""
        self.searches.append(
            search_block(self.function, block[None], lambda ended: tick(before + ended, note))
        )

    def _ended(self) -> int:
        return sum(int((s.speed <= self.tolerance**2 / 2).sum()) for s in self.searches)

    def result(self) -> FixedPoints:
        """Return the points found so far."""
        search = joined(self.searches)
        position, speed = search.position[0], search.speed[0]
        fixed = speed <= self.tolerance**2 / 2
        slow = ~fixed & search.settled[0] & (speed < (self.slow_speed or 0.0))
        ends = torch.cat([kind.nonzero().flatten() for kind in (fixed, slow)])
        first, owner = merge(position[ends], self.merge_distance)
        chosen = ends[first]
        jacobian, eigenvalues = self._at(chosen.tolist(), position)
        searched = self.starts[: len(position)]
        return FixedPoints(
            points=position[chosen].cpu().numpy(),
            residual=(2 * speed[chosen]).sqrt().cpu().numpy(),
            jacobian=jacobian,
            eigenvalues=eigenvalues,
            slow=slow[chosen].cpu().numpy(),
            hits=owner.bincount(minlength=len(first)).cpu().numpy(),
            found_from=chosen.cpu().numpy(),
            distance=_nearest(position[chosen], searched).cpu().numpy(),
            starts=len(position),
            tolerance=self.tolerance,
            slow_speed=self.slow_speed,
            merge_distance=self.merge_distance,
        )

    def _at(self, chosen: Sequence[int], position: Tensor) -> tuple[Array, NDArray[np.complex128]]:
        """Return Jacobians and sorted eigenvalues where these searches ended; each is computed once."""
        missing = [place for place in chosen if place not in self.known]
        if missing:
            matrices = self.function.linearised(position[None, missing])[1][0].cpu().numpy()
            values = np.linalg.eigvals(matrices).astype(complex)
            order = np.argsort(-np.abs(values), axis=1, kind="stable")
            values = np.take_along_axis(values, order, axis=1)
            self.known.update(zip(missing, zip(matrices, values, strict=True), strict=True))
        units = position.shape[1]
        found = [self.known[place] for place in chosen]
        return (
            np.array([jacobian for jacobian, _ in found]).reshape(-1, units, units),
            np.array([values for _, values in found], dtype=complex).reshape(-1, units),
        )


def _nearest(points: Tensor, starts: Tensor) -> Tensor:
    """Return each point's distance from the nearest start, (point,)."""
    if not len(points):
        return points.new_zeros(0)
    return torch.cat([torch.cdist(block, starts).amin(dim=1) for block in points.split(256)])


def _to_tensor(values: Any, name: str, axes: tuple[str, ...], device: torch.device) -> Tensor:
    """Return numbers as a float64 tensor; refuse other axes, none at all, and what is not finite."""
    tensor = values if isinstance(values, Tensor) else torch.tensor(np.asarray(values, dtype=float))
    tensor = tensor.detach().to(device=device, dtype=torch.float64)
    wanted = f"expected finite numbers ({', '.join(axes)})"
    if tensor.ndim != len(axes) or not tensor.numel():
        raise UserError(f"{wanted}; got an array of shape {tuple(tensor.shape)}", parameter=name)
    if not tensor.isfinite().all():
        raise UserError(f"{wanted}; got NaN or infinity", parameter=name)
    return tensor

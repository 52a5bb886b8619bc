"""How fast are fixed points found, and how exactly? `emt.fixed_points` against gradient descent on q, and scipy.

``python -m experiments.benchmarks.fixed_points`` trains a GRU of torch on 3-bit flip-flops for each size and searches
the points at which it rests without input, from the same starts, in three ways:

* ``emt.fixed_points``;
* gradient descent on q = ½|F(h) − h|² over all starts at once, as the usual package does: Adam with rate 0.05, times
  0.7 every 500 steps, up to 2,000 steps or until all q are below 1e-12 (settings of the torch version of
  FixedPointFinder, Golub & Sussillo 2018); here in double precision, so that rounding does not limit it;
* ``scipy.optimize.root`` from one start after the other, a part of the starts.

One thread; ways take turns, the thread's own time counts, and medians are reported. A start is *solved* if |F(h) − h|
ends below 1e-10; points are distinct where they differ by more than 1e-3.
"""

import sys
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

import emt
from emt.commands.script import run_script
from emt.dynamics.describe import choose_starts
from emt.dynamics.points import merge
from emt.errors import UserError
from emt.options import Parser
from emt.tasks.flip_flop import FlipFlop
from experiments.benchmarks.timing import median_times

BITS, BATCH, RATE = 3, 32, 1e-2
SOLVED, DISTINCT = 1e-10, 1e-3

Ends = NDArray[np.float64]


class Found(NamedTuple):
    """Where searches ended: all ends (start, unit) and their residuals |F(h) − h| (start,)."""

    ends: Ends
    residual: Ends


def main(arguments: list[str] | None = None) -> int:
    """Parse, train, measure in turns, print; return the exit code."""
    parser = Parser(prog="experiments.benchmarks.fixed_points", description=__doc__)
    parser.add_argument(
        "--units", type=int, nargs="+", default=[16, 32, 64], help="of the GRU (default: 16 32 64)"
    )
    parser.add_argument("--starts", type=int, default=256, help="starts of each search (default: 256)")
    parser.add_argument(
        "--scipy_starts", type=int, default=16, help="of these, those that scipy gets (default: 16)"
    )
    parser.add_argument("--steps", type=int, default=400, help="training steps (default: 400)")
    parser.add_argument("--turns", type=int, default=3, help="turns of each way (default: 3)")
    options = parser.parse_args(arguments)
    if min(*options.units, options.starts, options.scipy_starts, options.steps, options.turns) < 1:
        raise UserError("--units, --starts, --scipy_starts, --steps, --turns: must be at least 1")
    torch.set_num_threads(1)
    tables = []
    for units in options.units:
        cell, starts = train(units, options.steps, options.starts)
        tables.append(measure(cell, starts, options.scipy_starts, options.turns).assign(units=units))
    print(pd.concat(tables).set_index(["units", "search"]).to_string())
    return 0


def train(units: int, steps: int, starts: int) -> tuple[nn.GRUCell, Tensor]:
    """Return a GRU that keeps three bits, and starts among its states, (start, unit), in double precision."""
    torch.manual_seed(0)
    task = FlipFlop(bits=BITS)
    layer, readout = nn.GRU(BITS, units, batch_first=True), nn.Linear(units, BITS)
    adam = torch.optim.Adam([*layer.parameters(), *readout.parameters()], lr=RATE)
    for step in range(steps):
        batch = task.batch([0], "train", step, task.steps, BATCH)
        loss = (
            (readout(layer(torch.from_numpy(batch.inputs[0]))[0]) - torch.from_numpy(batch.targets[0]))
            .square()
            .mean()
        )
        adam.zero_grad()
        loss.backward()
        adam.step()
    cell = nn.GRUCell(BITS, units)
    cell.load_state_dict({name.removesuffix("_l0"): value for name, value in layer.state_dict().items()})
    with torch.no_grad():
        states = layer(torch.from_numpy(task.test_batch(0, task.steps, 1, BATCH).inputs[0]))[0]
    _, chosen = choose_starts(states.double().flatten(0, 1)[None], (0,), starts)
    return cell, chosen[0]


def measure(cell: nn.GRUCell, starts: Tensor, scipy_starts: int, turns: int) -> pd.DataFrame:
    """Return for each way milliseconds a start, ratio to the first, share solved, residual and distinct points."""
    double = nn.GRUCell(cell.input_size, cell.hidden_size).double().requires_grad_(False)
    double.load_state_dict(cell.state_dict())
    ways: dict[str, tuple[Callable[[], Found], int]] = {
        "emt.fixed_points": (partial(by_emt, cell, double, starts), len(starts)),
        "gradient descent on q": (partial(by_descent, double, starts), len(starts)),
        "scipy.optimize.root": (
            partial(by_scipy, double, starts[:scipy_starts]),
            min(scipy_starts, len(starts)),
        ),
    }
    seconds = median_times({name: way for name, (way, _) in ways.items()}, turns)
    rows = []
    for name, (way, count) in ways.items():
        found = way()
        solved = found.residual < SOLVED
        distinct, _ = merge(torch.from_numpy(found.ends[solved]), DISTINCT)
        rows.append(
            {
                "search": name,
                "starts": count,
                "ms per start": f"{1000 * seconds[name] / count:.2f}",
                "times emt's": f"{seconds[name] / count / (seconds['emt.fixed_points'] / len(starts)):.1f}",
                "solved": f"{solved.mean():.2f}",
                "median residual": f"{np.median(found.residual):.0e}",
                "distinct points": len(distinct),
            }
        )
    return pd.DataFrame(rows)


def residuals(cell: nn.GRUCell, ends: Tensor) -> Ends:
    """Return |F(h) − h| of states (start, unit), without input."""
    moved: Tensor = cell(ends.new_zeros(len(ends), cell.input_size), ends) - ends
    return moved.norm(dim=1).numpy()


def by_emt(cell: nn.GRUCell, double: nn.GRUCell, starts: Tensor) -> Found:
    """Search by `emt.fixed_points`; a start that ended in no point is not solved."""
    found = emt.fixed_points(cell, starts, inputs=torch.zeros(cell.input_size), progress=False)
    ends, lost = np.repeat(found.points, found.hits, axis=0), len(starts) - int(found.hits.sum())
    residual = np.concatenate([residuals(double, torch.from_numpy(ends)), np.full(lost, np.inf)])
    return Found(np.concatenate([ends, np.full((lost, starts.shape[1]), np.nan)]), residual)


def by_descent(cell: nn.GRUCell, starts: Tensor) -> Found:
    """Search by Adam on the mean of q over all starts."""
    ends, x = starts.clone().requires_grad_(), starts.new_zeros(len(starts), cell.input_size)
    adam = torch.optim.Adam([ends], lr=0.05)
    schedule = torch.optim.lr_scheduler.StepLR(adam, step_size=500, gamma=0.7)
    for _ in range(2000):
        q = (cell(x, ends) - ends).square().sum(dim=1) / 2
        if bool((q < 1e-12).all()):
            break
        adam.zero_grad()
        q.mean().backward()
        adam.step()
        schedule.step()
    return Found(ends.detach().numpy(), residuals(cell, ends.detach()))


def by_scipy(cell: nn.GRUCell, starts: Tensor) -> Found:
    """Search by Powell's hybrid method from each start."""
    from scipy.optimize import root

    x = starts.new_zeros(1, cell.input_size)

    def displacement(h: Ends) -> Ends:
        result: Ends = cell(x, torch.from_numpy(h[None])).numpy()[0] - h
        return result

    ends = torch.from_numpy(np.array([root(displacement, start, tol=1e-12).x for start in starts.numpy()]))
    return Found(ends.numpy(), residuals(cell, ends))


if __name__ == "__main__":
    sys.exit(run_script("benchmark", main))

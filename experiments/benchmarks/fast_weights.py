"""How fast are fast weights without their matrix? Against the equations, which build it at every step.

``python -m experiments.benchmarks.fast_weights`` times forward, loss and backward at batch 128 in one thread:
no inputs, head, data or optimiser. Forms take turns, the thread's own time counts, and medians are reported.
"""

import argparse
from collections.abc import Callable, Sequence
from functools import partial
from itertools import product

import pandas as pd
import torch
from torch import Tensor
from torch.nn.functional import layer_norm

from emt.ops import fast_weights, fast_weights_steps, keep_freed_memory
from experiments.benchmarks.timing import median_times

BATCH, ETA, LAM = 128, 0.5, 0.9


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument("--units", type=int, nargs="+", default=[50, 100], help="units")
    parser.add_argument(
        "--steps", type=int, nargs="+", default=[11, 35, 100, 200], help="steps of a sequence"
    )
    parser.add_argument("--reads", type=int, nargs="+", default=[1, 3], help="reads of the matrix in a step")
    parser.add_argument("--members", type=int, nargs="+", default=[1], help="members in the stack")
    parser.add_argument("--turns", type=int, default=5, help="timings of each form; the median counts")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    keep_freed_memory()
    sizes = product(options.units, options.steps, options.reads, options.members)
    print(table(list(sizes), options.turns).to_string(float_format="{:.1f}".format))


def table(sizes: Sequence[tuple[int, int, int, int]], turns: int) -> pd.DataFrame:
    """Milliseconds of the fast form, and how many times as long the others take, for (units, steps, reads, members)."""
    rows = {}
    for size in sizes:
        seconds = median_times(training_steps(*size), turns)
        fast = seconds.pop("fast")
        rows[size] = {"ms": 1000 * fast} | {name: s / fast for name, s in seconds.items()}
    table = pd.DataFrame.from_dict(rows, orient="index")
    table.index = pd.MultiIndex.from_tuples(rows, names=["units", "steps", "reads", "members"])
    return table


def training_steps(units: int, steps: int, reads: int, members: int) -> dict[str, Callable[[], object]]:
    """Forward, loss and backward of all members, once for each form."""
    generator = torch.Generator().manual_seed(0)
    shape = (members, BATCH, steps, units)
    drive, weights = (torch.randn(shape, generator=generator) for _ in range(2))
    slow = 0.05 * torch.eye(units).repeat(members, 1, 1)
    inputs = [drive, slow, torch.ones(members, units), torch.zeros(members, units)]
    inputs = [value.requires_grad_() for value in inputs]

    def step(form: Callable) -> tuple[Tensor, ...]:
        hidden = form(*inputs, ETA, LAM, reads)[0]
        return torch.autograd.grad((hidden * weights).sum(), inputs)

    forms: dict[str, Callable] = {
        "fast": fast_weights,
        "times: equations": fast_weights_steps,
        "times: matrix on the right": on_the_right,
    }
    return {name: partial(step, form) for name, form in forms.items()}


def on_the_right(
    drive: Tensor, w_rec: Tensor, gain: Tensor, bias: Tensor, eta: float, lam: float, reads: int
) -> tuple[Tensor]:
    """The equations with s as a row and Aᵀ on its right: the order in which torch multiplies small matrices fastest."""
    members, batch, steps, units = drive.shape
    h = drive.new_zeros(members, batch, units)
    a = drive.new_zeros(members, batch, units, units)
    hidden = []
    for t in range(steps):
        u = drive[:, :, t] + h @ w_rec
        h = torch.relu(u)
        for _ in range(reads):
            normal = layer_norm(u + (h.unsqueeze(-2) @ a.mT).squeeze(-2), (units,))
            h = torch.relu(torch.addcmul(bias.unsqueeze(1), gain.unsqueeze(1), normal))
        hidden.append(h)
        a = torch.addcmul(lam * a, h.unsqueeze(-1), eta * h.unsqueeze(-2))
    return (torch.stack(hidden, dim=2),)


if __name__ == "__main__":
    main()

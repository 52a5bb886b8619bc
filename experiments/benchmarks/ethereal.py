"""How fast is a network that writes its own weights without a matrix for each item? Against the equations, with one.

``python -m experiments.benchmarks.ethereal`` times forward and update, a batch of sequences from inputs to
the gradients of all weights, in one thread. Forms take turns, the thread's own time counts, and medians are
reported.
"""

import sys
from collections.abc import Callable
from functools import partial

import pandas as pd
import torch
from torch import Tensor
from torch.nn.functional import one_hot

from emt.commands.script import run_script
from emt.errors import UserError
from emt.models.ethereal import EtherealRNN
from emt.ops import fast_matmul, keep_freed_memory
from emt.ops.ethereal.forms import EtherealRun, ethereal_low_rank, ethereal_steps
from emt.options import Parser
from experiments.benchmarks.timing import median_times

SYMBOLS = 9
"""Characters of the synthetic alphabet: a network of 1,024 units is 1,033 wide."""


def main(arguments: list[str] | None = None) -> int:
    """Parse, measure in turns, print; return the exit code."""
    parser = Parser(prog="experiments.benchmarks.ethereal", description=__doc__)
    parser.add_argument(
        "--units", type=int, nargs="+", default=[60, 256, 1024], help="hidden_dim (default: 60 256 1024)"
    )
    parser.add_argument("--steps", type=int, nargs="+", default=[6], help="steps of a sequence (default: 6)")
    parser.add_argument("--batch", type=int, default=16, help="sequences (default: 16)")
    parser.add_argument("--members", type=int, default=1, help="members in the stack (default: 1)")
    parser.add_argument("--layers", type=int, default=3, help="linear layers (default: 3)")
    parser.add_argument("--updaters", nargs="+", choices=("dfa", "backprop"), default=["dfa", "backprop"])
    parser.add_argument("--turns", type=int, default=5, help="turns of each form (default: 5)")
    options = parser.parse_args(arguments)
    numbers = [*options.units, *options.steps, options.batch, options.members, options.layers, options.turns]
    if min(numbers) < 1:
        raise UserError(
            f"--units, --steps, --batch, --members, --layers, --turns: must be at least 1; got {min(numbers)}"
        )
    torch.set_num_threads(1)
    keep_freed_memory()
    with fast_matmul():
        rows = {
            (updater, units + SYMBOLS, steps): measure(
                build(updater, units, options.layers, options.members), options.batch, steps, options.turns
            )
            for updater in options.updaters
            for units in options.units
            for steps in options.steps
        }
    table = pd.DataFrame.from_dict(rows, orient="index")
    table.index = pd.MultiIndex.from_tuples(rows, names=["updater", "width", "steps"])
    print(table.to_string(float_format="{:.1f}".format))
    return 0


def build(updater: str, units: int, layers: int, members: int) -> EtherealRNN:
    """Return untrained members with what the published sweeps have: no residual connection, no recurrence."""
    plastic = {"plast_proportion": 0.1, "eta": 1e-4, "enable_recurrence": False}
    seeds = range(members)
    return EtherealRNN(seeds, SYMBOLS, SYMBOLS, hidden_dim=units, layers=layers, updater=updater, **plastic)  # type: ignore[arg-type]


def measure(model: EtherealRNN, batch: int, steps: int, turns: int) -> dict[str, float]:
    """Return milliseconds of a training step in both forms, and the ratio of the medians."""
    generator = torch.Generator().manual_seed(0)
    inputs, targets = torch.randint(SYMBOLS, (2, model.members, batch, steps), generator=generator)
    x = one_hot(inputs, SYMBOLS).float()
    forms = {"dense": ethereal_steps, "low-rank": ethereal_low_rank}
    seconds = median_times(
        {name: partial(train, form, model, x, targets) for name, form in forms.items()}, turns
    )
    milliseconds = {f"{name} (ms)": 1000 * value for name, value in seconds.items()}
    return milliseconds | {"times as fast": seconds["dense"] / seconds["low-rank"]}


@torch.no_grad()
def train(form: Callable[..., EtherealRun], model: EtherealRNN, x: Tensor, targets: Tensor) -> None:
    """Run a batch of sequences in which the network learns, and merge what was written into its weights."""
    network = model.network()
    for layer, merged in zip(network.layers, form(network, model.rule, x, targets).merged(), strict=True):
        layer.weight.add_(merged)


if __name__ == "__main__":
    sys.exit(run_script("benchmark", main))

"""Train GRUs by a plain loop to hold two bits, and record them as somebody's own networks, with their fixed points.

Now and then an input of +1 or −1 sets one of two bits; at every step both are due. Four states have to last.
"""

import sys
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

import emt
from emt.commands.output import say
from emt.commands.script import run_script
from emt.options import Option
from emt.progress import Progress
from emt.streams import Split, stream
from experiments.command_line import Count, build_parser, values_of

BITS, LENGTH, BATCH, CHANCE = 2, 24, 32, 0.1
"""Bits, steps of a trial, trials of a training step, and how often a bit is set."""

OPTIONS = (
    Option("num_models", Count, 4, "number of seeds"),
    Option("hidden_dim", Count, 16, "units"),
    Option("steps", Count, 400, "training steps of 32 trials"),
    Option("trials", Count, 128, "trials that are recorded"),
    Option("out", str, "latches", "folder of the recorded run"),
)


class Net(torch.nn.Module):
    """A GRU whose outputs are the bits."""

    def __init__(self, hidden_dim: int) -> None:
        super().__init__()
        self.rnn = torch.nn.GRU(BITS, hidden_dim, batch_first=True)
        self.head = torch.nn.Linear(hidden_dim, BITS)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return outputs (batch, time, bit) of inputs of that shape."""
        outputs: torch.Tensor = self.head(self.rnn(inputs)[0])
        return outputs


def main(arguments: Sequence[str] | None = None) -> int:
    """Train, record with fixed points; return the exit code."""
    parser = build_parser("experiments.own_models.latches", __doc__, {"": OPTIONS})
    given = values_of(OPTIONS, vars(parser.parse_args(arguments)), "the command line")
    # Products are small: a second thread costs more than it does.
    torch.set_num_threads(1)
    networks = [trained(seed, given["hidden_dim"], given["steps"]) for seed in range(given["num_models"])]
    inputs, bits = trials("test", 0, given["trials"])
    held = (bits > 0) @ (1 << np.arange(BITS))
    run = emt.from_torch(networks, emt.trials(inputs, bits, group=held), label="GRU, two latches")
    say(f"Written: {run.save(given['out'], dynamics=True)}")
    return 0


def trials(split: Split, step: int, count: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return inputs and bits, both (trial, time, bit): an input of ±1 sets its bit, and the first step sets all."""
    generator = stream("own_models.latches", 0, split, step)
    sets = generator.random((count, LENGTH, BITS)) < CHANCE
    sets[:, 0] = True
    inputs = np.where(sets, generator.choice([-1.0, 1.0], sets.shape), 0.0)
    last = np.maximum.accumulate(np.where(sets, np.arange(LENGTH)[:, None], 0), axis=1)
    bits = np.take_along_axis(inputs, last, axis=1)
    return inputs.astype(np.float32), bits.astype(np.float32)


def trained(seed: int, hidden_dim: int, steps: int) -> Net:
    """Return a network that has learnt by Adam on squared errors."""
    torch.manual_seed(seed)
    network = Net(hidden_dim)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-2)
    with Progress(f"training seed {seed}", steps) as progress:
        for step in range(steps):
            inputs, bits = map(torch.from_numpy, trials("train", steps * seed + step, BATCH))
            loss = ((network(inputs) - bits) ** 2).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            progress.update(step + 1)
    return network


if __name__ == "__main__":
    sys.exit(run_script("latches", main))

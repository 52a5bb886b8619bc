"""How fast is the associative LSTM without complex numbers? Against its equations, differentiated by torch.

``python -m experiments.benchmarks.associative_lstm`` times forward, loss and backward on sequences of four
pairs, batch 128, one thread: no head, data or optimiser. Forms take turns, the thread's own time counts, and
medians are reported.
"""

import argparse
from collections.abc import Callable, Sequence
from functools import partial
from itertools import product

import torch
from torch import Tensor

from emt.ops import associative_lstm, associative_lstm_steps, fast_matmul, keep_freed_memory
from experiments.benchmarks.timing import median_times

BATCH, STEPS, TOKENS, COPIES = 128, 11, 37, 4


def main(arguments: Sequence[str] | None = None) -> None:
    """Print one line for each size."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument(
        "--units", type=int, nargs="+", default=[20, 50, 100], help="numbers in the hidden state"
    )
    parser.add_argument("--members", type=int, nargs="+", default=[1, 5, 20], help="members in the stack")
    parser.add_argument("--turns", type=int, default=9, help="timings of each form; the median counts")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    keep_freed_memory()
    print("units members     ms  times: equations")
    with fast_matmul():
        for units, members in product(options.units, options.members):
            seconds = median_times(training_steps(units, members), options.turns)
            print(
                f"{units:5} {members:7} {1000 * seconds['fast']:6.1f} {seconds['equations'] / seconds['fast']:17.2f}"
            )


def training_steps(units: int, members: int) -> dict[str, Callable[[], object]]:
    """Forward, loss at the last step and backward of all members, once for each form."""
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randint(TOKENS, (members, BATCH, STEPS), generator=generator)
    columns = 9 * units // 2
    shapes = (members, TOKENS, columns), (members, units, columns), (members, columns)
    weights = [(torch.randn(s, generator=generator) / units**0.5).requires_grad_() for s in shapes]
    orders = torch.stack([torch.randperm(units // 2, generator=generator) for _ in range(COPIES)])
    inputs = torch.eye(TOKENS)[tokens]

    def step(form: Callable) -> tuple[Tensor, ...]:
        loss = form(inputs, *weights, orders).hidden[:, :, -1].square().sum()
        return torch.autograd.grad(loss, weights)

    return {"fast": partial(step, associative_lstm), "equations": partial(step, associative_lstm_steps)}


if __name__ == "__main__":
    main()

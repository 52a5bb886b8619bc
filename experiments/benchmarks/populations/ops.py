"""How fast are the fast operations? Each against its step-by-step twin, and against this machine's product rate.

``python -m experiments.benchmarks.populations.ops`` times forward, loss and backward of repeat copy (8 bits,
8 input steps, then the horizon), without data, optimiser and logging, on one thread. Forms take turns,
medians are reported, and the share is that of the rate of one large float32 product, timed in the same turns.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from functools import partial

import pandas as pd
import torch
from torch import Tensor

from emt.ops import elman, elman_steps, fast_matmul, gru, gru_steps, keep_freed_memory, lstm, lstm_steps

BITS, GIVEN, BATCH, UNITS = 8, 8, 64, 128
GATES = {"elman": 1, "gru": 3, "lstm": 4}
FORMS: dict[str, Callable] = {
    "elman": elman,
    "elman_steps": elman_steps,
    "gru": gru,
    "gru_steps": gru_steps,
    "lstm": lstm,
    "lstm_steps": lstm_steps,
}
TORCH = {"elman": torch.nn.RNN, "gru": torch.nn.GRU, "lstm": torch.nn.LSTM}
LARGE = 1024


def main(arguments: Sequence[str] | None = None) -> None:
    """Print one table for each operation and horizon."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument("--members", type=int, default=25, help="members in the stack")
    parser.add_argument("--horizons", type=int, nargs="+", default=[10, 100], help="steps after the inputs")
    parser.add_argument("--turns", type=int, default=5, help="timings of each form; the median counts")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    torch.manual_seed(0)
    keep_freed_memory()
    for op in GATES:
        for horizon in options.horizons:
            print(f"\n{op}, horizon {horizon}, {options.members} members")
            print(table(op, horizon, options.members, options.turns).to_string(float_format="{:.2f}".format))


def table(op: str, horizon: int, members: int, turns: int) -> pd.DataFrame:
    """Model-steps per second of each form, as a ratio to the plain twin and as a share of the product rate."""
    forms = training_steps(op, horizon, members)
    square = torch.randn(LARGE, LARGE)
    forms["large product"] = lambda: torch.mm(square, square)
    with fast_matmul() as switched:
        pass
    seconds: dict[tuple[str, str], list[float]] = {}
    for turn in range(turns + 1):
        for path in ("default", "oneDNN") if switched else ("default",):
            for name, form in forms.items():
                taken = timed(form, switch=path == "oneDNN")
                if turn > 0:
                    seconds.setdefault((name, path), []).append(taken)
    median = pd.Series({key: statistics.median(values) for key, values in seconds.items()})
    product_rate = 2 * LARGE**3 / median.pop("large product").min()
    rate = operations(op, horizon, members) / median
    return pd.DataFrame(
        {
            "model-steps/s": members / median,
            "GFLOP/s": rate / 1e9,
            "share of product rate": rate / product_rate,
            "times the plain twin": median[f"{op}_steps", "default"] / median,
        }
    )


def operations(op: str, horizon: int, members: int) -> int:
    """Multiplications and additions of one step that cannot be avoided: recurrence, readout and inputs, three times."""
    columns, steps = GATES[op] * UNITS, GIVEN + horizon
    return (
        2
        * 3
        * members
        * BATCH
        * ((steps - 1) * UNITS * columns + steps * UNITS * BITS + GIVEN * BITS * columns)
    )


def timed(form: Callable[[], object], *, switch: bool) -> float:
    """Seconds of one call."""
    if switch:
        with fast_matmul():
            return timed(form, switch=False)
    start = time.perf_counter()
    form()
    return time.perf_counter() - start


def training_steps(op: str, horizon: int, members: int) -> dict[str, Callable[[], object]]:
    """Forward, loss and backward of all members, once for each form."""
    columns, steps = GATES[op] * UNITS, GIVEN + horizon
    x = torch.randn(members, BATCH, GIVEN, BITS).sign()
    target = torch.randn(members, BATCH, horizon, BITS).sign()
    shapes = [(members, BITS, columns), (members, UNITS, columns), (members, UNITS, BITS)]
    weights = [(torch.randn(shape) / UNITS**0.5).requires_grad_() for shape in shapes]

    def step(form: Callable) -> tuple[Tensor, ...]:
        outputs = form(x, *weights, steps=steps).outputs[:, :, GIVEN:]
        return torch.autograd.grad((outputs - target).square().mean(dim=(1, 2, 3)).sum(), weights)

    forms: dict[str, Callable[[], object]] = {
        name: partial(step, FORMS[name]) for name in (op, f"{op}_steps")
    }
    forms["torch, member by member"] = one_by_one(op, x, target)
    return forms


def one_by_one(op: str, x: Tensor, target: Tensor) -> Callable[[], object]:
    """The same with torch's own fused network and readout, one member after the other."""
    kind = TORCH[op]
    nets = [
        (kind(BITS, UNITS, bias=False, batch_first=True), torch.nn.Linear(UNITS, BITS, bias=False))
        for _ in range(len(x))
    ]
    padded = torch.nn.functional.pad(x, (0, 0, 0, target.shape[2]))

    def step() -> None:
        for (net, readout), inputs, wanted in zip(nets, padded, target, strict=True):
            outputs = readout(net(inputs)[0][:, GIVEN:])
            torch.autograd.grad(
                (outputs - wanted).square().mean(), [*net.parameters(), *readout.parameters()]
            )

    return step


if __name__ == "__main__":
    main()

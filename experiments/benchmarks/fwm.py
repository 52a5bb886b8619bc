"""How fast is a Fast Weight Memory without its memory? Against the loop over its equations, and against the processor.

``python -m experiments.benchmarks.fwm`` times forward, loss and backward of the whole model in one thread: no
data and no optimiser. Forms take turns, the thread's own time counts, and medians are reported.
"""

import argparse
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager, nullcontext
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pandas as pd
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, layer_norm

from emt.models.fwm import FastWeightMemory
from emt.ops import FWMRun, fast_matmul, keep_freed_memory
from experiments.benchmarks.timing import median_times

VOCABULARY = 180
MFLOP_PER_TOKEN = 4.83
"""Of all products of matrices, forward and backward, in the usual form of the model at 200 steps."""

ASKED = 0.036
"""Share of the words of catbAbI that are question marks."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument("--batch", type=int, default=64, help="sequences")
    parser.add_argument("--steps", type=int, nargs="+", default=[200, 400], help="tokens of a sequence")
    parser.add_argument("--turns", type=int, default=5, help="timings of each form; the median counts")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    keep_freed_memory()
    for steps in options.steps:
        table = speed(options.batch, steps, options.turns, loop=steps == options.steps[0])
        print(f"\nbatch {options.batch}, {steps} steps", table, sep="\n", flush=True)
    print("\npeak memory of one step", memory(options.batch, options.steps), sep="\n")


def speed(batch: int, steps: int, turns: int, loop: bool) -> str:
    """Tokens in a second of each form, against the loop and against torch's rate of one large product."""
    step, questions, product = (
        training_step(batch, steps),
        training_step(batch, steps, ASKED),
        large_product(),
    )
    forms = {"loop": in_setting(step, loop=True)} if loop else {}
    for name, fast in {"MKL": False, "fast_matmul": True}.items():
        forms |= {f"fast, {name}": in_setting(step, fast=fast)}
        forms |= {f"fast, questions only, {name}": in_setting(questions, fast=fast)}
        forms |= {f"product, {name}": in_setting(product, fast=fast)}
    seconds = median_times(forms, turns)
    rate = max(2 * 1536**3 / seconds.pop(f"product, {name}") for name in ("MKL", "fast_matmul"))
    tokens = pd.Series({name: batch * steps / s for name, s in seconds.items()})
    share = f"share of {rate / 1e9:.0f} GFLOP/s"
    table = pd.DataFrame(
        {"tokens/s": tokens.round().astype(int), share: tokens * MFLOP_PER_TOKEN * 1e6 / rate}
    )
    if loop:
        table["times the loop"] = tokens / tokens["loop"]
    return str(table.to_string(float_format="{:.2f}".format))


def memory(batch: int, lengths: Sequence[int]) -> str:
    """Peak memory of a training step over that of a short one, each in a process of its own."""
    rows = {}
    with ProcessPoolExecutor(1, mp_context=get_context("spawn"), max_tasks_per_child=1) as pool:
        for name, steps, loop in [("loop", lengths[0], True), *(("fast", steps, False) for steps in lengths)]:
            megabytes = pool.submit(peak_megabytes, batch, steps, loop).result()
            rows[name, steps] = {"MB": megabytes, "KB per token": 1000 * megabytes / (batch * steps)}
    table = pd.DataFrame.from_dict(rows, orient="index")
    table.index = pd.MultiIndex.from_tuples(rows, names=["form", "steps"])
    return str(table.to_string(float_format="{:.1f}".format))


def peak_megabytes(batch: int, steps: int, loop: bool) -> float:
    """How much more memory this process needs for a step of this length than for one of two tokens."""
    torch.set_num_threads(1)
    in_setting(training_step(batch, 2), loop)()
    step = in_setting(training_step(batch, steps), loop)
    before = _peak_kilobytes()
    step()
    return (_peak_kilobytes() - before) / 1000


def _peak_kilobytes() -> int:
    """Peak memory of this process; what `resource` says includes that of the process that started it."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith("VmHWM")))


def training_step(batch: int, steps: int, asked: float | None = None) -> Callable[[], object]:
    """Forward, loss and backward with a carried state; with ``asked`` for that share of the steps only."""
    generator = torch.Generator().manual_seed(0)
    model = FastWeightMemory((1,), VOCABULARY, VOCABULARY)
    tokens, targets = torch.randint(0, VOCABULARY, (2, 1, batch, steps), generator=generator)
    scored = torch.rand(1, batch, steps, generator=generator) < (1 if asked is None else asked)
    context = {} if asked is None else {"needed_steps": scored}
    with torch.no_grad():
        state = model(tokens[..., :1])[1]

    def step() -> tuple[Tensor, ...]:
        outputs = model(tokens, state, None, context)[0]
        return torch.autograd.grad(cross_entropy(outputs[scored], targets[scored]), list(model.parameters()))

    return step


def large_product() -> Callable[[], object]:
    """The product by which torch's rate is measured."""
    a, b = torch.randn(2, 1536, 1536, generator=torch.Generator().manual_seed(0))
    return partial(torch.mm, a, b)


def in_setting(step: Callable[[], object], loop: bool = False, fast: bool = False) -> Callable[[], object]:
    """The step with the memory as a loop over time, or with products sent to oneDNN."""

    def run() -> object:
        with patch("emt.models.fwm.fwm", in_time_order) if loop else nullcontext(), setting(fast):
            return step()

    return run


@contextmanager
def setting(fast: bool) -> Iterator[None]:
    """Send products to oneDNN, or leave them."""
    with fast_matmul() if fast else nullcontext():
        yield


def in_time_order(
    keys: Tensor,
    values: Tensor,
    strength: Tensor,
    first: Tensor,
    partners: Tensor,
    memory: Tensor,
    steps: Any,
) -> FWMRun:
    """The equations with reads where they belong, as the authors' programs do; `emt.ops.fwm_steps` keeps each F."""
    assert steps is None
    # One row times one matrix: torch is several times slower at columns.
    f, outputs, log = memory.mT.contiguous(), [], []
    for t in range(keys.shape[2]):
        key = _tensor_product(*keys[:, :, t].unbind(2))
        added = strength[:, :, t, None, None] * (values[:, :, t].unsqueeze(-2) - key @ f)
        f = f + key.mT * added
        scale = f.square().sum((-2, -1)).clamp(min=1).sqrt()
        f = f / scale[..., None, None]
        normal = first[:, :, t]
        for partner in partners[:, :, t].unbind(2):
            normal = layer_norm((_tensor_product(normal, partner) @ f).squeeze(-2), normal.shape[-1:])
        outputs.append(normal)
        log.append(scale)
    nothing = keys.new_zeros(*partners.shape[:4], 2, keys.shape[-1])
    return FWMRun(torch.stack(outputs, dim=2), f.mT, nothing, nothing, torch.stack(log, dim=2))


def _tensor_product(a: Tensor, r: Tensor) -> Tensor:
    """One row of a key for each batch item."""
    return (a.unsqueeze(-1) * r.unsqueeze(-2)).flatten(-2).unsqueeze(-2)


if __name__ == "__main__":
    main()

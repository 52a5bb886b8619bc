"""How fast is a linear memory in chunks of steps? Against the loop over its rule, and against the processor.

``python -m experiments.benchmarks.linear_memory`` times forward, loss and backward of the operation alone at 64
sequences of 256 steps in one thread. Forms take turns, the thread's own time counts, and medians are reported.
"""

import argparse
from collections.abc import Callable, Sequence
from functools import partial

import pandas as pd
import torch
from torch import Tensor

from emt.ops import keep_freed_memory, linear_memory, linear_memory_steps
from experiments.benchmarks.timing import median_times

FORMS = ("sum", "delta rule", "gated delta rule", "decay by channel", "own erase vectors")
"""The rule's cases: the first three have one decay for all channels."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument("--sizes", type=int, nargs="+", default=[16, 32, 64], help="sizes of keys and values")
    parser.add_argument("--sequences", type=int, default=64, help="sequences of all heads and members")
    parser.add_argument("--steps", type=int, default=256, help="steps of a sequence")
    parser.add_argument("--turns", type=int, default=5, help="timings of each form; the median counts")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    keep_freed_memory()
    rows = [
        measure(form, size, options.sequences, options.steps, options.turns)
        for size in options.sizes
        for form in FORMS
    ]
    table = pd.DataFrame(rows).set_index(["size", "form"])
    print(f"{options.sequences} sequences x {options.steps} steps, forward and backward, one thread")
    print(table.to_string(float_format="{:.1f}".format))


def measure(form: str, size: int, sequences: int, steps: int, turns: int) -> dict[str, object]:
    """Time both ways to compute one form, and a large product for comparison."""
    inputs = inputs_of(form, size, sequences, steps)
    weights = torch.randn_like(inputs["value"])

    def step(run: Callable) -> tuple[Tensor, ...]:
        return torch.autograd.grad((run(**inputs).reads * weights).sum(), list(inputs.values()))

    big = torch.randn(1024, 1024)
    seconds = median_times(
        {
            "loop": partial(step, linear_memory_steps),
            "chunks": partial(step, linear_memory),
            "GEMM": partial(torch.mm, big, big),
        },
        turns,
    )
    rate = 2 * 1024**3 / seconds["GEMM"]
    share = flops(form, size, steps) * sequences / seconds["chunks"] / rate
    return {
        "form": form,
        "size": size,
        "loop ms": 1000 * seconds["loop"],
        "chunks ms": 1000 * seconds["chunks"],
        "times faster": seconds["loop"] / seconds["chunks"],
        "% of GEMM rate": 100 * share,
    }


def inputs_of(form: str, size: int, sequences: int, steps: int) -> dict[str, Tensor]:
    """Return leaves that a step takes gradients of: unit keys, and decays of about a tenth a step."""
    generator = torch.Generator().manual_seed(0)
    each = (sequences, steps)
    vectors = torch.randn(5, *each, size, generator=generator)
    unit = torch.nn.functional.normalize
    inputs = {"query": vectors[0], "key": unit(vectors[1], dim=-1), "value": vectors[2]}
    rates = torch.rand(3, *each, generator=generator)
    if form != "sum":
        inputs |= {"erase": rates[0], "strength": rates[1]}
    if form == "gated delta rule":
        inputs["log_keep"] = -0.2 * rates[2]
    if form in ("decay by channel", "own erase vectors"):
        inputs["log_keep"] = -0.2 * torch.rand(*each, size, generator=generator)
    if form == "own erase vectors":
        inputs |= {"erase_query": unit(vectors[3], dim=-1), "erase_key": unit(vectors[4], dim=-1)}
    return {name: value.detach().requires_grad_() for name, value in inputs.items()}


def flops(form: str, size: int, steps: int) -> int:
    """Return multiplications and additions of the rule itself: what the loop does to its matrix, thrice for backward.

    Each step reads, writes and, unless it only sums, looks up and takes away: 2 size² each.
    """
    return 3 * (2 if form == "sum" else 4) * 2 * size**2 * steps


if __name__ == "__main__":
    main()

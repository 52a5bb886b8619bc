"""How fast are the recurrences of published cells? Against the loop over the rule, and torch code of `transformers`.

``python -m experiments.benchmarks.linear_cells`` times forward and backward of the recurrence alone, on the same
inputs: the loop, the chunks of `emt.ops.linear_memory`, and the function that a library runs without kernels, the
fastest of its chunk lengths. All three agree before they are timed. One thread; the forms take turns, the thread's
own time counts, and medians are reported. A large product in the same run says what the processor had to give.
"""

import argparse
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from importlib import import_module
from typing import Any

import pandas as pd
import torch
from torch import Tensor
from torch.nn.functional import normalize

from emt.models.mlstm import normalised, stabilised, with_one
from emt.ops import keep_freed_memory, linear_memory, linear_memory_steps
from experiments.benchmarks.timing import median_times

HEADS = 4
CHUNKS = 32, 64
"""Chunk lengths of the libraries' functions that have any."""

AGREEMENT = 1e-4
"""Largest difference of outputs in single precision, relative to the largest output."""

Inputs = dict[str, Tensor]
Form = Callable[[Inputs], Tensor]

THEIRS = {
    "gated delta rule": (
        "transformers.models.qwen3_next.modeling_qwen3_next",
        "torch_chunk_gated_delta_rule",
    ),
    "Mamba-2": ("transformers.models.mamba2.modeling_mamba2", "mamba2_chunk_scan"),
    "mLSTM": ("transformers.models.xlstm.modeling_xlstm", "mlstm_chunkwise_native_autograd"),
    "RWKV-7": ("rwkv7_hf.ops_rwkv7", "rwkv7_recurrent"),
    "KDA": ("transformers.models.kimi_linear.modeling_kimi_linear", "chunk_kimi_delta_attention"),
}
"""Module and function of each recurrence in `transformers` (RWKV-7: rwkv7-hf)."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0], allow_abbrev=False)
    parser.add_argument("--sizes", type=int, nargs="+", default=[16, 32, 64], help="sizes of keys and values")
    parser.add_argument("--cells", nargs="+", default=list(THEIRS), choices=list(THEIRS), help="recurrences")
    parser.add_argument("--sequences", type=int, default=16, help=f"sequences of {HEADS} heads each")
    parser.add_argument("--steps", type=int, default=256, help="steps of a sequence, a multiple of 64")
    parser.add_argument("--turns", type=int, default=5, help="timings of each form; the median counts")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    keep_freed_memory()
    each = options.sequences, options.steps, HEADS
    rows = [measure(cell, size, each, options.turns) for size in options.sizes for cell in options.cells]
    table = pd.DataFrame(rows).set_index(["size", "cell"])
    print(f"{options.sequences} x {HEADS} heads x {options.steps} steps, forward and backward, one thread")
    print(table.to_string(float_format="{:.1f}".format))


def measure(cell: str, size: int, each: tuple[int, int, int], turns: int) -> dict[str, object]:
    """Time all ways to compute one recurrence, and a large product."""
    inputs, big = inputs_of(cell, size, each), torch.randn(1024, 1024)
    forms = {"loop": partial(ours, cell, linear_memory_steps), "chunks": partial(ours, cell, linear_memory)}
    chunks = CHUNKS if cell != "RWKV-7" else CHUNKS[:1]
    forms |= {f"theirs {chunk}": partial(theirs, cell, chunk) for chunk in chunks}
    expected = check(cell, forms, inputs)
    weights = torch.randn_like(expected)

    def step(form: Form) -> tuple[Tensor, ...]:
        return torch.autograd.grad((form(inputs) * weights).sum(), list(inputs.values()))

    timed: dict[str, Callable[[], object]] = {name: partial(step, form) for name, form in forms.items()}
    seconds = median_times(timed | {"GEMM": partial(torch.mm, big, big)}, turns)
    library = min(seconds[f"theirs {chunk}"] for chunk in chunks)
    return {
        "cell": cell,
        "size": size,
        "loop ms": 1000 * seconds["loop"],
        "chunks ms": 1000 * seconds["chunks"],
        "theirs ms": 1000 * library,
        "loop / chunks": seconds["loop"] / seconds["chunks"],
        "theirs / chunks": library / seconds["chunks"],
        "GFLOP/s of GEMM": 2 * 1024**3 / seconds["GEMM"] / 1e9,
    }


@torch.no_grad()
def check(cell: str, forms: Mapping[str, Form], inputs: Inputs) -> Tensor:
    """Return the outputs of the loop, which all forms have.

    Raises
    ------
    ArithmeticError
        If one of them has others.
    """
    expected = forms["loop"](inputs)
    for name, form in forms.items():
        difference = float((form(inputs) - expected).abs().max() / expected.abs().max())
        if not difference < AGREEMENT:
            raise ArithmeticError(
                f"{cell}, {name}: expected the outputs of the loop; got {difference:.1e} off"
            )
    return expected


def inputs_of(cell: str, size: int, each: tuple[int, int, int]) -> Inputs:
    """Return what a recurrence takes, (sequence, time, head, …), as leaves: unit keys, decays of a tenth a step."""
    generator = torch.Generator().manual_seed(0)

    def draw(*axes: int) -> Tensor:
        return torch.randn(*each, *axes, generator=generator)

    made = {"query": draw(size), "key": normalize(draw(size), dim=-1), "value": draw(size)}
    if cell == "Mamba-2":
        # One key and one query for all heads.
        made |= {"query": made["query"][:, :, :1], "key": made["key"][:, :, :1]}
        made |= {"step": 0.2 * torch.rand(each, generator=generator)}
    elif cell == "mLSTM":
        made |= {"input": draw(), "forget": 3 + draw()}
    else:
        channels = (size,) if cell in ("RWKV-7", "KDA") else ()
        made["log_keep"] = -0.2 * torch.rand(*each, *channels, generator=generator)
        if cell == "RWKV-7":
            made |= {"erase": normalize(draw(size), dim=-1), "rate": torch.sigmoid(draw(size))}
        else:
            made["beta"] = torch.sigmoid(draw())
    return {name: x.detach().requires_grad_() for name, x in made.items()}


def ours(cell: str, run: Callable[..., Any], inputs: Mapping[str, Tensor]) -> Tensor:
    """Return what heads read, (sequence, time, head, value), by the rule of `emt.ops.linear_memory.forms`."""
    q, k, v = (inputs[name] for name in ("query", "key", "value"))
    rates: dict[str, Tensor] = {}
    m = None
    if cell == "Mamba-2":
        k, q = (x.expand(-1, -1, HEADS, -1) for x in (k, q))
        rates = {"log_keep": -inputs["step"], "strength": inputs["step"]}
    elif cell == "mLSTM":
        v, k = with_one(v), k * k.shape[-1] ** -0.5
        log_keep = torch.nn.functional.logsigmoid(inputs["forget"])
        made, m = stabilised(*(x.unsqueeze(0) for x in (log_keep, inputs["input"], log_keep[:, 0] * 0)))
        rates = {n: x.squeeze(0) for n, x in made._asdict().items() if x is not None}
    elif cell == "RWKV-7":
        rates = {"log_keep": inputs["log_keep"], "erase_query": inputs["erase"]}
        rates |= {"erase_key": inputs["erase"] * inputs["rate"]}
    else:
        rates = {"log_keep": inputs["log_keep"], "erase": inputs["beta"], "strength": inputs["beta"]}
        q = q * q.shape[-1] ** -0.5
    by_head = {name: x.transpose(1, 2) for name, x in rates.items()}
    reads = run(*(x.transpose(1, 2) for x in (q, k, v)), **by_head).reads.transpose(1, 2)
    return reads if m is None else normalised(reads, m.squeeze(0))


def theirs(cell: str, chunk: int, inputs: Mapping[str, Tensor]) -> Tensor:
    """Return the same, by the function of a library."""
    module, name = THEIRS[cell]
    function = getattr(import_module(module), name)
    q, k, v = (inputs[part] for part in ("query", "key", "value"))
    if cell == "Mamba-2":
        decay = -torch.ones(HEADS)
        outputs: Tensor = function(v, inputs["step"], decay, k, q, chunk)
        return outputs
    if cell == "mLSTM":
        by_head = [x.transpose(1, 2) for x in (q, k, v, inputs["input"], inputs["forget"])]
        found: Tensor = function(*by_head, chunk_size=chunk)
        return found.transpose(1, 2)
    if cell == "RWKV-7":
        erase, size = inputs["erase"], q.shape[-1]
        empty = q.new_zeros(len(q), HEADS, size, size)
        reads: Tensor = function(q, inputs["log_keep"].exp(), k, v, -erase, erase * inputs["rate"], empty)[0]
        return reads
    answers: Tensor = function(q, k, v, inputs["log_keep"], inputs["beta"], chunk_size=chunk)[0]
    return answers


if __name__ == "__main__":
    main()

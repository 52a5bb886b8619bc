"""How fast is an answer that is read after the last write only? Against building features and memories.

``python -m experiments.benchmarks.last_answers`` times forward, loss and backward of what a step of training in
`experiments/fwp_capacity` spends its time on, for a stack of members, in one thread. Forms take turns, the thread's own
time counts, and medians are reported. Denormals count as zero, as in training.
"""

import argparse
from collections.abc import Callable, Mapping, Sequence
from functools import partial

import pandas as pd
import torch
from torch import Tensor
from torch.nn.functional import layer_norm

from emt.models.features import dpfp
from emt.ops import (
    dpfp_products,
    flush_denormals,
    keep_freed_memory,
    normalised_delta,
    normalised_delta_answer,
)
from experiments.benchmarks.timing import median_times

CHANNELS = 64
"""Size of keys and queries before their features."""


Form = Callable[..., Tensor]


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument("--pairs", type=int, nargs="+", default=[40, 100], help="pairs in a sequence")
    parser.add_argument("--members", type=int, default=20, help="members of the stack")
    parser.add_argument("--sequences", type=int, default=32, help="sequences")
    parser.add_argument("--turns", type=int, default=3, help="timings of each form; the median counts")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    keep_freed_memory()
    rows = []
    for pairs in options.pairs:
        generator, rows_of = torch.Generator().manual_seed(0), (options.members, options.sequences)
        inputs = {
            "query": torch.randn(*rows_of, CHANNELS, generator=generator),
            "key": torch.randn(*rows_of, pairs, CHANNELS, generator=generator),
        }
        for nu in (1, 2):
            forms: dict[str, Form] = {
                "plain": partial(by_features, nu=nu),
                "fast": partial(dpfp_products, nu=nu),
            }
            rows.append(
                {"case": f"sum, dpfp, nu = {nu}", "pairs": pairs, **times(forms, inputs, options.turns)}
            )
        inputs["key"] = inputs["key"].tanh()
        inputs["value"] = torch.eye(pairs)[torch.randint(pairs, (*rows_of, pairs), generator=generator)]
        inputs["erase"] = torch.rand(*rows_of, pairs, generator=generator)
        forms = {"plain": by_steps, "fast": normalised_delta_answer}
        rows.append({"case": "memory of norm one", "pairs": pairs, **times(forms, inputs, options.turns)})
    print(f"{options.members} members x {options.sequences} sequences, forward and backward, one thread")
    table = pd.DataFrame(rows).set_index(["case", "pairs"]).sort_index()
    print(table.to_string(float_format="{:.1f}".format))


def times(forms: Mapping[str, Form], inputs: dict[str, Tensor], turns: int) -> dict[str, float]:
    """Time both forms, which must agree."""
    leaves = {name: value.clone().requires_grad_() for name, value in inputs.items()}
    first, second = (form(**leaves) for form in forms.values())
    torch.testing.assert_close(first, second, rtol=1e-3, atol=1e-3)
    weights = torch.randn_like(first)

    def step(form: Form) -> tuple[Tensor, ...]:
        return torch.autograd.grad((form(**leaves) * weights).sum(), list(leaves.values()))

    with flush_denormals():
        seconds = median_times({name: partial(step, form) for name, form in forms.items()}, turns)
    return {f"{name} ms": 1000 * s for name, s in seconds.items()} | {
        "times faster": seconds["plain"] / seconds["fast"]
    }


def by_features(query: Tensor, key: Tensor, nu: int) -> Tensor:
    """Return φ(k_t)·φ(q) from the features."""
    return (dpfp(key, nu) @ dpfp(query, nu).unsqueeze(-1)).squeeze(-1)


def by_steps(query: Tensor, key: Tensor, value: Tensor, erase: Tensor) -> Tensor:
    """Return the answer after the last step, and write and read at every one."""
    reads = normalised_delta(query.unsqueeze(2).expand_as(key), key, value, erase).reads
    return layer_norm(reads[:, :, -1], reads.shape[-1:])


if __name__ == "__main__":
    main()

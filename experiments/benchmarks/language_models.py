"""What does it cost to record a language model? The size of its log, and recording against running it.

``python -m experiments.benchmarks.language_models`` records random models of one recurrent layer with 16 heads of
128 × 128 (Mamba-2: 64 × 128), as published models have them, on one row. ``run`` is the model alone, ``record``
`emt.from_transformers`, which runs it twice and computes its recurrence again in double precision; ``match`` the
weights of all reads of one head, ``one read`` those of its last step. One thread; the forms take turns, the thread's
own time counts, and medians are reported.
"""

import sys
from typing import Any

import pandas as pd
import torch

import emt
from analysis.memory.replay import match_grids
from emt import trace
from emt.commands.script import run_script
from emt.errors import UserError
from emt.options import Parser
from experiments.benchmarks.timing import median_times

VOCABULARY, UNITS, HEADS = 256, 256, 16


def main(arguments: list[str] | None = None) -> int:
    """Parse, measure, print; return the exit code."""
    parser = Parser(prog="experiments.benchmarks.language_models", description=__doc__)
    parser.add_argument(
        "--steps", type=int, nargs="+", default=[512], help="tokens of the row (default: 512)"
    )
    parser.add_argument("--turns", type=int, default=3, help="turns of each form (default: 3)")
    options = parser.parse_args(arguments)
    if min(*options.steps, options.turns) < 1:
        raise UserError("--steps, --turns: must be at least 1")
    torch.set_num_threads(1)
    rows = [
        {"model": name, "steps": steps, **measure(model, steps, options.turns)}
        for steps in options.steps
        for name, model in (("Qwen3-Next", qwen3_next()), ("Mamba-2", mamba2()))
    ]
    print(pd.DataFrame(rows).set_index(["model", "steps"]).round(3).to_string())
    return 0


def qwen3_next() -> Any:
    """Return a model of one layer with a gated delta rule."""
    from transformers import AutoModelForCausalLM, Qwen3NextConfig

    config = Qwen3NextConfig(
        vocab_size=VOCABULARY,
        hidden_size=UNITS,
        num_hidden_layers=1,
        layer_types=["linear_attention"],
        intermediate_size=UNITS,
        linear_num_key_heads=HEADS,
        linear_num_value_heads=HEADS,
        linear_key_head_dim=128,
        linear_value_head_dim=128,
        num_experts=0,
        mlp_only_layers=[0],
    )
    return AutoModelForCausalLM.from_config(config).eval()


def mamba2() -> Any:
    """Return a model of one Mamba-2 layer."""
    from transformers import AutoModelForCausalLM, Mamba2Config

    config = Mamba2Config(
        vocab_size=VOCABULARY,
        hidden_size=HEADS * 64 // 2,
        num_hidden_layers=1,
        num_heads=HEADS,
        head_dim=64,
        state_size=128,
        n_groups=1,
        chunk_size=256,
        pad_token_id=None,
    )
    return AutoModelForCausalLM.from_config(config).eval()


def measure(model: Any, steps: int, turns: int) -> dict[str, float]:
    """Return the log in MB, the largest relative difference of its proof, and seconds of each form."""
    ids = torch.randint(1, VOCABULARY, (1, steps), generator=torch.Generator().manual_seed(0))
    recording = emt.from_transformers(model, ids).recording
    node = trace.nodes(recording)["layer0"]

    def run() -> None:
        with torch.no_grad():
            model(input_ids=ids, use_cache=False)

    seconds = median_times(
        {
            "run": run,
            "record": lambda: emt.from_transformers(model, ids),
            "match": lambda: match_grids(recording, "layer0_head0"),
            "one read": lambda: match_grids(recording, "layer0_head0", [steps - 1]),
        },
        turns,
    )
    return {
        "log, MB": sum(array.nbytes for array in node.data_vars.values()) / 1e6,
        "proof, 1e-6": 1e6 * trace.about(recording).proof["reads"],
        **{f"{name}, s": value for name, value in seconds.items()},
    }


if __name__ == "__main__":
    sys.exit(run_script("benchmark", main))

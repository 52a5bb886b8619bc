"""Train small gated DeltaNets of `transformers` to recall pairs, and take single writes of their memories away.

A row shows pairs of a key and a value, then the same pairs in another order; the second time a value can be known.
"""

import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import cross_entropy

import analysis
import emt
from emt.commands.output import say
from emt.commands.script import run_script
from emt.options import Option
from emt.progress import Progress
from emt.streams import Split, stream
from experiments.command_line import Count, build_parser, values_of

KEYS, VALUES = 16, 16
"""Kinds of tokens: ids of keys come first."""

OPTIONS = (
    Option("num_models", Count, 6, "number of seeds"),
    Option("pairs", Count, 6, "pairs in a row"),
    Option("steps", Count, 400, "training steps of 32 rows"),
    Option("trials", Count, 128, "rows that models are tested on"),
    Option("out", str, "own_models_recall", "folder of the recorded run"),
)

SHOWN = ("accuracy", "low", "high", "control_accuracy", "p", "share", "counterfactual_right", "kept_right")
"""Columns of the table that is printed."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Train, record, change what is written; return the exit code."""
    parser = build_parser("experiments.own_models.recall", __doc__, {"": OPTIONS})
    given = values_of(OPTIONS, vars(parser.parse_args(arguments)), "the command line")
    numbers, pairs = range(given["num_models"]), given["pairs"]
    # Products are small: a second thread costs more than it does.
    torch.set_num_threads(1)
    models = [trained(number, pairs, given["steps"]) for number in numbers]
    run = emt.from_transformers(
        models,
        rows("test", 0, given["trials"], pairs),
        classes=range(KEYS, KEYS + VALUES),
        induction=True,
        seeds=numbers,
        label="gated DeltaNet",
    )
    say(f"Written: {run.save(given['out'])}")
    say(*analysis.match_memories(run.recording, memory="layer0_head0").headline().splitlines())
    result = analysis.summarise_interventions(emt.intervene(run))
    say(*result.headline().splitlines())
    say(*result.population.loc[:, list(SHOWN)].round(3).to_string().splitlines())
    return 0


def rows(split: Split, step: int, count: int, pairs: int) -> NDArray[np.int64]:
    """Return ids (row, 4 · pairs): pairs of different keys and different values, then the same in another order."""
    generator = stream("own_models.recall", 0, split, step)
    keys, values = (
        generator.permuted(np.tile(np.arange(kinds), (count, 1)), axis=1)[:, :pairs]
        for kinds in (KEYS, VALUES)
    )
    shown = np.stack([keys, KEYS + values], axis=2)
    asked = generator.permuted(np.tile(np.arange(pairs), (count, 1)), axis=1)
    again = np.take_along_axis(shown, asked[:, :, None], axis=1)
    return np.concatenate([shown, again], axis=1).reshape(count, -1)


def trained(seed: int, pairs: int, steps: int) -> Any:
    """Return a model that has learnt to recall; the loss is that of values shown again."""
    model = untrained(seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.0)
    model.train()
    with Progress("training steps", steps) as progress:
        for step in range(steps):
            ids = torch.tensor(rows("train", step, 32, pairs))
            logits = model(input_ids=ids, use_cache=False).logits
            loss = cross_entropy(
                logits[:, 2 * pairs : -1 : 2].flatten(0, 1), ids[:, 2 * pairs + 1 :: 2].flatten()
            )
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            progress.update(step + 1, f"model {seed + 1}, loss {loss.item():.3f}")
    return model.eval()


def untrained(seed: int) -> Any:
    """Return a Qwen3-Next of one layer of gated delta rule, without experts or attention."""
    from transformers import AutoModelForCausalLM, Qwen3NextConfig

    torch.manual_seed(seed)
    config = Qwen3NextConfig(
        vocab_size=KEYS + VALUES,
        hidden_size=64,
        num_hidden_layers=1,
        layer_types=["linear_attention"],
        num_attention_heads=2,
        num_key_value_heads=2,
        head_dim=32,
        intermediate_size=64,
        linear_num_key_heads=2,
        linear_num_value_heads=2,
        linear_key_head_dim=32,
        linear_value_head_dim=32,
        num_experts=0,
        mlp_only_layers=[0],
        pad_token_id=None,
    )
    model = AutoModelForCausalLM.from_config(config)
    for part in model.modules():
        if hasattr(part, "dt_bias"):
            # The start of Yang et al. (2024): that of the library forgets within a step or two.
            step = torch.empty_like(part.dt_bias).uniform_(np.log(0.001), np.log(0.1)).exp()
            part.dt_bias.data = step + torch.log(-torch.expm1(-step))
    return model


if __name__ == "__main__":
    sys.exit(run_script("own_models", main))

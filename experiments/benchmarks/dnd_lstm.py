"""How fast a population of agents trains beside its plain twin, which steps one agent at a time.

Both do epochs of 2 U trials at the reference's sizes: drawing data, stepping, gradients, one Adam step a
trial. They take turns in this process on one thread; seconds are CPU seconds, medians over turns after the
first, in which everything is made and the dictionary is filled for the first time.
"""

import sys
import time
from collections.abc import Callable, Sequence
from statistics import median
from typing import Any

import torch

from emt.commands.script import run_script
from emt.config import RunConfig, TrainingConfig
from emt.errors import UserError
from emt.models.dnd_lstm import DNDLSTM, initial_state
from emt.ops import fast_matmul, keep_freed_memory
from emt.options import Parser
from emt.tasks.base import Batch
from emt.tasks.contextual_choice import ContextualChoice
from emt.training.chunk import build
from experiments.contextual_choice.one_agent import OneAgent, Trial, train_trial
from experiments.contextual_choice.train import DEFAULTS, MODEL, TASK

Epoch = Callable[[], None]
"""Trains one more epoch."""


def main(arguments: list[str] | None = None) -> int:
    """Parse, measure in turns, print; return the exit code."""
    parser = Parser(prog="experiments.benchmarks.dnd_lstm", description=__doc__)
    parser.add_argument(
        "--agents", nargs="+", type=int, default=[1, 8, 32, 128], metavar="N", help="population sizes"
    )
    parser.add_argument("--turns", type=int, default=7, metavar="N", help="turns of each form (default: 7)")
    parser.add_argument("--similarity", choices=("l2", "l1", "cosine"), default="l2", help="(default: l2)")
    parser.add_argument("--key", choices=("input", "hidden"), default="input", help="(default: input)")
    options = parser.parse_args(arguments)
    if min(options.agents) < 1 or options.turns < 1:
        raise UserError(f"--agents, --turns: must be ≥ 1; got {options.agents}, {options.turns}")
    torch.set_num_threads(1)
    keep_freed_memory()
    with fast_matmul():
        report(measure(options.agents, options.turns, {"similarity": options.similarity, "key": options.key}))
    return 0


def measure(agents: Sequence[int], turns: int, model: dict[str, Any]) -> dict[int, list[float]]:
    """Return CPU seconds of each turn for one agent-epoch, by population size; 0 stands for the plain twin."""
    forms = {0: one_by_one(model), **{n: together(n, model) for n in agents}}
    seconds: dict[int, list[float]] = {n: [] for n in forms}
    for turn in range(turns + 1):
        for n, epoch in forms.items():
            start = time.process_time()
            epoch()
            if turn:
                seconds[n].append((time.process_time() - start) / max(n, 1))
    return seconds


def together(agents: int, model: dict[str, Any]) -> Epoch:
    """Return what trains a population for an epoch, as train.py does."""
    training = TrainingConfig(
        **(
            DEFAULTS
            | {"num_models": agents, "curriculum": False, "curriculum_horizons": (1,), "epochs": 10**6}
        )
    )
    config = RunConfig(task={"name": TASK}, model={"type": MODEL, **model}, training=training)
    stack = build(config, tuple(range(1, agents + 1)))

    def epoch() -> None:
        for _ in range(stack.epochs.end(1)):
            report = stack.gradients()
            stack.optimizer.step()
            stack.advance(report)

    return epoch


def one_by_one(model: dict[str, Any]) -> Epoch:
    """Return what trains one agent for an epoch, step by step."""
    task, seed = ContextualChoice(), 0
    agent = OneAgent(DNDLSTM((seed,), task.input_channels, task.output_channels).export(0), **model)
    optimizer = torch.optim.Adam(agent.parameters(), DEFAULTS["learning_rate"])
    trials = iter(range(sys.maxsize))

    def epoch() -> None:
        for _ in range(task.epoch_batches):
            batch = task.batch((seed,), "train", next(trials), task.sizes.steps, 1)
            if batch.fresh:
                agent.forget()
            train_trial(agent, optimizer, trial_of(batch, 0, seed, agent.units))

    return epoch


def trial_of(batch: Batch, member: int, seed: int, units: int) -> Trial:
    """Return the trial of one member of a batch, first row, for the plain twin."""
    draws = batch.draws
    assert draws is not None
    return Trial(
        inputs=torch.tensor(batch.inputs[member, 0]),
        target=int(batch.events["token"][member, 0, 0]),
        draws=draws[member, 0].tolist(),
        initial=torch.tensor(initial_state(seed, int(batch.events["start"][member, 0, 0]), units)),
        writes=bool(batch.events["written"][member, 0, -1] >= 0),
    )


def report(seconds: dict[int, list[float]]) -> None:
    """Print medians and ratios."""
    plain = median(seconds[0])
    print(
        f"one agent, step by step: {plain:.4f} CPU s per epoch ({min(seconds[0]):.4f} to {max(seconds[0]):.4f})"
    )
    for n, turns in seconds.items():
        if n:
            ratios = [a / b for a, b in zip(seconds[0], turns, strict=True)]
            print(
                f"{n:4d} agents together: {median(turns):.5f} CPU s per agent and epoch, "
                f"{median(ratios):.1f} times as fast ({min(ratios):.1f} to {max(ratios):.1f})"
            )


if __name__ == "__main__":
    sys.exit(run_script("benchmark", main))

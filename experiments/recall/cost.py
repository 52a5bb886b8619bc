"""What a training step of one member costs: CPU time of one thread, all members of a population in one stack."""

import argparse
import sys
import time
from statistics import median

import torch

from emt.commands.output import say
from emt.commands.script import run_script
from emt.commands.sweep import part_of
from emt.config import RunConfig
from emt.models import MODELS
from emt.options import load
from emt.tasks import TASKS
from emt.training.objective import Objective
from experiments.command_line import build_parser
from experiments.recall.configs import SWEEPS
from experiments.recall.sweep import CHOICE

STEPS = 3


def main(arguments: list[str] | None = None) -> int:
    """Parse, measure, print; return the exit code."""
    given = vars(parser().parse_args(arguments))
    torch.set_num_threads(1)
    for config in part_of(SWEEPS[given["question"]], given, CHOICE, lambda c: c.metadata["experiment_name"]):
        name, count = config.metadata["experiment_name"], config.training.num_models
        say(f"{name}: {1000 * seconds_of_step(config) / count:.1f} ms of CPU time a member-step")
    return 0


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    result = build_parser("experiments.recall.cost", __doc__, {"": (CHOICE,)})
    result.add_argument("question", choices=SWEEPS, help="which task")
    return result


def seconds_of_step(config: RunConfig) -> float:
    """Return the median CPU time of a step of all members: batch, forward, backward, Adam."""
    seeds, size = config.training.seeds(), config.training.batch_size
    task = load(TASKS, config.task_name, "task")(**config.task_options())
    build = load(MODELS, config.model_type, "model_type")
    model = build(seeds, task.input_channels, task.output_channels, **config.model_options())
    objective, adam = Objective(task, model), torch.optim.Adam(model.parameters())
    times = []
    for step in range(STEPS):
        start = time.process_time()
        batch = task.batch(seeds, "train", step, task.lengths[0], size)
        (loss, _), _, _ = objective(objective.tensors(batch), batch.steps)
        adam.zero_grad()
        loss.sum().backward()
        adam.step()
        times.append(time.process_time() - start)
    return median(times)


if __name__ == "__main__":
    sys.exit(run_script("cost", main))

"""What training costs: the CPU time of a training step, measured on a few of them."""

import time
from statistics import median
from typing import NamedTuple

import torch

from emt.config import RunConfig
from emt.ops import fast_matmul, flush_denormals
from emt.training.chunk import build
from emt.training.population import LARGEST_CHUNK

STEPS = 3
"""Steps whose median counts; one before them is not counted, since it takes memory that the others reuse."""


class Cost(NamedTuple):
    """CPU seconds of a step of one member, and the steps of a member that does not stop early."""

    seconds: float
    steps: int


def measure_cost(config: RunConfig) -> Cost:
    """Return what a member of a population costs, in a stack of as many as train together, on one thread."""
    numbers = tuple(range(1, min(config.training.num_models, LARGEST_CHUNK) + 1))
    threads, times = torch.get_num_threads(), []
    torch.set_num_threads(1)
    try:
        with flush_denormals(), fast_matmul():
            stack = build(config, numbers)
            for _ in range(1 + STEPS):
                start = time.process_time()
                report = stack.gradients()
                stack.optimizer.step()
                stack.advance(report)
                times.append(time.process_time() - start)
    finally:
        torch.set_num_threads(threads)
    return Cost(median(times[1:]) / len(numbers), stack.total_steps)

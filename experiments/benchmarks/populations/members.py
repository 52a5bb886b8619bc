"""How does the speed of one stack depend on its number of members, on a GPU or on one core?

Forms take turns; medians of model-steps per second are printed, a model-step being one member's batch: data,
forward, backward, clipping, optimiser. "replayed" steps are recorded as CUDA graphs, as training does on a
GPU by itself; with one member, "launched separately" is what training one after the other costs.
"""

import argparse
import time
from statistics import median

import torch

from emt.config import RunConfig, TrainingConfig
from emt.devices import choose_device
from emt.ops import fast_matmul, keep_freed_memory
from emt.training.chunk import build
from emt.training.cuda_graphs import CudaGraphs
from emt.training.replay import RECORDED_AT
from emt.training.stack import Stack

LENGTH = 8


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--accelerator", choices=("auto", "cpu", "gpu"), default="auto", help="where (default: auto)"
    )
    parser.add_argument(
        "--model_type", choices=("rnn", "gru", "lstm"), default="rnn", help="which network (default: rnn)"
    )
    sizes = [1, 10, 50, 200, 500]
    parser.add_argument(
        "--members", type=int, nargs="+", default=sizes, help="sizes (default: 1 10 50 200 500)"
    )
    parser.add_argument("--horizon", type=int, default=100, help="output steps (default: 100)")
    parser.add_argument("--units", type=int, default=128, help="units (default: 128)")
    parser.add_argument("--turns", type=int, default=5, help="turns of each form (default: 5)")
    parser.add_argument("--steps", type=int, default=10, help="steps in a turn (default: 10)")
    options = parser.parse_args()
    device = choose_device(options.accelerator)
    torch.set_num_threads(1)
    keep_freed_memory()
    forms = {"launched separately": None} | ({"replayed": CudaGraphs()} if device == "cuda" else {})
    print(f"{options.model_type}, {options.units} units, horizon {options.horizon}, on {device}")
    print(f"{'members':>8}" + "".join(f"{form:>20}" for form in forms) + "   model-steps/s")
    with fast_matmul():
        for members in options.members:
            stacks = {form: make(options, members, device) for form in forms}
            for form, stack in stacks.items():
                stack.replay.capture = forms[form]
                run(stack, RECORDED_AT)
            rates: dict[str, list[float]] = {form: [] for form in forms}
            for _ in range(options.turns):
                for form, stack in stacks.items():
                    rates[form].append(run(stack, options.steps))
            print(f"{members:>8}" + "".join(f"{median(r):>20.0f}" for r in rates.values()), flush=True)


def make(options: argparse.Namespace, members: int, device: str) -> Stack:
    """Return a stack at its last horizon."""
    config = RunConfig(
        task={"name": "variable_binding", "seq_length": LENGTH},
        model={"type": options.model_type, "hidden_dim": options.units},
        training=TrainingConfig(num_models=members, curriculum=False, curriculum_horizons=(options.horizon,)),
    )
    stack = build(config, tuple(range(1, members + 1)))
    stack.model.to(device)
    return stack


def run(stack: Stack, steps: int) -> float:
    """Train some steps; return model-steps per second. Each step ends with its losses on the host."""
    start = time.perf_counter()
    for _ in range(steps):
        report = stack.gradients()
        stack.optimizer.step()
        stack.advance(report)
    if stack.device.type == "cuda":
        torch.cuda.synchronize()
    return steps * len(stack.numbers) / (time.perf_counter() - start)


if __name__ == "__main__":
    main()

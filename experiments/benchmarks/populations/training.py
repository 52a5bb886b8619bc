"""How fast is a population trained, in model-steps per second of the whole machine?

Two processes of one thread each train half of the members; the forms take turns in the same processes, so
that they share the machine's mood, and medians over rounds are printed. A model-step is one member's batch:
data, forward, backward, clipping, Adam.

- population: the stacked members of `train_multiple.py`, under Lightning.
- plain loop: ``torch.nn.RNN`` (or LSTM) and ``torch.optim.Adam``, one member after the other, nothing else.
- reference: as the earlier code works: a Lightning module for each member, targets rolled out step by step, loss and
  accuracy through numpy.

The share of the machine's GEMM rate is model-steps times their multiply-adds over the rate of a large float32
product, the faster of torch's two CPU paths, measured in the same processes.
"""

import argparse
import logging
import multiprocessing
import os
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

BITS, LENGTH, UNITS, BATCH = 8, 8, 128, 64
GATES = {"rnn": 1, "gru": 3, "lstm": 4}


@dataclass(frozen=True)
class Setting:
    """What one worker measures."""

    model: str
    members: int
    horizons: tuple[int, ...]
    rounds: int
    seconds: float


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model_type", choices=GATES, default="rnn", help="which network (default: rnn)")
    parser.add_argument("--members", type=int, default=50, help="members in all (default: 50)")
    parser.add_argument("--workers", type=int, default=2, help="processes of one thread (default: 2)")
    parser.add_argument(
        "--horizons", type=int, nargs="+", default=[10, 100], help="output steps (default: 10 100)"
    )
    parser.add_argument(
        "--rounds", type=int, default=7, help="turns of each form; medians are printed (default: 7)"
    )
    parser.add_argument("--seconds", type=float, default=2.0, help="seconds of each turn (default: 2)")
    options = parser.parse_args()
    os.environ |= dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    share = options.members // options.workers
    setting = Setting(options.model_type, share, tuple(options.horizons), options.rounds, options.seconds)
    context = multiprocessing.get_context("spawn")
    barrier, queue = context.Barrier(options.workers), context.Queue()
    processes = [context.Process(target=work, args=(setting, barrier, queue)) for _ in range(options.workers)]
    for process in processes:
        process.start()
    measured = [queue.get() for _ in processes]
    for process in processes:
        process.join()
    report(setting, measured, share * options.workers)


def report(setting: Setting, measured: list[dict[Any, list[float]]], members: int) -> None:
    """Print medians over rounds of the sums over workers."""
    rates = {key: median(map(sum, zip(*(m[key] for m in measured), strict=True))) for key in measured[0]}
    gemm = max(rates["gemm"], rates["fast gemm"])
    print(
        f"{setting.model}, {members} members, {len(measured)} processes of one thread, batch {BATCH}, {UNITS} units"
    )
    print(f"GEMM rate of the machine: {gemm / 1e9:.0f} GFLOP/s (default path {rates['gemm'] / 1e9:.0f})")
    print(f"{'horizon':>8} {'form':<12} {'model-steps/s':>14} {'of GEMM rate':>13} {'population is':>14}")
    for horizon in setting.horizons:
        flops = 6 * BATCH * (LENGTH * BITS + (LENGTH + horizon) * UNITS) * UNITS * GATES[setting.model]
        flops += 6 * BATCH * (LENGTH + horizon) * UNITS * BITS
        for form in ("population", "plain loop", "reference"):
            rate = rates[form, horizon]
            ratio = rates["population", horizon] / rate
            print(f"{horizon:>8} {form:<12} {rate:>14.0f} {rate * flops / gemm:>13.0%} {ratio:>13.2f}x")


def work(setting: Setting, barrier: Any, queue: Any) -> None:
    """Measure every form in turn, in step with the other workers."""
    import torch

    from emt.ops import keep_freed_memory

    torch.set_num_threads(1)
    import pytorch_lightning

    logging.getLogger(pytorch_lightning.__name__).setLevel(logging.ERROR)
    logging.getLogger("pytorch_lightning.utilities.rank_zero").setLevel(logging.ERROR)
    warnings.simplefilter("ignore")
    keep_freed_memory()
    forms: dict[Any, Callable[[], float]] = {"gemm": gemm_rate, "fast gemm": partial(_fast, gemm_rate)}
    for horizon in setting.horizons:
        forms |= {
            ("population", horizon): partial(_fast, partial(population, setting, horizon)),
            ("plain loop", horizon): partial(plain_loop, setting, horizon),
            ("reference", horizon): partial(reference, setting, horizon),
        }
    rates: dict[Any, list[float]] = {key: [] for key in forms}
    for turn in range(setting.rounds + 1):
        for key, form in forms.items():
            barrier.wait()
            rate = form()
            if turn:  # the first turn warms up
                rates[key].append(rate)
    queue.put(rates)


def _fast(measure: Callable[[], float]) -> float:
    from emt.ops import fast_matmul

    with fast_matmul():
        return measure()


def gemm_rate(size: int = 1024) -> float:
    """FLOP/s of a square float32 product."""
    import torch

    a, b = torch.randn(size, size), torch.randn(size, size)
    times = []
    for _ in range(8):
        start = time.perf_counter()
        a @ b
        times.append(time.perf_counter() - start)
    return 2 * size**3 / median(times)


def population(setting: Setting, horizon: int) -> float:
    """Model-steps per second of the stacked members under Lightning."""
    import pytorch_lightning as pl

    from emt.config import RunConfig, TrainingConfig
    from emt.training.chunk import build
    from emt.training.journal import Journal
    from emt.training.module import STEPS_PER_CALL, PopulationModule
    from emt.training.population import Chunk

    class Timed(PopulationModule):
        started: tuple[float, int] | None = None
        result = 0.0

        def train_dataloader(self) -> list[int]:
            return [1] * 2 + [STEPS_PER_CALL if horizon < 50 else 2] * 100_000

        def training_step(self, steps: int, index: int) -> None:
            if self.started is None and index:
                self.started = (time.perf_counter(), self.stack.step)
            super().training_step(steps, index)
            if self.started is not None:
                elapsed = time.perf_counter() - self.started[0]
                self.result = (self.stack.step - self.started[1]) * len(self.stack.numbers) / elapsed
                self.done = self.trainer.should_stop = elapsed > setting.seconds

    training = TrainingConfig(num_models=setting.members, curriculum=False, curriculum_horizons=(horizon,))
    config = RunConfig(
        task={"name": "variable_binding", "seq_length": LENGTH},
        model={"type": setting.model, "hidden_dim": UNITS},
        training=training,
    )
    numbers = tuple(range(1, setting.members + 1))
    with tempfile.TemporaryDirectory() as folder:
        module = Timed(build(config, numbers), Journal(Chunk(Path(folder), config, numbers)))
        pl.Trainer(max_epochs=1, accelerator="cpu", devices=1, **QUIET).fit(module)
    return module.result


QUIET: dict[str, Any] = {
    "logger": False,
    "enable_checkpointing": False,
    "enable_progress_bar": False,
    "enable_model_summary": False,
}


def network(kind: str) -> Any:
    """Return torch's own network with a linear readout."""
    import torch

    recurrent = {"rnn": torch.nn.RNN, "gru": torch.nn.GRU, "lstm": torch.nn.LSTM}[kind]

    class Network(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.rnn = recurrent(BITS, UNITS, bias=False)
            self.readout = torch.nn.Linear(UNITS, BITS, bias=False)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y: torch.Tensor = self.readout(self.rnn(x)[0])
            return y

    return Network()


def plain_loop(setting: Setting, horizon: int) -> float:
    """Model-steps per second of a plain torch loop, one member after the other."""
    import torch

    members = [network(setting.model) for _ in range(2)]
    optimizers = [torch.optim.Adam(m.parameters(), lr=1e-3) for m in members]
    index = torch.arange(LENGTH, LENGTH + horizon) % LENGTH

    def step(i: int) -> None:
        x = torch.zeros(LENGTH + horizon, BATCH, BITS)
        x[:LENGTH] = torch.randint(0, 2, (LENGTH, BATCH, BITS)) * 2.0 - 1
        loss = torch.nn.functional.mse_loss(members[i](x)[LENGTH:], x[index])
        optimizers[i].zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(members[i].parameters(), 1.0)
        optimizers[i].step()

    step(0)
    step(1)
    start, done = time.perf_counter(), 0
    while time.perf_counter() - start < setting.seconds:
        # Members are trained to the end in turn; two of them are as good as all for the measurement.
        step(done % 2)
        done += 1
    return done / (time.perf_counter() - start)


def reference(setting: Setting, horizon: int) -> float:
    """Model-steps per second of one Lightning module for each member, as the earlier code works."""
    import numpy as np
    import pytorch_lightning as pl
    import torch

    operator = torch.zeros(LENGTH * BITS, BITS)
    operator[:BITS] = torch.eye(BITS)

    class Member(pl.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.network = network(setting.model)
            self.times: list[float] = []

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.Adam(self.parameters(), lr=1e-3)

        def train_dataloader(self) -> range:
            return range(1_000_000)

        def training_step(self, _batch: int, _index: int) -> torch.Tensor:
            x = torch.zeros(LENGTH + horizon, BATCH, BITS)
            x[:LENGTH] = torch.randint(0, 2, (LENGTH, BATCH, BITS)) * 2.0 - 1
            y = x.clone()
            for t in range(LENGTH, LENGTH + horizon):
                y[t] = y[t - LENGTH : t].transpose(0, 1).reshape(BATCH, -1) @ operator
            outputs = self.network(x)[LENGTH:]
            loss = torch.nn.functional.mse_loss(outputs, y[LENGTH:])
            guess, truth = outputs.detach().cpu().numpy(), y[LENGTH:].cpu().numpy()
            self.log("train_loss", float(loss.item()))
            self.log("train_acc", float(np.mean(np.sign(guess) == np.sign(truth))))
            self.times.append(time.perf_counter())
            self.trainer.should_stop = self.times[-1] - self.times[0] > setting.seconds
            return loss

    member = Member()
    pl.Trainer(max_epochs=1, min_epochs=0, accelerator="cpu", devices=1, gradient_clip_val=1.0, **QUIET).fit(
        member
    )
    steady = member.times[2:]
    return (len(steady) - 1) / (steady[-1] - steady[0])


if __name__ == "__main__":
    main()

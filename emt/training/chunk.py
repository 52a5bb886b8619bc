"""Train one chunk of a population: what an engine hands to a worker."""

import contextlib
import logging
import time
import warnings
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor
from torch.func import functional_call

from emt import locks, runs, stopping
from emt.config import RunConfig
from emt.devices import choose_device
from emt.models import MODELS
from emt.models.base import Factored, check_model
from emt.ops import fast_matmul, flush_denormals, is_member_invariant, keep_freed_memory
from emt.options import load
from emt.tasks import TASKS
from emt.training.journal import Journal
from emt.training.module import PopulationModule
from emt.training.population import Chunk, check_code
from emt.training.stack import Stack


def build(config: RunConfig, numbers: tuple[int, ...]) -> Stack:
    """Return the stack of the given members at step 0.

    Raises
    ------
    UserError
        If the model lacks what `emt.models.base.Model` lists, or cannot learn this task.
    """
    task = load(TASKS, config.task_name, "task")(**config.task_options())
    seeds = config.training.seeds()
    model = load(MODELS, config.model_type, "model_type")(
        [seeds[n - 1] for n in numbers], task.input_channels, task.output_channels, **config.model_options()
    )
    check_model(model, config.model_type)
    return Stack(config.training, task, model, numbers)


def train_chunk(chunk: Chunk) -> None:
    """Train the members of a chunk to their ends, from where an earlier process left off.

    Raises
    ------
    Stopped
        After a request to stop; the resume state holds the last whole step.
    """
    with stopping.deferred():
        if not all(runs.is_done(chunk.experiment, number) for number in chunk.numbers):
            _train(chunk)


def _train(chunk: Chunk) -> None:
    torch.set_num_threads(1)
    keep_freed_memory()
    # On another machine this may be another installation than that of whoever handed the chunk out.
    check_code(chunk.experiment, chunk.config)
    with locks.lock(chunk.lock_path), _failing_openly(chunk), flush_denormals(), fast_matmul() as fast:
        stack, journal = build(chunk.config, chunk.numbers), Journal(chunk)
        arithmetic = (
            f"float32 products by {'oneDNN' if fast else 'torch default'}; equal to training it alone "
        )
        arithmetic += "within rounding" if bits_depend_on_stack(stack) else "to the bit"
        if not journal.resume(stack):
            members = zip(chunk.numbers, stack.model.seeds, stack.optimizer.rates, strict=True)
            for number, seed, rate in members:
                start = f"start: seed {seed}, learning rate {rate:g}"
                journal.note(number, 0, f"{start}, task {chunk.config.task}, model {chunk.config.model}")
                journal.note(number, 0, f"stacked as {chunk}; {arithmetic}")
                journal.note(number, 0, f"code: {', '.join(f'{k} {v}' for k, v in journal.code.items())}")
        if not stopping.requested():
            journal.seconds_per_model_step = seconds_per_model_step(chunk.config, stack.numbers)
        journal.status(stack)
        if stopping.requested():
            journal.save(stack)
        else:
            fit(PopulationModule(stack, journal), chunk.config)


@contextlib.contextmanager
def _failing_openly(chunk: Chunk) -> Iterator[None]:
    """Let whoever shows progress know of a failure when it happens; its reason comes with the results."""
    try:
        yield
    except Exception:
        with contextlib.suppress(OSError):
            chunk.failed_path.touch()
        raise


def seconds_per_model_step(config: RunConfig, numbers: Sequence[int]) -> float:
    """Measure how long one step of these members takes each at the last horizon, on a copy; the faster of two."""
    stack = build(config, tuple(numbers))
    stack.model.to(choose_device(config.execution.accelerator))
    stack.curriculum.move_to_last()
    stack.gradients()
    times = [time.perf_counter()]
    for _ in range(2):
        stack.gradients()
        times.append(time.perf_counter())
    return min(b - a for a, b in pairwise(times)) / len(numbers)


def bits_depend_on_stack(stack: Stack) -> bool:
    """Whether a member's gradients differ in some bit between this stack and the member alone, on this machine.

    Kernels work in blocks over the whole stack; for some sizes a member's place in it changes the last bit.
    """
    constants = {**dict(stack.model.named_parameters()), **dict(stack.model.named_buffers())}
    horizon, seeds = stack.config.curriculum_horizons[0], list(stack.model.seeds)
    shape = stack.task.shape(seeds[0], "train", 0, horizon)
    batch = stack.task.batch(seeds, "train", 0, shape, stack.config.batch_size)

    def gradients(x: Tensor, training_targets: Tensor, *weights: Tensor) -> tuple[Tensor, ...]:
        context = {"targets": training_targets} if stack.model.own_gradients else {"factored": x.new_zeros(0)}
        call = x, None, batch.steps, context
        outputs, _, log = functional_call(stack.model, dict(zip(constants, weights, strict=True)), call)
        if isinstance(outputs, Factored):
            # The rest is done for each member by itself.
            outputs = outputs.hidden
        if stack.model.own_gradients:
            return outputs, *(log[f"gradient/{name}"] for name, _ in stack.model.named_parameters())
        trained = [weight for weight in weights if weight.requires_grad]
        loss = outputs.square().mean(dim=(1, 2, 3)).sum()
        return outputs, *torch.autograd.grad(loss, trained, materialize_grads=True)

    data = torch.tensor(batch.inputs), torch.tensor(batch.training_targets(stack.task.loss))
    return not is_member_invariant(gradients, *data, *constants.values())


def fit(module: PopulationModule, config: RunConfig) -> None:
    """Run Lightning's trainer over the epochs that are left."""
    import pytorch_lightning as pl
    from pytorch_lightning.plugins.environments import LightningEnvironment

    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
    stack = module.stack
    with warnings.catch_warnings():
        # Lightning looks for a DataLoader with workers; the batches here are step counts.
        warnings.filterwarnings("ignore", module="pytorch_lightning|lightning_fabric")
        # Where SLURM is installed it wants to be started by srun.
        warnings.filterwarnings("ignore", "The `srun` command is available")
        trainer = pl.Trainer(
            max_epochs=stack.config.epochs - stack.epochs.done(stack.step),
            accelerator={"cpu": "cpu", "cuda": "gpu"}[choose_device(config.execution.accelerator)],
            devices=1,
            reload_dataloaders_every_n_epochs=1,
            # Left to itself Lightning takes over a SLURM job's signals and tasks; here chunks are the unit.
            plugins=[LightningEnvironment()],
            **_quiet(),
        )
        try:
            trainer.fit(module)
        except SystemExit:
            # Lightning answers an interruption by ending the process; the caller has more to say than that.
            stopping.check()
            raise KeyboardInterrupt from None


def _quiet() -> dict[str, Any]:
    return {
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
    }

"""The Lightning module that trains a stack of members with manual optimisation."""

import time

import numpy as np
import pytorch_lightning as pl
import torch
from numpy.typing import NDArray

from emt import stopping
from emt.training.cuda_graphs import CudaGraphs
from emt.training.journal import Journal
from emt.training.stack import Stack

STEPS_PER_CALL = 10
"""Real steps in one ``training_step``: Lightning's bookkeeping is paid once for all of them."""

SAVE_EVERY_S = 60.0
STATUS_EVERY_S = 0.5


class PopulationModule(pl.LightningModule):
    """Trains the members of a `Stack`; one Lightning epoch is one epoch of each member."""

    def __init__(self, stack: Stack, journal: Journal) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.model, self.stack, self.journal = stack.model, stack, journal
        self.done = False
        self.whole = True
        """Whether nothing is half done: neither a step nor the validation that is due after it."""
        self._saved_at = self._shown_at = time.monotonic()
        self._work, self._shown_work = 0, 0

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Return the per-member optimiser."""
        return self.stack.optimizer

    def train_dataloader(self) -> list[int]:
        """Return the numbers of real steps of this epoch's calls; batches are drawn in the stack."""
        stack = self.stack
        left = stack.epochs.end(stack.epochs.done(stack.step) + 1) - stack.step
        return [min(STEPS_PER_CALL, left - start) for start in range(0, left, STEPS_PER_CALL)]

    def training_step(self, steps: int, _index: int) -> None:
        """Do several real steps of all members; on a request to stop, end after a whole one."""
        for _ in range(int(steps)):
            if self.done:
                return
            if stopping.requested():
                break
            self._real_step()
        now = time.monotonic()
        if now - self._shown_at > STATUS_EVERY_S:
            rate = (self._work - self._shown_work) / (now - self._shown_at)
            self.journal.status(self.stack, rate)
            self._shown_at, self._shown_work = now, self._work
        # An epoch's last step is whole after its validation, which comes next.
        if self.whole and stopping.requested():
            self.trainer.should_stop = True
            self.save()
        elif self.whole and now - self._saved_at > SAVE_EVERY_S:
            self.save()

    def on_train_start(self) -> None:
        """Keep the weights before the first step, where that is asked for; let a GPU replay whole steps."""
        # Lightning would answer SIGTERM by an exception between an epoch's last step and its validation.
        stopping.take_over()
        # Lightning has moved the weights and the optimiser's state.
        self.stack.state = {name: value.to(self.device) for name, value in self.stack.state.items()}
        if self.device.type == "cuda":
            self.stack.replay.capture = CudaGraphs()
        if self.stack.step == 0:
            self._keep_checkpoint()

    def on_train_epoch_end(self) -> None:
        """Validate all members; save."""
        if not self.whole:
            self.journal.record_validation(self.stack, np.arange(len(self.stack.numbers)))
            self._release(self.stack.finished())
        self.whole = True
        if stopping.requested():
            self.trainer.should_stop = True

    def configure_callbacks(self) -> list[pl.Callback]:
        """Return the callback that saves when the run is interrupted."""
        return [SaveOnInterruption()]

    def save(self) -> None:
        """Write the resume state, or remove it when all members are done."""
        if self.done:
            self.journal.close(self.stack)
        else:
            self.journal.save(self.stack)
        self._saved_at = time.monotonic()

    def _keep_checkpoint(self) -> None:
        if self.stack.step in (self.stack.config.keep_checkpoints or ()):
            self.journal.keep_checkpoint(self.stack)

    def _real_step(self) -> None:
        stack, before, frozen = self.stack, self.stack.horizons(), self.stack.frozen.copy()
        # What is carried from step to step changes with the gradients; all else after them.
        self.whole = not stack.task.carries
        report = stack.gradients()
        self.whole = False
        self.optimizers().step()  # type: ignore[union-attr]
        stack.advance(report)
        self._keep_checkpoint()
        self._work += len(stack.numbers)
        self.journal.record(stack, report)
        for position in np.flatnonzero(stack.horizons() != before):
            self.journal.note(
                stack.numbers[position],
                stack.step,
                f"horizon {before[position]} → {stack.horizons()[position]}",
            )
        for position in np.flatnonzero(stack.progress.passed == stack.step):
            text = f"batch accuracy {report.accuracy[position]:.4f} at the last horizon, for the first time above"
            self.journal.note(
                stack.numbers[position], stack.step, f"{text} {stack.config.curriculum_threshold:g}"
            )
        for position in np.flatnonzero(stack.frozen & ~frozen):
            text = "diverged: loss or gradient is not finite; frozen at its last finite weights"
            self.journal.note(stack.numbers[position], stack.step, text)
        if not stack.epochs.ends_at(stack.step):
            stopped = stack.finished() | stack.frozen.all()
            if stopped.any():
                self.journal.record_validation(stack, np.flatnonzero(stopped))
                self._release(stopped)
            self.whole = True

    def _release(self, leaving: NDArray[np.bool_]) -> None:
        """Let members that are done leave the stack; the run ends when none is left that can move."""
        stack = self.stack
        if (leaving | stack.frozen).all():
            leaving = np.ones_like(leaving)
        for position in np.flatnonzero(leaving).tolist():
            ended = "finished" if stack.step >= stack.total_steps else "stopped early"
            self.journal.finish(stack, position, "diverged" if stack.frozen[position] else ended)
        if leaving.any():
            stack.keep(~leaving)
        self.done = self.trainer.should_stop = not stack.numbers
        self.save()


class SaveOnInterruption(pl.Callback):
    """Keeps what is done when an exception ends training: a second Ctrl-C, or an error."""

    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, _exception: BaseException
    ) -> None:
        """Write the resume state, unless it is half of a step: then the last one written stands."""
        assert isinstance(pl_module, PopulationModule)
        if pl_module.whole:
            pl_module.save()

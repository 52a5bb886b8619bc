"""What a chunk of members writes while it trains: curves, TensorBoard events, logs, weights, resume state, status."""

import io
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from emt import files, runs
from emt.config import code_of_run
from emt.errors import UserError
from emt.identity import changes
from emt.training.course import Course
from emt.training.curriculum import STOP_WINDOW
from emt.training.population import Chunk
from emt.training.resume import read_resume_state, restore, resume_file, resume_state
from emt.training.stack import Stack, StepReport

LOG_EVERY = 50
"""Training steps that one point of a curve averages over; fewer where a validation comes before."""


class Journal:
    """The written side of one chunk.

    Attributes
    ----------
    curves
        For each model number, rows as `emt.files.CurvePoint`: figures of training or of a validation, the
        others NaN.
    norms
        For each model number, names and rows of its norms.csv: a step, the mean norm of gradients since the last row,
        and the others of `Stack.norms` after this step.
    times
        When each row was made, in seconds since 1970.
    code
        The code that is at work.
    course
        The members on their way through the curriculum.
    seconds_per_model_step
        What a step at the last horizon takes for each member; None where nobody has measured it.
    """

    def __init__(self, chunk: Chunk) -> None:
        self.experiment, self.state_path, self.status_path = (
            chunk.experiment,
            chunk.state_path,
            chunk.status_path,
        )
        numbers, self.code = chunk.numbers, code_of_run(chunk.config)
        self.loggers = chunk.config.execution.loggers
        self.curves: dict[int, list[list[float]]] = {n: [] for n in numbers}
        self.times: dict[int, list[float]] = {n: [] for n in numbers}
        self.norms: dict[int, list[list[float]]] = {n: [] for n in numbers}
        self._norm_names: tuple[str, ...] = ()
        self.notes: dict[int, list[str]] = {n: [] for n in numbers}
        self._sums: dict[int, NDArray[np.float64]] = {n: np.zeros(4) for n in numbers}
        self._recent: dict[int, tuple[int, float]] = dict.fromkeys(numbers, (0, 0.0))
        self._done: dict[int, str] = {}
        self.course = Course()
        self.seconds_per_model_step: float | None = None

    def note(self, number: int, step: int, text: str) -> None:
        """Add a line to a member's training.log."""
        self.notes[number].append(f"{time.strftime('%Y-%m-%d %H:%M:%S')}  step {step:>6}  {text}")

    def record(self, stack: Stack, report: StepReport) -> None:
        """Take up one training step of all members in the stack."""
        norms = stack.norms() if stack.step % LOG_EVERY == 0 else {}
        for position, number in enumerate(stack.numbers):
            if stack.frozen[position]:
                continue
            gradient = float(stack.optimizer.norms[position])
            self._sums[number] += (report.loss[position], report.accuracy[position], 1, gradient)
            self._recent[number] = (int(report.horizon[position]), float(report.accuracy[position]))
            self.course.record(number, stack.step, int(report.horizon[position]))
            if norms:
                self._add_point(number, stack.step, {name: norm[position] for name, norm in norms.items()})

    def _add_point(self, number: int, step: int, norms: Mapping[str, float]) -> None:
        loss, accuracy, count, gradient = self._sums[number].tolist()
        if count:
            horizon, _ = self._recent[number]
            self._append(number, [step, horizon, loss / count, accuracy / count, np.nan, np.nan])
            self._norm_names = tuple(norms)
            figures = {**norms, "grad_norm": gradient / count}
            self.norms[number].append([float(step), *map(float, figures.values())])
            self._sums[number] = np.zeros(4)

    def _append(self, number: int, row: list[float]) -> None:
        self.curves[number].append([float(figure) for figure in row])
        self.times[number].append(time.time())

    def record_validation(self, stack: Stack, positions: NDArray[np.intp]) -> None:
        """Validate the members at these stack positions and take up the figures."""
        horizon, averaged = stack.config.curriculum_horizons[-1], stack.optimizer.averaged.clone()
        # A member that is frozen has nothing new to say.
        fresh = [position for position in positions if self._sums[stack.numbers[position]][2]]
        norms = stack.norms() if fresh else {}
        for position, loss, accuracy in zip(positions, *stack.validate(positions), strict=True):
            number = stack.numbers[position]
            self._add_point(number, stack.step, {name: norm[position] for name, norm in norms.items()})
            self._append(number, [stack.step, horizon, np.nan, np.nan, loss, accuracy])
            self.note(
                number,
                stack.step,
                f"validation at horizon {horizon}: loss {loss:.4f}, accuracy {accuracy:.4f}",
            )
            if averaged[position] < 0 <= stack.optimizer.averaged[position]:
                self.note(number, stack.step, "averaged gradient descent from here")

    def keep_checkpoint(self, stack: Stack) -> None:
        """Write the weights of all members as they are after this step."""
        for position, number in enumerate(stack.numbers):
            runs.write_checkpoint(
                runs.model_folder(self.experiment, number), stack.step, stack.model.export(position)
            )

    def finish(self, stack: Stack, position: int, status: str) -> None:
        """Write a member's weights and done marker, unless an earlier process has."""
        number = stack.numbers[position]
        self._done[number] = status
        if status == "stopped early":
            self.course.leave(number, stack.step)
        folder = runs.model_folder(self.experiment, number)
        if runs.is_done(self.experiment, number):
            return
        self.note(number, stack.step, f"done: {status}")
        self._write_member(number)
        about = {
            "step": int(stack.progress.diverged[position]) or stack.step,
            "status": status,
            "seed": stack.model.seeds[position],
            "learning_rate": stack.optimizer.rates[position],
            "horizon": int(stack.horizons()[position]),
            "passed_step": int(stack.progress.passed[position]) or None,
            "train_acc": self._recent[number][1],
        }
        state = stack.first_rows()
        weights = stack.export(position)
        if stack.best is not None:
            state = stack.best.state
            about |= {
                "best_step": int(stack.best.step[position]),
                "val_acc": float(stack.best.accuracy[position]),
            }
        if state:
            runs.write_state(folder, {name: s[position].cpu().numpy() for name, s in state.items()})
        runs.write_weights(folder, weights, about)

    def save(self, stack: Stack) -> None:
        """Write the resume state of the whole chunk in one piece, and the members' curves and logs."""
        tensors, about = resume_state(stack)
        for number in stack.numbers:
            if not runs.is_done(self.experiment, number):
                self._write_member(number)
            tensors[f"curve.{number}"] = torch.tensor(self.curves[number], dtype=torch.float64).reshape(
                -1, len(files.CurvePoint._fields)
            )
            tensors[f"norms.{number}"] = torch.tensor(self.norms[number], dtype=torch.float64)
            tensors[f"times.{number}"] = torch.tensor(self.times[number], dtype=torch.float64)
            tensors[f"sums.{number}"] = torch.tensor(self._sums[number])
        about |= {
            "code": self.code,
            "notes": {str(n): self.notes[n] for n in stack.numbers},
            "course": self.course.to_json(),
            "norm_names": self._norm_names,
        }
        files.write_bytes(self.state_path, resume_file(tensors, about))

    def close(self, stack: Stack) -> None:
        """Remove the resume state: all members of the chunk are done."""
        self.status(stack)
        self.state_path.unlink(missing_ok=True)

    def resume(self, stack: Stack) -> bool:
        """Go on from the chunk's resume state if there is one.

        Raises
        ------
        UserError
            If the file is damaged, or of another version.
        """
        if not self.state_path.exists():
            return False
        try:
            tensors, about = read_resume_state(self.state_path)
        except ValueError as error:
            raise UserError(
                f"{self.state_path}: damaged resume state ({error}); delete it to restart these models"
            ) from None
        left = set(self.curves) - set(about["numbers"])
        if any(not runs.is_done(self.experiment, number) for number in left):
            # The weights of a member that had left are lost: only a restart is byte-identical.
            return False
        try:
            restore(stack, tensors, about)
            self.course = Course.from_json(about.get("course", {}))
            self._norm_names = tuple(about.get("norm_names", ()))
            for number in stack.numbers:
                self.curves[number] = tensors[f"curve.{number}"].tolist()
                # States of earlier versions say no norms and no times.
                self.norms[number] = tensors.get(f"norms.{number}", torch.zeros(0)).tolist()
                now = torch.full((len(self.curves[number]),), time.time(), dtype=torch.float64)
                self.times[number] = tensors.get(f"times.{number}", now).tolist()
                self._sums[number] = np.resize(tensors[f"sums.{number}"].numpy(), 4)
                self.notes[number] = about["notes"][str(number)]
                self.note(number, stack.step, f"resumed after an interruption{_other_code(about, self.code)}")
        except KeyError as error:
            raise UserError(
                f"{self.state_path}: expected a resume state of this version; got one without {error}; delete it to "
                "start these models anew"
            ) from None
        except ValueError as error:
            raise UserError(
                f"{self.state_path}: the resume state of another run: {error}; delete it to start these models anew"
            ) from None
        return True

    def status(self, stack: Stack, model_steps_per_s: float = 0.0) -> None:
        """Write where the chunk stands, for whoever shows progress."""
        members = {
            n: {
                "step": stack.step,
                "horizon": self._recent[n][0],
                "accuracy": self._recent[n][1],
                "frozen": bool(f),
            }
            for n, f in zip(stack.numbers, stack.frozen, strict=True)
        }
        content = {
            "step": stack.step,
            "total_steps": stack.total_steps,
            "members": members,
            "done": self._done,
            "model_steps_per_s": model_steps_per_s,
            "seconds_per_model_step": self.seconds_per_model_step,
            "course": self.course.to_json(),
            "stop_window": STOP_WINDOW,
        }
        files.write_json(self.status_path, content, indent=None)

    def _write_member(self, number: int) -> None:
        folder = runs.model_folder(self.experiment, number)
        points = (
            files.CurvePoint(int(step), int(at), *figures) for step, at, *figures in self.curves[number]
        )
        files.write_curve(folder / "training_curve.csv", points)
        norms = ((int(step), figures) for step, *figures in self.norms[number])
        files.write_norms(folder / "norms.csv", self._norm_names, norms)
        files.write_text(folder / "training.log", "\n".join(self.notes[number]) + "\n")
        if "tensorboard" in self.loggers:
            named = {
                int(step): dict(zip(self._norm_names, own, strict=True)) for step, *own in self.norms[number]
            }
            events = folder / "lightning_logs" / "version_0"
            write_events(events, self.curves[number], self.times[number], named)


def _other_code(about: Mapping[str, Any], code: Mapping[str, str]) -> str:
    """Say in a log by which other code a resume state was written."""
    if "code" not in about:
        return "; the code before it is not recorded"
    other = changes(about["code"], code)
    return f" by other code: {other}" if other else ""


def write_events(
    folder: Path,
    curve: list[list[float]],
    times: list[float],
    norms: Mapping[int, Mapping[str, float]] | None = None,
) -> None:
    """Write a member's curve, when its rows were made, and norms by step as one TensorBoard event file, in one piece.

    One file is rewritten in turn for each member: an open TensorBoard writer is a thread, and a population
    has hundreds of members.
    """
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.summary.writer.record_writer import RecordWriter

    buffer = io.BytesIO()
    writer = RecordWriter(buffer)
    writer.write(Event(wall_time=min(times, default=0.0), file_version="brain.Event:2").SerializeToString())
    for (step, *figures), made in zip(curve, times, strict=True):
        point = dict(zip(files.CurvePoint._fields[1:], figures, strict=True))
        if not np.isnan(point["train_loss"]):
            point |= (norms or {}).get(int(step), {})
        values = [Summary.Value(tag=t, simple_value=v) for t, v in point.items() if not np.isnan(v)]
        event = Event(wall_time=made, step=int(step), summary=Summary(value=values))
        writer.write(event.SerializeToString())
    files.write_bytes(folder / "events.out.tfevents.0.emt", buffer.getvalue())

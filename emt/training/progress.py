"""Show how a population gets on, from the status files of its chunks; any process may look."""

import json
import time
from dataclasses import dataclass
from heapq import heapreplace
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

from emt import stopping
from emt.training.population import Chunk

LINE_EVERY_S = 15.0
STALE_S = 60.0


@dataclass(frozen=True)
class Standing:
    """Where a population stands.

    ``seconds_left`` counts all steps that are left as steps at the last horizon, where they take longest, without early
    stopping; None while no chunk has measured one.
    """

    members: int
    done: int
    diverged: int
    failed: int
    share: float
    horizon: float
    accuracy: float
    model_steps_per_s: float
    seconds_left: float | None


def standing(chunks: list[Chunk], workers: int = 1) -> Standing:
    """Sum up the status files of all chunks; one that nobody has started has as many steps before it as the longest."""
    done = diverged = failed = longest = 0
    rate, expected_rate, work_done, figures = 0.0, 0.0, 0.0, []
    waiting, started, costs = [], [], []
    for chunk in chunks:
        status, age = _status(chunk)
        if chunk.failed_path.exists():
            unfinished = len(status["members"] if status else chunk.numbers)
            done += len(chunk.numbers) - unfinished
            failed += unfinished
            continue
        if status is None:
            waiting.append(len(chunk.numbers))
            continue
        members, total, cost = status["members"].values(), status["total_steps"], status.get("seconds_per_model_step")
        gone, longest = len(chunk.numbers) - len(members), max(longest, total)
        done += gone
        diverged += sum(m["frozen"] for m in members) + list(status["done"].values()).count("diverged")
        figures += [(m["horizon"], m["accuracy"]) for m in members if not m["frozen"]]
        work_done += status["step"] * len(members) + total * gone
        started.append(((total - status["step"]) * len(members), cost))
        costs += [cost] if cost else []
        # What was killed wrote its last rate and nothing since.
        if age < STALE_S and members:
            rate += status["model_steps_per_s"]
            expected_rate += 1 / cost if cost and status["model_steps_per_s"] else 0.0
    work = started + [(n * longest, None) for n in waiting]
    work_left, count = sum(steps for steps, _ in work), max(1, len(figures))
    seconds_left = None
    if costs:
        mean = sum(costs) / len(costs)
        # A machine that is busy with something else is slower than the measurement; shorter horizons are faster.
        slower = max(1.0, expected_rate / rate) if rate else 1.0
        seconds_left = slower * _makespan([steps * (cost or mean) for steps, cost in work], workers)
    return Standing(
        members=sum(len(c.numbers) for c in chunks),
        done=done,
        diverged=diverged,
        failed=failed,
        share=work_done / max(1.0, work_done + work_left),
        horizon=sum(h for h, _ in figures) / count,
        accuracy=sum(a for _, a in figures) / count,
        model_steps_per_s=rate,
        seconds_left=seconds_left,
    )


def _makespan(seconds: list[float], workers: int) -> float:
    """Return when the last of these chunks ends if each goes to the first worker that is free."""
    ends = [0.0] * workers
    for one in seconds:
        heapreplace(ends, ends[0] + one)
    return max(ends)


def _status(chunk: Chunk) -> tuple[dict[str, Any] | None, float]:
    """Return what a chunk's status file says, None if there is none, and how many seconds ago it was written."""
    try:
        text, written = chunk.status_path.read_text(encoding="utf-8"), chunk.status_path.stat().st_mtime
        return json.loads(text), time.time() - written
    except (FileNotFoundError, json.JSONDecodeError):
        return None, 0.0


class Display:
    """A live line on a terminal, a plain line now and then elsewhere; ``hint`` says how to wait less."""

    def __init__(
        self, console: Console, members: int, workers: int, stop_accuracy: float | None, hint: str = ""
    ) -> None:
        self.console, self.workers, self.stop_accuracy, self.hint = console, workers, stop_accuracy, hint
        self._estimated = False
        self._printed_at = time.monotonic()
        self._bar = Progress(
            TextColumn("{task.fields[text]}"),
            BarColumn(bar_width=24),
            TaskProgressColumn(),
            console=console,
            transient=True,
        )
        self._task = self._bar.add_task("", total=1.0, text=f"0 of {members} models done, starting")

    def __enter__(self) -> "Display":
        if self.console.is_terminal:
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.console.is_terminal:
            self._bar.stop()

    def show(self, chunks: list[Chunk]) -> None:
        """Take a look at the status files and show them."""
        if stopping.requested():
            self._bar.update(self._task, text="stopping at the next whole step; Ctrl-C again ends at once")
            return
        now = standing(chunks, self.workers)
        if not self._estimated and now.seconds_left:
            self._estimated = True
            self.console.print(self._estimate(now.seconds_left))
        if not now.model_steps_per_s:
            return
        text = describe(now, early=self.stop_accuracy is not None)
        if self.console.is_terminal:
            self._bar.update(self._task, completed=now.share, text=text)
        elif time.monotonic() - self._printed_at > LINE_EVERY_S:
            self._printed_at = time.monotonic()
            self.console.print(text)

    def _estimate(self, seconds: float) -> str:
        if self.stop_accuracy is not None:
            return f"At most {duration(seconds)}; less if models reach --stop_accuracy {self.stop_accuracy:g} early."
        return f"Estimated time remaining: {duration(seconds)}. {self.hint}".rstrip()


def describe(now: Standing, *, early: bool = False) -> str:
    """Return a population's standing as one line; where models may stop ``early``, the time left is a bound."""
    parts = [f"{now.done} of {now.members} models done"]
    parts += [f"{n} {how}" for n, how in ((now.diverged, "diverged"), (now.failed, "failed")) if n]
    parts += [
        f"horizon {now.horizon:.0f}",
        f"accuracy {now.accuracy:.3f}",
        f"{now.model_steps_per_s:.0f} model-steps/s",
    ]
    if now.seconds_left is not None:
        parts.append(f"{'at most' if early else 'about'} {duration(now.seconds_left)} left")
    return ", ".join(parts)


def duration(seconds: float) -> str:
    """Return seconds in words."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"

"""Show how a population gets on, from the status files of its chunks; any process may look."""

import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from heapq import heapreplace
from typing import Annotated, Any

from pydantic import Field
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

from emt import stopping
from emt.errors import UserError
from emt.progress import LINE_EVERY_S, duration
from emt.schema import Count, Schema, read
from emt.training.course import steps_to_come
from emt.training.population import Chunk

STALE_S = 60.0

Digits = Annotated[str, Field(pattern=r"^[0-9]{1,18}$")]
Place = Annotated[list[Count], Field(min_length=2, max_length=2)]


class MemberStatus(Schema):
    """Where a member stands."""

    horizon: Count
    accuracy: float | None = None
    frozen: bool


class CourseStatus(Schema):
    """`emt.training.course.Course` as JSON."""

    at: dict[str, Place] = {}
    spent: dict[Digits, list[Count]] = {}


class Status(Schema):
    """Content of a chunk's status file."""

    step: Count
    total_steps: Count
    members: dict[str, MemberStatus]
    done: dict[str, str]
    model_steps_per_s: float
    seconds_per_model_step: float | None = None
    course: CourseStatus = CourseStatus()
    stop_window: Count = 0


@dataclass(frozen=True)
class Standing:
    """Where a population stands.

    ``seconds_at_most`` counts all steps that are left as steps at the last horizon, where they take longest,
    without early stopping; None while no chunk has measured one. ``seconds_expected`` counts those that
    models take until they stop early, as far as others have gone (`emt.training.course`), at the speed seen;
    None where nothing is known.
    """

    members: int
    done: int
    diverged: int
    failed: int
    share: float
    horizon: float
    accuracy: float
    model_steps_per_s: float
    seconds_at_most: float | None
    seconds_expected: float | None


@dataclass(frozen=True)
class _Chunk:
    """A chunk with what its status file says, ``status`` None if nobody has started it, and whether it is at work."""

    chunk: Chunk
    status: dict[str, Any] | None
    at_work: bool
    failed: bool

    @property
    def unfinished(self) -> int:
        return len(self.status["members"] if self.status else self.chunk.numbers)

    @property
    def rate(self) -> float:
        """Model-steps a second; what was killed wrote its last rate and nothing since."""
        return float(self.status["model_steps_per_s"]) if self.status and self.at_work else 0.0

    @property
    def cost(self) -> float | None:
        return self.status.get("seconds_per_model_step") if self.status else None

    def steps_left(self, longest: int) -> int:
        status = self.status or {"total_steps": longest, "step": 0}
        return int((status["total_steps"] - status["step"]) * self.unfinished)


def standing(chunks: list[Chunk], workers: int = 1) -> Standing:
    """Sum up the status files of all chunks; one that nobody has started has as many steps before it as the longest."""
    all_chunks = [_look(chunk) for chunk in chunks]
    whole = [c for c in all_chunks if not c.failed]
    statuses = [c.status for c in whole if c.status]
    longest = max((s["total_steps"] for s in statuses), default=0)
    moving = [m for s in statuses for m in s["members"].values() if not m["frozen"]]
    work_left = sum(c.steps_left(longest) for c in whole)
    work_done = sum(len(c.chunk.numbers) * longest - c.steps_left(longest) for c in whole if c.status)
    return Standing(
        members=sum(len(c.numbers) for c in chunks),
        done=sum(len(c.chunk.numbers) - c.unfinished for c in all_chunks),
        diverged=sum(_diverged(s) for s in statuses),
        failed=sum(c.unfinished for c in all_chunks if c.failed),
        share=work_done / max(1.0, work_done + work_left),
        horizon=sum(m["horizon"] for m in moving) / max(1, len(moving)),
        accuracy=sum(m["accuracy"] or 0.0 for m in moving) / max(1, len(moving)),
        model_steps_per_s=sum(c.rate for c in whole),
        seconds_at_most=_seconds(whole, [c.steps_left(longest) for c in whole], workers),
        seconds_expected=_seconds_expected(whole, longest, workers),
    )


def _look(chunk: Chunk) -> _Chunk:
    status, age = _status(chunk)
    at_work = status is not None and age < STALE_S and bool(status["members"])
    return _Chunk(chunk, status, at_work, chunk.failed_path.exists())


def _diverged(status: Mapping[str, Any]) -> int:
    frozen = sum(m["frozen"] for m in status["members"].values())
    return int(frozen + list(status["done"].values()).count("diverged"))


def _seconds(chunks: Sequence[_Chunk], steps: Sequence[float], workers: int) -> float | None:
    """Return how long these model-steps of each chunk take at the last horizon; None where no chunk has measured it."""
    costs = [c.cost for c in chunks if c.cost]
    if not costs:
        return None
    mean = sum(costs) / len(costs)
    measured = sum(1 / c.cost for c in chunks if c.cost and c.rate)
    rate = sum(c.rate for c in chunks)
    # A machine that is busy with something else is slower than the measurement; shorter horizons are faster.
    slower = max(1.0, measured / rate) if rate else 1.0
    return slower * _makespan([n * (c.cost or mean) for c, n in zip(chunks, steps, strict=True)], workers)


def _seconds_expected(chunks: Sequence[_Chunk], longest: int, workers: int) -> float | None:
    """Return how long models take until they stop early; None where they do not, or where nothing is known of it."""
    spent: dict[int, list[int]] = defaultdict(list)
    present: dict[int, list[int]] = defaultdict(list)
    for chunk in chunks:
        for horizon, steps in (chunk.status or {}).get("course", {}).get("spent", {}).items():
            spent[int(horizon)] += steps
    places = [_places(chunk) for chunk in chunks]
    for chunk, held in zip(chunks, places, strict=True):
        for horizon, gone in held if chunk.status else ():
            present[horizon].append(gone)
    window = max((c.status.get("stop_window", 0) for c in chunks if c.status), default=0)
    expected: list[float] = []
    for chunk, held in zip(chunks, places, strict=True):
        training, status = chunk.chunk.config.training, chunk.status or {"total_steps": longest, "step": 0}
        known = [
            steps_to_come(*place, spent, present, training.curriculum_horizons, window) for place in held
        ]
        if training.stop_accuracy is None or None in known:
            return None
        left = status["total_steps"] - status["step"]
        expected.append(sum(min(n, left) for n in known if n is not None))
    return _seconds(chunks, expected, workers)


def _places(chunk: _Chunk) -> list[tuple[int, int]]:
    """Return the horizon of each member that trains or waits, and the steps it has spent there."""
    training, status = chunk.chunk.config.training, chunk.status
    start = training.curriculum_horizons[0 if training.curriculum else -1]
    if status is None:
        return [(start, 0)] * chunk.unfinished
    at, step = status.get("course", {}).get("at", {}), status["step"]
    moving = [n for n, member in status["members"].items() if not member["frozen"]]
    return [(at[n][0], step - at[n][1]) if n in at else (start, step) for n in moving]


def _makespan(seconds: list[float], workers: int) -> float:
    """Return when the last of these chunks ends if each goes to the first worker that is free."""
    ends = [0.0] * workers
    for one in seconds:
        heapreplace(ends, ends[0] + one)
    return max(ends)


def _status(chunk: Chunk) -> tuple[dict[str, Any] | None, float]:
    """Return what a chunk's status file says, and how many seconds ago it was written; None without a whole one."""
    try:
        status = read(chunk.status_path, Status).model_dump()
        horizons = {int(n) for n in status["course"].get("spent", {})}
        horizons |= {horizon for horizon, _ in status["course"].get("at", {}).values()}
        written = chunk.status_path.stat().st_mtime
    except (FileNotFoundError, UserError):
        return None, 0.0
    known = horizons <= set(chunk.config.training.curriculum_horizons)
    return (status, time.time() - written) if known else (None, 0.0)


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
        if not self._estimated and now.seconds_at_most:
            self._estimated = True
            self.console.print(self._first_estimate(now.seconds_at_most))
        if not now.model_steps_per_s:
            return
        text = describe(now, early=self.stop_accuracy is not None)
        if self.console.is_terminal:
            self._bar.update(self._task, completed=now.share, text=text)
        elif time.monotonic() - self._printed_at > LINE_EVERY_S:
            self._printed_at = time.monotonic()
            self.console.print(text)

    def _first_estimate(self, seconds: float) -> str:
        if self.stop_accuracy is None:
            return f"Estimated time remaining: {duration(seconds)}. {self.hint}".rstrip()
        return (
            f"Time remaining: at most {duration(seconds)} for all epochs; models that reach --stop_accuracy "
            f"{self.stop_accuracy:g} stop earlier. An estimate follows once one has moved up a horizon or stopped."
        )


def describe(now: Standing, *, early: bool = False) -> str:
    """Return a population's standing as one line.

    Where models may stop ``early`` the time for all steps is an upper bound, and said to be one.
    """
    parts = [f"{now.done} of {now.members} models done"]
    parts += [f"{n} {how}" for n, how in ((now.diverged, "diverged"), (now.failed, "failed")) if n]
    parts += [
        f"horizon {now.horizon:.0f}",
        f"accuracy {now.accuracy:.3f}",
        f"{now.model_steps_per_s:.0f} model-steps/s",
    ]
    expected = now.seconds_expected if early else now.seconds_at_most
    if expected is not None:
        parts.append(f"estimated time remaining: {duration(expected)}")
    elif now.seconds_at_most is not None:
        parts.append(f"time remaining: at most {duration(now.seconds_at_most)}")
    return ", ".join(parts)

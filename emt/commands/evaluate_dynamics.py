"""`emt evaluate --dynamics`: fixed points and exponents in worker processes, each member named when it is done."""

from typing import Any

from emt import dynamics_file
from emt.commands.evaluate_parts import evaluate_parts
from emt.evaluation import Work
from emt.member_dynamics import DynamicsWork, write_parts


def search_dynamics(work: Work, moving: str, starts: int, workers: int, console: Any) -> None:
    """Write the dynamics of all members, but those that are there already; see `evaluate_parts`."""
    job, what = DynamicsWork(work, moving, starts), "fixed points and Lyapunov exponents"
    evaluate_parts(job, write_parts, what, f"{starts} starts", workers, console, dynamics_file.glance)

"""Proof that a log is what a memory did: weights times written values are what was read, at every read.

The weights are replayed from the log alone (`analysis.memory.replay`), in double precision. So a log that
leaves out the erase, names another keep or another order of calls gives other values than the network read.
"""

import numpy as np
import xarray as xr

from emt import trace
from emt.errors import UserError


def check_memories(recording: xr.DataTree, tolerance: float) -> float:
    """Return by how much weights times values differ from what was read, relative to the largest value read.

    Raises
    ------
    UserError
        If it is more than the tolerance for a memory of a network; the message names the first such step.
    """
    # Analyses are above recordings: only who logs a memory imports them.
    from analysis.memory.log import memory_log, select
    from analysis.memory.replay import match_log, recalled_values

    largest = 0.0
    for name in trace.places(recording):
        for member in range(recording.sizes["member"]):
            log = memory_log(select(recording, member=[member]), name)
            scale = np.abs(log.answer).max(initial=0.0) or 1.0
            apart = np.zeros(log.answered.shape[1:3])
            for row in range(len(apart)):
                one = log.sequence(row)
                grids = match_log(one)
                difference = np.abs(recalled_values(one, grids) - one.answer[:, :, grids.read_steps])
                apart[row, grids.read_steps] = difference.max(axis=(0, 1, 3, 4), initial=0.0) / scale
            worst = float(apart.max())
            if not worst <= tolerance:
                _refuse(name, member, apart, tolerance, dict(log.rule))
            largest = max(largest, worst)
    return largest


def _refuse(name: str, member: int, apart: np.ndarray, tolerance: float, rule: dict[str, object]) -> None:
    wrong = ~(apart <= tolerance)
    step = int(wrong.any(axis=0).argmax())
    row = int(wrong[:, step].argmax())
    linear = (
        "strength, erase, keep or the order of calls is not what the network does, or it does not start empty"
    )
    named = ("similarity", "recall", "capacity", "scale")
    given = ", ".join(f"{field} {rule[field]}" for field in named if field in rule)
    dictionary = f"{given}, or the order of calls is not what the network does"
    raise UserError(
        f"memory {name!r}: weights times values differ from what was read by {float(apart.max()):.2g} of the largest "
        f"value (network {member + 1}, row {row}, step {step}): {linear if rule['kind'] == 'linear' else dictionary}"
    )

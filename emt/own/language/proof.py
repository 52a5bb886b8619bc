"""Proofs that what is recorded of a language model is what it computes; each is an error if it fails.

* ``outputs``: while it is watched the model returns what it returns otherwise, to the bit.
* ``reads``: the recurrence, computed again from the log as it is stored, gives what the model's own function
  returned. The difference is relative to the largest output of that call.
"""

import torch
from torch import Tensor

from emt.errors import UserError
from emt.own.language.calls import Call


def check_outputs(number: int, plain: dict[str, Tensor], watched: dict[str, Tensor]) -> None:
    """Refuse outputs that are not finite, or others while the model is watched.

    Raises
    ------
    UserError
    """
    for name, tensor in plain.items():
        if not bool(tensor.isfinite().all()):
            raise UserError(
                f"model {number}: {name} are not finite: NaN or infinity in its weights?", parameter="models"
            )
        if not torch.equal(tensor, watched[name]):
            apart = float((tensor - watched[name]).abs().max())
            raise UserError(
                f"model {number}: {name} differ by {apart:.0e} between two runs: something is random in evaluation "
                "mode, or looks at what it calls",
                parameter="models",
            )


def check_reads(node: str, call: Call, read: Tensor, tolerance: float | None) -> float:
    """Return by how much the output that follows from the log differs from what the model's function returned.

    Parameters
    ----------
    node
        Name of the memory's node.
    call
        The call.
    read
        What its reads find (`emt.own.language.calls.read_values`).
    tolerance
        None for that of the call.

    Raises
    ------
    UserError
        If it is more than the tolerance; the message names the first such step.
    """
    largest = max(float(call.returned.abs().max()), 1e-30)
    apart = (call.output(read) - call.returned.double()).abs().amax(dim=-1) / largest
    allowed = call.tolerance if tolerance is None else tolerance
    worst = float(apart.max())
    if not worst <= allowed:
        wrong = ~(apart <= allowed)
        step = int(wrong.any(dim=2).any(dim=0).nonzero()[0])
        head = call.heads[int(wrong[:, step].any(dim=0).nonzero()[0])]
        raise UserError(
            f"{node}_head{head}: recomputed output differs by {worst:.0e} of the largest from step {step} on, more "
            f"than {allowed:.0e}: the backend does not compute the recurrence it was given"
        )
    return worst

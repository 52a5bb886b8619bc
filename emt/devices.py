"""Which device a run uses."""

from typing import Literal

from emt.errors import UserError


def choose_device(accelerator: Literal["auto", "cpu", "gpu"] | str) -> Literal["cpu", "cuda"]:
    """Resolve ``accelerator``: "auto" takes a GPU where torch finds one.

    Raises
    ------
    UserError
        If a GPU was asked for and there is none.
    """
    import torch

    available = torch.cuda.is_available()
    if accelerator == "gpu" and not available:
        raise UserError("expected a GPU; torch finds none here (use cpu or auto)", parameter="accelerator")
    return "cuda" if available and accelerator != "cpu" else "cpu"

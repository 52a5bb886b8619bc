"""How this machine multiplies: a faster path for float32 products, and whether a stack changes a member's bits."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor

TOLERANCE = 5e-6
"""Largest error of a product, relative to its largest entry, that counts as full float32."""

Shape = tuple[int, int, int, int]
"""Sizes of a stacked product: (member, row, inner, column)."""


@contextmanager
def fast_matmul(*shapes: Shape) -> Iterator[bool]:
    """Send float32 products on the CPU to oneDNN, where that keeps float32 accuracy; yields whether it does.

    On AMD processors MKL takes its AVX2 path. Allowing bfloat16 makes torch ask oneDNN instead, which uses
    AVX-512 and, where the processor has no bfloat16 matrix units (AMX), still computes in float32. Whether it
    does is measured against float64. The setting is global to the process and restored at the end. The choice
    depends on the processor only, never on timing, so that a run can be repeated to the bit.

    Parameters
    ----------
    shapes
        Products to try, as (member, row, inner, column); by default those of an Elman network of 128 units.
    """
    switch: Any = getattr(torch.backends.mkldnn, "matmul", None)
    before = getattr(switch, "fp32_precision", None)
    if before is None or not torch.backends.mkldnn.is_available():
        yield False
        return
    try:
        switch.fp32_precision = "bf16"
        exact = all(
            product_error(shape) < TOLERANCE for shape in shapes or ((3, 136, 128, 64), (3, 136, 64, 128))
        )
        if not exact:
            switch.fp32_precision = before
        yield exact
    finally:
        switch.fp32_precision = before


@contextmanager
def flush_denormals() -> Iterator[None]:
    """Count numbers that are too small for full precision, in float32 below 1.2e-38, as zero in this thread.

    Processors take many times as long to compute with them, and what a memory has all but forgotten is made of
    them. The setting is restored at the end; processors without it compute as they did.

    Examples
    --------
    >>> tiny = torch.tensor(1e-39)
    >>> with flush_denormals():
    ...     product = tiny * 1.0
    >>> product.item(), (tiny * 1.0).item() > 0
    (0.0, True)
    """
    # Numpy warns if it looks at its types for the first time while this is on.
    for kind in (np.float32, np.float64):
        np.finfo(kind)
    before = bool(torch.tensor(1e-39) * 1.0 == 0)
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(before)


@contextmanager
def plain_matmul() -> Iterator[None]:
    """Leave oneDNN aside inside `fast_matmul`: for many products of a few rows, torch's default is faster."""
    switch: Any = getattr(torch.backends.mkldnn, "matmul", None)
    before = getattr(switch, "fp32_precision", None)
    try:
        if before is not None:
            switch.fp32_precision = "none"
        yield
    finally:
        if before is not None:
            switch.fp32_precision = before


def product_error(shape: Shape) -> float:
    """Largest error of float32 products on the CPU against float64, relative to the largest entry.

    Tries plain, added-to and right-transposed stacks, and one shared matrix.
    """
    member, row, inner, column = shape
    generator = torch.Generator().manual_seed(0)
    a, b = (torch.randn(s, generator=generator) for s in ((member, row, inner), (member, inner, column)))
    start = torch.randn((member, row, column), generator=generator)
    exact = a.double() @ b.double()
    pairs = [
        (torch.bmm(a, b), exact),
        (torch.baddbmm(start, a, b), start.double() + exact),
        (torch.bmm(a, b.transpose(1, 2).contiguous().transpose(1, 2)), exact),
        (a @ b[0], a.double() @ b[0].double()),
    ]
    return max(((got - want).abs().max() / want.abs().max()).item() for got, want in pairs)


def is_member_invariant(compute: Callable[..., Sequence[Tensor]], *arguments: Tensor) -> bool:
    """Whether each member gets, to the bit, the same from ``compute`` alone as in the stack.

    Kernels work in blocks over the whole stack, so this holds for some sizes (a batch of 64 and 128 units)
    and not for others. Tries the first, the middle and the last member.

    Parameters
    ----------
    compute
        What is to be tried, gradients included: from ``arguments`` to results, all with a leading member
        axis.
    arguments
        Float tensors (member, ...). They are copied, and require gradients if they do here.
    """
    members = len(arguments[0])
    together = compute(*arguments)
    for m in {0, members // 2, members - 1}:
        alone = compute(*(a.detach()[m : m + 1].clone().requires_grad_(a.requires_grad) for a in arguments))
        if not all(
            torch.equal(stacked[m], single[0]) for stacked, single in zip(together, alone, strict=True)
        ):
            return False
    return True

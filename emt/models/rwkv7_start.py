"""What RWKV-7 starts from: ramps over channels and layers (Peng et al. 2025, arXiv:2503.14456; the authors' code)."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Draw = Callable[..., Array]

MIX_POWERS = {"receptance": 0.2, "decay": 0.9, "key": 0.7, "value": 0.7, "rate": 0.9, "gate": 0.2}
"""How fast each mix with the step before falls over channels."""

LOW_RANK_SCALE = 0.1


class Start:
    """Draws of one layer's parameters, by name; but for maps they are the same in all members.

    Parameters
    ----------
    width, heads
        Channels of all heads together, and heads.
    layer, layers
        The layer, from 0, and how many there are.
    """

    def __init__(self, width: int, heads: int, layer: int, layers: int) -> None:
        channel, size = np.arange(width), width // heads
        ramp = channel / max(width - 1, 1)
        centred, within = ramp - 0.5, 2 * (channel % size) / max(size - 1, 1) - 1
        zigzag = within * np.abs(within)
        depth = layer / (layers - 1) if layers > 1 else 0.0
        falling = [1 - (channel / width) ** (p * (1 - layer / layers)) for p in MIX_POWERS.values()]
        self.mix = fixed(np.stack(falling))
        self.decay = fixed(-5.5 + 6 * ramp ** (1 + depth**0.3) + 2.5 * zigzag)
        self.rate = fixed(-0.19 + 0.3 * zigzag + 0.4 * centred)
        self.value = fixed(0.73 - 0.4 * centred)
        self.erase = fixed(0.71 - 0.1 * centred)


def fixed(values: Array) -> Draw:
    """Return a draw that is these values whatever the generator."""
    return lambda generator, shape: values.reshape(shape)


def low_rank(generator: np.random.Generator, shape: tuple[int, int]) -> Array:
    """Return a semi-orthogonal matrix times 0.1, larger where it has more rows than columns."""
    longer, shorter = max(shape), min(shape)
    q, r = np.linalg.qr(generator.standard_normal((longer, shorter)))
    q = q * np.sign(np.diag(r))
    scale = LOW_RANK_SCALE * max(1.0, shape[0] / shape[1]) ** 0.5
    return scale * (q if shape[0] == longer else q.T)

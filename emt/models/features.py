"""Features of keys and queries: maps φ to vectors whose inner products are never negative."""

from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import elu

from emt.models.base import orthogonal
from emt.ops import dpfp_products
from emt.streams import Split, stream

Features = Literal["elu", "dpfp", "favor", "tanh"]
"""Names of the maps."""


class FeatureMap:
    """One of the maps, for vectors of one size.

    Parameters
    ----------
    kind
        Which.
    channels
        Size of the vectors.
    nu, random_features
        Of `dpfp` and `favor`.
    name
        What random features are drawn for.

    Attributes
    ----------
    count
        Number of features.
    """

    def __init__(self, kind: Features, channels: int, nu: int, random_features: int, name: str) -> None:
        self.kind, self.channels, self.nu = kind, channels, nu
        self.random_features, self.name = random_features, name
        self.count = {"dpfp": 2 * nu * channels, "favor": 2 * random_features}.get(kind, channels)

    def of(self, like: Tensor, seeds: Sequence[int], step: int | None) -> Callable[[Tensor], Tensor]:
        """Return φ, (member, …, channel) → (member, …, feature), of members at a training step, None in evaluation.

        It takes tensors of the type of ``like``, which are where that is.
        """
        if self.kind == "elu":
            return elu_plus_one
        if self.kind == "tanh":
            return torch.tanh
        if self.kind == "dpfp":
            return partial(dpfp, nu=self.nu)
        sizes = self.channels, self.random_features
        return partial(favor, projections=favor_projections(seeds, self.name, step, *sizes).to(like))

    def products(self, query: Tensor, key: Tensor, seeds: Sequence[int], step: int | None) -> Tensor:
        """Return φ(k_t)·φ(q), (member, …, time), of queries (member, …, channel), keys (member, …, time, channel)."""
        if self.kind == "dpfp" and self.nu < self.channels:
            return dpfp_products(query, key, self.nu)
        phi = self.of(key, seeds, step)
        return (phi(key) @ phi(query.unsqueeze(-2)).mT).squeeze(-1)


def elu_plus_one(z: Tensor) -> Tensor:
    """Return elu(z) + 1, as many features as channels (Katharopoulos et al. 2020, arXiv:2006.16236)."""
    return elu(z).add_(1)


def dpfp(z: Tensor, nu: int) -> Tensor:
    """Return the products r_n r_{n−j}, j = 1 … ν, of r = [relu(z), relu(−z)]: 2 ν d features.

    Deterministic parameter-free projection (Schlag et al. 2021, arXiv:2102.11174, equation 37).
    """
    r = torch.cat([z, -z], dim=-1).relu()
    return torch.cat([r * r.roll(j, dims=-1) for j in range(1, nu + 1)], dim=-1)


def favor(z: Tensor, projections: Tensor) -> Tensor:
    """Return exp(±zΩ − ‖z‖²/2) / √(2m), 2 m features: their inner products estimate exp(z·z').

    Positive random features (Choromanski et al. 2021, arXiv:2009.14794).

    Parameters
    ----------
    z
        (member, …, channel).
    projections
        Ω, (member, channel, m).
    """
    u = (z.flatten(1, -2) @ projections).unflatten(1, z.shape[1:-1])
    offset = z.square().sum(dim=-1, keepdim=True) / 2 + 0.5 * np.log(2 * projections.shape[-1])
    return torch.cat([u - offset, -u - offset], dim=-1).exp()


def favor_projections(seeds: Sequence[int], name: str, step: int | None, channels: int, m: int) -> Tensor:
    """Return Ω of each member, (member, channel, m), drawn for a training step; None: for evaluation.

    Columns come in blocks of orthogonal vectors, each as long as a row of a Gaussian matrix.
    """
    split: Split = "test" if step is None else "train"
    return torch.tensor(np.stack([_projections(name, seed, split, step or 0, channels, m) for seed in seeds]))


@lru_cache(maxsize=256)
def _projections(name: str, seed: int, split: Split, step: int, channels: int, m: int) -> NDArray[np.float32]:
    generator = stream(f"favor.{name}", seed, split, step)
    blocks = -(-m // channels)
    directions = orthogonal(generator, (channels, blocks * channels))[:, :m]
    lengths = np.linalg.norm(generator.standard_normal((m, channels)), axis=1)
    return (directions * lengths).astype(np.float32)

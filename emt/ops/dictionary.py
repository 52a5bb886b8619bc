"""Reading a dictionary of keys and values: by the most similar key, or by an average that a kernel weights.

Slots stand from the oldest to the newest, empty ones before all. Similarities are those of the differentiable
neural dictionary (Pritzel et al. 2017; Ritter et al. 2018): the cosine, or minus a distance, where `EPSILON`
is added to each difference as in torch's `pairwise_distance`.
"""

from typing import Literal

import torch
from torch import Tensor

from emt.ops.precision import plain_matmul

Similarity = Literal["l2", "l1", "cosine"]

EPSILON = 1e-6
SMALLEST_NORM = 1e-8
KERNEL_WIDTH = 1e-3
"""δ of the kernel k = 1 / (distance² + δ) (Pritzel et al. 2017, equation 5)."""


@plain_matmul()
def similarities(queries: Tensor, keys: Tensor, kind: Similarity) -> Tensor:
    """Return how similar queries (…, query, key) and keys (…, slot, key) are, (…, query, slot); larger is more so."""
    if kind == "cosine":
        queries, keys = (x / x.norm(dim=-1, keepdim=True).clamp(min=SMALLEST_NORM) for x in (queries, keys))
        return queries @ keys.mT
    if kind == "l1":
        return -torch.cdist(queries + EPSILON, keys, p=1.0)
    shifted = queries + EPSILON
    squares = [torch.linalg.vector_norm(x, dim=-1).square() for x in (shifted, keys)]
    sums = squares[0].unsqueeze(-1) + squares[1].unsqueeze(-2)
    return -sums.sub_(shifted @ keys.mT, alpha=2).clamp_(min=0).sqrt_()


def similarities_one_by_one(queries: Tensor, keys: Tensor, kind: Similarity) -> Tensor:
    """Return the same as `similarities`, from torch's own functions of two vectors."""
    pairs = queries.unsqueeze(-2), keys.unsqueeze(-3)
    if kind == "cosine":
        return torch.cosine_similarity(*pairs, dim=-1, eps=SMALLEST_NORM)
    return -torch.nn.functional.pairwise_distance(*pairs, p={"l1": 1.0, "l2": 2.0}[kind], eps=EPSILON)


def recall_nearest(similarity: Tensor, held: Tensor, values: Tensor) -> Tensor:
    """Return the value of the most similar slot, the oldest of equals; zero where no slot is held.

    Parameters
    ----------
    similarity
        (…, query, slot).
    held
        Which slots hold something, (…, slot), bool.
    values
        (…, slot, value), zero in empty slots.

    Returns
    -------
    Tensor
        (…, query, value).
    """
    nearest = similarity.masked_fill(~held.unsqueeze(-2), -torch.inf).argmax(dim=-1, keepdim=True)
    return values.gather(-2, nearest.expand(*nearest.shape[:-1], values.shape[-1]))


def recall_average(similarity: Tensor, held: Tensor, values: Tensor, kind: Similarity) -> Tensor:
    """Return the average of values weighted by 1 / (distance² + δ); zero where no slot is held.

    Arguments and result as in `recall_nearest`; the distance is minus the similarity, or one minus the
    cosine.
    """
    distance = 1 - similarity if kind == "cosine" else similarity
    weights = held.unsqueeze(-2) / (distance.square() + KERNEL_WIDTH)
    return (weights / weights.sum(dim=-1, keepdim=True).clamp(min=torch.finfo(values.dtype).tiny)) @ values

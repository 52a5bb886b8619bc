"""Softmax attention that knows how far back a key stands (Dai et al. 2019, arXiv:1901.02860, section 3.3).

    s_ij = [(q_i + u)·k_j + (q_i + v)·r_{i−j}] / √d,   r_δ = R_δ W,   R_δ = (sin δω_0, …, cos δω_0, …),
    ω_n = 10000^(−2n/D)

`relative_attention` computes the terms of all distances once and shifts them into place, `relative_attention_steps`
is the equation, query by query. Since sine and cosine of a difference are bilinear, scores are also inner products
of a query and a key that do not know of each other, see `as_products`: what an attention head wrote and asked for.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

NOTHING = -1e9
"""Score of what is not visible: finite, so that a query that sees nothing has finite gradients."""


class Positions(NamedTuple):
    """How scores depend on distances: ``weight`` W (member, D, head, channel), ``content`` u and ``place`` v.

    ``drop`` are masks of R, (member, distance, D), from the largest distance to 0; None leaves it as it is.
    """

    weight: Tensor
    content: Tensor
    place: Tensor
    drop: Tensor | None = None

    def directions(self, count: int) -> Tensor:
        """Return r of the distances ``count`` - 1 to 0, (member, distance, head, channel)."""
        distances = torch.arange(count - 1, -1, -1, device=self.weight.device)
        table = sinusoids(distances, self.weight.shape[1]).to(self.weight)
        table = table.expand(len(self.weight), -1, -1) if self.drop is None else table * self.drop
        return torch.einsum("mkD,mDhd->mkhd", table, self.weight)


def sinusoids(places: Tensor, size: int) -> Tensor:
    """Return R of places (…,), (…, size) in double precision: all sines, then all cosines."""
    rates = 10_000.0 ** (-torch.arange(0, size, 2, dtype=torch.float64, device=places.device) / size)
    angles = places.double()[..., None] * rates
    return torch.cat([angles.sin(), angles.cos()], dim=-1)


def relative_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    positions: Positions,
    visible: Tensor,
    drop: Tensor | None = None,
) -> Tensor:
    """Return what queries at the last places read, (member, batch, time, head, value).

    Parameters
    ----------
    query
        (member, batch, time, head, channel): of the last of the places.
    key, value
        (member, batch, place, head, channel).
    positions
        See `Positions`.
    visible
        Which keys a query sees, bool (member, batch, time, place), or axes of size one.
    drop
        What weights are multiplied by, (member, batch, head, time, place).
    """
    content = torch.einsum("mbthd,mbkhd->mbhtk", query + positions.content[:, None, None], key)
    directions = positions.directions(key.shape[2])
    placed = torch.einsum("mbthd,mkhd->mhbtk", query + positions.place[:, None, None], directions)
    scores = (content + _shifted(placed).transpose(1, 2)) * query.shape[-1] ** -0.5
    weights = scores.masked_fill(~visible.unsqueeze(2), NOTHING).softmax(dim=-1)
    weights = weights if drop is None else weights * drop
    return torch.einsum("mbhtk,mbkhd->mbthd", weights, value)


def _shifted(of_distance: Tensor) -> Tensor:
    """Return entries (…, time, place) of a table (…, time, distance), distances falling to 0; later ones are wrong."""
    *rest, steps, places = of_distance.shape
    # A zero before each row moves every row one further to the left than the row after it.
    return pad(of_distance, (1, 0)).reshape(*rest, places + 1, steps)[..., 1:, :].reshape(of_distance.shape)


def relative_attention_steps(
    query: Tensor, key: Tensor, value: Tensor, positions: Positions, visible: Tensor
) -> Tensor:
    """Return what `relative_attention` does, from the equation, query by query."""
    steps, places = query.shape[2], key.shape[2]
    directions, reads = positions.directions(2 * places), []
    for t in range(steps):
        place = places - steps + t
        asked, back = query[:, :, t], place - torch.arange(places, device=query.device)
        # Distances that are negative are of keys that cannot be visible.
        r = directions[:, 2 * places - 1 - back.clamp(min=0)]
        products = torch.einsum("mbhd,mbkhd->mbhk", asked + positions.content[:, None], key)
        products = products + torch.einsum("mbhd,mkhd->mbhk", asked + positions.place[:, None], r)
        scores = products * query.shape[-1] ** -0.5
        seen = visible[:, :, t].unsqueeze(2)
        reads.append(torch.einsum("mbhk,mbkhd->mbhd", scores.masked_fill(~seen, NOTHING).softmax(-1), value))
    return torch.stack(reads, dim=2)


def as_products(query: Tensor, key: Tensor, positions: Positions) -> tuple[Tensor, Tensor]:
    """Return queries and keys, (member, batch, time | place, head, channel + D), whose products are √d s_ij.

    With (p^s, p^c) = W (q_i + v):  key_j = (k_j, cos jω, sin jω),
    query_i = (q_i + u, p^s sin iω + p^c cos iω, p^c sin iω − p^s cos iω). The first query stands at place 0, keys
    before it at negative places.
    """
    steps, places = query.shape[2], key.shape[2]
    at = torch.arange(steps - places, steps, device=query.device)
    sine, cosine = sinusoids(at, positions.weight.shape[1]).to(query).unsqueeze(1).chunk(2, dim=-1)
    waves = torch.cat([cosine, sine], dim=-1).expand(*key.shape[:4], -1)
    p = torch.einsum("mbthd,mDhd->mbthD", query + positions.place[:, None, None], positions.weight)
    by_sine, by_cosine = p.chunk(2, dim=-1)
    sine, cosine = sine[places - steps :], cosine[places - steps :]
    asked = [query + positions.content[:, None, None], by_sine * sine + by_cosine * cosine]
    asked.append(by_cosine * sine - by_sine * cosine)
    return torch.cat(asked, dim=-1), torch.cat([key, waves], dim=-1)

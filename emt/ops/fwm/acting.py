"""Fast Weight Memory one step at a time, for agents: equations (4) to (6) of `emt.ops.fwm.forms` on the list of writes.

The ratios c_j / c_t are multiplied into what is held, and the memory itself is never built: a step costs as many
inner products as there were steps, which is less than the memory has entries for the first hundreds of them.
"""

import torch
from torch import Tensor
from torch.nn.functional import layer_norm

from emt.ops.factored_keys import inner_products, whole_products
from emt.ops.fwm.reading import EPSILON


class WriteList:
    """A memory as the list of what was written into it, empty at first; without gradient.

    Parameters
    ----------
    steps
        Most steps that it is used for.
    epsilon
        As of `fwm`.
    """

    def __init__(self, steps: int, epsilon: float = EPSILON) -> None:
        self.steps, self.count, self.epsilon = steps, 0, epsilon

    @torch.no_grad()
    def __call__(
        self, keys: Tensor, values: Tensor, strength: Tensor, first: Tensor, partners: Tensor
    ) -> Tensor:
        """Write at the next step and then read; arguments and result as of `fwm` with the time axis left out.

        Parameters
        ----------
        keys
            (member, batch, factor, key).
        values
            (member, batch, value).
        strength
            (member, batch).
        first
            (member, batch, value).
        partners
            (member, batch, read, value).
        """
        rows = keys.shape[:2]
        keys, values, strength = keys.flatten(0, 1), values.flatten(0, 1), strength.flatten()
        if self.count == 0:
            self._keys = keys.new_empty(*keys.shape[:2], self.steps, keys.shape[2])
            self._held = values.new_empty(len(values), self.steps, values.shape[1])
            self._square = values.new_zeros(len(values), 1)
        self._write(keys, values, strength[:, None])
        normal = first.flatten(0, 1)
        for partner in partners.flatten(0, 1).unbind(1):
            factors = (torch.cat([normal, partner], dim=-1),) if keys.shape[1] == 1 else (normal, partner)
            found = self._found(torch.stack(factors, dim=1))
            normal = layer_norm(found, found.shape[-1:], eps=self.epsilon)
        return normal.unflatten(0, rows)

    def _write(self, keys: Tensor, values: Tensor, strength: Tensor) -> None:
        old = self._found(keys) if self.count else torch.zeros_like(values)
        added = strength * (values - old)
        length = keys.square().sum(dim=-1).prod(dim=1, keepdim=True)
        square = self._square + (2 * added * old + added.square() * length).sum(dim=-1, keepdim=True)
        self._keys[:, :, self.count], self._held[:, self.count] = keys, added
        self.count += 1
        self._held[:, : self.count] *= square.clamp(min=1).rsqrt().unsqueeze(-1)
        self._square = square.clamp(max=1)

    def _found(self, keys: Tensor) -> Tensor:
        """Return what the memory returns for keys (row, factor, key), (row, value)."""
        inner = inner_products(keys.unsqueeze(2), self._keys[:, :, : self.count])
        return (whole_products(inner) @ self._held[:, : self.count]).squeeze(1)

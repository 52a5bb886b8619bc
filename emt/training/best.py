"""The best weights that each member of a stack has had."""

from collections.abc import Mapping
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn


class BestWeights:
    """Each member's weights at its highest validation accuracy, of equal ones those with the lower loss; or at its
    lowest validation loss.

    Parameters
    ----------
    model
        The members.
    members
        Their number.
    by
        "best" by accuracy, "lowest_loss" by loss alone.

    Attributes
    ----------
    step
        When that was, 0 before the first validation, (member,).
    accuracy, loss
        Of that validation, (member,).
    state
        What the first row of the batch carried then, tensors (member, …); empty where nothing is carried.
    weights
        In the host's memory, as ``state``.
    """

    def __init__(self, model: nn.Module, members: int, by: Literal["best", "lowest_loss"] = "best") -> None:
        self.model, self.by = model, by
        self.step = np.zeros(members, np.int64)
        self.accuracy, self.loss = np.full(members, -np.inf), np.full(members, np.inf)
        self.weights = {name: p.detach().to("cpu", copy=True) for name, p in model.named_parameters()}
        self.state: dict[str, Tensor] = {}

    @torch.no_grad()
    def update(
        self,
        positions: NDArray[np.intp],
        step: int,
        loss: NDArray[np.float64],
        accuracy: NDArray[np.float64],
        state: Mapping[str, Tensor],
    ) -> None:
        """Take up the validation of the members at these stack positions; figures that are not finite never win.

        ``state`` is what the first rows of all members carry.
        """
        better = loss < self.loss[positions]
        if self.by == "best":
            higher, equal = accuracy > self.accuracy[positions], accuracy == self.accuracy[positions]
            better = higher | (equal & better)
        better &= np.isfinite(loss)
        chosen = positions[better]
        self.step[chosen], self.accuracy[chosen], self.loss[chosen] = step, accuracy[better], loss[better]
        index = torch.tensor(chosen)
        for name, parameter in self.model.named_parameters():
            self.weights[name][index] = parameter[index].cpu()
        for name, value in state.items():
            self.state.setdefault(name, torch.zeros_like(value, device="cpu"))[index] = value[index].cpu()

    @torch.no_grad()
    def restore(self, position: int) -> None:
        """Put the best weights of the member at a stack position back into the model, if it was ever validated."""
        if self.step[position]:
            for name, parameter in self.model.named_parameters():
                parameter[position] = self.weights[name][position]

    def keep(self, positions: NDArray[np.intp]) -> None:
        """Keep only the members at these stack positions."""
        self.step, self.accuracy, self.loss = (a[positions] for a in (self.step, self.accuracy, self.loss))
        index = torch.tensor(positions)
        self.weights, self.state = (
            {name: t[index] for name, t in d.items()} for d in (self.weights, self.state)
        )

    def state_dict(self) -> dict[str, Tensor]:
        """Return everything as tensors by name."""
        figures = {f"best.{k}": torch.tensor(getattr(self, k)) for k in ("step", "accuracy", "loss")}
        weights = {f"best_weight.{name}": w for name, w in self.weights.items()}
        return figures | weights | {f"best_state.{name}": s for name, s in self.state.items()}

    def load_state_dict(self, tensors: Mapping[str, Tensor]) -> None:
        """Go on from `state_dict`."""
        self.step, self.accuracy, self.loss = (
            tensors[f"best.{k}"].numpy().copy() for k in ("step", "accuracy", "loss")
        )
        self.weights, self.state = (
            {name.removeprefix(kind): t for name, t in tensors.items() if name.startswith(kind)}
            for kind in ("best_weight.", "best_state.")
        )

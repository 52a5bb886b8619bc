"""The plain twin of `emt.models.dnd_lstm` and its training: one agent, one step at a time, one Adam step a trial.

Dictionary entries are lists of vectors, stacked and compared with the query at each step; everything is
torch's own modules, autograd and Adam. What the population does at once, this does as the equations read.
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

SIMILARITIES = {
    "l2": lambda q, k: -functional.pairwise_distance(q, k, p=2.0),
    "l1": lambda q, k: -functional.pairwise_distance(q, k, p=1.0),
    "cosine": lambda q, k: torch.cosine_similarity(q, k, dim=-1),
}


@dataclass
class Dictionary:
    """Keys and values as lists, the oldest first."""

    capacity: int
    similarity: str
    keys: list[Tensor] = field(default_factory=list)
    values: list[Tensor] = field(default_factory=list)

    def write(self, key: Tensor, value: Tensor) -> None:
        """Append an entry, and drop the oldest if there are too many."""
        self.keys.append(key.detach())
        self.values.append(value.detach())
        if len(self.keys) > self.capacity:
            self.keys.pop(0)
            self.values.pop(0)

    def read(self, query: Tensor) -> Tensor | None:
        """Return the value of the most similar key, the oldest of equals; None while there is none."""
        if not self.keys:
            return None
        return self.values[int(SIMILARITIES[self.similarity](query, torch.stack(self.keys)).argmax())]


class OneAgent(nn.Module):
    """One DND-LSTM with its heads; the names of its weights are those of a weight file."""

    def __init__(
        self, weights: dict[str, Any], *, capacity: int = 100, similarity: str = "l2", key: str = "input"
    ) -> None:
        super().__init__()
        (gates, channels), (outputs, units) = weights["rnn.weight_ih"].shape, weights["readout.weight"].shape
        self.inputs, self.recurrent = nn.Linear(channels, gates), nn.Linear(units, gates)
        self.actor, self.critic = nn.Linear(units, outputs - 1), nn.Linear(units, 1)
        self.units, self.capacity, self.similarity, self.key = units, capacity, similarity, key
        self.memory = Dictionary(capacity, similarity)
        with torch.no_grad():
            for name, parameters in self.weights().items():
                value = torch.tensor(np.asarray(weights[name]))
                for parameter, part in zip(
                    parameters, value.split([len(p) for p in parameters]), strict=True
                ):
                    parameter.copy_(part)

    def weights(self) -> dict[str, list[nn.Parameter]]:
        """Return the parameters under their names in a weight file, where actor and critic are one readout."""
        modules = {
            "rnn.{}_ih": [self.inputs],
            "rnn.{}_hh": [self.recurrent],
            "readout.{}": [self.actor, self.critic],
        }
        kinds = ("weight", "bias")
        return {
            name.format(kind): [getattr(m, kind) for m in ms]
            for name, ms in modules.items()
            for kind in kinds
        }

    def forget(self) -> None:
        """Empty the dictionary."""
        self.memory = Dictionary(self.capacity, self.similarity)

    def step(self, x: Tensor, h: Tensor, c: Tensor, write: bool) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return action probabilities, value, and the new states after an input (channel,)."""
        gates = self.inputs(x) + self.recurrent(h)
        f, i, o, r = torch.sigmoid(gates[: 4 * self.units]).chunk(4)
        z = torch.tanh(gates[4 * self.units :])
        key = h.detach() if self.key == "hidden" else x
        recalled = self.memory.read(key)
        m = torch.zeros_like(c) if recalled is None else torch.tanh(recalled)
        c = f * c + i * z + r * m
        if write:
            self.memory.write(key, c)
        h = o * torch.tanh(c)
        return functional.softmax(self.actor(h), dim=0), self.critic(h)[0], h, c


@dataclass(frozen=True)
class Trial:
    """Inputs (time, channel), the right choice, uniform numbers (time,), initial states (2 unit,); does it write."""

    inputs: Tensor
    target: int
    draws: list[float]
    initial: Tensor
    writes: bool


def train_trial(agent: OneAgent, optimizer: torch.optim.Optimizer, trial: Trial) -> float:
    """Play a trial and learn from it; return how many actions were right."""
    inputs, initial = (x.to(agent.actor.weight) for x in (trial.inputs, trial.initial))
    h, c = initial.chunk(2)
    losses, rewards = [], []
    for t, (x, draw) in enumerate(zip(inputs, trial.draws, strict=True)):
        p, value, h, c = agent.step(x, h, c, trial.writes and t == len(inputs) - 1)
        action = int((p.detach().cumsum(0) <= draw).sum().clamp(max=len(p) - 1))
        rewards.append(float(action == trial.target))
        reward = torch.tensor(rewards[-1], dtype=value.dtype)
        losses.append(
            -torch.log(p[action]) * (reward - value.detach()) + functional.smooth_l1_loss(value, reward)
        )
    optimizer.zero_grad()
    torch.stack(losses).sum().backward()
    optimizer.step()
    return sum(rewards)

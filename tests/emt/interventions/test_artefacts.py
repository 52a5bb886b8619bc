"""What misleads, on systems where the truth is known: each test would fail if the remedy were left out."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from analysis import summarise_interventions
from emt.commands.known_systems.signed_memory import alike_signs, signed_memory
from emt.interventions.condition import Condition
from emt.interventions.conditions import cut
from emt.interventions.intervene import intervene
from emt.models.base import Model
from emt.record import Loaded
from emt.tasks.base import Batch

PAIRS = 6


class Carrier(Model):
    """h_t = max(h_{t−1}, x_t[1]), y_t = h_t x_t[0]: a state that all trials have alike, and that all need."""

    state_dims = {"hidden": ("unit",)}

    def __init__(self):
        super().__init__((1, 2))
        self.scale = torch.nn.Parameter(torch.ones(2), requires_grad=False)

    def zero_state(self, like):
        return {"hidden": like.new_zeros(*like.shape[:2], 1)}

    def forward(self, x, state=None, steps=None, context=None):
        before = self.zero_state(x)["hidden"] if state is None else state["hidden"]
        marked = torch.cat([before.unsqueeze(2), x[..., 1:]], dim=2).cummax(dim=2).values[:, :, 1:]
        return marked * x[..., :1], {"hidden": marked[:, :, -1]}, {"hidden": marked}


def test_a_state_of_zeros_is_damage_and_another_trials_state_is_not():
    signs = np.random.default_rng(0).choice([-1.0, 1.0], (1, 40, 4))
    inputs = np.stack([signs, np.broadcast_to(np.eye(4)[0], signs.shape)], axis=-1).astype(np.float32)
    last = np.broadcast_to(np.arange(4) == 3, signs.shape)
    batch = Batch(inputs=inputs, answers=signs[..., None].astype(np.float32), scored=last)
    task = SimpleNamespace(loss="mse", output_channels=1, input_channels=2)
    labels = {"model": {"type": "carrier"}, "task": {}, "experiment": "", "seeds": [1, 2]}
    conditions = [cut(3), *(Condition(e, e, "hidden", 3, cut(3).name) for e in ("shuffle", "zero"))]
    right = intervene(Loaded(Carrier(), task, (1, 2), labels), batch, conditions)["right"].mean("query")
    assert (right.sel(condition=cut(3).name) == 1).all()
    assert (right.sel(condition="shuffle") == 1).all()
    assert (right.sel(condition="zero") == 0).all()


def test_a_values_sign_means_nothing_without_that_of_its_key():
    loaded = signed_memory([1, 2])
    batch = loaded.task.test_batch(0, PAIRS, 1, 80)
    found = intervene(loaded, batch, kinds=("writes",))
    name = "queried with the value of another answer"
    assert (found["counterfactual_right"].sel(condition=name) == 1).all()
    as_it_is = found["counterfactual_right"].sel(condition=f"{name}, sign as it is").mean()
    assert 0.2 < alike_signs(found, batch) < 0.8
    assert as_it_is == pytest.approx(alike_signs(found, batch))


def test_a_derivative_says_nothing_where_outputs_are_saturated_and_a_cut_edge_does():
    """tanh(5 v) is flat at 1: its derivative there is 4 / cosh² 5 · 5, what is lost is all of it."""
    for saturation, expected in ((0.0, 1.0), (5.0, 5 / np.cosh(5) ** 2 / np.tanh(5))):
        loaded = signed_memory([1, 2], saturation)
        found = intervene(loaded, loaded.task.test_batch(0, PAIRS, 1, 60), kinds=("writes", "reads"))
        rows = summarise_interventions(found).prediction
        assert rows["bias"].to_list() == pytest.approx([1.0, 1.0])
        assert rows["linear_bias"].to_list() == pytest.approx([expected] * 2, rel=1e-3)
        assert rows["r2"].to_list() == pytest.approx([1.0, 1.0])

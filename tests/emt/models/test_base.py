"""What is refused of a model that does not follow its base."""

import pytest
import torch
from torch import nn

from emt.errors import RegistrationError
from emt.models.base import Model, check_model
from emt.models.recurrent import RecurrentModel

SEEDS = (3, 1003)


class Whole(Model):
    """The least that a model has: one weight for each member."""

    state_dims, torch_names = {"hidden": ("unit",)}, {"w": "weight"}

    def __init__(self, shape=(2, 5)):
        super().__init__(SEEDS)
        self.w = nn.Parameter(torch.zeros(shape))

    def zero_state(self, like):
        return {"hidden": like[..., 0, :5]}

    def forward(self, x, state=None, steps=None, context=None):
        return x, state, {}


class Unnamed(Whole):
    torch_names = {}


class Buffered(Whole):
    def __init__(self):
        super().__init__()
        self.register_buffer("mask", torch.ones(7, 5))


class Weightless(Whole):
    def __init__(self):
        Model.__init__(self, SEEDS)


class NoState(Whole):
    zero_state = Model.zero_state


class NoForward(Whole):
    forward = Model.forward


class NoDims(Model):
    torch_names, zero_state, forward = {}, Whole.zero_state, Whole.forward

    def __init__(self):
        super().__init__(SEEDS)


class NoRun(RecurrentModel):
    state_dims, torch_names = Whole.state_dims, {}

    def __init__(self):
        super().__init__(SEEDS)


def test_a_whole_model_passes():
    check_model(Whole(), "whole")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (NoState, "model 'x': expected NoState to have zero_state \\(emt/models/base.py says what\\)"),
        (NoForward, "expected NoForward to have forward "),
        (NoDims, "expected NoDims to have state_dims "),
        (NoRun, "expected NoRun to have run "),
        (Unnamed, "expected Unnamed to have a name in torch_names for the parameters w"),
        (Weightless, "expected Weightless to have parameters; got none"),
        (
            lambda: Whole((5, 2)),
            r"to have 'w' in the shape \(2, …\), the first axis for members; got \(5, 2\)",
        ),
        (lambda: Whole(()), r"to have 'w' in the shape \(2, …\), the first axis for members; got \(\)"),
        (Buffered, r"to have 'mask' in the shape \(2, …\), the first axis for members; got \(7, 5\)"),
        (object, "expected object to be a Model"),
        (lambda: nn.Linear(2, 3), "expected Linear to be a Model"),
    ],
)
def test_what_is_missing_is_named(make, message):
    with pytest.raises(RegistrationError, match=message):
        check_model(make(), "x")

"""What somebody does who tries it for the first time: one line says what to write instead."""

import numpy as np
import pytest
import torch
from torch import nn

import emt
from emt.errors import UserError

BATCH, STEPS, CHANNELS, UNITS = 4, 6, 3, 5


def some_trials():
    return emt.trials(np.random.default_rng(0).normal(size=(BATCH, STEPS, CHANNELS)))


def zeros(batch):
    return torch.zeros(batch, UNITS)


def broken():
    network = nn.GRU(CHANNELS, UNITS, batch_first=True)
    nn.init.constant_(network.weight_hh_l0, torch.nan)
    return network


@pytest.mark.parametrize(
    ("attempt", "message"),
    [
        (
            lambda: emt.trials([np.zeros((t, CHANNELS)) for t in (3, 5, 5)]),
            "inputs: expected one array for all trials; .* lengths= says how long each is",
        ),
        (
            lambda: emt.trials(np.zeros((2, 5, 3)), [np.zeros((3, 1)), np.zeros((5, 1))]),
            "targets: expected one array for all trials",
        ),
        (
            lambda: emt.from_torch(nn.GRU(CHANNELS, UNITS), torch.zeros(2, 5, CHANNELS)),
            r"trials: expected emt.trials\(inputs, …\); got Tensor",
        ),
        (
            lambda: emt.from_cells(nn.GRUCell(CHANNELS, UNITS), zeros, some_trials()),
            r"steps: expected a step that returns \(output, next state\); got Tensor \(where the state is the output",
        ),
        (
            lambda: emt.from_cells(lambda h, x: (h, h), zeros, some_trials()),
            r"steps: expected a step that keeps the shape of the state; state \(4, 5\) becomes \(4, 3\)",
        ),
        (
            lambda: emt.from_torch(broken(), some_trials()),
            "networks: network 1: outputs or states are not finite",
        ),
        (
            lambda: emt.from_torch(nn.GRU(CHANNELS, UNITS, bidirectional=True), some_trials()),
            r"recurrent: .* a bidirectional one knows the end \(its states can be given to emt.from_arrays\)",
        ),
    ],
)
def test_the_message_says_what_to_write(attempt, message):
    with pytest.raises(UserError, match=message):
        attempt()


def test_the_cell_of_the_message_works():
    cell = nn.GRUCell(CHANNELS, UNITS)
    run = emt.from_cells(lambda x, h: (h := cell(x, h), h), zeros, some_trials())
    assert run.recording["hidden"].shape == (1, BATCH, STEPS, UNITS)


def test_trials_have_a_short_name():
    assert repr(some_trials()) == "<emt trials: 4, steps 6, inputs 3 channels>"
    named = emt.trials(np.zeros((2, 5), int), np.ones((2, 5), int), lengths=[3, 5], group=["a", "b"])
    assert repr(named) == "<emt trials: 2, steps 3 to 5, inputs ids, targets ids at 8 steps, events group>"

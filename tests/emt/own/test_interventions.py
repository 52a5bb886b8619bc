"""Interventions on one's own networks."""

import numpy as np
import pytest
import torch

import emt
from analysis import find_variables
from emt import effects
from emt.commands.known_systems.registers import LENGTH, SCALE, WIDTH, shift_register
from emt.errors import UserError
from emt.tasks.variable_binding import VariableBinding


class Register(torch.nn.Module):
    """The shift register of `emt selftest` as a torch network."""

    def __init__(self):
        super().__init__()
        weights = shift_register([1]).model.export(0)
        self.rnn = torch.nn.RNN(WIDTH, LENGTH * WIDTH, bias=False, batch_first=True)
        self.rnn.load_state_dict(
            {n.removeprefix("rnn."): torch.tensor(w) for n, w in weights.items() if "rnn" in n}
        )

    def forward(self, x):
        return self.rnn(x)[0][..., -WIDTH:] / SCALE


def test_an_own_register_answers_what_its_source_was_shown():
    trials = emt.task_trials(VariableBinding(seq_length=LENGTH, input_dim=WIDTH), LENGTH, horizon=6, size=16)
    run = emt.from_torch([Register(), Register()], trials)
    found = emt.intervene(run)
    assert (found["right"].sel(condition="cut after 3 steps") == 1).all()
    exchanged = found.sel(condition="shuffle state after 3 steps")
    assert np.nanmin(exchanged["counterfactual_right"]) == 1
    assert (exchanged["right"].mean() < 0.8).item()


def test_runs_without_networks_or_targets_are_refused_in_one_line():
    states = np.random.default_rng(0).normal(size=(2, 4, 5, 3))
    with pytest.raises(UserError, match="interventions: expected a run of networks"):
        emt.intervene(emt.from_arrays(states))
    with pytest.raises(UserError, match="interventions: expected trials with targets"):
        emt.intervene(emt.from_torch(torch.nn.RNN(3, 4, batch_first=True), emt.trials(np.ones((4, 5, 3)))))


def test_variables_of_an_own_register_are_exchanged():
    trials = emt.task_trials(VariableBinding(seq_length=LENGTH, input_dim=WIDTH), LENGTH, horizon=6, size=60)
    run = emt.from_torch([Register(), Register()], trials)
    codes = find_variables(run.recording.isel(batch=slice(20))).codes()
    found = emt.intervene(run, codes=codes)
    own = [c.name for c in effects.conditions(found) if c.kind == "variables" and c.target == "own"]
    assert len(own) == 2 * 4 + 4
    exchanged = found["counterfactual_right"].sel(condition=own)
    assert (exchanged[:, :, 20:].mean("query") == 1).all()
    assert np.isnan(exchanged[:, :, :20]).all()

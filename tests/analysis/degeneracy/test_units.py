from dataclasses import replace

import numpy as np
import pytest
import torch

import emt
from analysis.degeneracy.units import (
    _normal,
    least_norm_scales,
    match_units,
    squared_distance,
    units_of,
    weight_distances,
)
from analysis.errors import AnalysisError
from emt import record
from emt.models import MODELS
from emt.options import load
from emt.tasks.flip_flop import FlipFlop
from emt.trace import Symmetry

TASK = FlipFlop(bits=2, steps=9)
UNITS = 7

NETWORKS = {
    "rnn": {"bias": True},
    "lstm": {"bias": True},
    "gru": {"bias": True},
    "rate_rnn": {"activation": "tanh"},
    "rate_rnn relu": {},
    "rate_rnn dale": {"dale": 0.6, "density": 0.7},
}


def networks(name, seeds=(1, 2)):
    """Return recorded networks."""
    kind = name.split()[0]
    model = load(MODELS, kind, "model_type")(seeds, 2, 2, hidden_dim=UNITS, **NETWORKS[name])
    labels = {"model": {"type": kind}, "task": {}, "experiment": "", "seeds": list(seeds)}
    loaded = record.Loaded(model.requires_grad_(False), TASK, tuple(range(1, len(seeds) + 1)), labels)
    return record.record(loaded, TASK.test_batch(0, 9, 1, 20), 9), model


def changed(units, rng):
    """Return the same network with units in other places, and with signs or scales where these change nothing."""
    ends = np.cumsum([0, *(units.symmetry.blocks or (units.count,))])
    order = np.concatenate([rng.permutation(np.arange(*ends[k : k + 2])) for k in range(len(ends) - 1)])
    factors = np.ones(units.count)
    if units.symmetry.acts == "sign":
        factors = rng.choice([-1.0, 1.0], units.count)
    if units.symmetry.acts == "scale":
        factors = rng.uniform(0.5, 2.0, units.count)
    rows = units.row_signs(factors) if units.symmetry.acts == "sign" else factors[:, None]
    columns = factors if units.symmetry.acts == "sign" else 1 / factors
    return replace(
        units,
        activity=(units.activity * factors)[:, order],
        recurrence=(units.recurrence * rows * columns)[:, order][:, :, order],
        incoming=(units.incoming * rows)[:, order],
        readout=(units.readout * columns)[:, order],
    )


@pytest.mark.parametrize("name", NETWORKS)
def test_what_is_called_a_symmetry_changes_no_output_and_a_copy_is_at_distance_zero(name):
    """The copy's weights are loaded into the model itself, which runs with them."""
    recorded, model = networks(name, seeds=(1, 1))
    raw = {n: recorded[n].to_numpy()[0].astype(float) for n in ("recurrence", "incoming", "readout")}
    symmetry = units_of(recorded)[0].symmetry
    hidden = recorded["hidden"].to_numpy()[0].reshape(-1, UNITS).astype(float)
    copy = changed(
        replace(units_of(recorded)[0], activity=hidden, **raw, symmetry=symmetry), np.random.default_rng(3)
    )
    if name != "rate_rnn dale":  # its parameters are no weights as they act
        outputs = run_with(model, copy)
        assert np.abs(outputs[1] - outputs[0]).max() < 2e-6
    [first, _], again = units_of(recorded), normal(copy)
    distance = squared_distance(first, again.reordered(match_units(first, again)))
    assert distance < 1e-18 if first.symmetry.acts == "scale" else distance == 0.0
    other = units_of(networks(name)[0])[1]
    assert squared_distance(first, other.reordered(match_units(first, other))) > 0.1


def normal(units):
    """Return units as `units_of` does."""
    return _normal(units.activity, units.recurrence, units.incoming, units.readout, units.symmetry)


def run_with(model, units):
    """Run a model whose second member has these weights; both biases are the first one's share of the acting ones."""
    gates, channels = model.gates, model.w_in.shape[1]
    flat = lambda w: torch.tensor(w.reshape(gates * UNITS, -1).T.astype(np.float32))  # noqa: E731
    model.w_rec.data[1] = flat(units.recurrence)
    incoming = flat(units.incoming)
    model.w_in.data[1] = incoming[:channels]
    if model.b_in is not None:
        model.b_in.data[1] = incoming[channels]
        model.b_rec.data[1] = incoming[channels + 1] if len(incoming) > channels + 1 else 0
    model.w_out.data[1] = torch.tensor(units.readout.T.astype(np.float32))
    x = torch.tensor(TASK.test_batch(0, 9, 1, 20).inputs).expand(2, -1, -1, -1)
    return model(x)[0].numpy()


def test_the_wrong_gate_is_no_symmetry():
    recorded, model = networks("lstm", seeds=(1, 1))
    raw = {n: recorded[n].to_numpy()[0].astype(float) for n in ("recurrence", "incoming", "readout")}
    wrong = Symmetry(acts="sign", signed=(1,))
    units = replace(units_of(recorded)[0], **raw, symmetry=wrong)
    outputs = run_with(model, changed(units, np.random.default_rng(3)))
    assert np.abs(outputs[1] - outputs[0]).max() > 1e-3


def test_units_are_found_again_under_noise_and_in_either_direction():
    first, other = units_of(networks("rnn")[0])
    rng = np.random.default_rng(0)
    noisy = replace(
        first,
        recurrence=first.recurrence + 0.1 * rng.normal(size=first.recurrence.shape),
        activity=first.activity + 0.3 * rng.normal(size=first.activity.shape),
    )
    order = rng.permutation(UNITS)
    copy = replace(
        noisy,
        activity=noisy.activity[:, order],
        recurrence=noisy.recurrence[:, order][:, :, order],
        incoming=noisy.incoming[:, order],
        readout=noisy.readout[:, order],
    )
    found = match_units(first, copy)
    assert np.array_equal(order[found.order], np.arange(UNITS))
    assert squared_distance(first, copy.reordered(found)) == pytest.approx(squared_distance(first, noisy))
    there, back = weight_distances([first, other]), weight_distances([other, first])
    assert there["weights"][0, 1] == pytest.approx(back["weights"][0, 1], rel=1e-12)


def test_a_matching_is_never_worse_than_that_by_activity_and_units_of_two_kinds_are_not_mixed():
    first, second = units_of(networks("rate_rnn dale")[0])
    excitatory = round(0.6 * UNITS)
    order = match_units(first, second).order
    assert set(order[:excitatory]) == set(range(excitatory))
    mixed = replace(first, symmetry=Symmetry(acts="scale")), replace(second, symmetry=Symmetry(acts="scale"))
    free = squared_distance(mixed[0], mixed[1].reordered(match_units(*mixed)))
    held = squared_distance(first, second.reordered(match_units(first, second)))
    assert free != held


def test_three_normalisations_say_what_they_are():
    first, second = units_of(networks("rnn")[0])
    found = weight_distances([first, second])
    d = np.sqrt(squared_distance(first, second.reordered(match_units(first, second))))
    sizes = [np.sum(u.recurrence**2) + np.sum(u.incoming**2) + np.sum(u.readout**2) for u in (first, second)]
    assert found["weights"][0, 1] == pytest.approx(d)
    assert found["weights_per_unit"][1, 0] == pytest.approx(d / UNITS)
    assert found["weights_relative"][0, 1] == pytest.approx(d / np.sqrt(sum(sizes)))
    assert found["weights_relative"][0, 1] < found["unmatched"][0, 1]
    assert np.diagonal(found["weights"]).tolist() == [0.0, 0.0]


def test_scales_of_least_norm_balance_what_comes_in_and_what_goes_out():
    rng = np.random.default_rng(2)
    weights = rng.normal(size=(1, 5, 5)), rng.normal(size=(1, 5, 3)), rng.normal(size=(2, 5))
    weights[1][0, 3] = weights[0][0, 3] = 0.0  # a unit that nothing comes into
    scale = least_norm_scales(*weights)
    assert scale[3] == 1.0
    recurrence, incoming = weights[0][0] * scale[:, None] / scale, weights[1][0] * scale[:, None]
    np.fill_diagonal(recurrence, 0.0)
    into = np.sum(recurrence**2, axis=1) + np.sum(incoming**2, axis=1)
    out = np.sum(recurrence**2, axis=0) + np.sum((weights[2] / scale) ** 2, axis=0)
    others = np.arange(5) != 3
    assert np.allclose(into[others], out[others], rtol=1e-9)


def test_models_without_a_known_symmetry_are_refused():
    with pytest.raises(AnalysisError, match="no symmetry of units is known for the model 'own'"):
        units_of(emt.from_arrays(np.zeros((2, 4, 5, 3))).recording)

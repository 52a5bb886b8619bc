"""The stacked LSTM against torch's modules, its masks, and what it does with rows of ids that end early."""

import numpy as np
import pytest
import torch
from torch import nn

from emt.models.layers import dropped
from emt.models.stacked_lstm import StackedLSTM

MEMBER, BATCH, TIME, IN, EMBEDDING, UNITS, OUT = 2, 3, 5, 4, 9, 7, 6
SEEDS = (11, 1011)
RATES = ("token_dropout", "embedding_dropout", "recurrent_dropout", "layer_dropout")


def build(layers=3, **options):
    return StackedLSTM(SEEDS, IN, OUT, hidden_dim=UNITS, layers=layers, embedding_dim=EMBEDDING, **options)


def draw(*shape, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).standard_normal(shape).astype(np.float32))


@pytest.fixture
def ids():
    return torch.from_numpy(np.random.default_rng(0).integers(0, IN, (MEMBER, BATCH, TIME)))


def one_hot(ids):
    return nn.functional.one_hot(ids, IN).float()


def reference(weights, x):
    """Outputs of one member, and hidden states of each layer, by torch's LSTM."""
    passed, hidden = nn.functional.linear(x, weights["embedding.weight"]), []
    for i in range(sum("weight_hh" in name for name in weights)):
        layer = nn.LSTM(passed.shape[-1], UNITS, batch_first=True)
        own = {f"{n}_l0": weights[f"rnn.{n}_l{i}"] for n in ("weight_ih", "weight_hh", "bias_ih")}
        layer.load_state_dict(own | {"bias_hh_l0": torch.zeros(4 * UNITS)})
        hidden.append(layer(passed)[0])
        passed = hidden[-1] + (passed if i else 0)
    return nn.functional.linear(passed, weights["readout.weight"], weights["readout.bias"]), hidden


@pytest.mark.parametrize("layers", [1, 3])
def test_it_is_torchs_lstm_with_residual_connections(layers):
    model, x = build(layers), draw(MEMBER, BATCH, TIME, IN)
    outputs, _, log = model(x)
    for member in range(MEMBER):
        weights = {k: torch.from_numpy(v) for k, v in model.export(member).items()}
        expected, hidden = reference(weights, x[member])
        torch.testing.assert_close(outputs[member], expected, atol=1e-6, rtol=0)
        torch.testing.assert_close(log["hidden"][member], torch.cat(hidden, dim=-1), atol=1e-6, rtol=0)
        # Negative control: a shuffled readout is another network.
        other, _ = reference(weights | {"readout.weight": weights["readout.weight"].flip(1)}, x[member])
        assert (other - expected).abs().max() > 1e-2


def test_ids_are_one_hot_channels(ids):
    model = build()
    torch.testing.assert_close(model(ids)[0], model(one_hot(ids))[0], atol=1e-6, rtol=0)
    assert (model(ids)[0] - model(ids.flip(2))[0]).abs().max() > 1e-2


def test_a_row_that_ends_early_keeps_its_state(ids):
    model, before = (
        build(),
        {name: draw(MEMBER, BATCH, 3 * UNITS, seed=i) for i, name in enumerate(("hidden", "cell"))},
    )
    ids[1, 2, 2:] = -1
    ids[0, 1] = -1
    _, state, _ = model(ids, before)
    _, short, _ = model(ids[:, :, :2], before)
    _, whole, _ = model(ids.clamp(min=0), before)
    for name, value in state.items():
        torch.testing.assert_close(value[1, 2], short[name][1, 2], atol=1e-6, rtol=0)
        assert torch.equal(value[0, 1], before[name][0, 1])
        torch.testing.assert_close(value[1, 1], whole[name][1, 1], atol=1e-6, rtol=0)
        assert (value[1, 2] - whole[name][1, 2]).abs().max() > 1e-2


def test_nothing_is_dropped_outside_training(ids):
    assert torch.equal(build(**dict.fromkeys(RATES, 0.5))(ids)[0], build()(ids)[0])


@pytest.mark.parametrize("rate", RATES)
def test_masks_are_a_function_of_seed_and_step(rate, ids):
    model = build(**{rate: 0.5})
    plain = model(ids)[0]

    def outputs(step):
        model.noise_step = step
        return model(ids)[0]

    first = outputs(0)
    assert torch.equal(first, outputs(0))
    assert not torch.equal(first, outputs(1))
    assert not torch.equal(first, plain)
    model.noise_step = 0
    alone = StackedLSTM(
        SEEDS[1:], IN, OUT, hidden_dim=UNITS, layers=3, embedding_dim=EMBEDDING, **{rate: 0.5}
    )
    alone.noise_step = 0
    torch.testing.assert_close(alone(ids[1:])[0], first[1:], atol=1e-6, rtol=0)


def test_a_dropped_token_is_no_token(ids):
    model = build(token_dropout=0.5)
    model.noise_step = 3
    mask = dropped(model, torch.ones_like(model.embedding), "token", 0.5, (IN, 1))
    assert set(mask.unique().tolist()) == {0.0, 2.0}
    assert (mask == mask[..., :1]).all(), "whole rows of the table are dropped"
    outputs, _, _ = model(ids)
    without = build()
    without.embedding.data *= mask
    torch.testing.assert_close(outputs, without(ids)[0], atol=1e-6, rtol=0)


def test_masks_keep_the_mean_and_the_rate():
    model = build()
    model.noise_step = 0
    kept = dropped(model, torch.ones(MEMBER, 300, 400), "recurrent.0", 0.3, (300, 400))
    assert abs(kept.mean().item() - 1) < 0.01
    assert abs((kept == 0).float().mean().item() - 0.3) < 0.01
    assert not torch.equal(kept[0], kept[1]), "members have masks of their own"


@pytest.mark.parametrize("rate", RATES)
def test_gradients_pass_what_is_kept(rate, ids):
    model = build(**{rate: 0.4}).double()
    model.noise_step = 2
    model(ids)[0].square().sum().backward()
    parameter = model.stack[1].w_rec
    place, step = (1, 2, 3), 1e-6
    values = []
    with torch.no_grad():
        for sign in (1, -1):
            parameter[place] += sign * step
            values.append(model(ids)[0].square().sum().item())
            parameter[place] -= sign * step
    np.testing.assert_allclose(
        parameter.grad[place].item(), (values[0] - values[1]) / (2 * step), rtol=1e-5, atol=1e-8
    )


def test_the_baseline_of_the_paper_has_about_eight_million_weights():
    model = StackedLSTM((0,), 180, 180)
    assert sum(p.numel() for p in model.parameters()) == 8_010_932
    assert sum(s.numel() for s in model.zero_state(torch.zeros(1, 1, 1)).values()) == 4096

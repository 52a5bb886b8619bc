"""Noise, Dale's law and sparse connections of the rate network."""

import numpy as np
import pytest
import torch

from emt.errors import UserError
from emt.models.elman import Elman
from emt.models.rate_rnn import SPECTRAL_RADIUS, RateNetwork
from emt.record import state_jacobian

SEEDS, BATCH, TIME, IN, UNITS, OUT = (11, 1011), 3, 5, 4, 20, 6


def build(seeds=SEEDS, **options):
    return RateNetwork(seeds, IN, OUT, **{"hidden_dim": UNITS, **options})


def inputs(batch=BATCH, time=TIME):
    return torch.from_numpy(np.random.default_rng(0).standard_normal((2, batch, time, IN)).astype(np.float32))


def test_without_leak_and_rectifier_it_is_an_elman_network():
    network, other = build(leak=1.0, activation="tanh"), Elman(SEEDS, IN, OUT, hidden_dim=UNITS, bias=True)
    for member in range(2):
        other.load(member, network.export(member))
    (outputs, state, log), (expected, _, other_log) = network(inputs()), other(inputs())
    torch.testing.assert_close(outputs, expected, rtol=0, atol=1e-6)
    torch.testing.assert_close(log["hidden"], other_log["hidden"], rtol=0, atol=1e-6)
    torch.testing.assert_close(torch.tanh(state["potential"]), log["hidden"][:, :, -1])
    assert (build(activation="tanh")(inputs())[0] - expected).abs().max() > 0.01


def test_the_jacobian_at_rest_is_the_leak_and_the_weights():
    network = build(activation="tanh", leak=0.3, bias=False).double()
    at = {"potential": torch.zeros(2, UNITS, dtype=torch.float64)}
    found = state_jacobian(network, at, network.silence(IN))
    expected = 0.7 * np.eye(UNITS) + 0.3 * network.w_rec.detach().numpy().swapaxes(1, 2)
    np.testing.assert_allclose(found, expected, atol=1e-12)


class TestNoise:
    @pytest.mark.parametrize("leak", [0.1, 0.2, 0.4])
    def test_the_stationary_spread_is_that_of_theory(self, leak):
        """Without connections h is an autoregressive process: its variance is σ² 2 / (2 - α)."""
        network = build(SEEDS[:1], noise=0.1, leak=leak, bias=False)
        network.w_rec.data.zero_()
        network.noise_step = 0
        potential = network(torch.zeros(1, 60, 1, IN), steps=150)[2]["potential"][:, :, 60:]
        assert potential.std().item() == pytest.approx(0.1 * (2 / (2 - leak)) ** 0.5, rel=0.02)

    def test_half_the_step_changes_little(self):
        spreads = []
        for leak, steps in ((0.2, 100), (0.1, 200)):
            network = build(SEEDS[:1], noise=0.1, input_noise=0.3, leak=leak, bias=False)
            network.w_rec.data.zero_()
            network.noise_step = 0
            potential = network(torch.zeros(1, 60, steps, IN))[2]["potential"][:, :, steps // 2 :]
            spreads.append(potential.std().item())
        assert spreads[1] == pytest.approx(spreads[0], rel=0.04)

    def test_is_a_function_of_seed_and_step_and_of_training_alone(self):
        network, x = build(noise=0.1, input_noise=0.1), inputs()
        quiet = network(x)[0]
        torch.testing.assert_close(quiet, build(noise=0.0)(x)[0])
        network.noise_step = 3
        torch.manual_seed(5)
        first, again = network(x)[0], network(x)[0]
        assert torch.equal(first, again)
        assert (first - quiet).abs().max() > 1e-3
        network.noise_step = 4
        assert (network(x)[0] - first).abs().max() > 1e-3
        alone = build(SEEDS[1:], noise=0.1, input_noise=0.1)
        alone.noise_step = 3
        torch.testing.assert_close(alone(x[1:])[0][0], first[1], rtol=0, atol=1e-6)

    def test_comes_on_silent_steps_too(self):
        network, x = build(noise=0.1), inputs()
        network.noise_step = 0
        x[:, :, 2:] = 0
        torch.testing.assert_close(network(x[:, :, :2], steps=TIME)[0], network(x)[0], rtol=0, atol=1e-6)

    def test_gradients_flow_past_it(self):
        network = build(noise=0.1).double()
        network.noise_step = 1
        network(inputs().double())[0].sum().backward()
        assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())


class TestDale:
    def test_senders_have_one_sign_whatever_the_parameter(self):
        network = build(dale=0.8)
        network.w_rec.data = torch.randn(network.w_rec.shape)
        weights = network.recurrence
        assert (weights[:, :16] >= 0).all()
        assert (weights[:, 16:] <= 0).all()
        assert not torch.diagonal(weights, dim1=1, dim2=2).any()
        assert (weights != 0).sum() == 2 * UNITS * (UNITS - 1)
        plain = build().recurrence
        assert ((plain > 0).any(dim=2) & (plain < 0).any(dim=2)).all()

    def test_weights_start_balanced_at_their_spectral_radius(self):
        network = build(dale=0.8, hidden_dim=100)
        for weights in network.recurrence.detach().numpy():
            assert np.abs(np.linalg.eigvals(weights)).max() == pytest.approx(SPECTRAL_RADIUS, rel=1e-4)
            excitation, inhibition = weights[:80].sum(axis=0).mean(), -weights[80:].sum(axis=0).mean()
            assert excitation == pytest.approx(inhibition, rel=0.1)

    def test_connections_that_cross_zero_come_back(self):
        network = build(dale=0.8)
        network.w_rec.data[0, 2, 5] = -0.1
        network(inputs().abs())[0].sum().backward()
        assert network.w_rec.grad[0, 2, 5] != 0

    def test_only_excitatory_units_are_read_out(self):
        network = build(dale=0.5)
        assert not network.w_out[:, UNITS // 2 :].any()
        before = network(inputs())[0]
        network.w_out.data[:, UNITS // 2 :] = 5.0
        torch.testing.assert_close(network(inputs())[0], before)
        network(inputs())[0].sum().backward()
        assert not network.w_out.grad[:, UNITS // 2 :].any()


class TestDensity:
    def test_connections_that_do_not_exist_stay_away(self):
        network = build(density=0.3, hidden_dim=100)
        share = float((network.recurrence != 0).double().mean())
        assert share == pytest.approx(0.3, abs=0.02)
        network(inputs())[0].sum().backward()
        assert not network.w_rec.grad[network.mask == 0].any()
        assert network.w_rec.grad[network.mask != 0].any()
        assert not torch.equal(network.mask[0], network.mask[1])

    def test_the_mask_is_of_the_seed_and_in_the_file(self):
        network, alone = build(density=0.5, dale=0.8), build(SEEDS[1:], density=0.5, dale=0.8)
        assert torch.equal(network.mask[1], alone.mask[0])
        other = build((5, 6), density=0.5, dale=0.8)
        for member in range(2):
            other.load(member, network.export(member))
        assert torch.equal(other(inputs())[0], network(inputs())[0])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dale": 0.01}, "dale: must leave at least one excitatory unit of 20; got 0.01"),
        ({"dale": 0.8, "init": "orthogonal"}, "init: cannot be orthogonal under Dale's law"),
    ],
)
def test_one_line_says_what_does_not_fit(options, message):
    with pytest.raises(UserError, match=message):
        build(**options)

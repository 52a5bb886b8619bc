"""Lyapunov exponents: systems whose exponents are known."""

import numpy as np
import pytest
import torch

from emt.dynamics.describe import EXPONENTS, SILENT_STEPS
from emt.dynamics.exponents import changed_exponents, lyapunov_exponents, steady_weights
from emt.models.base import Model
from emt.models.elman import Elman

UNITS, IN, OUT, BATCH, STEPS = 5, 3, 4, 2, 200


class Linear(Model):
    """h_t = h_{t−1} W + x_t, (member, batch, unit)."""

    state_dims = {"hidden": ("unit",)}

    def __init__(self, matrices):
        super().__init__(range(len(matrices)))
        self.w_rec = torch.nn.Parameter(torch.from_numpy(np.stack(matrices)), requires_grad=False)

    def forward(self, x, state=None, steps=None, context=None):
        h = state["hidden"]
        for t in range(x.shape[2]):
            h = h @ self.w_rec + x[:, :, t]
        return x, {"hidden": h}, {}


def matrix_with(eigenvalues, seed):
    vectors = np.random.default_rng(seed).normal(size=(len(eigenvalues), len(eigenvalues)))
    return vectors @ np.diag(eigenvalues) @ np.linalg.inv(vectors)


def test_those_of_a_linear_network_are_logs_of_moduli():
    spectra = np.array([[1.1, -0.9, 0.7, 0.5, 0.3], [0.95, 0.6, -0.4, 0.2, 0.1]])
    model = Linear([matrix_with(values, seed) for seed, values in enumerate(spectra)])
    inputs = torch.from_numpy(np.random.default_rng(3).normal(size=(2, BATCH, STEPS, UNITS)))
    state = {"hidden": torch.zeros(2, BATCH, UNITS, dtype=torch.float64)}
    found = lyapunov_exponents(model, state, inputs).numpy()
    expected = np.log(np.abs(spectra))
    assert found.shape == (2, BATCH, UNITS)
    np.testing.assert_allclose(found, np.broadcast_to(expected[:, None], found.shape), atol=1e-3)
    leading = lyapunov_exponents(model, state, inputs, count=2).numpy()
    np.testing.assert_allclose(leading, found[..., :2], atol=1e-6)
    # Control: singular values are something else, as the matrices are not normal.
    stretch = np.log(np.linalg.svd(model.w_rec.numpy(), compute_uv=False))
    assert np.abs(stretch - expected).max() > 0.1


@pytest.mark.parametrize("units", [8, 32])
def test_complex_pairs_of_a_linear_network_in_silence(units):
    matrices = np.random.default_rng(units).normal(size=(4, units, units)) / np.sqrt(units)
    model, state = Linear(matrices), {"hidden": torch.zeros(4, 1, units, dtype=torch.float64)}
    moduli = np.sort(np.abs(np.linalg.eigvals(matrices)))[:, ::-1]
    expected = np.log(moduli[:, :EXPONENTS])

    def errors(steps, weights=None):
        silence = torch.zeros(4, 1, steps, units, dtype=torch.float64)
        found = lyapunov_exponents(model, state, silence, count=EXPONENTS, weights=weights)[:, 0].numpy()
        return np.abs(found - expected).max(axis=1)

    assert (errors(SILENT_STEPS, steady_weights(SILENT_STEPS)) < 1e-3).all()
    # Control: fewer steps, all counted alike, are not enough.
    assert (errors(STEPS) > 1e-3).all()


def test_steps_that_do_not_count_may_have_no_growth():
    """A perturbation that the first step erases has no logarithm."""
    model = Elman((5,), IN, OUT, hidden_dim=UNITS).double().requires_grad_(False)
    state = {"hidden": torch.full((1, 1, UNITS), 1e3, dtype=torch.float64)}
    inputs = torch.zeros(1, 1, STEPS, IN, dtype=torch.float64)
    even = torch.ones(STEPS)
    for weights, finite in ((steady_weights(STEPS), True), (None, True), (even, False)):
        found = lyapunov_exponents(model, state, inputs, weights=weights)
        assert bool(torch.isfinite(found).all()) == finite


def test_saturating_inputs_make_a_network_more_stable():
    model = Elman((5,), IN, OUT, hidden_dim=UNITS).double().requires_grad_(False)
    model.w_rec *= 4
    strong = torch.from_numpy(np.random.default_rng(0).choice([-9.0, 9.0], (1, BATCH, STEPS, IN)))
    state = {"hidden": torch.full((1, BATCH, UNITS), 0.1, dtype=torch.float64)}
    driven, silent = (lyapunov_exponents(model, state, x)[..., 0] for x in (strong, torch.zeros_like(strong)))
    assert (driven < silent - 0.1).all()


def test_exponents_at_rest_are_those_of_the_jacobian():
    model = Elman((5,), IN, OUT, hidden_dim=UNITS).double().requires_grad_(False)
    state = {"hidden": torch.zeros(1, 1, UNITS, dtype=torch.float64)}
    found = lyapunov_exponents(model, state, torch.zeros(1, 1, 4 * STEPS, IN, dtype=torch.float64))[0, 0]
    moduli = torch.linalg.eigvals(model.w_rec[0]).abs().log().sort(descending=True).values
    torch.testing.assert_close(found.sum(), moduli.sum(), atol=1e-9, rtol=0)
    torch.testing.assert_close(found, moduli, atol=2e-2, rtol=0)


def test_exponents_of_an_extreme_block_move_with_the_last_digit_and_those_of_a_normal_one_do_not():
    """A block with the only eigenvalue 0.5 and shear 50, and a normal matrix with moduli 0.9 to 0.5, both rotated.

    A change of relative size u = 2⁻²⁴ moves the eigenvalue of the block by about 50 u^(1/5), so that the
    leading exponent is that of the change and not log 0.5. For the normal one it moves them by u ‖J‖_F / |λ|
    at most.
    """
    turn = np.linalg.qr(np.random.default_rng(0).normal(size=(UNITS, UNITS)))[0]
    block = turn @ (0.5 * np.eye(UNITS) + 50 * np.eye(UNITS, k=1)) @ turn.T
    moduli = np.array([0.9, 0.8, 0.7, 0.6, 0.5])
    model = Linear([block, turn @ np.diag(moduli) @ turn.T])
    inputs = torch.zeros(2, 1, STEPS, UNITS, dtype=torch.float64)
    state = {"hidden": torch.zeros(2, 1, UNITS, dtype=torch.float64)}
    exact, changed = changed_exponents(model, state, inputs, changes=(0.0, 2.0**-24)).numpy()[:, :, 0]
    assert abs(changed[0, 0] - exact[0, 0]) > 0.1
    assert np.abs(changed[1] - exact[1]).max() < 1e-6
    np.testing.assert_allclose(exact[1], np.log(moduli), atol=1e-3)
    np.testing.assert_array_equal(exact, lyapunov_exponents(model, state, inputs).numpy()[:, 0])

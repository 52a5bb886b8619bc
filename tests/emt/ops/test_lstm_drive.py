"""The LSTM on given drives against the equations, in float64, on sizes all different."""

import pytest
import torch

from emt.ops import lstm_of_drive, lstm_steps

MEMBERS, BATCH, TIME, UNITS = 2, 3, 5, 7


def arguments(*given, steps=TIME):
    generator = torch.Generator().manual_seed(3)
    shapes = {"drive": (MEMBERS, BATCH, steps, 4 * UNITS), "w_rec": (MEMBERS, UNITS, 4 * UNITS)}
    shapes |= dict.fromkeys(given, (MEMBERS, BATCH, UNITS))
    return {
        name: torch.randn(s, generator=generator, dtype=torch.float64).requires_grad_()
        for name, s in shapes.items()
    }


def by_equations(drive, w_rec, h0=None, c0=None):
    whole = torch.eye(4 * UNITS, dtype=torch.float64).expand(MEMBERS, -1, -1)
    return lstm_steps(drive, whole, w_rec, w_rec[:, :, :0], h0=h0, c0=c0)[1:]


def run(form, inputs, weights):
    """Both states, and the gradient of a sum of them with these weights."""
    states = form(**inputs)
    generator = torch.Generator().manual_seed(4)
    noise = torch.randn(states[0].shape, generator=generator, dtype=torch.float64)
    loss = sum(w * (s * noise).sum() for w, s in zip(weights, states, strict=True) if w)
    return states, torch.autograd.grad(loss, list(inputs.values()))


@pytest.mark.parametrize("weights", [(1, 0), (0, 1), (1, 2)])
@pytest.mark.parametrize("given", [(), ("h0",), ("c0",), ("h0", "c0")])
@pytest.mark.parametrize("steps", [1, TIME])
def test_fast_equals_the_equations_with_gradients(steps, given, weights):
    inputs = arguments(*given, steps=steps)
    for fast, twin in zip(
        run(lstm_of_drive, inputs, weights), run(by_equations, inputs, weights), strict=True
    ):
        for got, expected in zip(fast, twin, strict=True):
            assert got.shape == expected.shape
            torch.testing.assert_close(got, expected, rtol=0, atol=1e-11)


def test_gates_in_another_order_fail():
    inputs = arguments()
    swapped = inputs | {"drive": inputs["drive"].roll(UNITS, dims=-1)}
    assert (lstm_of_drive(**swapped)[0] - by_equations(**inputs)[0]).abs().max() > 1e-3


def test_inputs_are_left_alone():
    inputs = arguments("h0", "c0")
    copies = {name: value.detach().clone() for name, value in inputs.items()}
    run(lstm_of_drive, inputs, (1, 1))
    assert all(torch.equal(inputs[name], copies[name]) for name in copies)

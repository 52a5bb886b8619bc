"""The fast rate network against its equation, in float64, on sizes that are all different."""

import pytest
import torch
from planted.cells import drawn, results_and_gradients

from emt.ops import elman, rate, rate_steps

MEMBERS, BATCH, TIME, IN, UNITS, OUT = 2, 3, 5, 4, 7, 6
SHAPES = {
    "x": (MEMBERS, BATCH, TIME, IN),
    "w_in": (MEMBERS, IN, UNITS),
    "w_rec": (MEMBERS, UNITS, UNITS),
    "w_out": (MEMBERS, UNITS, OUT),
    "bias": (MEMBERS, UNITS),
    "b_out": (MEMBERS, OUT),
    "potential": (MEMBERS, BATCH, UNITS),
}
OPTIONAL = ("bias", "b_out", "potential")


def arguments(*given, dtype=torch.float64):
    return drawn(SHAPES, [name for name in SHAPES if name not in OPTIONAL or name in given], dtype)


@pytest.mark.parametrize("activation", ["tanh", "relu"])
@pytest.mark.parametrize("leak", [0.2, 1.0])
@pytest.mark.parametrize("steps", [None, TIME + 4])
@pytest.mark.parametrize("given", [(), ("bias", "potential"), OPTIONAL])
@pytest.mark.parametrize(
    "use", [("outputs",), ("hidden",), ("potential",), ("outputs", "hidden", "potential")]
)
def test_fast_equals_the_equation_with_gradients(given, steps, use, leak, activation):
    options = {"steps": steps, "leak": leak, "activation": activation}
    fast, twin = (
        results_and_gradients(form, arguments(*given), use, **options) for form in (rate, rate_steps)
    )
    for name, expected in twin.items():
        torch.testing.assert_close(
            fast[name], expected, rtol=1e-12, atol=1e-13, msg=lambda m, n=name: f"{n}: {m}"
        )


@pytest.mark.parametrize("activation", ["tanh", "relu"])
def test_gradients_agree_with_finite_differences(activation):
    inputs = arguments(*OPTIONAL)
    assert torch.autograd.gradcheck(
        lambda *a: tuple(rate(*a, steps=TIME + 1, leak=0.3, activation=activation)), tuple(inputs.values())
    )


@pytest.mark.parametrize("activation", ["tanh", "relu"])
def test_without_leak_it_is_an_elman_network_and_with_it_it_is_not(activation):
    inputs = {name: value.detach() for name, value in arguments("bias", "b_out").items()}
    expected = elman(**inputs, steps=9, activation=activation)
    found = rate(**inputs, steps=9, leak=1.0, activation=activation)
    torch.testing.assert_close(found.outputs, expected.outputs, rtol=0, atol=1e-13)
    torch.testing.assert_close(found.hidden, expected.hidden, rtol=0, atol=1e-13)
    leaky = rate(**inputs, steps=9, leak=0.9, activation=activation)
    assert (leaky.hidden - expected.hidden).abs().max() > 0.01


def test_a_potential_decays_as_the_leak_says():
    inputs = {name: value.detach() for name, value in arguments("potential").items()}
    inputs |= {name: torch.zeros_like(inputs[name]) for name in ("x", "w_rec")}
    found = rate(**inputs, leak=0.2).potential
    factors = 0.8 ** torch.arange(1, TIME + 1, dtype=torch.float64)
    torch.testing.assert_close(found, inputs["potential"][:, :, None] * factors[:, None])


def test_members_do_not_see_each_other():
    inputs = {name: value.detach() for name, value in arguments(*OPTIONAL).items()}
    before = rate(**inputs).hidden
    inputs["w_in"][1] = float("nan")
    after = rate(**inputs).potential
    assert torch.equal(before[0], torch.relu(after[0]))
    assert after[1, :, -1].isnan().all()


def test_float32_is_close_to_float64():
    double, single = (
        results_and_gradients(rate, arguments(*OPTIONAL, dtype=d), ("outputs",), steps=9)
        for d in (torch.float64, torch.float32)
    )
    for name, expected in double.items():
        torch.testing.assert_close(single[name].double(), expected, rtol=1e-4, atol=1e-5)

"""The fast Elman network against its equation, in float64, on sizes that are all different."""

import pytest
import torch
from planted.cells import drawn, results_and_gradients

from emt.ops import elman, elman_steps

MEMBERS, BATCH, TIME, IN, UNITS, OUT = 2, 3, 5, 4, 7, 6
SHAPES = {
    "x": (MEMBERS, BATCH, TIME, IN),
    "w_in": (MEMBERS, IN, UNITS),
    "w_rec": (MEMBERS, UNITS, UNITS),
    "w_out": (MEMBERS, UNITS, OUT),
    "bias": (MEMBERS, UNITS),
    "b_out": (MEMBERS, OUT),
    "h0": (MEMBERS, BATCH, UNITS),
}
OPTIONAL = ("bias", "b_out", "h0")


def arguments(*given, dtype=torch.float64):
    return drawn(SHAPES, [name for name in SHAPES if name not in OPTIONAL or name in given], dtype)


@pytest.mark.parametrize("activation", ["tanh", "relu"])
@pytest.mark.parametrize("steps", [None, TIME + 4])
@pytest.mark.parametrize("given", [(), ("bias",), ("b_out",), ("h0",), OPTIONAL])
@pytest.mark.parametrize("use", [("outputs",), ("hidden",), ("outputs", "hidden")])
def test_fast_equals_the_equation_with_gradients(given, steps, use, activation):
    options = {"steps": steps, "activation": activation}
    fast, twin = (
        results_and_gradients(form, arguments(*given), use, **options) for form in (elman, elman_steps)
    )
    for name, expected in twin.items():
        torch.testing.assert_close(
            fast[name], expected, rtol=1e-12, atol=1e-13, msg=lambda m, n=name: f"{n}: {m}"
        )


def test_gradients_agree_with_finite_differences():
    inputs = arguments(*OPTIONAL)
    assert torch.autograd.gradcheck(lambda *a: tuple(elman(*a, steps=TIME + 1)), tuple(inputs.values()))


def test_the_activation_matters():
    bent, cut = (elman(**arguments(), activation=a).hidden for a in ("tanh", "relu"))
    assert cut.min() == 0 > bent.min()


def test_missing_inputs_are_zero_inputs():
    inputs = arguments("bias")
    padded = {**inputs, "x": torch.nn.functional.pad(inputs["x"], (0, 0, 0, 4))}
    short, full = elman(**inputs, steps=TIME + 4), elman(**padded)
    torch.testing.assert_close(short.outputs, full.outputs)
    assert short.outputs.shape == (MEMBERS, BATCH, TIME + 4, OUT)
    assert short.hidden.shape == (MEMBERS, BATCH, TIME + 4, UNITS)


def test_members_do_not_see_each_other():
    inputs = {name: value.detach() for name, value in arguments(*OPTIONAL).items()}
    before = elman(**inputs).hidden
    inputs["w_rec"][1] = float("nan")
    after = elman(**inputs).hidden
    assert torch.equal(before[0], after[0])
    assert after[1, :, -1].isnan().all()


def test_float32_is_close_to_float64():
    double, single = (
        results_and_gradients(elman, arguments(*OPTIONAL, dtype=d), ("outputs",), steps=9)
        for d in (torch.float64, torch.float32)
    )
    for name, expected in double.items():
        torch.testing.assert_close(single[name].double(), expected, rtol=1e-4, atol=1e-5)


def test_inputs_are_left_alone():
    inputs = arguments(*OPTIONAL)
    copies = {name: value.detach().clone() for name, value in inputs.items()}
    results_and_gradients(elman, inputs, ("outputs", "hidden"))
    assert all(torch.equal(inputs[name], copies[name]) for name in copies)

"""The fast-weight network without its matrix against the equations with it, in float64, on sizes all different."""

import pytest
import torch

from emt.ops import fast_matrix, fast_weights, fast_weights_steps

MEMBERS, BATCH, TIME, UNITS = 2, 3, 5, 7
ETA, LAM = 0.5, 0.9
LONG = 3 * UNITS + 2
SHAPES = {
    "w_rec": (MEMBERS, UNITS, UNITS),
    "gain": (MEMBERS, UNITS),
    "bias": (MEMBERS, UNITS),
    "h0": (MEMBERS, BATCH, UNITS),
    "a0": (MEMBERS, BATCH, UNITS, UNITS),
}
OPTIONAL = ("h0", "a0")


def arguments(*given, steps=TIME, dtype=torch.float64):
    generator = torch.Generator().manual_seed(3)
    shapes = {"drive": (MEMBERS, BATCH, steps, UNITS)} | {
        n: s for n, s in SHAPES.items() if n not in OPTIONAL
    }
    shapes |= {name: SHAPES[name] for name in given}
    values = {
        name: 0.5 * torch.randn(s, generator=generator, dtype=torch.float64) for name, s in shapes.items()
    }
    values["gain"] += 1
    return {name: value.to(dtype).requires_grad_() for name, value in values.items()}


def run(form, inputs, inner_steps, eta=ETA, lam=LAM):
    """Results, and the gradient of a weighted sum of the hidden states."""
    result = form(**inputs, eta=eta, lam=lam, inner_steps=inner_steps)
    generator = torch.Generator().manual_seed(4)
    weights = torch.randn(result.hidden.shape, generator=generator, dtype=torch.float64)
    loss = (result.hidden * weights).sum()
    gradients = torch.autograd.grad(loss, list(inputs.values()), allow_unused=True, materialize_grads=True)
    return result._asdict(), {f"d_{name}": g for name, g in zip(inputs, gradients, strict=True)}


@pytest.mark.parametrize("steps", [1, TIME, UNITS, UNITS + 1, LONG])
@pytest.mark.parametrize("given", [(), ("h0",), ("a0",), OPTIONAL])
@pytest.mark.parametrize("inner_steps", [0, 1, 3])
def test_fast_equals_the_equations_with_gradients(steps, given, inner_steps):
    fast, twin = (
        run(form, arguments(*given, steps=steps), inner_steps) for form in (fast_weights, fast_weights_steps)
    )
    for name, expected in twin[0].items():
        assert fast[0][name].shape == expected.shape
        torch.testing.assert_close(
            fast[0][name], expected, rtol=0, atol=1e-11, msg=lambda m, n=name: f"{n}: {m}"
        )
    for name, expected in twin[1].items():
        scale = expected.abs().max().item()
        close = {"rtol": 0, "atol": 1e-9 * max(scale, 1e-3)}
        torch.testing.assert_close(fast[1][name], expected, **close, msg=lambda m, n=name: f"{n}: {m}")


@pytest.mark.parametrize("change", [{"eta": 0.45}, {"lam": 0.8}])
def test_another_rule_fails(change):
    fast, twin = run(fast_weights, arguments(), 1)[0], run(fast_weights_steps, arguments(), 1, **change)[0]
    assert (fast["hidden"] - twin["hidden"]).abs().max() > 1e-3


def test_gradients_agree_with_finite_differences():
    inputs = arguments(*OPTIONAL, steps=UNITS + 1)

    def hidden(*values):
        return fast_weights(**dict(zip(inputs, values, strict=True)), eta=ETA, lam=LAM, inner_steps=2).hidden

    assert torch.autograd.gradcheck(hidden, tuple(inputs.values()))


def test_the_matrix_is_what_was_written():
    inputs = arguments(*OPTIONAL)
    hidden = fast_weights(**inputs, eta=ETA, lam=LAM).hidden
    a = inputs["a0"]
    for t in range(TIME):
        a = LAM * a + ETA * torch.einsum("mbi,mbj->mbij", hidden[:, :, t], hidden[:, :, t])
    torch.testing.assert_close(fast_matrix(hidden, ETA, LAM, inputs["a0"]), a, rtol=0, atol=1e-11)
    empty = fast_matrix(hidden, ETA, LAM, torch.zeros_like(a))
    torch.testing.assert_close(fast_matrix(hidden, ETA, LAM), empty)


@pytest.mark.parametrize("cut", [1, TIME - 1])
def test_a_sequence_may_be_cut_anywhere(cut):
    inputs = arguments()
    whole = fast_weights(**inputs, eta=ETA, lam=LAM, inner_steps=2)
    parts = inputs["drive"].split([cut, TIME - cut], dim=2)
    slow = {n: v for n, v in inputs.items() if n != "drive"}
    first = fast_weights(parts[0], **slow, eta=ETA, lam=LAM, inner_steps=2)
    carried = {"h0": first.hidden[:, :, -1], "a0": fast_matrix(first.hidden, ETA, LAM)}
    second = fast_weights(parts[1], **slow, **carried, eta=ETA, lam=LAM, inner_steps=2)
    for name, expected in whole._asdict().items():
        joined = torch.cat([getattr(first, name), getattr(second, name)], dim=2)
        torch.testing.assert_close(joined, expected, rtol=0, atol=1e-11)


def test_members_do_not_see_each_other():
    inputs = {name: value.detach() for name, value in arguments(*OPTIONAL).items()}
    before = fast_weights(**inputs, eta=ETA, lam=LAM).hidden
    inputs["w_rec"][1] = float("nan")
    after = fast_weights(**inputs, eta=ETA, lam=LAM).hidden
    assert torch.equal(before[0], after[0])
    assert after[1].isnan().all()


def test_float32_is_close_to_float64():
    double, single = (
        run(fast_weights, arguments(*OPTIONAL, steps=LONG, dtype=d), 1)
        for d in (torch.float64, torch.float32)
    )
    for expected, got in zip(double, single, strict=True):
        for name, value in expected.items():
            scale = value.abs().max().item()
            torch.testing.assert_close(got[name].double(), value, rtol=0, atol=1e-4 * scale)


def test_inputs_are_left_alone():
    inputs = arguments(*OPTIONAL, steps=UNITS + 1)
    copies = {name: value.detach().clone() for name, value in inputs.items()}
    run(fast_weights, inputs, 2)
    assert all(torch.equal(inputs[name], copies[name]) for name in copies)

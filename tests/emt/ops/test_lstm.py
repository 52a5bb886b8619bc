"""The fast LSTM against its equations and against torch's, in float64, on sizes that are all different."""

import pytest
import torch

from emt.ops import lstm, lstm_steps

MEMBERS, BATCH, TIME, IN, UNITS, OUT = 2, 3, 5, 4, 7, 6
SHAPES = {
    "x": (MEMBERS, BATCH, TIME, IN),
    "w_in": (MEMBERS, IN, 4 * UNITS),
    "w_rec": (MEMBERS, UNITS, 4 * UNITS),
    "w_out": (MEMBERS, UNITS, OUT),
    "bias": (MEMBERS, 4 * UNITS),
    "b_out": (MEMBERS, OUT),
    "h0": (MEMBERS, BATCH, UNITS),
    "c0": (MEMBERS, BATCH, UNITS),
}
OPTIONAL = ("bias", "b_out", "h0", "c0")


def arguments(*given):
    generator = torch.Generator().manual_seed(3)
    names = [name for name in SHAPES if name not in OPTIONAL or name in given]
    draw = {name: 0.5 * torch.randn(SHAPES[name], generator=generator, dtype=torch.float64) for name in names}
    return {name: value.requires_grad_() for name, value in draw.items()}


def run(form, inputs, steps, use):
    """Results, and the gradient of a weighted sum of those named in ``use``."""
    result = form(**inputs, steps=steps)._asdict()
    generator = torch.Generator().manual_seed(4)
    terms = {
        k: (v * torch.randn(v.shape, generator=generator, dtype=v.dtype)).sum() for k, v in result.items()
    }
    loss = sum(terms[name] for name in use)
    gradients = torch.autograd.grad(loss, list(inputs.values()), allow_unused=True, materialize_grads=True)
    return {**result, **{f"d_{name}": g for name, g in zip(inputs, gradients, strict=True)}}


@pytest.mark.parametrize("steps", [None, TIME + 4])
@pytest.mark.parametrize("given", [(), ("bias",), ("b_out",), ("h0",), ("c0",), OPTIONAL])
@pytest.mark.parametrize("use", [("outputs",), ("hidden",), ("cell",), ("outputs", "hidden", "cell")])
def test_fast_equals_the_equations_with_gradients(given, steps, use):
    fast, twin = (run(form, arguments(*given), steps, use) for form in (lstm, lstm_steps))
    for name, expected in twin.items():
        torch.testing.assert_close(
            fast[name], expected, rtol=1e-12, atol=1e-13, msg=lambda m, n=name: f"{n}: {m}"
        )


def test_gradients_agree_with_finite_differences():
    inputs = arguments(*OPTIONAL)
    assert torch.autograd.gradcheck(lambda *a: tuple(lstm(*a, steps=TIME + 1)), tuple(inputs.values()))


def test_each_member_is_torchs_lstm():
    inputs = {name: value.detach() for name, value in arguments(*OPTIONAL).items()}
    result = lstm(**inputs)
    for m in range(MEMBERS):
        net = torch.nn.LSTM(IN, UNITS, batch_first=True, dtype=torch.float64)
        weights = {"weight_ih_l0": inputs["w_in"][m].T, "weight_hh_l0": inputs["w_rec"][m].T}
        biases = {"bias_ih_l0": inputs["bias"][m] / 4, "bias_hh_l0": inputs["bias"][m] * 3 / 4}
        net.load_state_dict({**weights, **biases})
        hidden, (_, c) = net(inputs["x"][m], (inputs["h0"][m][None], inputs["c0"][m][None]))
        torch.testing.assert_close(result.hidden[m], hidden)
        torch.testing.assert_close(result.cell[m, :, -1], c[0])


def test_members_do_not_see_each_other():
    inputs = {name: value.detach() for name, value in arguments(*OPTIONAL).items()}
    before = lstm(**inputs).hidden
    inputs["w_rec"][1] = float("nan")
    after = lstm(**inputs).hidden
    assert torch.equal(before[0], after[0])
    assert after[1, :, -1].isnan().all()


def test_a_readout_of_no_outputs_is_left_out():
    inputs = arguments("bias")
    full, bare = (lstm(**{**inputs, "w_out": w}) for w in (inputs["w_out"], inputs["w_out"][:, :, :0]))
    torch.testing.assert_close(full.hidden, bare.hidden)
    assert bare.outputs.shape == (MEMBERS, BATCH, TIME, 0)
    gradients = (torch.autograd.grad(r.hidden.square().sum(), inputs["w_rec"])[0] for r in (full, bare))
    torch.testing.assert_close(*gradients)

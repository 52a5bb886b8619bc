"""The fast GRU against its equations and against torch's, in float64, on sizes that are all different."""

from importlib import import_module

import pytest
import torch

from emt.ops import gru, gru_steps

MEMBERS, BATCH, TIME, IN, UNITS, OUT = 2, 3, 5, 4, 7, 6
SHAPES = {
    "x": (MEMBERS, BATCH, TIME, IN),
    "w_in": (MEMBERS, IN, 3 * UNITS),
    "w_rec": (MEMBERS, UNITS, 3 * UNITS),
    "w_out": (MEMBERS, UNITS, OUT),
    "b_in": (MEMBERS, 3 * UNITS),
    "b_rec": (MEMBERS, 3 * UNITS),
    "b_out": (MEMBERS, OUT),
    "h0": (MEMBERS, BATCH, UNITS),
}
gru_module = import_module("emt.ops.gru")  # the package has a function of that name
OPTIONAL = ("b_in", "b_rec", "b_out", "h0")


def arguments(*given):
    generator = torch.Generator().manual_seed(3)
    names = [name for name in SHAPES if name not in OPTIONAL or name in given]
    draw = {name: 0.5 * torch.randn(SHAPES[name], generator=generator, dtype=torch.float64) for name in names}
    return {name: value.requires_grad_() for name, value in draw.items()}


def weighted(result):
    """A weighted sum of a result's numbers."""
    generator = torch.Generator().manual_seed(4)
    return (result * torch.randn(result.shape, generator=generator, dtype=result.dtype)).sum()


def run(form, inputs, steps, use):
    """Results, and the gradient of a weighted sum of those named in ``use``."""
    result = form(**inputs, steps=steps)._asdict()
    loss = sum(weighted(result[name]) for name in use)
    gradients = torch.autograd.grad(loss, list(inputs.values()), allow_unused=True, materialize_grads=True)
    return {**result, **{f"d_{name}": g for name, g in zip(inputs, gradients, strict=True)}}


@pytest.mark.parametrize("steps", [None, TIME + 4])
@pytest.mark.parametrize("given", [(), ("b_in",), ("b_rec",), ("b_out",), ("h0",), OPTIONAL])
@pytest.mark.parametrize("use", [("outputs",), ("hidden",), ("outputs", "hidden")])
def test_fast_equals_the_equations_with_gradients(given, steps, use):
    fast, twin = (run(form, arguments(*given), steps, use) for form in (gru, gru_steps))
    for name, expected in twin.items():
        torch.testing.assert_close(
            fast[name], expected, rtol=1e-12, atol=1e-13, msg=lambda m, n=name: f"{n}: {m}"
        )


def test_gradients_agree_with_finite_differences():
    inputs = arguments(*OPTIONAL)
    assert torch.autograd.gradcheck(lambda *a: tuple(gru(*a, steps=TIME + 1)), tuple(inputs.values()))


def test_without_the_direct_path_gradients_are_wrong(monkeypatch):
    # The control of the comparisons above, and of the rule in `Cell`.
    class Indirect(gru_module._GRUCell):
        def backward(self, *arguments):
            super().backward(*arguments)
            self.direct = None

    monkeypatch.setattr(gru_module, "_GRUCell", Indirect)
    fast, twin = (run(form, arguments(*OPTIONAL), None, ("hidden",)) for form in (gru, gru_steps))
    torch.testing.assert_close(fast["hidden"], twin["hidden"])
    assert (fast["d_h0"] - twin["d_h0"]).abs().max() > 1e-2


@pytest.mark.parametrize("form", [gru, gru_steps])
def test_each_member_is_torchs_gru_with_gradients(form):
    inputs = arguments("b_in", "b_rec", "h0")
    hidden = form(**inputs).hidden
    names = {"weight_ih_l0": "w_in", "weight_hh_l0": "w_rec", "bias_ih_l0": "b_in", "bias_hh_l0": "b_rec"}
    for m in range(MEMBERS):
        net = torch.nn.GRU(IN, UNITS, batch_first=True, dtype=torch.float64)
        net.load_state_dict({theirs: inputs[ours][m].detach().t() for theirs, ours in names.items()})
        x, h0 = (inputs[name][m].detach().clone().requires_grad_() for name in ("x", "h0"))
        expected, _ = net(x, h0[None])
        torch.testing.assert_close(hidden[m], expected)
        asked = {"x": x, "h0": h0, **{ours: getattr(net, theirs) for theirs, ours in names.items()}}
        found = torch.autograd.grad(weighted(hidden[m]), [inputs[name] for name in asked], retain_graph=True)
        for name, ours, theirs in zip(
            asked, found, torch.autograd.grad(weighted(expected), asked.values()), strict=True
        ):
            torch.testing.assert_close(ours[m], theirs.t() if name in ("w_in", "w_rec") else theirs)
            assert not ours[1 - m].any()


def test_the_reset_gate_acts_after_the_product():
    # Cho et al. write W(r ⊙ h), torch r ⊙ (W h + b): the two differ.
    inputs = {name: value.detach() for name, value in arguments(*OPTIONAL).items()}
    h, (r_in, z_in, n_in) = (
        inputs["h0"],
        (inputs["x"][:, :, 0] @ inputs["w_in"] + inputs["b_in"][:, None]).chunk(3, -1),
    )
    r_rec, z_rec, n_rec = (h @ inputs["w_rec"] + inputs["b_rec"][:, None]).chunk(3, -1)
    r, z = torch.sigmoid(r_in + r_rec), torch.sigmoid(z_in + z_rec)
    after, before = n_rec, (r * h) @ inputs["w_rec"][..., -UNITS:] + inputs["b_rec"][:, None, -UNITS:]
    torchs, original = ((1 - z) * torch.tanh(n_in + n) + z * h for n in (r * after, before))
    found = gru(**inputs).hidden[:, :, 0]
    torch.testing.assert_close(found, torchs)
    assert (found - original).abs().max() > 1e-2


def test_missing_inputs_are_zero_inputs():
    inputs = arguments("b_in")
    padded = {**inputs, "x": torch.nn.functional.pad(inputs["x"], (0, 0, 0, 4))}
    short, full = gru(**inputs, steps=TIME + 4), gru(**padded)
    torch.testing.assert_close(short.outputs, full.outputs)
    assert short.outputs.shape == (MEMBERS, BATCH, TIME + 4, OUT)


def test_members_do_not_see_each_other():
    inputs = {name: value.detach() for name, value in arguments(*OPTIONAL).items()}
    before = gru(**inputs).hidden
    inputs["w_rec"][1] = float("nan")
    after = gru(**inputs).hidden
    assert torch.equal(before[0], after[0])
    assert after[1, :, -1].isnan().all()


def test_a_readout_of_no_outputs_is_left_out():
    inputs = arguments("b_in", "b_rec")
    full, bare = (gru(**{**inputs, "w_out": w}) for w in (inputs["w_out"], inputs["w_out"][:, :, :0]))
    torch.testing.assert_close(full.hidden, bare.hidden)
    assert bare.outputs.shape == (MEMBERS, BATCH, TIME, 0)
    gradients = (torch.autograd.grad(r.hidden.square().sum(), inputs["w_rec"])[0] for r in (full, bare))
    torch.testing.assert_close(*gradients)


def test_float32_is_close_to_float64():
    double = gru(**arguments(*OPTIONAL))
    single = gru(**{name: value.float() for name, value in arguments(*OPTIONAL).items()})
    torch.testing.assert_close(single.outputs.double(), double.outputs, rtol=1e-4, atol=1e-5)

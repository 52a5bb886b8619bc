"""The fast associative LSTM against its equations, in float64, on sizes that are all different."""

import pytest
import torch

from emt.ops import associative_lstm, associative_lstm_steps

MEMBERS, BATCH, TIME, IN, UNITS, COPIES = 2, 3, 5, 4, 7, 6
SHAPES = {
    "x": (MEMBERS, BATCH, TIME, IN),
    "w_in": (MEMBERS, IN, 9 * UNITS),
    "w_rec": (MEMBERS, 2 * UNITS, 9 * UNITS),
    "bias": (MEMBERS, 9 * UNITS),
    "h0": (MEMBERS, BATCH, 2 * UNITS),
    "c0": (MEMBERS, BATCH, COPIES, 2 * UNITS),
}
OPTIONAL = ("h0", "c0")


def arguments(*given):
    generator = torch.Generator().manual_seed(3)
    names = [name for name in SHAPES if name not in OPTIONAL or name in given]
    draw = {name: torch.randn(SHAPES[name], generator=generator, dtype=torch.float64) for name in names}
    return {name: (0.7 * value).requires_grad_() for name, value in draw.items()}


def permutations(seed=5):
    generator = torch.Generator().manual_seed(seed)
    return torch.stack([torch.randperm(UNITS, generator=generator) for _ in range(COPIES)])


def run(form, inputs, use=("hidden", "cell"), steps=None, orders=None):
    """Results, and the gradient of a weighted sum of those named in ``use``."""
    orders = permutations() if orders is None else orders
    result = form(**inputs, permutations=orders, steps=steps)._asdict()
    generator = torch.Generator().manual_seed(4)
    terms = {
        k: (v * torch.randn(v.shape, generator=generator, dtype=v.dtype)).sum() for k, v in result.items()
    }
    loss = sum(terms[name] for name in use)
    gradients = torch.autograd.grad(loss, list(inputs.values()), allow_unused=True, materialize_grads=True)
    return {**result, **{f"d_{name}": g for name, g in zip(inputs, gradients, strict=True)}}


@pytest.mark.parametrize("steps", [None, TIME + 4])
@pytest.mark.parametrize("given", [(), ("h0",), ("c0",), OPTIONAL])
@pytest.mark.parametrize("use", [("hidden",), ("cell",), ("hidden", "cell")])
def test_fast_equals_the_equations_with_gradients(given, steps, use):
    fast, twin = (
        run(form, arguments(*given), use, steps) for form in (associative_lstm, associative_lstm_steps)
    )
    for name, expected in twin.items():
        torch.testing.assert_close(
            fast[name], expected, rtol=1e-11, atol=1e-12, msg=lambda m, n=name: f"{n}: {m}"
        )


def test_keys_and_reads_of_the_comparison_are_partly_cut():
    inputs = arguments()
    a = inputs["x"] @ inputs["w_in"].unsqueeze(1)
    sizes = a[..., 3 * UNITS :].unflatten(-1, (3, 2, UNITS)).norm(dim=-2)
    assert 0.2 < (sizes > 1).double().mean() < 0.95
    fast = run(associative_lstm, inputs)
    # A read that was cut to length 1 leaves an output of the gate's size; others leave a smaller one.
    hidden = fast["hidden"].unflatten(-1, (2, UNITS)).norm(dim=-2)
    assert hidden.max() < 1
    assert fast["cell"].unflatten(-1, (2, UNITS)).norm(dim=-2).max() > 1


def test_other_permutations_fail():
    fast = run(associative_lstm, arguments())
    twin = run(associative_lstm_steps, arguments(), orders=permutations(6))
    assert (fast["hidden"] - twin["hidden"]).abs().max() > 1e-2


def test_gradients_agree_with_finite_differences():
    inputs = arguments(*OPTIONAL)

    def results(*values):
        return tuple(associative_lstm(**dict(zip(inputs, values, strict=True)), permutations=permutations()))

    assert torch.autograd.gradcheck(results, tuple(inputs.values()), fast_mode=True)


@pytest.mark.parametrize("cut", [1, TIME - 1])
def test_a_sequence_may_be_cut_anywhere(cut):
    inputs = {name: value.detach() for name, value in arguments().items()}
    weights = {name: value for name, value in inputs.items() if name != "x"}
    first, second = inputs["x"].split([cut, TIME - cut], dim=2)
    whole = associative_lstm(**inputs, permutations=permutations())
    before = associative_lstm(first, **weights, permutations=permutations())
    carried = {"h0": before.hidden[:, :, -1], "c0": before.cell[:, :, -1]}
    after = associative_lstm(second, **weights, **carried, permutations=permutations())
    for name, expected in whole._asdict().items():
        torch.testing.assert_close(torch.cat([getattr(before, name), getattr(after, name)], dim=2), expected)


def test_members_do_not_see_each_other():
    inputs = {name: value.detach() for name, value in arguments(*OPTIONAL).items()}
    before = associative_lstm(**inputs, permutations=permutations()).hidden
    inputs["w_rec"][1] = float("nan")
    after = associative_lstm(**inputs, permutations=permutations()).hidden
    assert torch.equal(before[0], after[0])
    assert after[1].isnan().all()


def test_inputs_are_left_alone():
    inputs = arguments(*OPTIONAL)
    copies = {name: value.detach().clone() for name, value in inputs.items()}
    run(associative_lstm, inputs)
    assert all(torch.equal(inputs[name], copies[name]) for name in copies)

"""The recalling LSTM against its equations step by step, values and gradients."""

import pytest
import torch

from emt.ops.dnd_lstm import dnd_lstm, dnd_lstm_steps

MEMBERS, BATCH, UNITS = 2, 3, 7


def draw(steps):
    generator = torch.Generator().manual_seed(0)
    shapes = ((BATCH, steps, 5 * UNITS), (BATCH, steps, UNITS), (UNITS, 5 * UNITS), (BATCH, UNITS), (BATCH, UNITS))
    return [torch.randn(MEMBERS, *s, generator=generator, dtype=torch.float64, requires_grad=True) for s in shapes]


@pytest.mark.parametrize("used", ["hidden", "cell", "both"])
@pytest.mark.parametrize("steps", [1, 5])
def test_fast_and_plain_form_agree_with_their_gradients(steps, used):
    results = []
    for form in (dnd_lstm, dnd_lstm_steps):
        arguments = draw(steps)
        run = form(*arguments)
        weights = torch.randn(2, *run.hidden.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
        parts = [(w * r).sum() for w, r, name in zip(weights, run, run._fields, strict=True) if used in (name, "both")]
        wanted = [arguments[0], *arguments[2:]]
        results.append([*run, *torch.autograd.grad(sum(parts), wanted)])
    for fast, plain in zip(*results, strict=True):
        torch.testing.assert_close(fast, plain, atol=1e-12, rtol=0)
        assert plain.abs().max() > 1e-3


def test_what_is_recalled_is_a_constant():
    drive, recalled, *further = draw(5)
    run = dnd_lstm(drive, recalled, *further)
    assert torch.autograd.grad(run.cell.sum(), recalled, allow_unused=True) == (None,)


def test_what_is_recalled_matters_where_its_gate_is_open():
    drive, recalled, *further = (x.detach() for x in draw(5))
    before = dnd_lstm(drive, recalled, *further).cell
    assert (dnd_lstm(drive, recalled + 1, *further).cell - before).abs().min() > 1e-4
    drive[..., 3 * UNITS : 4 * UNITS] = -50
    shut = dnd_lstm(drive, recalled, *further).cell
    torch.testing.assert_close(dnd_lstm(drive, recalled + 1, *further).cell, shut, atol=1e-12, rtol=0)

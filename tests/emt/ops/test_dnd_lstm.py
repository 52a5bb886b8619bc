"""The recalling LSTM against its equations step by step, values and gradients."""

import pytest
import torch

from emt.ops.dictionary import recall_nearest, similarities, similarities_one_by_one
from emt.ops.dnd_lstm import dnd_lstm, dnd_lstm_steps

MEMBERS, BATCH, IN, UNITS, OUT = 2, 3, 4, 7, 6


def draw(steps, batch=BATCH):
    generator = torch.Generator().manual_seed(0)
    rows, gates = (batch, steps), 5 * UNITS
    shapes = ((*rows, IN), (*rows, UNITS), (IN, gates), (UNITS, gates), (UNITS, OUT), (gates,), (OUT,))
    return [
        torch.randn(MEMBERS, *s, generator=generator, dtype=torch.float64, requires_grad=True)
        for s in (*shapes, (batch, UNITS), (batch, UNITS))
    ]


@pytest.mark.parametrize("used", ["outputs", "hidden", "cell", "all"])
@pytest.mark.parametrize(("steps", "batch"), [(1, BATCH), (5, BATCH), (5, 1)])
def test_fast_and_plain_form_agree_with_their_gradients(steps, batch, used):
    results = []
    for form in (dnd_lstm, dnd_lstm_steps):
        arguments = draw(steps, batch)
        run = form(*arguments)
        generator = torch.Generator().manual_seed(1)
        weighed = {
            n: (torch.randn(r.shape, generator=generator, dtype=r.dtype) * r).sum()
            for n, r in run._asdict().items()
        }
        weighed.pop("recalled")
        wanted = [a for i, a in enumerate(arguments) if i != 1]
        loss = sum(weighed.values()) if used == "all" else weighed[used]
        gradients = torch.autograd.grad(loss, wanted, allow_unused=True, materialize_grads=True)
        results.append([*run, *gradients])
    for fast, plain in zip(*results, strict=True):
        torch.testing.assert_close(fast, plain, atol=1e-12, rtol=0)
    assert all(plain.abs().max() > 1e-3 for plain in results[1][4:7])


def searched(find, slots=5):
    """Return what looks hidden states up in a dictionary, as the model does; one row has nothing but empty slots."""
    generator = torch.Generator().manual_seed(2)
    keys, values = torch.randn(2, MEMBERS, BATCH, slots, UNITS, generator=generator, dtype=torch.float64)
    held = torch.ones(MEMBERS, BATCH, slots, dtype=torch.bool)
    held[0, 1] = held[1, :, :2] = False
    values = values * held.unsqueeze(-1)
    return lambda queries: recall_nearest(find(queries, 0.5 * keys, "l2"), held, values)


def test_a_search_inside_the_step_is_exact_with_its_gradients():
    results = []
    for form, find in ((dnd_lstm, similarities), (dnd_lstm_steps, similarities_one_by_one)):
        x, _, *further = draw(6)
        run = form(x, searched(find), *further)
        loss = sum((torch.sin(torch.arange(r.numel())).view(r.shape) * r).sum() for r in run[:3])
        results.append([*run, *torch.autograd.grad(loss, (x, *further))])
    for fast, plain in zip(*results, strict=True):
        torch.testing.assert_close(fast, plain, atol=1e-12, rtol=0)
    recalled = results[1][3]
    assert not recalled[0, 1].any()
    assert (recalled[1, :, 1:] != recalled[1, :, :-1]).any(), "the search finds one slot at all steps"
    given = dnd_lstm(*(a.detach() for a in (draw(6)[0], recalled, *draw(6)[2:])))
    torch.testing.assert_close(given.outputs, results[0][0], atol=1e-12, rtol=0)


def test_what_is_recalled_is_a_constant():
    x, recalled, *further = draw(5)
    run = dnd_lstm(x, recalled, *further)
    assert torch.autograd.grad(run.cell.sum(), recalled, allow_unused=True) == (None,)


def test_what_is_recalled_matters_where_its_gate_is_open():
    x, recalled, *further = (a.detach() for a in draw(5))
    before = dnd_lstm(x, recalled, *further).cell
    assert (dnd_lstm(x, recalled + 1, *further).cell - before).abs().min() > 1e-6
    further[3][:, 3 * UNITS : 4 * UNITS] = -70
    shut = dnd_lstm(x, recalled, *further).cell
    torch.testing.assert_close(dnd_lstm(x, recalled + 1, *further).cell, shut, atol=1e-12, rtol=0)

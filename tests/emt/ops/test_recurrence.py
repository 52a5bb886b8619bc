"""Working on members in groups changes no result."""

import pytest
import torch

from emt.ops import elman, gru, lstm, recurrence


@pytest.mark.parametrize(("op", "gates"), [(elman, 1), (gru, 3), (lstm, 4)])
def test_groups_of_members_give_the_same_results(op, gates, monkeypatch):
    members, batch, time, width, units = 5, 3, 6, 2, 4
    generator = torch.Generator().manual_seed(1)
    shapes = [
        (members, batch, time, width),
        (members, width, gates * units),
        (members, units, gates * units),
        (members, units, width),
        *[(members, gates * units)] * (2 if op is gru else 1),
        (members, width),
        (members, batch, units),
    ]
    inputs = [torch.randn(s, generator=generator, dtype=torch.float64).requires_grad_() for s in shapes]

    def results():
        run = op(*inputs, steps=time + 2)
        return *run, *torch.autograd.grad(sum(r.square().sum() for r in run), inputs)

    together = results()
    bytes_per_member = (gates * units + width) * units * 8
    monkeypatch.setattr(recurrence, "_CACHED_BYTES", 2 * bytes_per_member)
    weights = torch.empty(members, bytes_per_member // 8, dtype=torch.float64)
    assert [(part.start, part.stop) for part in recurrence._parts(weights)] == [(0, 2), (2, 4), (4, 5)]
    for grouped, expected in zip(results(), together, strict=True):
        torch.testing.assert_close(grouped, expected)


def test_tanh_of_half_is_tanh():
    a = torch.linspace(-20, 20, 4001)
    out = torch.empty_like(a)
    recurrence.tanh_of_half(2 * a, out)
    torch.testing.assert_close(out.double(), torch.tanh(a.double()), rtol=0, atol=3e-7)

import pytest
import torch
from torch.nn.functional import conv1d, pad

from emt.ops import short_convolution, short_convolution_taps

SHAPES = [(1, 4, 2, 3, 5), (3, 1, 2, 6, 2), (2, 4, 3, 1, 7), (2, 3, 1, 9, 4)]
"""Members, taps, batch, time and channels."""


@pytest.mark.parametrize(("members", "taps", "batch", "steps", "channels"), SHAPES)
def test_outputs_and_gradients_are_those_of_torchs_convolution_of_each_member(
    members, taps, batch, steps, channels
):
    torch.manual_seed(0)
    x = torch.randn(members, batch, taps - 1 + steps, channels, dtype=torch.float64, requires_grad=True)
    filters = torch.randn(members, taps, channels, dtype=torch.float64, requires_grad=True)
    weights = torch.randn(members, batch, steps, channels, dtype=torch.float64)

    def torchs(x, filters):
        each = [conv1d(a.mT, f.mT.unsqueeze(1), groups=channels).mT for a, f in zip(x, filters, strict=True)]
        return torch.stack(each)

    runs = []
    for form in (short_convolution, short_convolution_taps, torchs):
        z = form(x, filters)
        runs.append([z, *torch.autograd.grad((z * weights).sum(), (x, filters))])
    for ours, twin, expected in zip(*runs, strict=True):
        assert torch.allclose(ours, expected, rtol=0, atol=1e-12)
        assert torch.allclose(twin, expected, rtol=0, atol=1e-12)
    # The control: filters in the other order.
    assert taps == 1 or not torch.allclose(runs[0][0], short_convolution(x, filters.flip(1)), atol=1e-3)


def test_no_step_sees_a_later_one():
    x = pad(torch.randn(1, 1, 6, 2), (0, 0, 3, 0)).requires_grad_()
    z = short_convolution(x, torch.ones(1, 4, 2))
    (gradient,) = torch.autograd.grad(z[:, :, 2].sum(), x)
    assert gradient[0, 0, :, 0].tolist() == [0, 0, 1, 1, 1, 1, 0, 0, 0]

"""Ids of tokens and one-hot channels are two ways to say the same."""

import pytest
import torch

from emt.models.base import as_channels
from emt.models.layers import embed, lengthen

MEMBERS, BATCH, TIME, CHANNELS, OUT = 2, 3, 5, 4, 6


@pytest.fixture
def draw():
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(-1, CHANNELS, (MEMBERS, BATCH, TIME), generator=generator)
    table = torch.randn(MEMBERS, CHANNELS, OUT, generator=generator, dtype=torch.float64, requires_grad=True)
    bias = torch.randn(MEMBERS, OUT, generator=generator, dtype=torch.float64, requires_grad=True)
    return ids, table, bias


@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("with_bias", [False, True])
def test_a_gathered_row_is_the_product_with_a_one_hot_vector(draw, padded, with_bias):
    ids, table, bias = draw
    ids = ids if padded else ids.clamp(min=0)
    arguments = (table, bias) if with_bias else (table,)
    gathered, product = embed(ids, *arguments), embed(as_channels(ids, table), *arguments)
    torch.testing.assert_close(gathered, product, atol=1e-14, rtol=0)
    weights = torch.arange(gathered.numel(), dtype=torch.float64).reshape(gathered.shape)
    for a, b in zip(
        *(torch.autograd.grad((y * weights).sum(), arguments) for y in (gathered, product)), strict=True
    ):
        torch.testing.assert_close(a, b, atol=1e-9, rtol=0)
    assert not torch.allclose(gathered, embed(ids.flip(2), *arguments))


def test_silence_is_zero_channels_or_no_token(draw):
    ids, table, _ = draw
    longer = lengthen(ids, TIME + 2)
    assert torch.equal(as_channels(longer, table), lengthen(as_channels(ids, table), TIME + 2))
    assert not embed(longer, table)[:, :, TIME:].any()
    assert lengthen(ids, None) is ids

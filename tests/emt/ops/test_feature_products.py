"""Products of DPFP's features without the features, against the features."""

import pytest
import torch

from emt.models.features import dpfp
from emt.ops import dpfp_products, feature_products

MEMBERS, BATCH, TIME, CHANNELS = 2, 3, 5, 7


def vectors():
    generator = torch.Generator().manual_seed(0)
    shapes = (MEMBERS, BATCH, CHANNELS), (MEMBERS, BATCH, TIME, CHANNELS)
    query, key = (torch.randn(*shape, generator=generator, dtype=torch.float64) for shape in shapes)
    # Where relu has a kink.
    query[0, 0, :2], key[0, 0, :, 2] = 0.0, 0.0
    return query.requires_grad_(), key.requires_grad_()


@pytest.mark.parametrize("rows", [1, 4, MEMBERS * BATCH])
@pytest.mark.parametrize("nu", [1, 2, 5])
def test_products_and_gradients_are_those_of_the_features(nu, rows, monkeypatch):
    monkeypatch.setattr(feature_products, "_NUMBERS", rows * TIME * CHANNELS)
    query, key = vectors()
    weights = torch.randn(MEMBERS, BATCH, TIME, dtype=torch.float64)
    found = dpfp_products(query, key, nu)
    expected = (dpfp(key, nu) @ dpfp(query, nu).unsqueeze(-1)).squeeze(-1)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)
    of_ours, of_features = (
        torch.autograd.grad((products * weights).sum(), (query, key)) for products in (found, expected)
    )
    for ours, theirs in zip(of_ours, of_features, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-12)
    # The control: with other neighbours they are other numbers.
    assert not torch.allclose(found, dpfp_products(query, key, nu + 1), rtol=1e-2)


def test_a_query_without_a_neighbour_of_the_keys_has_nothing_in_common_with_them():
    # φ of a vector with one entry has no product of neighbours.
    query, key = torch.eye(CHANNELS)[0], torch.randn(TIME, CHANNELS)
    assert dpfp_products(query, key, nu=1).tolist() == [0.0] * TIME

"""Reading a dictionary: similarities against torch's functions of two vectors, the nearest value and the average."""

import pytest
import torch

from emt.ops.dictionary import (
    KERNEL_WIDTH,
    recall_average,
    recall_nearest,
    similarities,
    similarities_one_by_one,
)

MEMBERS, BATCH, TIME, SLOTS, KEY, VALUE = 2, 3, 5, 8, 4, 6

every_similarity = pytest.mark.parametrize("kind", ["l2", "l1", "cosine"])


@pytest.fixture
def drawn():
    """Return queries, keys, which slots are held, and values; the first slots are empty, in the first row all."""
    generator = torch.Generator().manual_seed(0)
    shapes = (TIME, KEY), (SLOTS, KEY), (SLOTS, VALUE)
    queries, keys, values = (
        torch.randn(MEMBERS, BATCH, *s, generator=generator, dtype=torch.float64) for s in shapes
    )
    held = torch.arange(SLOTS) >= torch.tensor([SLOTS, 2, 5])[:, None].expand(MEMBERS, -1, 1)
    return queries, keys, held, values * held[..., None]


@every_similarity
def test_similarities_are_torchs(drawn, kind):
    queries, keys, *_ = drawn
    torch.testing.assert_close(
        similarities(queries, keys, kind), similarities_one_by_one(queries, keys, kind), atol=1e-12, rtol=0
    )


@pytest.mark.parametrize(("kind", "exact"), [("l2", -1e-6 * 2), ("l1", -1e-6 * 4), ("cosine", 1.0)])
def test_an_exact_match_scores_as_in_torch(drawn, kind, exact):
    queries, *_ = drawn
    alike = similarities(queries, queries, kind).diagonal(dim1=-2, dim2=-1)
    torch.testing.assert_close(alike, torch.full_like(alike, exact), atol=5e-8, rtol=0)


@every_similarity
def test_the_nearest_held_slot_is_recalled(drawn, kind):
    queries, keys, held, values = drawn
    recalled = recall_nearest(similarities(queries, keys, kind), held, values)
    for m, b, t in torch.cartesian_prod(*map(torch.arange, (MEMBERS, BATCH, TIME))).tolist():
        places = held[m, b].nonzero().flatten().tolist()
        scores = [similarities_one_by_one(queries[m, b, t, None], keys[m, b, s, None], kind) for s in places]
        expected = values[m, b, places[int(torch.stack(scores).argmax())]] if places else torch.zeros(VALUE)
        assert torch.equal(recalled[m, b, t], expected.to(recalled))
    assert not recalled[:, 0].any()
    assert recalled[:, 1:].any()


def test_of_equal_keys_the_oldest_is_recalled(drawn):
    queries, keys, held, values = drawn
    keys[:, 1, 3:] = keys[:, 1, 3:4]
    keys[:, 1, :3] = 99
    recalled = recall_nearest(similarities(queries, keys, "l2"), held, values)
    assert torch.equal(recalled[:, 1], values[:, 1, 3:4].expand(-1, TIME, -1))


@every_similarity
def test_the_average_is_weighted_by_the_kernel(drawn, kind):
    queries, keys, held, values = drawn
    similarity = similarities_one_by_one(queries, keys, kind)
    recalled = recall_average(similarity, held, values, kind)
    distance = 1 - similarity if kind == "cosine" else -similarity
    for b in (1, 2):
        weights = 1 / (distance[:, b][..., held[0, b]] ** 2 + KERNEL_WIDTH)
        expected = (weights / weights.sum(dim=-1, keepdim=True)) @ values[:, b, held[0, b]]
        torch.testing.assert_close(recalled[:, b], expected, atol=1e-12, rtol=0)
    assert not recalled[:, 0].any()


def test_the_average_of_an_exact_match_is_nearly_its_value(drawn):
    _, keys, held, values = drawn
    for kind, scale in (("l2", 30), ("l1", 30)):
        similarity = similarities(scale * keys, scale * keys, kind)
        recalled = recall_average(similarity, held, values, kind)
        torch.testing.assert_close(recalled[:, 1, 2:], values[:, 1, 2:], atol=1e-4, rtol=0)

"""Transformer-XL against its equations, and what it carries from segment to segment."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from emt.errors import UserError
from emt.models.transformer_xl import TransformerXL
from emt.ops.relative_attention import (
    Positions,
    as_products,
    relative_attention,
    relative_attention_steps,
    sinusoids,
)

SEEDS, BATCH, TIME, IN, OUT, UNITS, HEADS = (11, 1011), 3, 13, 5, 4, 12, 2
SIZE = UNITS // HEADS


def ids_of(steps=TIME):
    return torch.from_numpy(np.random.default_rng(0).integers(0, IN, (len(SEEDS), BATCH, steps)))


def build(**options):
    wanted = {"hidden_dim": UNITS, "heads": HEADS, "layers": 2, "embedding_dim": 7, "memory_length": TIME}
    model = TransformerXL(SEEDS, IN, OUT, **{**wanted, **options})
    # Larger weights than initial ones, which leave attention nearly even, and float32's, as weight files have them.
    generator = torch.Generator().manual_seed(1)
    for parameter in model.parameters():
        parameter.data += 0.3 * torch.randn(parameter.shape, generator=generator)
    return model.double()


def positions_of(seed=0, members=2):
    draw = lambda *shape: torch.from_numpy(np.random.default_rng(seed).standard_normal(shape))  # noqa: E731
    return Positions(
        draw(members, 8, HEADS, SIZE), draw(members, HEADS, SIZE), 1 + draw(members, HEADS, SIZE)
    )


# The operation


@pytest.fixture
def rows():
    """Queries of the last 5 of 9 places, keys and values, and what is visible: two slots and a late step are empty."""
    draw = np.random.default_rng(2).standard_normal
    query, key, value = (torch.from_numpy(draw((2, BATCH, steps, HEADS, SIZE))) for steps in (5, 9, 9))
    held = torch.ones(2, BATCH, 9, dtype=torch.bool)
    held[:, 1, :2] = held[0, 2, 7] = False
    return query, key, value, held.unsqueeze(2) & torch.ones(5, 9, dtype=torch.bool).tril(4)


def test_shifted_distances_are_those_of_the_equation_with_gradients(rows):
    *vectors, visible = rows
    positions, results = positions_of(), []
    for form in (relative_attention, relative_attention_steps):
        given = [v.clone().requires_grad_() for v in (*vectors, *positions[:3])]
        reads = form(*given[:3], Positions(*given[3:]), visible)
        grads = torch.autograd.grad((reads * torch.arange(SIZE)).square().sum(), given)
        results.append([reads, *grads])
    for fast, slow in zip(*results, strict=True):
        torch.testing.assert_close(fast, slow, rtol=1e-10, atol=1e-10)
    late = visible.roll(1, dims=3)
    wrong = relative_attention(*vectors, positions, late)
    assert (wrong - results[0][0]).abs().max() > 1e-3


def test_scores_are_products_that_do_not_depend_on_where_places_are_counted_from(rows):
    query, key, value, visible = rows
    positions = positions_of()
    asked, written = as_products(query, key, positions)
    assert written.shape[-1] == SIZE + 8
    weights = torch.einsum("mbthd,mbkhd->mbhtk", asked, written) * SIZE**-0.5
    weights = weights.masked_fill(~visible.unsqueeze(2), -torch.inf).softmax(-1)
    torch.testing.assert_close(weights.sum(-1), torch.ones_like(weights[..., 0]), rtol=0, atol=1e-12)
    reads = torch.einsum("mbhtk,mbkhd->mbthd", weights, value)
    torch.testing.assert_close(
        reads, relative_attention(query, key, value, positions, visible), rtol=0, atol=1e-10
    )
    # Three more places in front move all of them by three.
    more = torch.cat([key[:, :, :3], key], dim=2)
    later = as_products(query, more, positions)[1][:, :, 3:]
    torch.testing.assert_close(later, written, rtol=0, atol=1e-12)
    without = relative_attention(query, key, value, positions._replace(weight=0 * positions.weight), visible)
    assert (without - reads).abs().max() > 1e-2


def test_without_positions_it_is_plain_attention(rows):
    query, key, value, _ = rows
    nothing = Positions(*(0 * part for part in positions_of()[:3]))
    seen = torch.ones(1, 1, 5, 5, dtype=torch.bool).tril()
    expected = functional.scaled_dot_product_attention(
        *(x[:, :, -5:].transpose(2, 3) for x in (query, key, value)), is_causal=True
    )
    reads = relative_attention(query, key[:, :, -5:], value[:, :, -5:], nothing, seen)
    torch.testing.assert_close(reads.transpose(2, 3), expected, rtol=0, atol=1e-12)


def test_distances_are_sines_and_cosines():
    table = sinusoids(torch.tensor([0, 3]), 4)
    torch.testing.assert_close(table[0], torch.tensor([0, 0, 1, 1.0]).double())
    angles = torch.tensor([3, 0.03]).double()
    torch.testing.assert_close(table[1], torch.cat([angles.sin(), angles.cos()]))


# The model


def written_out(model, member, ids):
    """Return outputs of one sequence, from its weight file and the paper's equations, word by word."""
    w = {n: torch.from_numpy(a).double() for n, a in model.export(member).items()}
    w = {n: a.T if a.ndim == 2 else a for n, a in w.items()}
    x = UNITS**0.5 * w["embedding.weight"][ids] @ w["projection.weight"]
    for layer in ("layer1", "layer2"):
        p = {n.removeprefix(f"{layer}."): a for n, a in w.items() if n.startswith(layer)}
        q, (k, v) = x @ p["attention.query.weight"], (x @ p["attention.key_value.weight"]).chunk(2, -1)
        read = torch.zeros_like(x)
        for h in range(HEADS):
            mine = slice(h * SIZE, (h + 1) * SIZE)
            for i in range(len(ids)):
                scores = []
                for j in range(i + 1):
                    r = sinusoids(torch.tensor(i - j), UNITS) @ p["attention.place.weight"][:, mine]
                    content = (q[i, mine] + w["content_bias"][h]) @ k[j, mine]
                    scores.append((content + (q[i, mine] + w["place_bias"][h]) @ r) / SIZE**0.5)
                read[i, mine] = torch.stack(scores).softmax(0) @ v[: i + 1, mine]
        norm = lambda z, name: functional.layer_norm(z, (UNITS,), p[f"{name}.weight"], p[f"{name}.bias"])  # noqa: E731, B023
        y = norm(x + read @ p["attention.out.weight"], "read_norm")
        inner = (y @ p["network.0.weight"] + p["network.0.bias"]).relu()
        x = norm(y + inner @ p["network.2.weight"] + p["network.2.bias"], "network_norm")
    return x @ w["readout.weight"] + w["readout.bias"]


def test_it_follows_its_equations():
    model, ids = build(), ids_of(6)
    outputs = model(ids)[0].detach()
    for member, row in ((0, 1), (1, 2)):
        expected = written_out(model, member, ids[member, row])
        torch.testing.assert_close(outputs[member, row], expected, rtol=0, atol=1e-10)


def test_segments_that_remember_everything_are_one_pass_and_others_see_less():
    ids = ids_of()
    for length, same in ((TIME, True), (4, False)):
        model = build(memory_length=length)
        outputs, last, whole = model(ids)
        state, pieces = model.zero_state(outputs), []
        for first, stop in ((0, 4), (4, 5), (5, 11), (11, TIME)):
            _, state, log = model(ids[..., first:stop], state)
            pieces.append(torch.cat([log["hidden_layer1"], log["hidden"]], dim=-1))
        whole = torch.cat([whole["hidden_layer1"], whole["hidden"]], dim=-1)
        difference = (torch.cat(pieces, dim=2) - whole).abs()
        assert difference[:, :, :5].max() < 1e-10
        assert (difference.max() < 1e-10) == same
        if same:
            for name, value in last.items():
                torch.testing.assert_close(state[name], value, rtol=0, atol=1e-10)


def test_with_windows_of_the_same_length_it_does_not_matter_where_segments_end():
    model, ids = build(memory_length=4, same_length=True), ids_of()
    whole, state, pieces = model(ids)[0], None, []
    for first, stop in ((0, 3), (3, 4), (4, 10), (10, TIME)):
        outputs, state, _ = model(ids[..., first:stop], state)
        pieces.append(outputs)
    torch.testing.assert_close(torch.cat(pieces, dim=2), whole, rtol=0, atol=1e-10)
    assert (build()(ids)[0] - whole).abs()[:, :, 4:].max() > 1e-3


def test_a_word_changes_no_output_before_it_and_all_after_it():
    model, ids = build(), ids_of()
    changed = ids.clone()
    changed[..., 5] = (ids[..., 5] + 1) % IN
    difference = (model(ids)[0] - model(changed)[0]).abs().amax(dim=(0, 1, 3))
    assert (difference > 1e-6).tolist() == [t >= 5 for t in range(TIME)]


def test_what_stands_after_a_rows_last_word_is_never_seen():
    model, ids = build(), ids_of()
    padded = ids.clone()
    padded[:, 1, 8:] = -1
    (_, state, _), (outputs, short, log) = model(ids[..., :8]), model(padded)
    torch.testing.assert_close(outputs[:, 1, :8], model(ids)[0][:, 1, :8], rtol=0, atol=1e-10)
    for name, value in state.items():
        torch.testing.assert_close(short[name][:, 1], value[:, 1], rtol=0, atol=1e-10)
    assert short["held_layer1"].sum(dim=2).tolist() == [[TIME, 8, TIME]] * 2
    absent = log["memory/layer1/write_key"].isnan().flatten(3).all(-1)
    assert absent[:, 1].tolist() == [[False] * 8 + [True] * 5] * 2
    assert not absent[:, [0, 2]].any()
    # Rows that go on see only what they held.
    following, _, _ = model(ids, short)
    torch.testing.assert_close(following[:, 1], model(ids, state)[0][:, 1], rtol=0, atol=1e-10)


def test_the_log_of_each_head_gives_what_it_read():
    model, ids = build(), ids_of()
    _, _, log = model(ids)
    for name, rule in model.memories.items():
        query, key, value = (log[f"memory/{name}/{n}"] for n in ("read_query", "write_key", "write_value"))
        scores = rule["scale"] * torch.einsum("mbthd,mbkhd->mbhtk", query.squeeze(4), key)
        seen = torch.ones(TIME, TIME, dtype=torch.bool).tril()
        weights = scores.masked_fill(~seen, -torch.inf).softmax(-1)
        reads = torch.einsum("mbhtk,mbkhd->mbthd", weights, value)
        torch.testing.assert_close(reads, log[f"memory/{name}/read_value"].squeeze(4), rtol=0, atol=1e-10)
        assert weights.amax(-1)[..., 5:].max() > 0.5
    needed = {"needed_steps": torch.ones(ids.shape, dtype=torch.bool)}
    assert set(model(ids, None, None, needed)[2]) == {"hidden_layer1", "hidden"}


@pytest.mark.parametrize("rate", ["dropout", "attention_dropout"])
def test_masks_are_drawn_for_each_step_of_training_and_for_each_member(rate):
    model, plain, ids = build(**{rate: 0.4}), build(), ids_of()
    assert torch.equal(model(ids)[0], plain(ids)[0])
    outputs = []
    for model.noise_step in (0, 1, 1):
        outputs.append(model(ids)[0])
    assert not torch.equal(outputs[0], outputs[1])
    assert torch.equal(outputs[1], outputs[2])


def test_a_dropped_unit_of_a_distance_is_one_for_all_queries(rows):
    *vectors, visible = rows
    positions = positions_of()
    drop = torch.ones(2, 9, 8, dtype=torch.float64)
    drop[:, 8 - 2] = 0
    changed = relative_attention(*vectors, positions._replace(drop=drop), visible)
    # Distance two of queries that see a key there.
    assert (
        (changed - relative_attention(*vectors, positions, visible)).abs().amax(dim=(0, 1, 3, 4)) > 1e-6
    ).all()
    none = torch.ones_like(drop)
    torch.testing.assert_close(
        relative_attention(*vectors, positions._replace(drop=none), visible),
        relative_attention(*vectors, positions, visible),
    )


def test_the_papers_size():
    """Appendix F.3: 10.5 million weights (here with 8 heads of 64, a vocabulary of 200)."""
    model = TransformerXL(
        (3,), 200, 200, hidden_dim=512, layers=3, heads=8, embedding_dim=256, memory_length=1200
    )
    layer = 5 * 512**2 + 2 * 4 * 512**2 + 4 * 512 + 512 + 2 * 2 * 512
    count = 200 * 256 + 256 * 512 + 3 * layer + 2 * 512 + 512 * 200 + 200
    assert sum(p.numel() for p in model.parameters()) == count == 10_523_336
    assert model.activations(200) == 3 * 2 * 512 * 1399


def test_widths_are_even():
    with pytest.raises(UserError, match="must be even; got 9"):
        TransformerXL(SEEDS, IN, OUT, hidden_dim=9, heads=3)

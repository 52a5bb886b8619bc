"""The Fast Weight Memory without its memory against the equations with it, in float64, on sizes all different."""

import math
from functools import partial

import pytest
import torch

from emt.ops import fwm, fwm_steps
from emt.ops.fwm import forms as fast_weight_memory
from emt.ops.fwm import reading as fwm_reading
from emt.ops.fwm import writing as fwm_writing

MEMBERS, BATCH, TIME, SIZE, QUERIES = 2, 3, 5, 7, 4
LONG = 2 * fwm_writing._STEPS + 3


def arguments(*, factors=2, reads=3, steps=TIME, carried=True, asked=False, dtype=torch.float64):
    generator = torch.Generator().manual_seed(3)

    def draw(*shape):
        return torch.randn(MEMBERS, BATCH, *shape, generator=generator, dtype=torch.float64)

    keys = factors, {1: 2 * SIZE, 2: SIZE}[factors]
    queries = QUERIES if asked else steps
    values = {
        "keys": torch.tanh(2 * draw(steps, *keys)),
        "values": torch.tanh(draw(steps, SIZE)),
        "strength": torch.sigmoid(draw(steps)),
        "first": draw(queries, SIZE),
        "partners": torch.tanh(draw(queries, reads, SIZE)),
    }
    if carried:
        values["memory"] = 0.03 * draw(SIZE, math.prod({1: (2 * SIZE,), 2: (SIZE, SIZE)}[factors]))
    values = {name: value.to(dtype).requires_grad_() for name, value in values.items()}
    if asked:
        values["steps"] = torch.randint(steps, (MEMBERS, BATCH, QUERIES), generator=generator)
    return values


def until_the_end(inputs):
    """The arguments with one row that ends before the others."""
    written = torch.ones_like(inputs["strength"])
    written[0, 1, -2:] = 0
    return inputs | {"strength": inputs["strength"] * written}


def run(form, inputs, through_memory=True):
    """Results, and the gradient of a weighted sum of what was read last and, if asked for, of the last contents."""
    result = form(**until_the_end(inputs))
    generator = torch.Generator().manual_seed(4)
    weights = [
        torch.randn(r.shape, generator=generator, dtype=torch.float64)
        for r in (result.outputs, result.memory)
    ]
    loss = (result.outputs * weights[0]).sum()
    if through_memory:
        loss = loss + 10 * (result.memory * weights[1]).sum()
    wanted = {name: value for name, value in inputs.items() if value is not None and value.requires_grad}
    gradients = torch.autograd.grad(loss, list(wanted.values()))
    return result._asdict(), {f"d_{name}": g for name, g in zip(wanted, gradients, strict=True)}


def assert_same(fast, twin):
    for name, expected in twin[0].items():
        assert fast[0][name].shape == expected.shape
        torch.testing.assert_close(
            fast[0][name], expected, rtol=0, atol=1e-10, msg=lambda m, n=name: f"{n}: {m}"
        )
    for name, expected in twin[1].items():
        atol = 1e-9 * expected.abs().max().item()
        torch.testing.assert_close(
            fast[1][name], expected, rtol=0, atol=atol, msg=lambda m, n=name: f"{n}: {m}"
        )


@pytest.mark.parametrize("steps", [1, TIME, LONG])
@pytest.mark.parametrize("asked", [False, True])
@pytest.mark.parametrize("carried", [False, True])
@pytest.mark.parametrize("reads", [1, 3])
@pytest.mark.parametrize("factors", [1, 2])
def test_fast_equals_the_equations_with_gradients(factors, reads, carried, asked, steps):
    inputs = arguments(factors=factors, reads=reads, steps=steps, carried=carried, asked=asked)
    twin = run(fwm_steps, inputs)
    assert_same(run(fwm, inputs), twin)
    assert (twin[0]["rescale"] > 1).double().mean() > 0.5
    assert (twin[0]["rescale"] < 1 + 1e-12).any()


@pytest.mark.parametrize("asked", [False, True])
@pytest.mark.parametrize("carried", [False, True])
def test_queries_may_be_of_other_sizes_than_values(carried, asked):
    inputs = arguments(factors=1, reads=1, steps=LONG, carried=carried, asked=asked)
    # Keys and queries of 14, values of 3.
    first, partners = inputs.pop("first"), inputs["partners"]
    whole = torch.cat([first.unsqueeze(3), partners], dim=-1).detach().requires_grad_()
    few = {"values": inputs["values"][..., :3], "memory": inputs["memory"][:, :, :3]} if carried else {}
    few = {n: v.detach().requires_grad_() for n, v in few.items()}
    given = inputs | few | {"first": None, "partners": whole}
    twin = run(fwm_steps, given)
    assert_same(run(fwm, given), twin)
    if not carried:
        # The queries are those that n_0 and e_1 make.
        usual = run(fwm, inputs | {"first": first, "partners": partners})
        torch.testing.assert_close(usual[0]["outputs"], twin[0]["outputs"], rtol=0, atol=1e-12)


@pytest.mark.parametrize("factors", [1, 2])
def test_reads_are_normalised_with_the_epsilon_that_is_asked_for(factors):
    inputs = arguments(factors=factors, steps=LONG)
    twin = run(partial(fwm_steps, epsilon=0.5), inputs)
    assert_same(run(partial(fwm, epsilon=0.5), inputs), twin)
    published = run(fwm, inputs)
    assert not torch.allclose(published[0]["outputs"], twin[0]["outputs"], rtol=0.1)
    # LN divides by no less than the root of epsilon.
    one = run(partial(fwm, epsilon=0.5), arguments(factors=factors, reads=1))[0]
    spread = one["values"][:, :, :, 0].var(dim=-1, correction=0, keepdim=True)
    centred = one["values"][:, :, :, 0] - one["values"][:, :, :, 0].mean(dim=-1, keepdim=True)
    torch.testing.assert_close(one["outputs"], centred / (spread + 0.5).sqrt(), rtol=0, atol=1e-12)


def test_gradients_may_end_at_either_side():
    inputs = arguments(steps=LONG)
    assert_same(run(fwm, inputs, through_memory=False), run(fwm_steps, inputs, through_memory=False))
    inputs["memory"] = inputs["memory"].detach()
    assert_same(run(fwm, inputs), run(fwm_steps, inputs))


@pytest.mark.parametrize("steps", [1, TIME, LONG])
@pytest.mark.parametrize("carried", [False, True])
def test_sweeps_equal_the_equations_with_gradients(monkeypatch, carried, steps):
    inputs = arguments(steps=steps, carried=carried)
    twin = run(fwm_steps, inputs)
    monkeypatch.setattr(fwm_writing, "_by_steps", fwm_writing._by_sweeps)
    monkeypatch.setattr(fwm_writing, "_back_by_steps", fwm_writing._back_by_sweeps)
    assert_same(run(fwm, inputs), twin)


def test_sweeps_end_where_a_row_is_not_a_number(monkeypatch):
    inputs = {name: value.detach() for name, value in arguments(steps=LONG).items()}
    inputs["values"][1, 0, 0] = torch.nan
    monkeypatch.setattr(fwm_writing, "_by_steps", fwm_writing._by_sweeps)
    memory = fwm(**inputs).memory
    assert memory[1, 0].isnan().all()
    assert not memory[1, 1:].isnan().any()


def test_rows_are_cut_as_they_fit_the_cache(monkeypatch):
    inputs = arguments(steps=LONG, carried=True)
    twin = run(fwm_steps, inputs)
    for module, size in [
        (fast_weight_memory, "_NUMBERS"),
        (fast_weight_memory, "_READ_NUMBERS"),
        (fwm_writing, "_STEPS"),
        (fwm_reading, "_READ_STEPS"),
    ]:
        monkeypatch.setattr(module, size, 4 * LONG * SIZE if size.endswith("NUMBERS") else 4)
    assert_same(run(fwm, inputs), twin)


def test_without_the_rescale_it_is_another_memory():
    inputs = {name: value.detach() for name, value in arguments(steps=LONG).items()}
    f = inputs["memory"]
    for t in range(LONG):
        key = torch.einsum("mbi,mbj->mbij", *inputs["keys"][:, :, t].unbind(2)).flatten(2).unsqueeze(-1)
        change = inputs["values"][:, :, t].unsqueeze(-1) - f @ key
        f = f + inputs["strength"][:, :, t, None, None] * change * key.mT
    result = fwm(**inputs)
    assert not torch.allclose(result.memory, f, rtol=1e-3)
    assert (result.memory.square().sum((-2, -1)) <= 1 + 1e-12).all()


def test_gradients_agree_with_finite_differences():
    inputs = arguments(steps=3, asked=True)
    steps = inputs.pop("steps")

    def results(*values):
        run = fwm(**dict(zip(inputs, values, strict=True)), steps=steps)
        return run.outputs, run.memory

    assert torch.autograd.gradcheck(results, tuple(inputs.values()), fast_mode=True)


@pytest.mark.parametrize("cut", [1, TIME - 1])
def test_a_sequence_may_be_cut_anywhere(cut):
    inputs = arguments()
    uncut = fwm(**inputs)
    memory, parts = inputs.pop("memory"), []
    for part in zip(*(value.split([cut, TIME - cut], dim=2) for value in inputs.values()), strict=True):
        parts.append(fwm(**dict(zip(inputs, part, strict=True)), memory=memory))
        memory = parts[-1].memory
    torch.testing.assert_close(memory, uncut.memory, rtol=0, atol=1e-11)
    for name in ("outputs", "queries", "values", "rescale"):
        joined = torch.cat([getattr(p, name) for p in parts], dim=2)
        torch.testing.assert_close(joined, getattr(uncut, name), rtol=0, atol=1e-10)


def test_without_queries_the_memory_is_written_all_the_same():
    inputs = arguments()
    nothing = {"first": inputs["first"][:, :, :0], "partners": inputs["partners"][:, :, :0]}
    result = fwm(**inputs | nothing, steps=torch.zeros(MEMBERS, BATCH, 0, dtype=torch.long))
    assert result.outputs.shape == (MEMBERS, BATCH, 0, SIZE)
    assert torch.equal(result.memory, fwm(**inputs).memory)
    (result.outputs.sum() + result.memory.sum()).backward()
    assert inputs["keys"].grad.abs().max() > 0


def test_members_do_not_see_each_other():
    inputs = {name: value.detach() for name, value in arguments(steps=LONG).items()}
    before = fwm(**inputs)
    inputs["values"][1, 0, 0] = torch.nan
    after = fwm(**inputs)
    for name in ("outputs", "memory"):
        old, new = getattr(before, name), getattr(after, name)
        assert torch.equal(old[0], new[0])
        assert torch.equal(old[1, 1:], new[1, 1:])
        assert new[1, 0].isnan().all()


def test_what_is_kept_for_gradients_does_not_grow_with_the_memory():
    kept = []

    def pack(tensor):
        kept.append(tensor)
        return tensor

    inputs = arguments(steps=LONG)
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        fwm(**inputs)
    sizes = {t.data_ptr(): t.numel() for t in kept}
    tokens = MEMBERS * BATCH * LONG
    assert sum(sizes.values()) - inputs["memory"].numel() < 20 * SIZE * tokens
    assert max(sizes.values()) < SIZE**2 * tokens


def test_inputs_are_left_alone():
    inputs = arguments(steps=LONG, asked=True)
    copies = {name: value.detach().clone() for name, value in inputs.items()}
    run(fwm, inputs)
    assert all(torch.equal(inputs[name], copies[name]) for name in copies)


@pytest.mark.parametrize("length", [1.0, 1.5])
def test_one_write_moves_the_association_of_a_unit_key_by_beta(length):
    # Theorem B.1: F_t key = β v + (1 − β) F_{t-1} key if the key has length one, and only then.
    inputs = {name: value.detach() for name, value in arguments(reads=1, steps=1).items()}
    keys = torch.nn.functional.normalize(inputs["keys"], dim=-1) * torch.tensor([length, 1.0])[:, None]
    inputs |= {"keys": keys, "first": keys[:, :, :, 0], "partners": keys[:, :, :, 1:]}
    inputs |= {"memory": inputs["memory"] / 10, "values": inputs["values"] / 10}
    result = fwm(**inputs)
    assert (result.rescale == 1).all()
    key = torch.einsum("mbti,mbtj->mbtij", *keys.unbind(3)).flatten(3)
    before, beta = key @ inputs["memory"].mT, inputs["strength"].unsqueeze(-1)
    expected = beta * inputs["values"] + (1 - beta) * before
    assert torch.allclose(result.values[:, :, :, 0], expected, rtol=0, atol=1e-12) == (length == 1.0)


@pytest.mark.parametrize("factors", [1, 2])
def test_of_ten_symbols_a_hundred_pairs_are_recalled_only_as_tensor_products(factors):
    # Appendix A: d orthogonal symbols give d² orthogonal tensor products, but only 2 d dimensions side by side.
    symbols = torch.linalg.qr(
        torch.randn(10, 10, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    )[0]
    left, right = (x.flatten() for x in torch.meshgrid(*[torch.arange(10)] * 2, indexing="ij"))
    pairs = torch.stack([symbols[left], symbols[right]], dim=1)[None, None]
    values = 0.02 * torch.randn(
        1, 1, 100, 10, generator=torch.Generator().manual_seed(1), dtype=torch.float64
    )
    last = torch.full((1, 1, 100), 99)
    keys = pairs if factors == 2 else pairs.flatten(3).unsqueeze(3) / 2**0.5
    ask = {"first": keys[..., 0, :10], "partners": keys[..., -1:, -10:]}
    result = fwm(keys, values, torch.ones(1, 1, 100, dtype=torch.float64), **ask, steps=last)
    assert (result.rescale == 1).all()
    error = (result.values[:, :, :, 0] - values).abs().max() / values.abs().max()
    assert error < 1e-12 if factors == 2 else error > 0.5

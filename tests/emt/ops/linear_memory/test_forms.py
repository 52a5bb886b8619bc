"""Both chunked forms of a linear memory against the step loop, and the rule against closed forms."""

import pytest
import torch
from torch.nn.functional import layer_norm

from emt.ops.linear_memory.forms import linear_memory, linear_memory_steps
from emt.ops.linear_memory.normalised import normalised_delta, normalised_delta_answer
from emt.ops.linear_memory.sweep import last_read_weights

MEMBERS, BATCH, TIME, KEY, VALUE = 2, 3, 29, 5, 7
CHUNKS = (1, 8, TIME, 64)

KINDS = {
    "sum": (),
    "scaled sum": ("strength",),
    "delta": ("erase", "strength"),
    "scalar decay": ("log_keep", "strength"),
    "gated delta": ("log_keep", "erase", "strength"),
    "vector decay": ("channels", "strength"),
    "vector delta": ("channels", "erase", "strength"),
    "own erase vectors": ("channels", "erase", "own"),
    "own erase vectors, scalar decay": ("log_keep", "own", "strength"),
    "own erase vectors, no decay": ("erase", "own"),
}


def inputs_of(kind, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape, uniform=False):
        drawn = torch.rand if uniform else torch.randn
        return drawn(MEMBERS, BATCH, *shape, generator=generator, dtype=torch.float64)

    unit = torch.nn.functional.normalize
    inputs = {
        "query": draw(TIME, KEY),
        "key": unit(draw(TIME, KEY), dim=-1),
        "value": draw(TIME, VALUE),
        "memory": draw(VALUE, KEY),
    }
    parts = KINDS[kind]
    if "log_keep" in parts:
        inputs["log_keep"] = -draw(TIME, uniform=True)
    if "channels" in parts:
        inputs["log_keep"] = -draw(TIME, KEY, uniform=True)
    if "erase" in parts:
        inputs["erase"] = 2 * draw(TIME, uniform=True)
    if "strength" in parts:
        inputs["strength"] = draw(TIME)
    if "own" in parts:
        inputs |= {
            "erase_query": 0.5 * unit(draw(TIME, KEY), dim=-1),
            "erase_key": unit(draw(TIME, KEY), dim=-1),
        }
    return {name: value.to(dtype).requires_grad_() for name, value in inputs.items()}


def with_gradients(form, inputs, **options):
    reads, memory = form(**inputs, **options)
    generator = torch.Generator().manual_seed(9)
    weights = [torch.randn(x.shape, generator=generator, dtype=torch.float64).to(x) for x in (reads, memory)]
    loss = sum((x * w).sum() for x, w in zip((reads, memory), weights, strict=True))
    return [reads.detach(), memory.detach(), *torch.autograd.grad(loss, list(inputs.values()))]


def distance(first, second):
    return max(
        float((a - b).abs().max() / b.abs().max().clamp(min=1)) for a, b in zip(first, second, strict=True)
    )


@pytest.mark.parametrize("before", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_chunks_equal_the_step_loop_with_all_gradients_whatever_their_size(kind, before):
    inputs = inputs_of(kind)
    slow = with_gradients(linear_memory_steps, inputs, before=before)
    for chunk in (*CHUNKS, None):
        assert distance(with_gradients(linear_memory, inputs, before=before, chunk=chunk), slow) < 1e-12
    assert distance(with_gradients(linear_memory, inputs, before=not before), slow) > 1e-2


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_in_two_pieces_is_the_whole_run(kind):
    inputs = {name: value.detach() for name, value in inputs_of(kind).items()}
    memory, cut = inputs.pop("memory"), 11
    whole = linear_memory(**inputs, memory=memory)
    time = {name: value.dim() - (value.shape[-1] != TIME) - 1 for name, value in inputs.items()}
    first, second = (
        {name: value.split([cut, TIME - cut], dim=time[name])[half] for name, value in inputs.items()}
        for half in (0, 1)
    )
    run = linear_memory(**first, memory=memory)
    rest = linear_memory(**second, memory=run.memory)
    torch.testing.assert_close(torch.cat([run.reads, rest.reads], dim=-2), whole.reads, rtol=0, atol=1e-12)
    torch.testing.assert_close(rest.memory, whole.memory, rtol=0, atol=1e-12)


def test_an_erase_looks_up_the_key_before_the_decay_of_its_step():
    # KDA's order: M diag(w) (I − b k kᵀ), so x = w k; with x = b k alone it is another memory.
    inputs = inputs_of("vector delta")
    default = with_gradients(linear_memory, inputs)[0]
    keep = inputs["log_keep"].exp()
    explicit = linear_memory(**inputs, erase_query=keep * inputs["key"], erase_key=inputs["key"])
    torch.testing.assert_close(explicit.reads, default, rtol=0, atol=1e-12)
    wrong = linear_memory(**inputs, erase_query=inputs["key"], erase_key=inputs["key"])
    assert (wrong.reads - default).abs().max() > 1e-2


@pytest.mark.parametrize("kind", ["gated delta", "vector delta", "own erase vectors"])
@pytest.mark.parametrize("decay", [2.0, 5.0, 200.0])
def test_strong_decays_are_finite_and_exact_in_single_precision(kind, decay):
    # Sums of logarithms are rounded, so errors grow with the largest sum in a chunk.
    inputs = inputs_of(kind, dtype=torch.float32)
    inputs["log_keep"] = (decay * inputs["log_keep"].detach()).requires_grad_()
    single = with_gradients(linear_memory, inputs, chunk=32)
    double = {name: value.detach().double().requires_grad_() for name, value in inputs.items()}
    rounding = torch.finfo(torch.float32).eps * min(decay, 50) * 29
    assert distance(single, with_gradients(linear_memory_steps, double)) < 1e-5 + rounding


def test_what_decays_wholly_is_gone():
    inputs = {name: value.detach() for name, value in inputs_of("scalar decay").items()}
    inputs["log_keep"][..., 10] = -torch.inf
    run = linear_memory(**inputs, chunk=8)
    again = linear_memory(**{n: v if n == "memory" else v[:, :, 10:] for n, v in inputs.items()}, chunk=8)
    torch.testing.assert_close(run.memory, again.memory, rtol=0, atol=1e-12)
    assert torch.isfinite(run.reads).all()


@pytest.mark.parametrize("kind", ["sum", "scaled sum", "delta", "scalar decay", "gated delta"])
def test_the_query_swept_back_weighs_every_write_as_a_read_at_the_end_does(kind):
    inputs = inputs_of(kind)
    inputs.pop("memory")
    values, query = inputs.pop("value"), inputs.pop("query")[..., 0, :].detach().requires_grad_()
    weights = last_read_weights(query, **inputs)
    held = linear_memory_steps(inputs["key"], value=values, **inputs).memory
    reads = (
        torch.einsum("mbt,mbtv->mbv", weights, values),
        torch.einsum("mbvk,mbk->mbv", held, query),
    )
    direction = torch.randn(reads[0].shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    both = [
        (read.detach(), *torch.autograd.grad((read * direction).sum(), [query, values, *inputs.values()]))
        for read in reads
    ]
    assert distance(*both) < 1e-12


def test_orthonormal_keys_return_what_was_written_last_under_delta_and_the_sum_of_all_otherwise():
    keys, values = (
        torch.eye(KEY, dtype=torch.float64).repeat(2, 1),
        torch.randn(2 * KEY, VALUE, dtype=torch.float64),
    )
    delta = linear_memory(keys, keys, values, erase=torch.ones(2 * KEY, dtype=torch.float64)).memory
    torch.testing.assert_close(delta, values[KEY:].T, rtol=0, atol=1e-12)
    total = linear_memory(keys, keys, values).memory
    torch.testing.assert_close(total, (values[:KEY] + values[KEY:]).T, rtol=0, atol=1e-12)


def test_reflections_written_with_their_own_keys_multiply():
    # v = k and b = c = 2 give M_t = I − Π (I − 2 k kᵀ): from an empty memory every product of reflections.
    generator = torch.Generator().manual_seed(0)
    steps, size = 300, 5
    i, j = torch.randint(size, (2, steps), generator=generator)
    swaps = torch.nn.functional.normalize(torch.eye(size).double()[i] - torch.eye(size).double()[j], dim=-1)
    two = torch.full((steps,), 2.0, dtype=torch.float64)
    run = linear_memory(swaps, swaps, swaps, erase=two, strength=two)
    product = torch.eye(size, dtype=torch.float64)
    for k in swaps:
        product = product @ (torch.eye(size) - 2 * torch.outer(k, k))
    torch.testing.assert_close(torch.eye(size) - run.memory, product, rtol=0, atol=1e-12)
    assert set(product.round().flatten().tolist()) == {0.0, 1.0}


@pytest.mark.parametrize(("strength", "sign"), [(2.0, -1), (1.0, 1)])
def test_parity_needs_a_transition_with_a_negative_eigenvalue(strength, sign):
    # One key, b at ones and 0 at zeros: 1 − b ‖k‖² is −1 or 0, so only the first counts modulo 2.
    bits = torch.tensor([1, 0, 1, 1, 0, 1], dtype=torch.float64)
    key = torch.ones(6, 1, dtype=torch.float64)
    run = linear_memory(key, key, 0.5 * key, erase=strength * bits, strength=strength * bits)
    distance_from_half = (run.reads.squeeze() - 0.5) / -0.5
    expected = torch.cumprod(1 - strength * bits, 0)
    torch.testing.assert_close(distance_from_half, expected, rtol=0, atol=1e-12)
    assert (expected.min() < 0) == (sign < 0)


@pytest.mark.parametrize("cut", [1, 3, 4, 20])
def test_a_normalised_memory_may_be_cut_anywhere_and_starts_from_zeros(cut):
    inputs = inputs_of("delta")
    query, key, value, erase = (inputs[n].detach() for n in ("query", "key", "value", "erase"))
    # Values that make the first write larger than one, after three steps without any.
    value, erase[..., :3] = 9 * value, 0.0
    whole = normalised_delta(query, key, value, erase)
    zeros = torch.zeros(MEMBERS, BATCH, VALUE, KEY, dtype=torch.float64)
    run = normalised_delta(*(x[:, :, :cut] for x in (query, key, value, erase)), zeros)
    rest = normalised_delta(*(x[:, :, cut:] for x in (query, key, value, erase)), run.memory)
    torch.testing.assert_close(torch.cat([run.reads, rest.reads], dim=2), whole.reads, rtol=0, atol=1e-12)
    torch.testing.assert_close(torch.cat([run.log_keep, rest.log_keep], dim=2), whole.log_keep)
    assert not whole.log_keep[..., :4].any()
    assert (whole.log_keep[..., 4] < 0).all()


def test_a_normalised_memory_is_the_delta_rule_that_is_then_divided_by_its_norm():
    inputs = inputs_of("delta")
    query, key, value, erase = (inputs[n].detach() for n in ("query", "key", "value", "erase"))
    run = normalised_delta(query, key, value, erase)
    divisor = (-run.log_keep).exp()
    # The rule with the divisors as decays: log w = −log s, b = β, c = β / s.
    given = {"log_keep": run.log_keep, "erase": erase, "strength": erase / divisor}
    reads, memory = linear_memory_steps(query, key, value, **given)
    torch.testing.assert_close(run.reads, reads, rtol=0, atol=1e-12)
    torch.testing.assert_close(run.memory, memory, rtol=0, atol=1e-12)
    assert (divisor > 1.01).any()
    assert torch.linalg.matrix_norm(run.memory).max() <= 1 + 1e-12


@pytest.mark.parametrize("steps", [2, 3, TIME])
def test_an_answer_of_a_normalised_memory_needs_no_memory(steps):
    inputs = inputs_of("delta")
    key, value, erase = (inputs[n][:, :, :steps].detach() for n in ("key", "value", "erase"))
    # Keys that make the first write larger than one, by which nothing is divided.
    given = inputs["query"][:, :, 0].detach(), 2 * key, value, erase
    given = tuple(x.requires_grad_() for x in given)

    def stepwise(query, key, value, erase):
        reads = normalised_delta(query.unsqueeze(2).expand_as(key), key, value, erase).reads
        return layer_norm(reads[:, :, -1], reads.shape[-1:])

    weights = torch.randn(MEMBERS, BATCH, VALUE, dtype=torch.float64)
    runs = []
    for form in (normalised_delta_answer, stepwise):
        answer = form(*given)
        runs.append([answer, *torch.autograd.grad((answer * weights).sum(), given)])
    for found, expected in zip(*runs, strict=True):
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-11)
    first = (given[3][:, :, 0, None] * given[2][:, :, 0]).norm(dim=-1) * given[1][:, :, 0].norm(dim=-1)
    assert (first > 1).any()

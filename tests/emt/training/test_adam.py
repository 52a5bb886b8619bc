import pytest
import torch

from emt.training.adam import MemberAdam
from emt.training.optimizer import MemberSGD


def problem(members=3, seed=0):
    generator = torch.Generator().manual_seed(seed)
    shapes = [(members, 4, 5), (members, 6)]
    return [torch.nn.Parameter(torch.randn(s, generator=generator, dtype=torch.float64)) for s in shapes]


def set_gradients(parameters, step, scale=1.0):
    for i, p in enumerate(parameters):
        p.grad = scale * (
            p.detach() * (i + 1) + torch.sin(torch.arange(p.numel(), dtype=p.dtype).view_as(p) + step)
        )


def step_both(together, stacked, alone, lone):
    """Take a step of a stack and of its members alone, which get their part of its gradients."""
    for m, (optimizer, parameters) in enumerate(zip(alone, lone, strict=True)):
        for p, s in zip(parameters, stacked, strict=True):
            p.grad = s.grad[m : m + 1].clone()
        optimizer.step()
    together.step()


every_kind = pytest.mark.parametrize("kind", [MemberAdam, MemberSGD])


@pytest.mark.parametrize(
    ("kind", "torch_kind"), [(MemberAdam, torch.optim.Adam), (MemberSGD, torch.optim.SGD)]
)
@pytest.mark.parametrize(("clip", "penalty"), [(0.0, 0.0), (1.0, 0.0), (1.0, 0.1)])
def test_each_member_follows_torchs_optimiser_with_its_own_clipping(kind, torch_kind, clip, penalty):
    stacked = problem()
    ours = kind(stacked, 1e-2, clip, penalty)
    lone = [[torch.nn.Parameter(p[m].detach().clone()) for p in stacked] for m in range(3)]
    theirs = [torch_kind(ps, lr=1e-2, weight_decay=penalty) for ps in lone]
    for step in range(7):
        set_gradients(stacked, step)
        for m, ps in enumerate(lone):
            for p, s in zip(ps, stacked, strict=True):
                p.grad = s.grad[m].clone()
            if clip:
                torch.nn.utils.clip_grad_norm_(ps, clip)
            theirs[m].step()
        ours.step()
    for m, ps in enumerate(lone):
        for p, s in zip(ps, stacked, strict=True):
            torch.testing.assert_close(s[m], p, rtol=1e-12, atol=1e-12)


@every_kind
def test_the_penalty_spares_what_it_should_not_act_on(kind):
    parameters = problem()
    before = [p.detach().clone() for p in parameters]
    optimizer = kind(parameters, 1e-2, 1.0, 0.1, spared=parameters[:1])
    for parameter in parameters:
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    assert torch.equal(parameters[0], before[0])
    for parameter, value in zip(parameters[1:], before[1:], strict=True):
        assert (parameter.abs() < value.abs()).all()


def test_what_requires_no_gradient_stays_whatever_the_penalty():
    parameters = problem()
    parameters[0].requires_grad_(False)
    before = [p.detach().clone() for p in parameters]
    optimizer = MemberAdam(parameters, 1e-2, 1.0, 0.1)
    parameters[1].grad = torch.ones_like(parameters[1])
    optimizer.step()
    assert torch.equal(parameters[0], before[0])
    assert (parameters[1] != before[1]).all()
    optimizer.keep(torch.tensor([0, 2]))
    assert torch.equal(parameters[0], before[0][[0, 2]])


def test_what_is_added_to_the_root_is_given():
    stacked, alone = problem(), problem()
    ours = MemberAdam(stacked, 1e-2, epsilon=0.3)
    theirs = torch.optim.Adam(alone, lr=1e-2, eps=0.3)
    for step in range(3):
        for parameters, optimizer in ((stacked, ours), (alone, theirs)):
            set_gradients(parameters, step)
            optimizer.step()
    for found, expected in zip(stacked, alone, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


def test_clipping_matters():
    moved = []
    for clip in (0.0, 0.5):
        parameters = problem()
        optimizer = MemberAdam(parameters, 1e-2, clip)
        for step in range(3):
            set_gradients(parameters, step, scale=3.0 if step == 1 else 0.1)
            optimizer.step()
        moved.append(parameters[0].detach().clone())
    assert not torch.allclose(*moved)


@every_kind
def test_a_member_without_finite_gradient_is_frozen_and_the_others_are_not_touched(kind):
    clean, poisoned = problem(), problem()
    a, b = kind(clean, 1e-2, 1.0), kind(poisoned, 1e-2, 1.0)
    for step in range(4):
        set_gradients(clean, step)
        set_gradients(poisoned, step)
        if step >= 2:
            poisoned[1].grad[1, 3] = float("nan")
        a.step()
        b.step()
    assert b.frozen.tolist() == [False, True, False]
    for c, p in zip(clean, poisoned, strict=True):
        assert torch.isfinite(p).all()
        assert torch.equal(c[[0, 2]], p[[0, 2]])
        assert not torch.equal(c[1], p[1])


@every_kind
def test_members_that_leave_take_their_moments_along(kind):
    whole, part = problem(), problem()
    a, b = kind(whole, 1e-2), kind(part, 1e-2)
    for step in range(3):
        set_gradients(whole, step)
        set_gradients(part, step)
        a.step()
        b.step()
    b.keep(torch.tensor([0, 2]))
    for step in range(3, 5):
        set_gradients(whole, step)
        for w, p in zip(whole, part, strict=True):
            p.grad = w.grad[[0, 2]].clone()
        a.step()
        b.step()
    for w, p in zip(whole, part, strict=True):
        assert torch.equal(w[[0, 2]], p)


@every_kind
@pytest.mark.parametrize("frozen", [False, True])
def test_a_member_with_a_rate_of_its_own_gets_the_bits_that_it_gets_alone(kind, frozen):
    rates = (1e-2, 1e-2, 3e-3, 1e-3)
    generator = torch.Generator().manual_seed(0)
    stacked = [torch.nn.Parameter(torch.randn(4, *s, generator=generator)) for s in ((4, 8), (7,))]
    lone = [[torch.nn.Parameter(p[m : m + 1].detach().clone()) for p in stacked] for m in range(4)]
    together = kind(stacked, rates, 1.0, 0.1)
    alone = [kind(ps, rate, 1.0, 0.1) for ps, rate in zip(lone, rates, strict=True)]
    for step in range(5):
        set_gradients(stacked, step)
        if frozen and step == 2:
            stacked[0].grad[1, 0, 0] = float("inf")
        step_both(together, stacked, alone, lone)
    for m, ps in enumerate(lone):
        assert all(torch.equal(s[m], p[0]) for p, s in zip(ps, stacked, strict=True))
    together.keep(torch.tensor([0, 3]))
    assert together.rates == [1e-2, 1e-3]
    set_gradients(stacked, 5)
    step_both(together, stacked, alone[::3], lone[::3])
    for m, ps in enumerate(lone[::3]):
        assert all(torch.equal(s[m], p[0]) for p, s in zip(ps, stacked, strict=True))


@pytest.mark.parametrize("frozen", [False, True])
def test_a_member_gets_the_same_bits_from_a_stack_as_alone(frozen):
    # Sizes with and without a rest beside whole vectors of 16.
    generator = torch.Generator().manual_seed(0)
    stacked = [torch.nn.Parameter(torch.randn(3, *s, generator=generator)) for s in ((4, 8), (7,), (3, 5))]
    lone = [[torch.nn.Parameter(p[m : m + 1].detach().clone()) for p in stacked] for m in range(3)]
    together, alone = MemberAdam(stacked, 1e-2, 1.0, 0.1), [MemberAdam(ps, 1e-2, 1.0, 0.1) for ps in lone]
    for step in range(5):
        set_gradients(stacked, step)
        if frozen and step == 2:
            stacked[0].grad[1, 0, 0] = float("inf")
        step_both(together, stacked, alone, lone)
    assert together.frozen.tolist() == [False, frozen, False]
    for m, ps in enumerate(lone):
        assert all(torch.equal(s[m], p[0]) for p, s in zip(ps, stacked, strict=True))
    assert not torch.equal(stacked[0][0], stacked[0][1])


@every_kind
def test_step_sizes_rise_in_a_line_and_stay(kind):
    optimizer = kind(problem(), 1e-2, warmup_steps=1000)
    assert [optimizer.warmth(step) for step in (0, 500, 1000, 2000)] == [0, 0.5, 1, 1]
    moved = []
    for warmup in (0, 4):
        parameters = problem()
        before = [p.detach().clone() for p in parameters]
        set_gradients(parameters, 0)
        kind(parameters, 1e-2, warmup_steps=warmup).step()
        moved.append([p.detach() - b for p, b in zip(parameters, before, strict=True)])
    for whole, part in zip(*moved, strict=True):
        torch.testing.assert_close(part, whole / 4, rtol=1e-9, atol=1e-15)

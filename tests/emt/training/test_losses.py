"""Losses and their accuracies against torch's own."""

import math

import pytest
import torch
from torch.nn import functional

from emt.tasks.base import ACCURACY
from emt.training.losses import (
    LOSSES,
    Scoring,
    actor_critic,
    advantage,
    advantage_loss,
    cross_entropy,
    half_squares,
    mean_squared_error,
)

MEMBERS, BATCH, TIME, OUT = 2, 3, 5, 7


@pytest.fixture
def draw():
    generator = torch.Generator().manual_seed(0)
    outputs = torch.randn(
        MEMBERS, BATCH, TIME, OUT, generator=generator, dtype=torch.float64, requires_grad=True
    )
    classes = torch.randint(OUT, (MEMBERS, BATCH, TIME), generator=generator)
    scored = torch.rand(MEMBERS, BATCH, TIME, generator=generator) < 0.5
    return outputs, classes, scored


def test_cross_entropy_is_torchs_member_by_member_with_gradients(draw):
    outputs, classes, scored = draw
    loss, accuracy = cross_entropy(
        outputs, Scoring(functional.one_hot(classes, OUT).double(), scored, scored)
    )
    (gradient,) = torch.autograd.grad(loss.sum(), outputs)
    expected = [
        functional.cross_entropy(outputs[m][scored[m]], classes[m][scored[m]]) for m in range(MEMBERS)
    ]
    (wanted,) = torch.autograd.grad(sum(expected), outputs)
    torch.testing.assert_close(loss, torch.stack(expected), atol=1e-12, rtol=0)
    torch.testing.assert_close(gradient, wanted, atol=1e-12, rtol=0)
    right = outputs.argmax(dim=-1) == classes
    for m in range(MEMBERS):
        assert accuracy[m] == right[m][scored[m]].double().mean()


def test_steps_that_are_not_scored_do_not_matter(draw):
    outputs, classes, scored = draw
    targets = functional.one_hot(classes, OUT).double()
    changed = torch.where(scored[..., None], outputs, outputs + 3 * torch.arange(OUT))
    # An agent's steps all count.
    for loss in (LOSSES[name] for name in LOSSES if name != "advantage"):
        scoring = Scoring(targets, scored, scored)
        for before, after in zip(loss(outputs, scoring), loss(changed, scoring), strict=True):
            torch.testing.assert_close(before, after)
        assert not torch.equal(loss(outputs, scoring)[0], loss(changed, Scoring(targets, ~scored, scored))[0])


def test_half_squares_are_half_the_squared_distance_from_a_one_hot_answer(draw):
    outputs, classes, scored = draw
    loss, accuracy = half_squares(outputs, Scoring(classes, scored, scored))
    one_hot = functional.one_hot(classes, OUT)
    for m in range(MEMBERS):
        costs = (outputs[m][scored[m]] - one_hot[m][scored[m]]).square().sum(dim=-1) / 2
        torch.testing.assert_close(loss[m], costs.mean())
        assert accuracy[m] == (outputs[m].argmax(dim=-1) == classes[m])[scored[m]].double().mean()
    for answer, cost in ((one_hot, 0.0), (one_hot.roll(1, dims=-1), 1.0), (0.0 * one_hot, 0.5)):
        loss, _ = half_squares(answer.double(), Scoring(classes, scored, scored))
        torch.testing.assert_close(loss, torch.full((MEMBERS,), cost, dtype=torch.float64))


def test_squared_error_is_torchs_member_by_member(draw):
    outputs, classes, scored = draw
    targets = 2.0 * functional.one_hot(classes, OUT) - 1
    loss, accuracy = mean_squared_error(outputs, Scoring(targets, scored, scored))
    for m in range(MEMBERS):
        chosen, wanted = outputs[m][scored[m]], targets[m][scored[m]]
        torch.testing.assert_close(loss[m], functional.mse_loss(chosen, wanted.double()))
        assert accuracy[m] == ((chosen >= 0) == (wanted >= 0)).double().mean().float()


def test_large_logits_stay_finite():
    outputs = torch.tensor([[[[2000.0, 0.0, -2000.0]]]])
    targets = torch.tensor([[[[0.0, 1.0, 0.0]]]])
    everything = torch.ones(1, 1, 1, dtype=torch.bool)
    loss, accuracy = cross_entropy(outputs, Scoring(targets, everything, everything))
    assert loss.item() == 2000
    assert accuracy.item() == 0


def test_ids_are_targets_as_one_hot_vectors_are(draw):
    outputs, classes, scored = draw
    ids = torch.where(scored, classes, -1)
    one_hot = functional.one_hot(classes, OUT).double()
    for a, b in zip(
        cross_entropy(outputs, Scoring(ids, scored, scored)),
        cross_entropy(outputs, Scoring(one_hot, scored, scored)),
        strict=True,
    ):
        assert torch.equal(a, b)


def test_accuracy_is_over_the_judged_steps_and_loss_over_the_scored(draw):
    outputs, classes, scored = draw
    judged = torch.zeros_like(scored)
    judged[0, 1, 2] = True
    loss, accuracy = cross_entropy(outputs, Scoring(classes, scored, judged))
    assert accuracy[0] == float(outputs[0, 1, 2].argmax() == classes[0, 1, 2])
    assert accuracy[1] == 0  # Nothing is judged: no NaN that would freeze a member.
    assert torch.equal(loss, cross_entropy(outputs, Scoring(classes, scored, scored))[0])


def test_every_loss_says_when_an_output_is_right():
    assert set(LOSSES) == set(ACCURACY)


def actor_critic_by_hand(logits, value, target, draws, discount, entropy, normalise):
    """The loss of one row, step by step: of the policy, of the value, and the accuracy."""
    p = logits.softmax(dim=-1)
    actions = [int((p[t].cumsum(0) <= draws[t]).sum()) for t in range(len(p))]
    rewards = [float(a == target) for a in actions]
    sums = [sum(discount**k * r for k, r in enumerate(rewards[t:])) for t in range(len(p))]
    returns = torch.tensor(sums, dtype=torch.float64)
    if normalise:
        returns = (returns - returns.mean()) / (returns.std() + 1.1920929e-7)
    policy = value_loss = 0
    for t, action in enumerate(actions):
        policy = policy - torch.log(p[t, action]) * (returns[t] - value[t].detach())
        policy = policy + entropy * (p[t] * p[t].log()).sum()
        value_loss = value_loss + functional.smooth_l1_loss(value[t], returns[t])
    return policy, value_loss, sum(rewards) / len(rewards)


@pytest.mark.parametrize(
    ("discount", "entropy", "normalise"),
    [(0.0, 0.0, False), (0.9, 0.0, False), (1.0, 0.3, False), (0.5, 0.1, True)],
)
def test_actor_critic_is_the_values_loss_with_the_gradient_of_the_policys_too(
    draw, discount, entropy, normalise
):
    outputs, classes, scored = draw
    everywhere, targets = torch.ones_like(scored), (classes[:, :, :1] % (OUT - 1)).expand(-1, -1, TIME)
    draws = torch.rand(MEMBERS, BATCH, TIME, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    options = {"discount": discount, "entropy": entropy, "normalise_returns": normalise}
    loss, accuracy = actor_critic(outputs, Scoring(targets, everywhere, everywhere, draws), **options)
    rows = [
        [
            actor_critic_by_hand(
                outputs[m, b, :, :-1], outputs[m, b, :, -1], targets[m, b, 0], draws[m, b], *options.values()
            )
            for b in range(BATCH)
        ]
        for m in range(MEMBERS)
    ]
    policy, expected = (
        torch.stack([torch.stack([row[i] for row in m]).mean() for m in rows]) for i in (0, 1)
    )
    torch.testing.assert_close(loss, expected, atol=1e-6 if normalise else 1e-12, rtol=0)
    assert policy.abs().min() > 1e-2
    torch.testing.assert_close(
        accuracy, torch.tensor([[row[2] for row in m] for m in rows]).mean(dim=1).double()
    )
    (gradient,), (wanted,) = (torch.autograd.grad(x.sum(), outputs) for x in (loss, policy + expected))
    torch.testing.assert_close(gradient, wanted, atol=1e-6 if normalise else 1e-12, rtol=0)


def test_actions_are_drawn_from_the_policy_or_the_likeliest(draw):
    scored = torch.ones(1, 1, 4000, dtype=torch.bool)
    logits = torch.tensor([0.2, 0.5, 0.3]).log().expand(1, 1, 4000, 3)
    outputs = torch.cat([logits, torch.zeros(1, 1, 4000, 1)], dim=-1)
    draws = torch.rand(1, 1, 4000, generator=torch.Generator().manual_seed(0))
    shares = [
        actor_critic(outputs, Scoring(torch.full((1, 1, 4000), k), scored, scored, draws))[1].item()
        for k in range(3)
    ]
    assert shares == pytest.approx([0.2, 0.5, 0.3], abs=0.03)
    greedy = [
        actor_critic(outputs, Scoring(torch.full((1, 1, 4000), k), scored, scored))[1] for k in range(3)
    ]
    assert greedy == [0, 1, 0]


# Advantage actor-critic on what was done


OPTIONS = {"discount": 0.9, "entropy": 0.03, "value_weight": 0.1, "pooled": True}


def draw_episodes(members=2, rows=5, steps=7, actions=3):
    generator = torch.Generator().manual_seed(8)
    outputs = torch.randn(members, rows, steps, actions + 1, generator=generator, dtype=torch.float64)
    done = torch.randint(actions, (members, rows, steps), generator=generator)
    rewards = torch.randn(members, rows, steps, generator=generator, dtype=torch.float64)
    return outputs.requires_grad_(), done, rewards


def by_pairs(outputs, actions, rewards, discount, entropy, value_weight, pooled):
    """The loss of one member, with each return and each value, or each pair of them, one after the other."""
    rows, steps = rewards.shape
    whole = 0.0
    for t in range(steps):
        p = outputs[:, t, :-1].softmax(-1) + 1e-8
        p, v = p / p.sum(-1, keepdim=True), outputs[:, t, -1]
        returns = [sum(discount**k * rewards[j, t + k] for k in range(steps - t)) for j in range(rows)]
        pairs = [(i, j) for i in range(rows) for j in range(rows) if pooled or i == j]
        policy = sum(-p[j, actions[j, t]].log() * (returns[j] - v[i]).detach() for i, j in pairs) / len(pairs)
        value = sum((returns[j] - v[i]) ** 2 for i, j in pairs) / len(pairs)
        unsure = -(p * p.log()).sum(-1).mean()
        whole = whole + policy - entropy * unsure + value_weight * value
    return whole / steps


@pytest.mark.parametrize("pooled", [True, False])
def test_advantages_are_of_pairs_in_the_program_and_of_rows_as_they_should_be(pooled):
    outputs, actions, rewards = draw_episodes()
    options = {**OPTIONS, "pooled": pooled}
    found = advantage_loss(outputs, actions, rewards, **options)
    each = [by_pairs(o, a, r, **options) for o, a, r in zip(outputs, actions, rewards, strict=True)]
    torch.testing.assert_close(found, torch.stack(each), rtol=1e-12, atol=0)
    ours, theirs = (torch.autograd.grad(loss.sum(), outputs)[0] for loss in (found, torch.stack(each)))
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-14)
    other = advantage_loss(outputs, actions, rewards, **{**options, "pooled": not pooled})
    assert (other - found).abs().min() > 1e-3


def test_pooled_values_learn_the_mean_return():
    outputs, actions, rewards = draw_episodes()
    (gradient,) = torch.autograd.grad(advantage_loss(outputs, actions, rewards, **OPTIONS).sum(), outputs)
    returns = torch.stack([sum(0.9**k * rewards[..., t + k] for k in range(7 - t)) for t in range(7)], dim=-1)
    expected = 2 * 0.1 / (7 * 5) * (outputs[..., -1] - returns.mean(dim=1, keepdim=True))
    torch.testing.assert_close(gradient[..., -1], expected.detach(), rtol=0, atol=1e-14)


def test_who_does_not_choose_is_rewarded_for_entropy_alone():
    zero = torch.zeros(1, 4, 3, 4, dtype=torch.float64)
    loss = advantage_loss(zero, torch.zeros(1, 4, 3, dtype=torch.long), zero[..., 0], **OPTIONS)
    assert loss.item() == pytest.approx(-0.03 * math.log(3), abs=1e-9)


def test_a_reward_counts_at_the_last_step_and_for_those_before_it():
    outputs, actions, _ = draw_episodes(members=1)
    later = torch.zeros(1, 5, 7, dtype=torch.float64)
    later[0, 2, -1] = 10
    base, with_reward = (
        torch.autograd.grad(advantage_loss(outputs, actions, r, **OPTIONS).sum(), outputs)[0][..., :-1]
        for r in (torch.zeros_like(later), later)
    )
    change = (with_reward - base).abs().amax(dim=-1)[0]
    assert (change[2] > 0).all()
    assert not change[[0, 1, 3, 4]].any()


def test_the_figure_is_minus_the_return_and_the_gradient_is_the_losses():
    outputs, actions, rewards = draw_episodes()
    everywhere = torch.ones(rewards.shape, dtype=torch.bool)
    targets = torch.nn.functional.one_hot(outputs[..., :-1].argmax(dim=-1), 3).float()
    targets[:, 0] = targets[:, 0].roll(1, dims=-1)
    scoring = Scoring(targets, everywhere, everywhere, None, actions, rewards)
    loss, accuracy = advantage(outputs, scoring, **OPTIONS)
    torch.testing.assert_close(loss.detach(), -rewards.sum(dim=2).mean(dim=1))
    torch.testing.assert_close(accuracy, torch.full((2,), 0.8))
    ours, theirs = (
        torch.autograd.grad(one.sum(), outputs)[0]
        for one in (loss, advantage_loss(outputs, actions, rewards, **OPTIONS))
    )
    torch.testing.assert_close(ours, theirs, rtol=0, atol=0)

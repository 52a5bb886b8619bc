"""Losses and their accuracies against torch's own."""

import pytest
import torch
from torch.nn import functional

from emt.tasks.base import ACCURACY
from emt.training.losses import (
    LOSSES,
    Scoring,
    actor_critic,
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
    for loss in LOSSES.values():
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

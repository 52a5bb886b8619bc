"""Losses and their accuracies against torch's own."""

import pytest
import torch
from torch.nn import functional

from emt.tasks.base import ACCURACY
from emt.training.losses import LOSSES, cross_entropy, mean_squared_error

MEMBERS, BATCH, TIME, OUT = 2, 3, 5, 7


@pytest.fixture
def draw():
    generator = torch.Generator().manual_seed(0)
    outputs = torch.randn(MEMBERS, BATCH, TIME, OUT, generator=generator, dtype=torch.float64, requires_grad=True)
    classes = torch.randint(OUT, (MEMBERS, BATCH, TIME), generator=generator)
    scored = torch.rand(MEMBERS, BATCH, TIME, generator=generator) < 0.5
    return outputs, classes, scored


def test_cross_entropy_is_torchs_member_by_member_with_gradients(draw):
    outputs, classes, scored = draw
    loss, accuracy = cross_entropy(outputs, functional.one_hot(classes, OUT).double(), scored)
    (gradient,) = torch.autograd.grad(loss.sum(), outputs)
    expected = [functional.cross_entropy(outputs[m][scored[m]], classes[m][scored[m]]) for m in range(MEMBERS)]
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
        for before, after in zip(loss(outputs, targets, scored), loss(changed, targets, scored), strict=True):
            torch.testing.assert_close(before, after)
        assert not torch.equal(loss(outputs, targets, scored)[0], loss(changed, targets, ~scored)[0])


def test_squared_error_is_torchs_member_by_member(draw):
    outputs, classes, scored = draw
    targets = 2.0 * functional.one_hot(classes, OUT) - 1
    loss, accuracy = mean_squared_error(outputs, targets, scored)
    for m in range(MEMBERS):
        chosen, wanted = outputs[m][scored[m]], targets[m][scored[m]]
        torch.testing.assert_close(loss[m], functional.mse_loss(chosen, wanted.double()))
        assert accuracy[m] == ((chosen >= 0) == (wanted >= 0)).double().mean().float()


def test_large_logits_stay_finite():
    outputs = torch.tensor([[[[2000.0, 0.0, -2000.0]]]])
    targets = torch.tensor([[[[0.0, 1.0, 0.0]]]])
    loss, accuracy = cross_entropy(outputs, targets, torch.ones(1, 1, 1, dtype=torch.bool))
    assert loss.item() == 2000
    assert accuracy.item() == 0


def test_every_loss_says_when_an_output_is_right():
    assert set(LOSSES) == set(ACCURACY)

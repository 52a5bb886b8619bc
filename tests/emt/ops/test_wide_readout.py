import numpy as np
import pytest
import torch
from torch.testing import assert_close

from emt.models.base import Factored
from emt.ops import wide_readout
from emt.ops.wide_readout import wide_cross_entropy, wide_cross_entropy_whole
from emt.training.losses import Scoring, cross_entropy

ROWS, UNITS, OUTPUTS = 11, 4, 7


def draw(*shape, seed=0):
    return torch.tensor(np.random.default_rng(seed).standard_normal(shape))


@pytest.mark.parametrize("piece", [1, 3 * OUTPUTS, 1000])
def test_pieces_give_the_loss_and_gradients_of_all_logits(piece, monkeypatch):
    monkeypatch.setattr(wide_readout, "PIECE", piece)
    target = torch.tensor(np.random.default_rng(5).integers(OUTPUTS, size=ROWS))
    weight = draw(ROWS, seed=4).abs() * (torch.arange(ROWS) % 4 > 0)
    results = []
    for form in (wide_cross_entropy, wide_cross_entropy_whole):
        given = [
            (3 * draw(*s, seed=i)).requires_grad_()
            for i, s in enumerate([(ROWS, UNITS), (OUTPUTS, UNITS), (OUTPUTS,)])
        ]
        loss, losses, right = form(*given, target, weight)
        results.append((loss, losses, *torch.autograd.grad(2 * loss, given)))
        assert not losses.requires_grad
        assert 0 < right.sum() < ROWS
    for ours, theirs in zip(*results, strict=True):
        assert_close(ours, theirs, rtol=0, atol=1e-12)


def test_the_loss_of_factored_outputs_is_that_of_outputs():
    members, batch, time = 2, 3, 5
    hidden, table, bias = (
        draw(members, batch, time, UNITS),
        draw(members, OUTPUTS, UNITS),
        draw(members, OUTPUTS),
    )
    given = [x.requires_grad_() for x in (hidden, table, bias)]
    targets = torch.tensor(np.random.default_rng(5).integers(OUTPUTS, size=(members, batch, time)))
    # Members with unequally many scored steps, and steps that are judged and not scored.
    scored = torch.tensor(np.random.default_rng(6).random((members, batch, time)) < 0.6)
    judged = torch.tensor(np.random.default_rng(7).random((members, batch, time)) < 0.5)
    assert len(set(scored.sum(dim=(1, 2)).tolist())) == 2
    scoring = Scoring(targets, scored, judged)
    factored = Factored(hidden, table, bias)
    results = []
    for outputs in (factored, factored.outputs()):
        losses, accuracies = cross_entropy(outputs, scoring)
        results.append(
            (
                losses,
                accuracies.double(),
                *torch.autograd.grad(losses @ torch.tensor([1.0, 2.0]).double(), given),
            )
        )
    for ours, theirs in zip(*results, strict=True):
        assert_close(ours, theirs, rtol=0, atol=1e-12)

"""Members that end with their best weights."""

import numpy as np
import pytest
import torch

from emt import runs
from emt.training.best import BestWeights
from emt.training.chunk import build, train_chunk
from emt.training.heldout import measure_members
from emt.training.population import Chunk
from emt.training.stack import Stack

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@pytest.fixture
def model():
    module = torch.nn.Module()
    module.w = torch.nn.Parameter(torch.zeros(3, 2))
    return module


def update(best, step, loss, accuracy, positions=(0, 1, 2)):
    with torch.no_grad():
        best.model.w.fill_(step)
    best.update(np.array(positions), step, np.array(loss), np.array(accuracy), {})


def test_the_highest_accuracy_wins_and_of_equal_ones_the_lowest_loss(model):
    best = BestWeights(model, 3)
    update(best, 1, (1.0, 1.0, 1.0), (0.5, 0.5, 0.5))
    update(best, 2, (2.0, 0.9, 1.1), (0.6, 0.5, 0.5))
    update(best, 3, (0.1, 1.0, np.nan), (0.4, 0.5, 1.0))
    assert best.step.tolist() == [2, 2, 1]
    for position in range(3):
        best.restore(position)
    assert model.w[:, 1].tolist() == [2, 2, 1]


def test_a_member_without_validation_keeps_its_weights(model):
    best = BestWeights(model, 3)
    with torch.no_grad():
        model.w.fill_(7)
    update(best, 5, (1.0,), (0.5,), positions=(1,))
    best.restore(0)
    assert model.w[0, 0] == 5, "its last weights, not those before training"


def test_members_that_leave_take_their_best_along(model):
    best = BestWeights(model, 3)
    update(best, 4, (1.0, 1.0, 1.0), (0.1, 0.2, 0.3))
    best.weights["w"] += torch.arange(3)[:, None]
    best.keep(np.array([0, 2]))
    assert best.accuracy.tolist() == [0.1, 0.3]
    assert best.weights["w"][:, 0].tolist() == [4, 6]
    other = BestWeights(model, 2)
    other.load_state_dict(best.state_dict())
    assert other.accuracy.tolist() == best.accuracy.tolist()
    assert torch.equal(other.weights["w"], best.weights["w"])


@pytest.fixture
def config(make_config):
    return make_config(
        num_models=2, epochs=4, epoch_batches=10, keep="best", curriculum=False, learning_rate=0.05
    )


def validations(folder, number):
    rows = np.genfromtxt(folder / f"model-{number}" / "training_curve.csv", delimiter=",", names=True)
    return rows[np.isfinite(rows["val_acc"])]


def test_a_member_ends_with_the_weights_of_its_best_validation(config, tmp_path, monkeypatch):
    monkeypatch.setattr(Stack, "measure", with_figures(Stack.measure))
    train_chunk(Chunk(tmp_path, config, (1, 2)))
    weights, marker = runs.read_weights(tmp_path / "model-1")
    assert (marker["step"], marker["best_step"], marker["val_acc"]) == (40, 20, 0.75)
    stack = build(config, (1,))
    for _ in range(20):
        report = stack.gradients()
        stack.optimizer.step()
        stack.advance(report)
    for name, value in stack.model.export(0).items():
        np.testing.assert_allclose(weights[name], value, atol=1e-5)


def with_figures(original):
    """Return a measurement that answers as if the second validation were the best."""

    def measure(stack, split, batches, positions):
        loss, _ = original(stack, split, batches, positions)
        return loss, np.full(len(positions), {10: 0.5, 20: 0.75, 30: 0.25, 40: 0.5}[stack.step])

    return measure


def test_an_interrupted_run_ends_with_the_same_bytes(config, tmp_path, monkeypatch):
    train_chunk(Chunk(tmp_path / "whole", config, (1, 2)))
    original = Stack.gradients

    def interrupted(stack):
        if stack.step == 33:
            raise KeyboardInterrupt
        return original(stack)

    with monkeypatch.context() as patch:
        patch.setattr(Stack, "gradients", interrupted)
        with pytest.raises((KeyboardInterrupt, SystemExit)):
            train_chunk(Chunk(tmp_path / "cut", config, (1, 2)))
    train_chunk(Chunk(tmp_path / "cut", config, (1, 2)))
    for number in (1, 2):
        whole, cut = (runs.read_weights(tmp_path / name / f"model-{number}")[1] for name in ("whole", "cut"))
        assert whole == cut


def test_members_are_tested_on_batches_that_no_training_saw(config, tmp_path):
    train_chunk(Chunk(tmp_path, config, (1, 2)))
    loss, accuracy = measure_members(tmp_path, config, [2, 1], 3)
    assert loss.shape == accuracy.shape == (2,)
    alone, _ = measure_members(tmp_path, config, [1], 3)
    np.testing.assert_allclose(alone[0], loss[1], rtol=1e-5)
    assert loss[0] != loss[1]

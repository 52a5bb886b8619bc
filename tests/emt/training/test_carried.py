"""State that members carry from batch to batch: over the steps, in validation, through saving, into their folders."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from emt.config import TrainingConfig
from emt.models.ar_lstm import RetrievalLSTM
from emt.streams import stream
from emt.tasks.base import Batch
from emt.training.losses import Scoring, cross_entropy
from emt.training.resume import restore, resume_state
from emt.training.stack import Stack

TOKENS, STEPS, ROWS, LAG = 5, 4, 3, 2


class Echo:
    """The token of ``LAG`` steps ago, in a stream of tokens that batches cut into segments."""

    input_channels = output_channels = TOKENS
    loss, loss_options = "cross_entropy", {}
    curriculum, carries, epoch_batches, tokens, lengths = False, True, 4, (), (STEPS,)

    def shape(self, seed, split, step, horizon):
        return STEPS

    def tokens_until(self, seed, split, step):
        return np.concatenate(
            [stream("echo", seed, split, s).integers(TOKENS, size=(ROWS, STEPS)) for s in step], 1
        )

    def batch(self, seeds, split, step, shape, size):
        seen = np.stack([self.tokens_until(seed, split, range(step + 1)) for seed in seeds])
        shifted = np.pad(seen, [(0, 0), (0, 0), (LAG, 0)], constant_values=0)[:, :, :-LAG]
        targets = shifted[:, :, -STEPS:]
        return Batch(
            inputs=seen[:, :, -STEPS:],
            answers=targets,
            scored=np.ones(targets.shape, bool),
            judged=targets % 2 == 0,
            fresh=split != "train" and step == 0,
        )


@pytest.fixture
def make_stack():
    def make(seeds=(0, 1000, 2000), **training):
        settings = {
            "epochs": 3,
            "epoch_batches": 4,
            "batch_size": ROWS,
            "learning_rate": 1e-2,
            "curriculum": False,
        }
        config = TrainingConfig(num_models=len(seeds), curriculum_horizons=(1,), **(settings | training))
        model = RetrievalLSTM(list(seeds), TOKENS, TOKENS, hidden_dim=7, embedding_dim=6)
        return Stack(config, Echo(), model, range(1, len(seeds) + 1))

    return make


def train(stack, steps):
    for _ in range(steps):
        report = stack.gradients()
        stack.optimizer.step()
        stack.advance(report)


def test_validation_in_segments_is_one_run_over_the_whole_stream(make_stack):
    stack, task = make_stack(), Echo()
    everyone = np.arange(3)
    loss, accuracy = stack.measure("validation", 3, everyone)
    seen = np.stack([task.tokens_until(seed, "validation", range(3)) for seed in stack.model.seeds])
    targets = torch.from_numpy(np.pad(seen, [(0, 0), (0, 0), (LAG, 0)])[:, :, :-LAG])
    outputs = stack.model(torch.from_numpy(seen))[0]
    scoring = Scoring(targets, torch.ones_like(targets, dtype=torch.bool), targets % 2 == 0)
    whole = [t.detach().numpy() for t in cross_entropy(outputs, scoring)]
    np.testing.assert_allclose(loss, whole[0], rtol=1e-5)
    np.testing.assert_allclose(accuracy, whole[1], rtol=1e-5)

    plain, draw = stack.task, stack.task.batch
    plain.batch = lambda *a: replace(draw(*a), fresh=True)
    assert np.abs(stack.measure("validation", 3, everyone)[0] - whole[0]).max() > 1e-4


def test_alone_or_in_a_population_a_member_carries_the_same(make_stack):
    together, alone = make_stack(), make_stack((1000,))
    train(together, 6)
    train(alone, 6)
    for name in ("hidden", "cell"):
        torch.testing.assert_close(together.state[name][1], alone.state[name][0], atol=1e-6, rtol=0)
        assert not torch.allclose(together.state[name][0], alone.state[name][0], atol=1e-3)
    together.keep(np.array([False, True, True]))
    train(together, 2)
    train(alone, 2)
    torch.testing.assert_close(together.state["hidden"][0], alone.state["hidden"][0], atol=1e-6, rtol=0)


def test_the_carried_state_is_cut_from_the_graph_and_used(make_stack):
    stack = make_stack()
    train(stack, 1)
    assert not any(s.requires_grad for s in stack.state.values())
    before = {name: s.clone() for name, s in stack.state.items()}
    loss = stack.gradients().loss
    stack.state = {name: torch.zeros_like(s) for name, s in before.items()}
    assert (stack.gradients().loss != loss).all()


def test_saved_and_continued_training_carries_on_to_the_bit(make_stack):
    whole, first, second = (make_stack(keep="best") for _ in range(3))
    train(whole, 4)
    whole.validate(np.arange(3))
    train(whole, 3)
    train(first, 4)
    first.validate(np.arange(3))
    restore(second, *resume_state(first))
    train(second, 3)
    continued, _ = resume_state(second)
    for name, tensor in resume_state(whole)[0].items():
        torch.testing.assert_close(continued[name], tensor, atol=0, rtol=0, equal_nan=True)


def test_the_first_row_of_the_best_step_is_kept(make_stack):
    stack = make_stack(keep="best")
    train(stack, 3)
    first_rows = {name: s[:, 0].clone() for name, s in stack.state.items()}
    stack.best.update(np.arange(3), 3, np.zeros(3), np.array([0.5, 0.9, 0.5]), stack.first_rows())
    train(stack, 2)
    stack.best.update(np.arange(3), 5, np.zeros(3), np.array([0.6, 0.8, 0.6]), stack.first_rows())
    for name, kept in stack.best.state.items():
        assert torch.equal(kept[1], first_rows[name][1])
        assert torch.equal(kept[0], stack.state[name][0, 0])
        assert not torch.equal(kept[0], first_rows[name][0])

"""Models with a learning rule of their own in training: population, resumption, divergence, refusal."""

import numpy as np
import pytest
import torch

from emt.config import RunConfig, TrainingConfig
from emt.errors import UserError
from emt.models.ethereal import EtherealRNN
from emt.streams import stream
from emt.tasks.base import Batch
from emt.training import chunk
from emt.training.chunk import bits_depend_on_stack
from emt.training.resume import restore, resume_state

SYMBOLS, ROWS, LENGTHS = 5, 4, (4, 6)


class Mirror:
    """Strings and their mirror images; members of a stack may have strings of different lengths."""

    input_channels = output_channels = SYMBOLS
    loss, loss_options = "cross_entropy", {}
    curriculum, carries, epoch_batches, tokens, lengths = False, False, 8, (), LENGTHS

    def shape(self, seed, split, step, horizon):
        return LENGTHS[int(stream("length", seed, split, step).integers(len(LENGTHS)))]

    def batch(self, seeds, split, step, shape, size):
        halves = np.stack(
            [stream("mirror", s, split, step).integers(SYMBOLS, size=(size, shape // 2)) for s in seeds]
        )
        whole = np.concatenate([halves, halves[..., ::-1]], axis=-1)
        targets = np.pad(whole[..., 1:], [(0, 0), (0, 0), (0, 1)], constant_values=-1)
        return Batch(inputs=whole, answers=targets, scored=targets >= 0)


def options(model, updater):
    plastic = {"eta": 0.02, "plast_clip": 40.0, "plast_learning_rate": 0.5} if model == "ethereal" else {}
    return {"type": model, "hidden_dim": 7, "layers": 2, "updater": updater, **plastic}


@pytest.fixture
def make_stack(monkeypatch):
    def make(model="ethereal", updater="dfa", numbers=(1, 2, 3), **training):
        monkeypatch.setattr(
            chunk, "load", lambda known, name, what: Mirror if what == "task" else load(known, name, what)
        )
        settings = {
            "num_models": 3,
            "epochs": 3,
            "batch_size": ROWS,
            "learning_rate": 0.02,
            "optimizer": "sgd",
        }
        config = RunConfig(
            task={"name": "mirror"},
            model=options(model, updater),
            training=TrainingConfig(
                **(settings | {"gradient_clip": 0.0, "curriculum_horizons": (1,)} | training)
            ),
        )
        return chunk.build(config, numbers)

    load = chunk.load
    return make


def train(stack, steps=8):
    for _ in range(steps):
        report = stack.gradients()
        stack.optimizer.step()
        stack.advance(report)
    return report


def differ(one, i, other, j):
    a, b = one.model.export(i), other.model.export(j)
    return max(np.abs(a[name] - b[name]).max() for name in a)


every_kind = pytest.mark.parametrize(
    ("model", "updater"), [(m, u) for m in ("ethereal", "ethereal_rnn") for u in ("dfa", "backprop", "bptt")]
)


@every_kind
def test_a_population_equals_separate_trainings(make_stack, model, updater):
    together = make_stack(model, updater)
    start = [together.model.export(i) for i in range(3)]
    shapes = {tuple(together.task.shape(s, "train", t, 1) for s in together.model.seeds) for t in range(8)}
    assert any(len(set(shape)) > 1 for shape in shapes), "members should be run apart at some step"
    train(together)
    for position, number in enumerate((1, 2, 3)):
        alone = make_stack(model, updater, numbers=(number,))
        train(alone)
        assert differ(alone, 0, together, position) < 1e-5
        assert (
            max(np.abs(start[position][n] - w).max() for n, w in together.model.export(position).items())
            > 1e-3
        )
    assert differ(together, 0, together, 1) > 1e-2


@every_kind
def test_a_step_of_gradient_descent_merges_what_was_written(make_stack, model, updater):
    stack = make_stack(model, updater)
    before = {n: p.detach().clone() for n, p in stack.model.named_parameters()}
    report = stack.gradients()
    gradients = {n: p.grad.clone() for n, p in stack.model.named_parameters()}
    stack.optimizer.step()
    stack.advance(report)
    for name, parameter in stack.model.named_parameters():
        torch.testing.assert_close(parameter.detach(), before[name] - 0.02 * gradients[name])
    assert all(g.abs().max() > 0 for n, g in gradients.items() if n.endswith("weight") and "layer" not in n)


def test_training_continues_to_the_bit_and_members_may_leave(make_stack):
    whole, first, second = (make_stack() for _ in range(3))
    train(whole, 4)
    train(first, 4)
    for stack in (whole, first):
        stack.keep(np.array([True, False, True]))
    tensors, about = resume_state(first)
    assert not any(name.startswith(("mean.", "square.")) for name in tensors), (
        "gradient descent keeps nothing"
    )
    restore(second, {k: v.clone() for k, v in tensors.items()}, about)
    for stack in (whole, second):
        train(stack, 4)
    assert [differ(whole, i, second, i) for i in range(2)] == [0, 0]
    alone = make_stack(numbers=(3,))
    train(alone)
    assert differ(alone, 0, whole, 1) < 1e-5


@pytest.mark.parametrize("updater", ["dfa", "backprop", "bptt"])
def test_a_member_that_explodes_is_frozen_and_the_others_are_equal_to_the_bit(make_stack, updater):
    clean, wild = make_stack(updater=updater), make_stack(updater=updater)
    with torch.no_grad():
        wild.model.output_weight[1] = 1e38
        wild.model.layer_1_bias[1] = 1e38
    exploded = wild.model.export(1)
    for stack in (clean, wild):
        train(stack)
    assert wild.frozen.tolist() == [False, True, False]
    assert all(np.array_equal(exploded[name], w) for name, w in wild.model.export(1).items())
    assert [differ(clean, i, wild, i) for i in (0, 2)] == [0, 0]


def test_whether_bits_depend_on_the_stack_is_asked_of_the_models_own_rule(make_stack):
    stack = make_stack()
    independent = not bits_depend_on_stack(stack)
    train(stack)
    alone = make_stack(numbers=(2,))
    train(alone)
    assert differ(alone, 0, stack, 1) == 0 or not independent


def test_a_task_without_targets_is_refused(make_stack, monkeypatch):
    monkeypatch.setattr(Mirror, "loss", "actor_critic")
    with pytest.raises(
        UserError, match="model_type: EtherealRNN learns from targets: expected a task with cross"
    ):
        make_stack()


def test_members_with_strings_of_different_lengths_have_the_norms_that_they_have_alone(make_stack):
    def after_a_step(*numbers):
        stack = make_stack(numbers=numbers)
        stack.gradients()
        stack.optimizer.step()
        stack.step = 4
        return stack

    stack = after_a_step(1, 2, 3)
    together = stack.norms()
    assert list(together) == [
        "grad_norm",
        "weight_norm",
        "plastic_write_norm",
        "other_write_norm",
        "plasticity",
    ]
    assert {stack.task.shape(s, "train", stack.step, 1) for s in stack.model.seeds} == set(LENGTHS)
    for place, number in enumerate((1, 2, 3)):
        for name, norm in after_a_step(number).norms().items():
            np.testing.assert_allclose(together[name][place], norm[0], rtol=1e-5, err_msg=name)
    with torch.no_grad():
        stack.model.layer_1_plasticity.fill_(10)
        stack.model.layer_2_plasticity.fill_(50)
        stack.model.recurrence_plasticity.fill_(90)
    np.testing.assert_allclose(stack.norms()["plasticity"], 50, rtol=1e-5)


def test_the_norm_of_what_a_step_writes_into_plastic_entries_grows_with_their_plasticity():
    tokens = torch.tensor([[[2], [0]]])
    norms = []
    for plasticity in (1.0, 40.0):
        model = EtherealRNN([3], SYMBOLS, SYMBOLS, hidden_dim=7, layers=2, plast_clip=plasticity)
        with torch.no_grad():
            norms.append(model.norms(model(tokens, context={"targets": tokens})[1], [0]))
    slow, fast = norms
    assert (slow["plastic_write_norm"] > 0).all()
    torch.testing.assert_close(fast["plastic_write_norm"], 40 * slow["plastic_write_norm"], rtol=1e-6, atol=0)
    torch.testing.assert_close(fast["other_write_norm"], slow["other_write_norm"], rtol=1e-6, atol=0)

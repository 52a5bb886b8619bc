"""A member trained in a population equals the member trained alone."""

import numpy as np
import pytest
import torch

from emt.training.chunk import bits_depend_on_stack, build
from emt.training.resume import restore, resume_state


def train(stack, steps):
    """Do real steps; return the horizons that members trained at, (step, member)."""
    horizons = []
    for _ in range(steps):
        report = stack.gradients()
        horizons.append(report.horizon)
        stack.optimizer.step()
        stack.advance(report)
    return np.array(horizons)


def weights(stack, position):
    return stack.model.export(position)


def distance(a, b):
    return max(np.abs(a[name] - b[name]).max() for name in a)


@pytest.mark.parametrize("model", ["rnn", "lstm"])
@pytest.mark.parametrize("task", [{}, {"seq_length": (3, 5)}, {"use_eos": True}])
def test_population_of_four_equals_four_separate_trainings(make_config, model, task):
    config = make_config(model, task, bias=bool(task), gradient_clip=0.5)
    population = build(config, (1, 2, 3, 4))
    horizons = train(population, 50)
    if model == "rnn" and not task:
        assert any(len(set(row)) > 1 for row in horizons), "members should part in the curriculum"
    for position, number in enumerate((1, 2, 3, 4)):
        alone = build(config, (number,))
        np.testing.assert_array_equal(train(alone, 50)[:, 0], horizons[:, position])
        assert distance(weights(alone, 0), weights(population, position)) < 1e-5


@pytest.mark.parametrize("model", ["rnn", "lstm"])
def test_where_the_probe_finds_no_difference_training_is_equal_to_the_bit(make_config, model):
    config = make_config(model, hidden_dim=32, batch_size=64)
    population = build(config, (1, 2, 3))
    independent = not bits_depend_on_stack(population)
    train(population, 20)
    alone = build(config, (2,))
    train(alone, 20)
    assert (distance(weights(alone, 0), weights(population, 1)) == 0) or not independent


def test_members_with_different_learning_rates_equal_separate_trainings(make_config):
    rates = (5e-3, 1e-3)
    config = make_config(num_models=4, learning_rates=rates)
    population = build(config, (1, 2, 3, 4))
    assert population.model.seeds == (0, 1000, 0, 1000)
    train(population, 20)
    for number, rate in enumerate(config.training.rates(), start=1):
        assert rate == rates[number > 2]
        alone = build(make_config(num_models=2, learning_rate=rate), (1 + (number - 1) % 2,))
        train(alone, 20)
        assert distance(weights(alone, 0), weights(population, number - 1)) < 1e-5
    assert distance(weights(population, 0), weights(population, 2)) > 1e-3


def test_members_differ(make_config):
    stack = build(make_config(), (1, 2))
    train(stack, 3)
    assert distance(weights(stack, 0), weights(stack, 1)) > 0.1


@pytest.mark.parametrize("bias", [False, True])
def test_training_equals_a_plain_torch_loop(make_config, bias):
    """The whole of training against torch.nn.RNN, torch.optim.Adam and torch's own clipping, on the same data."""
    config = make_config(bias=bias, gradient_clip=0.3, curriculum=False)
    stack = build(config, (3,))
    rnn = torch.nn.RNN(4, 24, bias=bias, batch_first=True)
    readout = torch.nn.Linear(24, 4, bias=bias)
    start = {k: torch.from_numpy(v) for k, v in weights(stack, 0).items()}
    both = torch.nn.ModuleDict({"rnn": rnn, "readout": readout})
    both.load_state_dict(start)
    optimizer = torch.optim.Adam(both.parameters(), lr=5e-3)
    train(stack, 30)
    for step in range(30):
        batch = stack.task.batch([2000], "train", step, stack.task.shape(2000, "train", step, 9), 16)
        outputs = readout(rnn(torch.from_numpy(batch.padded_inputs(4)[0]))[0])[:, 3:]
        loss = torch.nn.functional.mse_loss(outputs, torch.from_numpy(batch.targets[0, :, 3:]))
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(both.parameters(), 0.3)
        optimizer.step()
    theirs = {k: v.numpy() for k, v in both.state_dict().items()}
    assert distance(weights(stack, 0), theirs) < 1e-5
    assert distance({k: v.numpy() for k, v in start.items()}, theirs) > 0.05


def test_a_diverged_member_is_frozen_and_the_others_are_equal_to_the_bit(make_config):
    config = make_config()
    clean, poisoned = build(config, (1, 2, 3)), build(config, (1, 2, 3))
    train(clean, 20)
    train(poisoned, 20)
    with torch.no_grad():
        poisoned.model.w_rec[1, 2, 3] = float("nan")
    train(clean, 20)
    train(poisoned, 20)
    assert poisoned.frozen.tolist() == [False, True, False]
    for position in (0, 2):
        assert distance(weights(clean, position), weights(poisoned, position)) == 0


def test_state_continues_to_the_bit(make_config):
    config = make_config()
    whole, first, second = (build(config, (1, 2, 3)) for _ in range(3))
    train(whole, 40)
    train(first, 17)
    tensors, about = resume_state(first)
    restore(second, {k: v.clone() for k, v in tensors.items()}, about)
    train(second, 23)
    for position in range(3):
        assert distance(weights(whole, position), weights(second, position)) == 0


def test_members_that_leave_do_not_disturb_the_others(make_config):
    config = make_config()
    whole, part = build(config, (1, 2, 3)), build(config, (1, 2, 3))
    train(whole, 30)
    train(part, 12)
    part.keep(np.array([True, False, True]))
    assert part.numbers == [1, 3]
    train(part, 18)
    assert distance(weights(whole, 2), weights(part, 1)) < 1e-5


def test_stop_accuracy_is_a_sustained_bar(make_config):
    stack = build(make_config(stop_accuracy=0.5, curriculum=False), (1, 2))
    train(stack, 99)
    assert not stack.finished().any()
    train(stack, 1)
    np.testing.assert_array_equal(stack.finished(), stack.progress.window.mean(axis=1) >= 0.5)
    assert stack.finished().any()


def test_members_stop_at_a_low_validation_loss_or_when_it_falls_no_more(make_config):
    stack = build(make_config(stop_loss=0.1, patience=3), (1, 2, 3))
    everyone, stopped = np.arange(3), []
    for loss in ([0.5, 0.5, 0.5], [0.4, 0.6, 0.2], [0.3, 0.5, 0.1], [0.2, 0.7, 0.3], [0.1, 0.1, 0.4]):
        stack.curriculum.validated(everyone, np.array(loss))
        stopped.append(stack.finished().tolist())
    # The second has not got below its first loss three times in a row, then does; the third stays at its lowest.
    assert stopped == [
        [False, False, False],
        [False, False, False],
        [False, False, True],
        [False, True, True],
        [True, True, True],
    ]
    without = build(make_config(), (1, 2, 3))
    without.curriculum.validated(everyone, np.zeros(3))
    assert not without.finished().any()


def test_without_curriculum_training_is_at_the_last_horizon(make_config):
    stack = build(make_config(curriculum=False), (1, 2))
    assert stack.horizons().tolist() == [9, 9]
    assert build(make_config(), (1, 2)).horizons().tolist() == [4, 4]


def test_validation_is_fixed(make_config):
    stack = build(make_config(), (1, 2, 3))
    everyone = np.arange(3)
    first, again = stack.validate(everyone), stack.validate(everyone)
    np.testing.assert_array_equal(first, again)
    np.testing.assert_allclose(
        np.array(stack.validate(np.array([2]))).ravel(), np.array(first)[:, 2], rtol=1e-6
    )

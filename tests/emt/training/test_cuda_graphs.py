"""Steps that are recorded and replayed, on a tape that behaves as a CUDA graph does: fixed places, no Python."""

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from emt.config import RunConfig, TrainingConfig
from emt.training.chunk import build
from emt.training.cuda_graphs import Recording, is_recordable


class Tape(TorchDispatchMode):
    """Remembers operations with the very tensors they read and wrote."""

    def __init__(self):
        super().__init__()
        self.entries = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        self.entries.append((func, args, kwargs or {}, result))
        return result

    @torch.no_grad()
    def replay(self):
        for func, args, kwargs, result in self.entries:
            again = func(*args, **kwargs)
            for old, new in zip(tree_leaves(result), tree_leaves(again), strict=True):
                if isinstance(old, torch.Tensor):
                    old.detach().copy_(new)


def on_tape(work):
    with Tape() as tape:
        results = work()
    return tape.replay, results


def train(stack, steps, capture=None):
    stack.replay.capture = capture
    for _ in range(steps):
        report = stack.gradients()
        stack.optimizer.step()
        stack.advance(report)
    return [stack.model.export(position) for position in range(len(stack.numbers))]


def assert_equal_weights(ours, theirs):
    for mine, other in zip(ours, theirs, strict=True):
        for name in mine:
            np.testing.assert_array_equal(mine[name], other[name])


def spy(monkeypatch, stack):
    """Return the shapes whose steps are replayed, as they come."""
    replayed, find = [], stack.replay.find

    def recording(shape, batch):
        found = find(shape, batch)
        if found is not None:
            replayed.append(shape)
        return found

    monkeypatch.setattr(stack.replay, "find", recording)
    return replayed


@pytest.mark.parametrize("model", ["rnn", "lstm"])
@pytest.mark.parametrize("task", [{}, {"use_eos": True}])
def test_replayed_training_equals_plain_training_to_the_bit(make_config, monkeypatch, model, task):
    config = make_config(model, task, bias=True, gradient_clip=0.3, l2_penalty=1e-3, curriculum_threshold=0.5)
    plain, replaying = build(config, (1, 2, 3)), build(config, (1, 2, 3))
    replayed = spy(monkeypatch, replaying)
    assert_equal_weights(train(replaying, 60, on_tape), train(plain, 60))
    assert 5 < len(replayed) < 58
    np.testing.assert_array_equal(replaying.progress.window, plain.progress.window)


def test_members_at_different_shapes_are_not_replayed(make_config, monkeypatch):
    stack = build(make_config(curriculum_threshold=0.5), (1, 2, 3))
    replayed = spy(monkeypatch, stack)
    stack.progress.level[1] = 2
    train(stack, 2, on_tape)
    stack.progress.level[:] = 2, 2, 2
    train(stack, 4, on_tape)
    assert len(replayed) == 2


def test_a_recording_is_dropped_when_a_member_leaves(make_config, monkeypatch):
    config = make_config(curriculum=False)
    plain, replaying = build(config, (1, 2, 3)), build(config, (1, 2, 3))
    replayed = spy(monkeypatch, replaying)
    for stack, capture in ((plain, None), (replaying, on_tape)):
        train(stack, 8, capture)
        stack.keep(np.array([True, False, True]))
    assert len(replayed) == 6
    assert_equal_weights(train(replaying, 8, on_tape), train(plain, 8))
    assert len(replayed) == 12


def test_where_recording_fails_training_goes_on(make_config):
    def fails(_work):
        raise RuntimeError("out of memory")

    config = make_config(curriculum=False)
    plain, failing = build(config, (1, 2)), build(config, (1, 2))
    with pytest.warns(
        UserWarning, match="training continues without CUDA graphs, more slowly: out of memory"
    ):
        weights = train(failing, 6, fails)
    assert_equal_weights(weights, train(plain, 6))


def test_a_recording_sees_new_data_and_weights_but_nothing_else():
    factor = 2.0

    def work(weights, data):
        return [factor * weights["w"] * data["x"]]

    weights = {"w": torch.ones(3)}
    recording = Recording(work, weights, {"x": torch.zeros(3)}, on_tape)
    weights["w"].fill_(5)
    assert recording({"x": torch.tensor([1.0, 2, 3])})[0].tolist() == [10, 20, 30]
    factor = 3.0
    assert recording({"x": torch.tensor([1.0, 2, 3])})[0].tolist() == [10, 20, 30]


@pytest.mark.parametrize(
    ("work", "expected"),
    [
        (lambda w, d: [w["w"] @ d["x"]], True),
        (lambda w, d: [w["w"] * torch.tensor(2.0)], True),
        (lambda w, d: [w["w"][w["w"] > 0]], False),
        (lambda w, d: [w["w"] * float(d["x"].sum())], False),
        (lambda w, d: [w["w"] if d["x"].any() else w["w"] + 1], False),
        (lambda w, d: [w["w"] * torch.ones(3).to(w["w"].device)], False),
        (lambda w, d: [w["w"] * torch.from_numpy(d["x"].numpy())], False),
        (lambda w, d: [w["w"] * w["w"].new_tensor([1.0, 2.0, 3.0])], False),
        (lambda w, d: [w["w"] * torch.tensor([1.0, 2.0, 3.0], device=w["w"].device)], False),
        (lambda w, d: [w["w"] * torch.arange(3, device=w["w"].device)], True),
    ],
)
def test_what_looks_at_values_or_fetches_from_the_host_is_not_recordable(work, expected):
    assert is_recordable(work, {"w": torch.ones(3)}, {"x": torch.ones(3)}) == expected


@pytest.mark.parametrize(
    ("model", "task", "replays"),
    [
        ("rnn", {"name": "variable_binding", "seq_length": 3}, 3),
        ("lstm", {"name": "variable_binding", "seq_length": 3}, 3),
        ("lstm", {"name": "flip_flop"}, 3),
        ("fw", {"name": "associative_retrieval", "pairs": 2}, 0),
        ("dnd_lstm", {"name": "contextual_choice"}, 0),
    ],
)
def test_which_steps_are_replayed(monkeypatch, model, task, replays):
    training = TrainingConfig(num_models=2, batch_size=4, curriculum=False, curriculum_horizons=(6,))
    stack = build(RunConfig(task=task, model={"type": model, "hidden_dim": 8}, training=training), (1, 2))
    replayed = spy(monkeypatch, stack)
    train(stack, 5, on_tape)
    assert len(replayed) == replays

"""Averaged gradient descent: its steps, when it begins, what is validated and kept, passes as epochs, resuming."""

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from emt import runs
from emt.config import RunConfig, TrainingConfig
from emt.errors import UserError
from emt.options import validate
from emt.training.adam import MemberAdam
from emt.training.chunk import build, train_chunk
from emt.training.curriculum import Curriculum
from emt.training.optimizer import MemberSGD
from emt.training.population import Chunk
from emt.training.stack import Stack

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


def weights(members=3):
    draw = np.random.default_rng(0)
    return [torch.nn.Parameter(torch.tensor(draw.standard_normal((members, *s)))) for s in ((4, 5), (6,))]


def set_gradients(parameters, step):
    for p in parameters:
        p.grad = p.detach() + torch.sin(torch.arange(p.numel(), dtype=p.dtype).view_as(p) + step)


def test_steps_and_averages_are_those_of_torchs_asgd():
    ours, clip, penalty = weights(), 1.0, 0.1
    theirs = [p.detach().clone().requires_grad_() for p in ours]
    mine = MemberAdam(ours, 1e-2, clip, penalty, average_rate=0.25)
    mine.begin_average(torch.tensor([0, 1, 2]))
    lone = [[p[m].detach().clone().requires_grad_() for p in theirs] for m in range(3)]
    reference = [torch.optim.ASGD(ps, lr=0.25, t0=0, lambd=0, weight_decay=penalty) for ps in lone]
    for step in range(6):
        set_gradients(ours, step)
        for m, ps in enumerate(lone):
            for p, stacked in zip(ps, ours, strict=True):
                p.grad = stacked.grad[m].clone()
            torch.nn.utils.clip_grad_norm_(ps, clip)
            reference[m].step()
        mine.step()
    for m, ps in enumerate(lone):
        for p, stacked in zip(ps, ours, strict=True):
            assert_close(stacked[m], p, rtol=1e-12, atol=1e-12)
            average = mine.slots(stacked)["average"][m]
            # Torch holds the weight of a step in the mean in float32.
            assert_close(average, reference[m].state[p]["ax"], rtol=0, atol=1e-7)
            assert (average - p).abs().max() > 1e-3


def test_an_average_leaves_out_the_first_iterate_and_follows_the_pace():
    (w,) = parameters = [torch.nn.Parameter(torch.zeros(2, 1, dtype=torch.float64))]
    optimizer = MemberSGD(parameters, 10.0, average_rate=1.0)
    optimizer.begin_average(torch.tensor([1]))
    for pace in (1.0, 0.5, 2.0, 0.25):
        w.grad = torch.full_like(w, -1.0)
        optimizer.pace[:] = pace
        optimizer.step()
    # Member 1 was at 1, 1.5, 3.5 and 3.75; member 0 has no average and ten times the rate.
    assert w.flatten().tolist() == [37.5, 3.75]
    with optimizer.averages():
        assert_close(w.flatten(), torch.tensor([37.5, (1.5 + 3.5 + 3.75) / 3], dtype=torch.float64))
    assert w.flatten().tolist() == [37.5, 3.75], "the weights are back to the bit"


def test_the_non_monotonic_trigger_compares_with_all_but_the_last_validations():
    class Task:
        curriculum = False

    config = TrainingConfig(average_rate=1.0, average_patience=2)
    curriculum = Curriculum(config, Task(), 2)
    losses = np.array([[5.0, 5.0], [4.0, 6.0], [6.0, 7.0], [5.5, 4.5], [4.5, 7.0], [4.4, 4.9]])
    told = [curriculum.stalls(np.arange(2), loss).tolist() for loss in losses]
    # Lowest of all before, but for the last two: none three times, then 5, 4, 4 and 5, 5, 5.
    expected = [[False, False]] * 3 + [[True, False], [True, True], [True, False]]
    assert told == expected
    off = Curriculum(TrainingConfig(), Task(), 2)
    assert not any(off.stalls(np.arange(2), loss).any() for loss in losses)


def test_a_rate_without_a_beginning_and_the_reverse_are_refused():
    for given in ({"average_rate": 1.0}, {"average_after": 3}, {"average_patience": 5}):
        with pytest.raises(UserError, match=r"^average_rate: must go with average_after or average_patience"):
            validate(TrainingConfig, given, "training")


@pytest.fixture
def config(mini_texts):
    """Two models on a small text; the first epoch by Adam, three more averaged."""
    return RunConfig(
        task={"name": "words", "data": str(mini_texts), "segment": 12, "validation_rows": 2},
        model={
            "type": "awd_fwm",
            "hidden_dim": 6,
            "embedding_dim": 5,
            "memory_dim": 3,
            "recurrent_dropout": 0.2,
        },
        training=TrainingConfig(
            num_models=2,
            epochs=4,
            batch_size=3,
            learning_rate=0.02,
            average_rate=0.5,
            average_after=1,
            curriculum=False,
            curriculum_horizons=(1,),
            validation_batches=12,
            keep="lowest_loss",
        ),
    )


def test_an_epoch_is_a_pass_and_what_is_validated_and_kept_is_the_average(config, tmp_path, monkeypatch):
    seen, original = [], Stack.measure

    def measure(stack, split, batches, positions):
        loss, accuracy = original(stack, split, batches, positions)
        seen.append((stack.step, stack.model.export(0), loss[0]))
        return loss, accuracy

    monkeypatch.setattr(Stack, "measure", measure)
    train_chunk(Chunk(tmp_path, config, (1, 2)))
    stack = build(config, (1, 2))
    ends = [stack.task.epoch_end(n, 3) for n in range(1, 5)]
    assert [step for step, *_ in seen] == ends
    assert len(set(np.diff(ends))) > 1, "passes differ in their number of segments"
    stack.optimizer.begin_average(torch.tensor([], dtype=torch.long))
    trajectory = []
    for step in range(ends[2]):
        if step == ends[0]:
            stack.optimizer.begin_average(torch.tensor([0, 1]))
        report = stack.gradients()
        stack.optimizer.step()
        stack.advance(report)
        trajectory.append(stack.model.embedding[0].detach().clone())
    averaged = torch.stack(trajectory[ends[0] + 1 :]).mean(dim=0)
    found = torch.tensor(seen[2][1]["embedding.weight"]).t()
    assert_close(found, averaged, rtol=1e-4, atol=1e-5)
    assert (found - trajectory[-1]).abs().max() > 1e-3
    weights, marker = runs.read_weights(tmp_path / "model-1")
    best = min(range(4), key=lambda i: seen[i][2])
    assert marker["best_step"] == ends[best]
    np.testing.assert_array_equal(weights["embedding.weight"], seen[best][1]["embedding.weight"])


def test_a_run_that_was_cut_in_its_averaged_phase_ends_with_the_same_bytes(config, tmp_path, monkeypatch):
    train_chunk(Chunk(tmp_path / "whole", config, (1, 2)))
    original, cut = Stack.gradients, build(config, (1,)).epochs.end(2) + 3

    def interrupted(stack):
        if stack.step == cut:
            raise KeyboardInterrupt
        return original(stack)

    with monkeypatch.context() as patch:
        patch.setattr(Stack, "gradients", interrupted)
        with pytest.raises((KeyboardInterrupt, SystemExit)):
            train_chunk(Chunk(tmp_path / "cut", config, (1, 2)))
    assert not runs.is_done(tmp_path / "cut", 1)
    train_chunk(Chunk(tmp_path / "cut", config, (1, 2)))
    for number in (1, 2):
        whole, again = (tmp_path / name / f"model-{number}" for name in ("whole", "cut"))
        assert runs.read_weights(whole)[1] == runs.read_weights(again)[1]
        curves = [(f / "training_curve.csv").read_bytes() for f in (whole, again)]
        assert curves[0] == curves[1]


def test_without_a_kept_best_a_member_ends_with_its_average(config, tmp_path):
    last = config.model_copy(
        update={"training": config.training.model_copy(update={"keep": "last", "epochs": 2})}
    )
    train_chunk(Chunk(tmp_path, last, (1,)))
    stack = build(last, (1,))
    for step in range(stack.total_steps):
        if step == stack.epochs.end(1):
            stack.optimizer.begin_average(torch.tensor([0]))
        report = stack.gradients()
        stack.optimizer.step()
        stack.advance(report)
    found = runs.read_weights(tmp_path / "model-1")[0]["decoder.bias"]
    assert_close(
        torch.tensor(found), stack.optimizer.slots(stack.model.b_decoder)["average"][0], rtol=1e-4, atol=1e-5
    )
    assert np.abs(found - stack.model.b_decoder[0].detach().numpy()).max() > 1e-3

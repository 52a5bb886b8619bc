"""A chunk of members on disk: what is written, and that an interruption changes no byte of it."""

import csv
import json

import numpy as np
import pytest
import torch

from emt import files, locks, runs
from emt.errors import UserError
from emt.training import chunk as chunks
from emt.training import curriculum, module
from emt.training.adam import MemberAdam
from emt.training.journal import Journal
from emt.training.population import Chunk, prepare, split
from emt.training.progress import describe, standing
from emt.training.resume import read_resume_state, resume_file
from emt.training.stack import Stack

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


def contents(folder):
    """Return the bytes of every weight file by model."""
    return {
        p.parts[-3]: p.read_bytes() for p in sorted(folder.glob("model-*/checkpoint/weights.safetensors"))
    }


def train(config, folder, numbers=(1, 2, 3)):
    work = Chunk(folder, config, numbers)
    chunks.train_chunk(work)
    return work


STOP_ACCURACY = 0.83


def interrupt(monkeypatch, step, method="gradients", after=False):
    """Raise KeyboardInterrupt at a real step, before or after a method of the stack or the optimiser does its work."""
    of = {"_descend": MemberAdam}.get(method, Stack)
    original, steps = getattr(of, method), []

    def interrupted(it, *arguments):
        # Of the optimiser's steps the calls are counted.
        steps.append(it.step if of is Stack else len(steps))
        if steps[-1] == step and not after:
            raise KeyboardInterrupt
        result = original(it, *arguments)
        if steps[-1] == step:
            raise KeyboardInterrupt
        return result

    monkeypatch.setattr(of, method, interrupted)


@pytest.fixture
def config(make_config, monkeypatch):
    """A run of 80 steps that some members leave early and some do not."""
    monkeypatch.setattr(curriculum, "STOP_WINDOW", 10)
    return make_config(num_models=3, epoch_batches=40, stop_accuracy=STOP_ACCURACY, curriculum_threshold=0.6)


@pytest.fixture
def whole(config, tmp_path):
    folder = tmp_path / "whole"
    train(config, folder)
    return folder


def test_every_file_of_a_member_is_there(whole):
    for number in (1, 2, 3):
        folder = whole / f"model-{number}"
        weights, marker = runs.read_weights(folder)
        assert {k: v.shape for k, v in weights.items()} == {
            "rnn.weight_ih_l0": (24, 4),
            "rnn.weight_hh_l0": (24, 24),
            "readout.weight": (4, 24),
        }
        assert marker["seed"] == 1000 * (number - 1)
        rows = list(csv.DictReader((folder / "training_curve.csv").read_text().splitlines()))
        assert float(rows[-1]["val_acc"]) > 0.4
        assert int(rows[-1]["step"]) == int(rows[-2]["step"]) == marker["step"]
        assert float(rows[-2]["train_loss"]) < 2, "the last steps have a point too"
        assert "horizon 4 → 6" in (folder / "training.log").read_text()
        assert len(list((folder / "lightning_logs" / "version_0").iterdir())) == 1
    assert not list((whole / "population").glob("*.safetensors")), "nobody is unfinished"
    statuses = [runs.read_weights(whole / f"model-{n}")[1]["status"] for n in (1, 2, 3)]
    assert set(statuses) == {"finished", "stopped early"}


def test_norms_stand_beside_each_point_of_training(whole):
    for number in (1, 2, 3):
        folder = whole / f"model-{number}"
        norms = files.read_norms(folder / "norms.csv")
        curve = files.read_curve(folder / "training_curve.csv")
        assert list(norms) == [point.step for point in curve if point.is_training]
        weights, marker = runs.read_weights(folder)
        length = sum(np.square(w.astype(float)).sum() for w in weights.values()) ** 0.5
        assert norms[marker["step"]]["weight_norm"] == pytest.approx(length, rel=1e-5)
        assert norms[marker["step"]]["weight_norm"] != norms[40]["weight_norm"]


@pytest.mark.parametrize("clip", [0.0, 1e-3])
def test_the_norm_of_a_gradient_is_the_one_before_it_is_clipped(make_config, clip):
    config = make_config(num_models=2, gradient_clip=clip)
    stack = chunks.build(config, (1, 2))
    report = stack.gradients()
    gradients = [p.grad.double().flatten(1).numpy() for p in stack.model.parameters()]
    lengths = sum(np.square(g).sum(1) for g in gradients) ** 0.5
    stack.optimizer.step()
    stack.advance(report)
    np.testing.assert_allclose(stack.norms()["grad_norm"], lengths, rtol=1e-6)
    assert (lengths > 10 * 1e-3).all()
    stack.keep(np.array([False, True]))
    np.testing.assert_allclose(stack.norms()["grad_norm"], lengths[1:], rtol=1e-6)


def test_tensorboard_reads_the_curve(whole):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(whole / "model-2" / "lightning_logs" / "version_0"))
    events.Reload()
    rows = list(csv.DictReader((whole / "model-2" / "training_curve.csv").read_text().splitlines()))
    for tag in ("train_loss", "val_acc"):
        expected = [(int(r["step"]), float(r[tag])) for r in rows if r[tag]]
        got = [(e.step, e.value) for e in events.Scalars(tag)]
        np.testing.assert_allclose(got, expected, rtol=1e-5)
    norms = files.read_norms(whole / "model-2" / "norms.csv")
    got = {e.step: e.value for e in events.Scalars("weight_norm")}
    assert got == {step: pytest.approx(row["weight_norm"], rel=1e-5) for step, row in norms.items()}


@pytest.mark.parametrize("step", [5, 40, 63])
def test_an_interrupted_run_ends_with_the_same_bytes(config, whole, tmp_path, monkeypatch, step):
    folder = tmp_path / "interrupted"
    with monkeypatch.context() as patch:
        interrupt(patch, step)
        with pytest.raises((KeyboardInterrupt, SystemExit)):
            train(config, folder)
    state = list((folder / "population").glob("*.safetensors"))
    assert state, "the run was interrupted before its end and saved"
    train(config, folder)
    assert contents(folder) == contents(whole)
    for number in (1, 2, 3):
        for name in ("training_curve.csv", "norms.csv"):
            own = f"model-{number}/{name}"
            assert (folder / own).read_text() == (whole / own).read_text()


@pytest.mark.parametrize("saves", ["at the end", "often"])
@pytest.mark.parametrize(
    ("method", "step", "after"),
    [
        ("measure", 40, False),
        ("measure", 80, False),
        ("measure", 80, True),
        ("_descend", 30, True),
        ("advance", 39, True),
    ],
)
def test_interrupted_within_a_step_or_a_validation_it_ends_with_the_same_bytes(
    config, whole, tmp_path, monkeypatch, method, step, after, saves
):
    folder = tmp_path / "interrupted"
    with monkeypatch.context() as patch:
        if saves == "often":  # as after kill -9
            patch.setattr(module, "SAVE_EVERY_S", 0)
            patch.setattr(module, "STEPS_PER_CALL", 1)
            patch.setattr(module.SaveOnInterruption, "on_exception", lambda *_: None)
        interrupt(patch, step, method, after)
        with pytest.raises((KeyboardInterrupt, SystemExit)):
            train(config, folder)
    train(config, folder)
    assert contents(folder) == contents(whole)
    for number in (1, 2, 3):
        for name in ("training_curve.csv", "norms.csv"):
            own = f"model-{number}/{name}"
            assert (folder / own).read_text() == (whole / own).read_text()


def test_a_run_killed_without_saving_ends_with_the_same_bytes(config, whole, tmp_path, monkeypatch):
    folder = tmp_path / "killed"
    with monkeypatch.context() as patch:
        patch.setattr(module.SaveOnInterruption, "on_exception", lambda *_: None)
        interrupt(patch, 70)
        with pytest.raises((KeyboardInterrupt, SystemExit)):
            train(config, folder)
    done = {p: p.stat().st_mtime_ns for p in folder.glob("model-*/checkpoint/*")}
    assert done
    train(config, folder)
    assert contents(folder) == contents(whole)
    assert {p: p.stat().st_mtime_ns for p in done} == done, "finished members are not touched"


def test_training_counts_denormals_as_zero_and_nothing_else_does(config, tmp_path, monkeypatch):
    if not torch.set_flush_denormal(False):
        pytest.skip("this processor cannot")
    seen, backward = [], Stack.gradients

    def watched(stack):
        seen.append((torch.tensor(1e-39) * 1.0).item())
        return backward(stack)

    monkeypatch.setattr(Stack, "gradients", watched)
    train(config, tmp_path / "run")
    assert set(seen) == {0.0}
    assert (torch.tensor(1e-39) * 1.0).item() > 0


def test_a_finished_chunk_is_left_alone(config, whole):
    before = {p: p.stat().st_mtime_ns for p in whole.rglob("*") if p.is_file()}
    train(config, whole)
    assert {p: p.stat().st_mtime_ns for p in whole.rglob("*") if p.is_file()} == before


def test_a_damaged_weight_file_is_trained_again(config, whole):
    expected = contents(whole)
    path = whole / "model-2" / "checkpoint" / "weights.safetensors"
    path.write_bytes(path.read_bytes()[:-7])
    assert not runs.is_done(whole, 2)
    train(config, whole)
    assert contents(whole) == expected


def test_damaged_resume_state_is_refused_by_name(config, tmp_path):
    work = Chunk(tmp_path, config, (1, 2, 3))
    work.state_path.parent.mkdir(parents=True)
    work.state_path.write_bytes(b"\x10\0\0\0\0\0\0\0{not a header}")
    with pytest.raises(UserError, match=r"models-1-3\.safetensors: damaged resume state"):
        chunks.train_chunk(work)
    assert standing([work]).failed == 3


def test_a_resume_state_of_another_version_is_refused(config, tmp_path):
    work = Chunk(tmp_path, config, (1, 2, 3))
    Journal(work).save(chunks.build(config, work.numbers))
    tensors, about = read_resume_state(work.state_path)
    del tensors["diverged"]
    work.state_path.write_bytes(resume_file(tensors, about))
    with pytest.raises(
        UserError, match="expected a resume state of this version; got one without 'diverged'; delete"
    ):
        chunks.train_chunk(work)


def test_a_diverged_member_is_named_and_the_others_finish(config, whole, tmp_path, monkeypatch):
    original = Stack.gradients

    def poisoned(stack):
        if stack.step == 10 and 2 in stack.numbers:
            with torch.no_grad():
                stack.model.w_rec[stack.numbers.index(2)] = float("nan")
        return original(stack)

    monkeypatch.setattr(Stack, "gradients", poisoned)
    monkeypatch.setattr(chunks, "seconds_per_model_step", lambda *_: 0.0)
    folder = tmp_path / "poisoned"
    work = train(config, folder)
    statuses = {n: runs.read_weights(folder / f"model-{n}")[1]["status"] for n in (1, 2, 3)}
    assert statuses[2] == "diverged"
    assert runs.read_weights(folder / "model-2")[1]["step"] == 11
    assert "diverged" not in (statuses[1], statuses[3])
    assert "frozen" in (folder / "model-2" / "training.log").read_text()
    assert contents(folder)["model-1"] == contents(whole)["model-1"]
    assert standing([work]).diverged == 1


def test_another_configuration_is_refused_with_the_fields_that_differ(make_config, tmp_path):
    prepare(make_config(), tmp_path)
    prepare(make_config(), tmp_path)
    with pytest.raises(UserError, match=r"training\.epochs: 2 → 3; training\.batch_size: 16 → 17"):
        prepare(make_config(epochs=3, batch_size=17), tmp_path)


def test_chunks_stay_when_the_number_of_workers_changes(make_config, tmp_path):
    config = make_config(num_models=7)
    execution = config.execution.model_copy(update={"num_workers": 3})
    first = prepare(config, tmp_path)
    again = prepare(config.model_copy(update={"execution": execution}), tmp_path)
    assert [c.numbers for c in first] == [c.numbers for c in again] == [(1, 2, 3, 4), (5, 6, 7)]


@pytest.mark.parametrize(("members", "workers"), [(1, 2), (7, 2), (50, 2), (130, 3)])
def test_split_covers_every_member_once(members, workers):
    parts = split(members, workers)
    assert [n for part in parts for n in part] == list(range(1, members + 1))
    assert len(parts) >= min(members, workers)
    assert max(map(len, parts)) <= 25


def test_standing_is_read_from_disk(whole, config):
    work = Chunk(whole, config, (1, 2, 3))
    now = standing([work])
    assert (now.members, now.done, now.diverged) == (3, 3, 0)
    assert describe(now).startswith("3 of 3 models done")
    assert json.loads(work.status_path.read_text())["total_steps"] == 80


def test_a_held_chunk_names_its_holder(config, tmp_path):
    work = Chunk(tmp_path, config, (1, 2, 3))
    with locks.lock(work.lock_path), pytest.raises(UserError, match=r"in use by process \d+ on "):
        chunks.train_chunk(work)


def test_weights_lost_while_others_train_on_are_made_again(config, whole, tmp_path, monkeypatch):
    folder = tmp_path / "lost"
    with monkeypatch.context() as patch:
        interrupt(patch, 79)
        with pytest.raises((KeyboardInterrupt, SystemExit)):
            train(config, folder)
    gone = [n for n in (1, 2, 3) if runs.is_done(folder, n)]
    assert 0 < len(gone) < 3, "some members have left, others train on"
    (folder / f"model-{gone[0]}" / "checkpoint" / "weights.safetensors").unlink()
    train(config, folder)
    assert contents(folder) == contents(whole)

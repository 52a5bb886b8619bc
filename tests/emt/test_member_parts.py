"""Results of members one by one: shares, stacks, parts that are kept, and the file that they become."""

import numpy as np
import pytest
import xarray as xr

from emt import dynamics_file, member_interventions, runs
from emt.commands.evaluate_parts import share_out
from emt.config import RunConfig, TrainingConfig
from emt.evaluation import Settings, Work
from emt.member_dynamics import DynamicsWork, stacks, write_parts
from emt.models import MODELS
from emt.options import load

STEPS = 5


@pytest.fixture
def make_job(tmp_path, monkeypatch):
    """Return a function that gives the dynamics of members of a run of four random LSTMs."""
    monkeypatch.setattr("emt.dynamics.describe.SILENT_STEPS", 9)
    config = RunConfig(
        metadata={"experiment_name": "flips"},
        task={"name": "flip_flop", "steps": STEPS, "bits": 2},
        model={"type": "lstm", "hidden_dim": 3},
        training=TrainingConfig(num_models=4),
    )
    stack = load(MODELS, "lstm", "model_type")(config.training.seeds(), 2, 2, hidden_dim=3)

    def write(*numbers, scale=1.0):
        for n in numbers:
            weights = {name: scale * value for name, value in stack.export(n - 1).items()}
            runs.write_weights(runs.model_folder(tmp_path, n), weights, {"status": "finished"})

    def make(*numbers, starts=8, moving="moving"):
        work = Work(tmp_path, config, Settings((STEPS,), 8, "cpu", False), numbers)
        return DynamicsWork(work, moving, starts)

    write(1, 2, 3, 4)
    make.write = write
    return make


def finish(job):
    missing = job.missing()
    for share in share_out(job, missing, 1):
        write_parts(share)
    job.join(list(missing))
    return dynamics_file.load(job.whole_path(STEPS))


def test_what_is_interrupted_goes_on_and_ends_the_same(make_job, tmp_path):
    whole = finish(make_job(1, 2, 3, 4))
    assert whole["member"].values.tolist() == [1, 2, 3, 4]
    assert dynamics_file.about(whole)["seeds"] == [0, 1000, 2000, 3000]
    (path,) = tmp_path.glob("dynamics/*")
    path.unlink()

    job = make_job(1, 2, 3, 4)
    write_parts((job, {STEPS: (2,)}))
    assert job.missing() == {STEPS: (1, 3, 4)}
    assert dynamics_file.glance(job.part_path(STEPS, 2)).startswith(
        "1 fixed and 0 slow points; leading exponent"
    )
    write_parts((job, {STEPS: (1, 3)}))
    assert job.missing() == {STEPS: (4,)}
    damaged = job.part_path(STEPS, 3)
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"?")
    assert job.missing() == {STEPS: (3, 4)}
    again = finish(job)
    # Which members are computed together decides, on some machines, how products of matrices are rounded.
    xr.testing.assert_allclose(again, whole, rtol=1e-11, atol=1e-11)
    assert dynamics_file.about(again) == dynamics_file.about(whole)
    assert list(path.parent.iterdir()) == [path]
    assert job.missing() == {}


def test_only_new_members_are_worked_out(make_job):
    first = finish(make_job(2, 3))
    grown = make_job(1, 2, 3)
    assert grown.missing() == {STEPS: (1,)}
    second = finish(grown)
    assert second["member"].values.tolist() == [1, 2, 3]
    for number in (2, 3):
        ours, theirs = (dynamics_file.select(found, number) for found in (second, first))
        assert all(np.array_equal(ours[name], theirs[name]) for name in dynamics_file.VARIABLES)
    # Other weights, searches or kinds of state are other parts.
    assert make_job(1, 2, 3, starts=9).missing() == {STEPS: (1, 2, 3)}
    assert make_job(1, 2, 3, moving="whole").missing() == {STEPS: (1, 2, 3)}
    make_job.write(3, scale=0.5)
    assert make_job(1, 2, 3).missing() == {STEPS: (3,)}


def test_what_other_code_computed_is_worked_out_again(make_job, monkeypatch):
    finish(make_job(1, 2))
    assert make_job(1, 2).missing() == {}
    monkeypatch.setattr("emt.member_parts.code_of_run", lambda *_: {"emt_source": "other"})
    assert make_job(1, 2).missing() == {STEPS: (1, 2)}


def test_interventions_on_a_population_that_has_grown_are_run_on_its_new_members(make_job):
    def finished(*numbers):
        job = member_interventions.InterventionWork(make_job(*numbers).work, ("states",), 8)
        missing = job.missing()
        for share in share_out(job, missing, 2):
            member_interventions.write_parts(share)
        job.join(list(missing))
        return missing, job.file.load(job.whole_path(STEPS))

    before, whole = finished(1, 2)
    grown, more = finished(1, 2, 3)
    assert (before, grown, finished(1, 2, 3)[0]) == ({STEPS: (1, 2)}, {STEPS: (3,)}, {})
    assert more.sel(member=[1, 2]).drop_attrs().identical(whole.drop_attrs())
    assert not np.array_equal(more["margin"].sel(member=3), more["margin"].sel(member=1))


def test_parts_are_those_of_their_member(make_job):
    whole = finish(make_job(1, 2, 4))
    parts = [dynamics_file.select(whole, n) for n in (1, 2, 4)]
    assert [set(part["owner"].values.tolist()) for part in parts] == [{1}, {2}, {4}]
    assert dynamics_file.join(parts).identical(whole)
    assert not dynamics_file.join(parts[::-1]).identical(whole)


def test_shares_hold_each_missing_member_once():
    missing = {3: (1, 2, 3, 4, 5), 4: (2,)}
    shares = [share for _, share in share_out(None, missing, 3)]
    assert shares == [{3: (1, 4), 4: (2,)}, {3: (2, 5)}, {3: (3,)}]


@pytest.mark.parametrize(
    ("size", "expected"), [(1, [16, 4]), (8, [16, 4]), (32, [4] * 5), (127, [1] * 20), (1024, [1] * 20)]
)
def test_small_members_are_searched_together(size, expected):
    assert [len(stack) for stack in stacks(range(20), size)] == expected

"""Where curves go: TensorBoard with the time of day, Weights & Biases by Lightning's logger, or nowhere else."""

import time

import pytest

from emt import files
from emt.commands import sweep, train
from emt.errors import UserError
from emt.training import population, tracking

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

WORDS = (
    "--experiment_name run --task flip_flop --steps 5 --hidden_dim 4 --num_models 2 --training_steps 60 "
    "--epoch_batches 30 --validation_batches 1 --batch_size 4 --engine inline"
)


@pytest.fixture
def start(tmp_path, monkeypatch):
    """Return a function that trains a small population and returns its folder."""
    monkeypatch.chdir(tmp_path)

    def run(words=""):
        assert train.main([*WORDS.split(), *words.split()]) == 0
        return tmp_path / "run"

    return run


def test_each_member_is_sent_once_with_its_options_its_curve_and_its_end(start, wandb_runs, capsys):
    folder = start("--loggers wandb tensorboard")
    assert "Sent to Weights & Biases: 2 models" in capsys.readouterr().out
    first, second = wandb_runs
    assert [run.about["name"] for run in wandb_runs] == ["run-model-1", "run-model-2"]
    assert {run.about["project"] for run in wandb_runs} == {"emt"}
    assert (first.about["group"], first.about["tags"]) == ("run", ["finished"])
    assert first.config.values["model"]["hidden_dim"] == 4
    curve = files.read_curve(folder / "model-2" / "training_curve.csv")
    assert set(second.points) == {point.step for point in curve} == {30, 50, 60}
    assert second.points[60]["val_acc"] == curve[-1].val_acc
    norms = files.read_norms(folder / "model-2" / "norms.csv")
    assert second.points[50]["grad_norm"] == norms[50]["grad_norm"] > 0
    assert (first.summary["seed"], second.summary["seed"]) == (0, 1000)
    assert first.finished
    assert second.finished
    start("--loggers wandb tensorboard")
    assert len(wandb_runs) == 2, "what was sent is not sent again"
    (folder / "model-1" / "tracked.json").write_text("[]")
    with pytest.raises(UserError, match=r"model-1/tracked\.json: expected"):
        start("--loggers wandb")


def test_a_run_that_is_done_can_be_sent_later(start, wandb_runs):
    folder = start("--loggers csv")
    assert not (folder / "model-1" / "lightning_logs").exists()
    assert (folder / "model-1" / "training_curve.csv").exists(), "the curve is always written"
    assert wandb_runs == []
    start("--loggers wandb")
    assert len(wandb_runs) == 2


def test_a_sweep_sends_its_members_too(tmp_path, monkeypatch, wandb_runs):
    monkeypatch.chdir(tmp_path)
    words = "repeat_copy --num_models 1 --training_steps 3 --engine inline --loggers wandb"
    assert sweep.main(words.split()) == 0
    assert [run.about["name"] for run in wandb_runs] == ["repeat_copy-model-1"]


@pytest.mark.usefixtures("without_wandb")
def test_without_the_package_nothing_is_begun(start, tmp_path):
    with pytest.raises(
        UserError, match=r'^loggers: expected the package wandb; .* pip install ".*\[track\]"'
    ):
        start("--loggers wandb")
    assert list(tmp_path.iterdir()) == []


def test_a_service_that_refuses_is_told_in_one_line(start, wandb_runs, monkeypatch):
    def refuse(**_):
        raise ConnectionError("no route")

    monkeypatch.setattr("wandb.init", refuse)
    with pytest.raises(
        UserError, match=r"ConnectionError: no route; the models are trained: .*WANDB_MODE=offline"
    ):
        start("--loggers wandb")


def test_a_mistyped_logger_is_refused():
    with pytest.raises(UserError, match=r"invalid choice: 'tensorbord' .*did you mean tensorboard\?"):
        train.main([*WORDS.split(), "--loggers", "tensorbord"])


def test_events_have_the_time_of_day(make_config, tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    before = time.time()
    config = make_config(num_models=1, epochs=1, epoch_batches=100)
    population.train(config, tmp_path)
    events = EventAccumulator(str(tmp_path / "model-1" / "lightning_logs" / "version_0"))
    events.Reload()
    times = [event.wall_time for event in events.Scalars("train_loss")]
    assert before <= times[0] <= times[-1] <= time.time()
    assert len(times) == 2


def test_the_project_is_that_of_the_environment(start, wandb_runs, monkeypatch):
    monkeypatch.setenv("WANDB_PROJECT", "mine")
    start("--loggers wandb")
    assert {run.about["project"] for run in wandb_runs} == {"mine"}
    assert tracking.PROJECT != "mine"

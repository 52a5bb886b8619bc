"""The contextual choice experiment: a population learns what one agent at a time would."""

import re

import numpy as np
import pandas as pd
import pytest
import torch

from emt import config as configuration
from emt.errors import UserError
from emt.models.dnd_lstm import DNDLSTM
from emt.record import Loaded, labels_of
from emt.tasks.contextual_choice import SEEN, UNSEEN, ContextualChoice
from emt.training.adam import MemberAdam
from emt.training.losses import Scoring, actor_critic
from emt.training.stack import Stack
from experiments.benchmarks import dnd_lstm as benchmark
from experiments.benchmarks.dnd_lstm import trial_of
from experiments.contextual_choice import report, train
from experiments.contextual_choice.one_agent import OneAgent, train_trial
from experiments.contextual_choice.results import _rates, returns_of

SEEDS = (3, 1003)


def train_together(task, model, steps):
    """Train all members in float64; yield each batch and the share of right choices."""
    optimizer, state = MemberAdam(model.parameters(), 5e-3), None
    for step in range(steps):
        batch = task.batch(SEEDS, "train", step, task.sizes.steps, 1)
        x = torch.from_numpy(batch.inputs).double()
        context = {name: torch.from_numpy(batch.events[name]) for name in model.context}
        outputs, state, _ = model(x, None if batch.fresh else state, None, context)
        state = {name: value.detach() for name, value in state.items()}
        scored = torch.from_numpy(batch.scored)
        scoring = Scoring(
            torch.from_numpy(batch.targets), scored, scored, torch.from_numpy(batch.draws).double()
        )
        loss, accuracy = actor_critic(outputs, scoring)
        optimizer.zero_grad()
        loss.sum().backward()
        optimizer.step()
        yield batch, accuracy


@pytest.mark.parametrize(
    ("similarity", "capacity", "key"),
    [
        ("l2", 100, "input"),
        ("l1", 100, "input"),
        ("cosine", 100, "input"),
        ("l2", 3, "input"),
        ("l2", 3, "hidden"),
    ],
)
def test_a_population_ends_with_the_weights_of_agents_that_step_alone(similarity, capacity, key):
    task, units, episodes = ContextualChoice(trials=4, steps=6, evidence=5, t_off=3), 7, 6
    model = DNDLSTM(
        SEEDS, 10, 3, hidden_dim=units, similarity=similarity, capacity=capacity, key=key
    ).double()
    start = [{n: w.copy() for n, w in model.export(member).items()} for member in range(len(SEEDS))]
    agents = [OneAgent(w, capacity=capacity, similarity=similarity, key=key).double() for w in start]
    optimizers = [torch.optim.Adam(agent.parameters(), 5e-3) for agent in agents]
    for batch, accuracy in train_together(task, model, 8 * episodes):
        for member, (agent, optimizer) in enumerate(zip(agents, optimizers, strict=True)):
            if batch.fresh:
                agent.forget()
            right = train_trial(agent, optimizer, trial_of(batch, member, SEEDS[member], units))
            assert right == pytest.approx(6 * accuracy[member].item())
    for member, agent in enumerate(agents):
        trained = model.export(member)
        for name, parts in agent.weights().items():
            assert np.abs(trained[name] - torch.cat(parts).detach().numpy()).max() < 1e-12
            assert np.abs(trained[name] - start[member][name]).max() > 1e-3


# The commands


SMALL = [
    *(
        "--num_models",
        "2",
        "--trials",
        "4",
        "--steps",
        "6",
        "--t_off",
        "3",
        "--evidence",
        "5",
        "--hidden_dim",
        "7",
    ),
    *("--epochs", "14", "--num_workers", "1", "--engine", "inline"),
]


@pytest.fixture
def run(tmp_path):
    """Return a function that trains a small run into a folder of this name."""

    def make(name, *flags):
        assert train.main([*SMALL, "--out", str(tmp_path / name), *flags]) == 0
        return tmp_path / name

    return make


def weights(folder):
    return [(folder / f"model-{n}" / "checkpoint" / "weights.safetensors").read_bytes() for n in (1, 2)]


def test_flags_reach_task_model_and_training(refused):
    options = train.parser().parse_args([*SMALL, "--similarity", "l1", "--discount", "0.5", "--no_retrieval"])
    config = train.build_config(options)
    assert config.task == {
        "name": "contextual_choice",
        "trials": 4,
        "steps": 6,
        "evidence": 5,
        "t_off": 3,
        "discount": 0.5,
        "entropy": 0.0,
        "normalise_returns": False,
    }
    assert config.model["similarity"] == "l1"
    assert config.model["retrieval"] is False
    training = config.training
    assert (training.epoch_batches, training.validation_batches, training.batch_size) == (8, 8, 1)
    assert (training.learning_rate, training.epochs, training.gradient_clip) == (5e-4, 14, 0.0)
    with refused(r"^--t_off: must be a step below 2"):
        train.build_config(train.parser().parse_args(["--steps", "2", "--t_off", "2"]))


def test_defaults_are_the_published_constants():
    config = train.build_config(train.parser().parse_args([]))
    assert [config.task[n] for n in ("trials", "steps", "evidence", "t_off", "discount")] == [
        50,
        10,
        32,
        5,
        0.0,
    ]
    assert [config.model[n] for n in ("hidden_dim", "capacity", "key", "similarity")] == [
        32,
        100,
        "input",
        "l2",
    ]
    assert (config.training.epochs, config.training.epoch_batches) == (20, 100)


def test_an_interrupted_run_ends_with_the_same_bytes(run, monkeypatch):
    whole = run("whole")
    finish, calls = Stack.advance, []

    def interrupt(stack, report):
        finish(stack, report)
        calls.append(stack.step)
        if stack.step == 13:
            raise KeyboardInterrupt

    monkeypatch.setattr(Stack, "advance", interrupt)
    with pytest.raises((KeyboardInterrupt, SystemExit)):
        run("cut")
    monkeypatch.setattr(Stack, "advance", finish)
    assert weights(run("cut")) == weights(whole)
    assert weights(run("other", "--seed", "1")) != weights(whole)


@pytest.mark.usefixtures("coarse_figures")
def test_a_report_holds_rates_returns_and_all_figures(run, capsys):
    folder, other = run("agents"), run("silent", "--no_retrieval")
    capsys.readouterr()
    assert report.main([str(folder), str(other)]) == 0
    printed = capsys.readouterr().out
    assert re.search(r"correct trial\b.*\brecalled", printed, re.S)
    names = {path.stem for path in (folder / "report").glob("*.png")}
    assert names >= {
        *("stimulus", "learning", "learning_model-1", "correct_rate", "correct_rate_model-1", "comparison"),
        *("memory_dnd_values", "memory_dnd_similarity", "match_dnd"),
    }
    rates = pd.read_csv(folder / "report" / "correct_rate.csv", index_col=["model", "condition", "step"])
    assert len(rates) == 2 * 3 * 6
    assert ((rates >= 0) & (rates <= 1)).all(axis=None)
    silent = pd.read_csv(other / "report" / "correct_rate.csv", index_col=["model", "condition", "step"])
    seen, off = (silent.xs(c, level="condition") for c in ("seen", "retrieval off"))
    np.testing.assert_allclose(seen, off)
    returns = pd.read_csv(folder / "report" / "returns.csv")
    assert returns["epoch"].tolist() == [*range(1, 15)] * 2
    assert returns["return"].between(0, 6).all()


def test_returns_are_those_of_every_epoch(run):
    folder = run("short", "--epochs", "1")
    returns = returns_of(folder, configuration.read(folder / "config.json"), (1, 2))
    assert returns.index.tolist() == [(1, 1), (2, 1)]
    assert returns["return"].between(0, 6).all()


def test_a_folder_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(UserError, match="no such file: "):
        report.main([str(tmp_path / "nothing")])


def test_an_agent_that_recalls_the_side_is_right_at_once_where_it_has_seen_a_trial():
    task = ContextualChoice(trials=9, steps=6, evidence=5, t_off=3)
    model = DNDLSTM((1,), 10, 3, hidden_dim=1, key="context")
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
        # One cell that sums the evidence and takes up a little of what it recalls.
        model.w_in[0, :5, 4] = 0.1
        model.b_in[0] = torch.tensor([3.0, 3.0, 3.0, -1.0, 0.0])
        model.w_out[0, 0] = torch.tensor([-9.0, 9.0, 0.0])
    config = train.build_config(train.parser().parse_args(SMALL))
    loaded = Loaded(model, task, (1,), labels_of(config, (1,)))
    batch = task.episodes((1,), "test", 0, 20)
    on, off = (_rates(loaded, batch, retrieval=retrieval)[0, ..., 0] for retrieval in (True, False))
    assert on[SEEN, 0] > 0.65
    assert all(abs(rate - 0.5) < 0.1 for rate in (off[SEEN, 0], on[UNSEEN, 0]))
    assert off[:, -1].min() > 0.8
    assert model.retrieval


def test_the_benchmark_measures_both_forms(capsys):
    assert benchmark.main(["--agents", "2", "--turns", "1"]) == 0
    assert "2 agents together" in capsys.readouterr().out

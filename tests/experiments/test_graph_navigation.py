"""Graph navigation's experiment: the planner, the published log, differences of agents, and a sweep from end to end."""

import numpy as np
import pandas as pd
import pytest

from emt.errors import UserError
from emt.tasks.graph_navigation import GraphNavigation
from emt.tasks.graphs import NONE, graphs_of
from experiments.graph_navigation import summary, sweep
from experiments.graph_navigation.configs import SWEEPS
from experiments.graph_navigation.measure import yardsticks
from experiments.graph_navigation.planner import UNTRIED, Planner
from experiments.graph_navigation.published import PUBLISHED

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


def plan(curiosity, rows=300, **options):
    task = GraphNavigation(sees="paper", **options)
    planner = Planner(curiosity)
    return planner, task.test_batch(0, 30, 1, rows).environment.play(planner, 1)


def test_a_planner_knows_what_it_tried_and_nothing_else():
    planner, done = plan(1.5, rows=40)
    graphs, known = graphs_of("test", 600)[:40], planner.known[0]
    tried = known != UNTRIED
    assert (known == graphs)[tried].all()
    assert 0.4 < tried.mean() < 1
    pairs = 3 * done.inputs[0, ..., 5:10].argmax(axis=-1) + done.actions[0]
    for row in range(40):
        assert set(np.flatnonzero(tried[row])) <= set(pairs[row])
    # What is known to lead nowhere is not tried again: each invalid pair once.
    invalid = np.where(done.rewards[0] < 0, pairs, -1)
    again = [np.bincount(row[row >= 0]).max() for row in invalid if (row >= 0).any()]
    assert max(again) == 1
    assert (known == NONE).any()


def test_who_plans_gets_as_much_as_published_of_it():
    """116.5 (standard error .6) with 1.5, over three episodes of each graph; 113.6 with .5."""
    for curiosity, expected in ((1.5, 116.5), (0.5, 113.6)):
        returns = plan(curiosity, rows=1800)[1].rewards.sum(axis=-1)
        assert abs(returns.mean() - expected) < 3 * (0.6**2 + 0.7**2) ** 0.5


def test_scores_are_zero_for_chance_and_one_for_who_knows():
    found = yardsticks(GraphNavigation(graphs=30, steps=12))
    table = found.table()
    assert table["score"]["random"] == 0
    assert table["score"]["knows the graph"] == 1
    assert 0 < table["score"]["random, valid"] < table["score"]["plans on what it tried"] < 1
    assert found.score(found.returns["random"] - 1) < 0


def test_the_published_log_is_the_papers():
    assert set(PUBLISHED) == {"fwm", "lstm_512", "lstm_1024", "lstm_2048", "lstm_4096"}
    assert PUBLISHED["fwm"][10_000] == (78.9, 77.3)
    assert 100_000 not in PUBLISHED["fwm"]
    assert max(PUBLISHED["lstm_2048"]) == 100_000
    for agent in ("lstm_512", "lstm_1024", "lstm_2048", "lstm_4096"):
        assert 50 < PUBLISHED[agent][10_000].test < 54


def test_differences_have_welchs_interval():
    from scipy import stats

    a, b = np.array([3.0, 5.0, 4.5]), np.array([1.0, 1.5, 0.0, 2.0])
    found = summary.welch_interval(a, b)
    expected = stats.ttest_ind(a, b, equal_var=False).confidence_interval()
    assert (found.low, found.high) == (expected.low, expected.high)
    assert found.low < found.estimate < found.high
    assert np.isnan(summary.welch_interval(a, b[:1]).low)


def test_shipped_agents_train_as_published():
    for config in (c for configs in SWEEPS.values() for c in configs):
        training = config.training
        assert (training.batch_size, training.adam_epsilon, training.gradient_clip) == (600, 1e-4, 0)
        assert training.keep_checkpoints[-1] == training.epochs * training.epoch_batches
    assert [c.training.num_models for c in SWEEPS["figure_5"]] == [3, 3, 1]


@pytest.mark.slow
def test_a_sweep_ends_in_tables_and_figures(tmp_path, monkeypatch, layout_faults):
    small = {"graphs": 6, "steps": 5}
    chosen = []
    for config, other in zip(SWEEPS["figure_5"][:2], ({}, {"dynamics": "paper"}), strict=True):
        task, model = {**config.task, **small, **other}, {**config.model, "hidden_dim": 6}
        training = config.training.model_copy(update={"batch_size": 6, "keep_checkpoints": (0, 2, 1000)})
        chosen.append(config.model_copy(update={"task": task, "model": model, "training": training}))
    monkeypatch.setitem(SWEEPS, "figure_5", tuple(chosen))
    figures = []
    for name in ("draw_returns", "draw_episode"):
        draw = getattr(summary, name)
        keep = lambda *given, draw=draw: figures.append(draw(*given)) or figures[-1]  # noqa: E731
        monkeypatch.setattr(summary, name, keep)
    with pytest.raises(UserError, match="runs: must be some of fwm lstm_128; got gru"):
        sweep.main(["figure_5", "--runs", "gru"])
    flags = "--num_models 2 --epochs 1 --epoch_batches 4 --engine inline --accelerator cpu"
    assert sweep.main(["figure_5", "--output_dir", str(tmp_path), *flags.split()]) == 0
    folder = tmp_path / "graph_navigation_figure_5" / "summary"
    agents = pd.read_csv(folder / "graph_navigation_agents.csv").set_index(["agent", "updates"])
    assert list(agents.index) == [(a, u) for a in ("fwm", "lstm_128") for u in (0, 2, 4)]
    assert (agents["n"] == 2).all()
    assert agents.loc[("fwm", 0), "published_test"] == 45.7
    assert agents["published_test"].notna().sum() == 1
    assert agents["train"].notna().all()
    differences = pd.read_csv(folder / "graph_navigation_differences.csv").set_index(["agent", "updates"])
    found = differences.loc[("lstm_128", 2)]
    assert found["difference"] == pytest.approx(
        agents.loc[("fwm", 2), "test"] - agents.loc[("lstm_128", 2), "test"]
    )
    assert found["low"] < found["difference"] < found["high"]
    yards = pd.read_csv(folder / "graph_navigation_yardsticks.csv")
    assert sorted(yards["dynamics"].unique()) == ["code", "paper"]
    assert [layout_faults(figure) for figure in figures] == [[], []]
    # Members that are still trained count as far as their weights were kept.
    for path in (folder.parent / "fwm").glob("model-*/checkpoint/done.json"):
        path.unlink()
    assert summary.main([str(folder.parent)]) == 0
    agents = pd.read_csv(folder / "graph_navigation_agents.csv").set_index(["agent", "updates"])
    assert [updates for agent, updates in agents.index if agent == "fwm"] == [0, 2]
    assert agents.loc[("fwm", 2), "n"] == 2

"""Graph navigation: the published graphs, exact values, the rules of an episode against a slow twin, and batches."""

import hashlib
import itertools

import numpy as np
import pytest

from emt.errors import UserError
from emt.tasks.graph_episodes import Stand, elsewhere, move, observe, sample, start
from emt.tasks.graph_navigation import GraphNavigation
from emt.tasks.graph_values import LIMIT, best_actions, expected_returns
from emt.tasks.graphs import NONE, PLACES, adjacency, draw_graph, graphs_of, is_primitive

SEEDS, SIZE, STEPS, GRAPHS = (3, 7), 11, 13, 9
FIRST = {
    "test": [[-1, 2, 1], [-1, 4, 2], [-1, 3, 3], [-1, -1, 1], [0, 0, 1]],
    "train": [[3, 4, 2], [4, 0, -1], [3, -1, 1], [0, -1, 2], [1, -1, -1]],
}
HASHES = {"test": "7bec64d52250d993", "train": "3b4fa8605b24cbb4"}
RING = (np.arange(5)[:, None] + [1, 2, 3]) % 5
VALUES = {
    "code": (49.119057, 79.811204, 155.647344),
    "paper": (48.643598, 78.811791, 160.816654),
}
MEANS = {("code", "test"): (45.35, 71.30, 166.20), ("paper", "train"): (44.89, 70.03, 171.17)}
POLICIES = ("random", "valid", "best")

both = pytest.mark.parametrize("dynamics", ["code", "paper"])


def task_of(**options):
    return GraphNavigation(**{"steps": STEPS, "graphs": GRAPHS, **options})


def play(batch, choose=None, members=2):
    """Agents of equal logits, or others."""
    return batch.environment.play(choose or (lambda seen, events: np.zeros((*seen.shape[:2], 4))), members)


# Graphs


@pytest.mark.parametrize("split", FIRST)
def test_graphs_are_the_published_ones(split):
    graphs = graphs_of(split, 600)
    assert graphs[0].tolist() == FIRST[split]
    content = np.ascontiguousarray(graphs.astype("<i8")).tobytes()
    assert hashlib.sha256(content).hexdigest()[:16] == HASHES[split]


def test_splits_have_no_graph_in_common():
    sets = [{graph.tobytes() for graph in graphs_of(s, 600)} for s in ("train", "validation", "test")]
    assert len(set.union(*sets)) == 1800


def test_a_graph_has_ten_pairs_no_loop_and_is_primitive():
    graphs = graphs_of("validation", 600)
    assert ((graphs != NONE).sum(axis=(1, 2)) == 10).all()
    assert (graphs != np.arange(PLACES)[:, None]).all()
    for graph in graphs[:100]:
        assert (np.linalg.matrix_power(adjacency(graph).astype(float), 17) > 0).all()
    circle = np.full((5, 3), NONE)
    circle[:, 1] = (np.arange(5) + 1) % 5
    assert not is_primitive(circle)
    circle[0, 0] = 2
    assert is_primitive(circle)


def test_graphs_that_are_drawn_again_are_about_one_in_seven(monkeypatch):
    tried = []
    monkeypatch.setattr("emt.tasks.graphs.is_primitive", lambda graph: tried.append(0) or is_primitive(graph))
    generator = np.random.RandomState(1)
    for _ in range(300):
        draw_graph(generator)
    assert abs(300 / len(tried) - 0.856) < 3 * (0.856 * 0.144 / len(tried)) ** 0.5


# Values


@both
def test_values_of_single_graphs(dynamics):
    found = [expected_returns(graphs_of("test", 600)[:1], dynamics, p, 30)[0] for p in POLICIES]
    np.testing.assert_allclose(found, VALUES[dynamics], atol=1e-6)
    ring = [expected_returns(RING[None], dynamics, p, 30)[0] for p in POLICIES]
    expected = {"code": (76.113938, 238.424873), "paper": (76.192331, 10 * (30 / 1.25 - 0.04))}
    # On the ring each action is valid.
    np.testing.assert_allclose(ring, [expected[dynamics][i] for i in (0, 0, 1)], atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize(("dynamics", "split"), MEANS)
def test_values_of_all_graphs(dynamics, split):
    found = [expected_returns(graphs_of(split, 600), dynamics, p, 30).mean() for p in POLICIES]
    np.testing.assert_allclose(found, MEANS[dynamics, split], atol=0.005)


@both
def test_values_are_what_agents_get(dynamics):
    task = task_of(dynamics=dynamics, steps=9, graphs=40)
    batch = task.batch([1], "test", 0, 9, 12_000)
    graphs, best = graphs_of("test", 40), best_actions("test", 40, dynamics, 9)
    seen = []

    def knows(inputs, events):
        """Logits that make the best action sure, by where agents stand; the timer is not shown, so it is kept."""
        t = len(seen)
        goal, place = inputs[0, :, :5].argmax(axis=-1), inputs[0, :, 5:10].argmax(axis=-1)
        seen.append((goal, place, inputs[0, :, 11:14]))
        return 60.0 * best[t, np.arange(12_000) % 40, goal, place, timers(seen)][None]

    def timers(seen):
        """From what is shown: a reward moves the goal; after a timeout no last action is shown."""
        timer = np.zeros(12_000, int)
        for before, now in itertools.pairwise(seen):
            late, found = now[2].sum(axis=-1) == 0, (before[0] != now[0])
            timer = np.where(found, timer if dynamics == "code" else 0, timer + 1)
            timer = np.where(late, 0, timer)
        return timer

    for policy, choose in (("random", None), ("best", knows)):
        returns = play(batch, choose, 1).rewards.sum(axis=-1)[0]
        expected = expected_returns(graphs, dynamics, policy, 9).mean()
        assert abs(returns.mean() - expected) < 3 * returns.std() / 12_000**0.5
    assert expected - expected_returns(graphs, dynamics, "valid", 9).mean() > 10


# Dynamics and inputs


def episode(graph, actions, places, dynamics, inputs):
    """The paper's and the program's rules for one agent, one after the other: what it sees and gets."""
    place_of = lambda q, old: int(4 * q) + (int(4 * q) >= old)  # noqa: E731
    goal = int(5 * places[0][0])
    agent, k, last, total = place_of(places[0][1], goal), 0, None, 0.0
    seen, rewards = [], []
    for t, u in enumerate(actions):
        x = np.zeros(17)
        x[goal] = x[5 + agent] = x[14] = 1
        x[15] = t / len(actions)
        if last is not None:
            x[11 + last] = 1
        if inputs == "paper":
            x[10] = last is None
            x[16] = total
        seen.append(x)
        to, last = graph[agent][u], u
        if to == goal:
            reward, again, k = 10.0, True, 0 if dynamics == "paper" else k
        else:
            reward, again, k = (-0.05 if to == NONE else 0.0), False, k + 1
            agent = agent if to == NONE else to
        if k == 6:
            again, k, last = True, 0, None
        if again:
            goal = place_of(places[t + 1][0], goal)
            agent = place_of(places[t + 1][1], goal)
        total += reward
        rewards.append(reward)
    return np.array(seen), np.array(rewards)


@pytest.mark.parametrize("inputs", ["code", "paper"])
@both
def test_episodes_follow_the_rules(dynamics, inputs):
    task = task_of(dynamics=dynamics, sees=inputs, steps=25)
    batch = task.batch(SEEDS, "train", 4, 25, SIZE)
    done = play(batch)
    draws, numbers = batch.environment.draws, (np.arange(SIZE) + 4 * SIZE) % GRAPHS
    graphs = graphs_of("train", GRAPHS)
    other = {"code": "paper", "paper": "code"}[dynamics]
    differ = 0
    for m, row in np.ndindex(len(SEEDS), SIZE):
        given = graphs[numbers[row]], done.actions[m, row], draws.places[m, row]
        seen, rewards = episode(*given, dynamics, inputs)
        np.testing.assert_allclose(done.inputs[m, row], seen, atol=1e-6)
        np.testing.assert_allclose(done.rewards[m, row], rewards, atol=1e-6)
        differ += not np.array_equal(episode(*given, other, inputs)[1], rewards)
    assert differ > 3
    hits, invalid = (done.rewards == 10).sum(axis=-1), (done.rewards < 0).sum(axis=-1)
    np.testing.assert_allclose(done.rewards.sum(axis=-1), 10 * hits - 0.05 * invalid, atol=1e-4)


def test_places_are_drawn_from_all_others_alike():
    for old in range(PLACES):
        drawn = elsewhere(np.full(8, old), np.arange(8) / 8)
        assert sorted(drawn) == sorted(2 * [p for p in range(PLACES) if p != old])
    places = np.stack(np.meshgrid((np.arange(5) + 0.5) / 5, (np.arange(4) + 0.5) / 4), axis=-1)
    stand = start(places.reshape(1, -1, 2))
    assert len({*zip(stand.goal[0], stand.place[0], strict=True)}) == 20
    assert (stand.goal != stand.place).all()


@both
def test_the_timer_stays_below_its_limit(dynamics):
    generator, rows = np.random.default_rng(0), 500
    graphs = graphs_of("test", 600)[:rows]
    stand, since, gaps = start(generator.random((1, rows, 2))), np.zeros(rows, int), []
    for _ in range(40):
        before = stand
        actions = generator.integers(0, 3, (1, rows))
        stand, rewards = move(graphs, stand, actions, generator.random((1, rows, 2)), dynamics)
        assert (stand.timer < LIMIT).all()
        assert (stand.timer >= 0).all()
        assert (stand.goal != stand.place).all()
        placed = (rewards[0] == 10) | (stand.last[0] == NONE)
        assert (stand.goal != before.goal)[0, placed].all()
        since += 1
        gaps.append(since[placed].max())
        since[placed] = 0
    # In the program six unsuccessful steps may have rewards between them.
    assert max(gaps) == LIMIT


def test_actions_have_the_probabilities_of_their_logits():
    logits = np.log(np.broadcast_to([0.5, 0.2, 0.3], (1, 10, 3)))
    draws = (np.arange(10) + 0.5)[None] / 10
    assert sample(logits, draws).tolist() == [[0] * 5 + [1] * 2 + [2] * 3]
    assert sample(logits - 800, draws).tolist() == sample(logits, draws).tolist()


# Batches


def test_a_batch_waits_with_what_agents_see_first():
    task = task_of()
    batch = task.batch(SEEDS, "train", 2, STEPS, SIZE)
    done = play(batch)
    assert batch.inputs.shape == (len(SEEDS), SIZE, 1, 17)
    np.testing.assert_array_equal(batch.inputs[:, :, 0], done.inputs[:, :, 0])
    assert done.environment is None
    assert batch.rewards is None


def test_a_played_batch_names_pairs_tried_and_pairs_chosen():
    done = play(task_of(steps=30).batch(SEEDS, "validation", 1, 30, SIZE))
    token, written, asked = (done.events[name] for name in ("token", "written", "asked"))
    for m, row in np.ndindex(len(SEEDS), SIZE):
        known = set()
        for t in range(30):
            shown = done.inputs[m, row, t, 11:14]
            pair = 3 * token[m, row, t - 1] + done.actions[m, row, t - 1] if shown.any() else NONE
            assert written[m, row, t] == pair
            known.add(pair)
            chosen = 3 * token[m, row, t] + done.actions[m, row, t]
            assert asked[m, row, t] == (chosen if chosen in known else NONE)
    assert (done.inputs[..., 5:10].argmax(axis=-1) == token).all()
    assert 0.3 < (asked >= 0).mean() < 0.8


def test_targets_are_best_actions_and_of_equals_the_one_that_the_agent_prefers():
    batch = task_of(steps=3, graphs=600).batch([1], "test", 0, 3, 600)
    best = best_actions("test", 600, "code", 3)
    assert (best[0].sum(axis=-1) > 1).any()
    for favourite in range(3):
        done = play(batch, lambda seen, events, f=favourite: np.eye(4)[f] + np.zeros((*seen.shape[:2], 4)), 1)
        goal, place = (done.inputs[0, :, 0, i : i + 5].argmax(axis=-1) for i in (0, 5))
        among = best[0, np.arange(600), goal, place, 0]
        target = done.targets[0, :, 0].argmax(axis=-1)
        assert among[np.arange(600), target].all()
        assert (target[among[:, favourite]] == favourite).all()
        assert (done.targets.sum(axis=-1) == 1).all()


def test_parts_and_members_have_the_same_episodes():
    task = task_of()
    batch = task.batch([5], "test", 0, STEPS, SIZE)
    whole, part = play(batch, members=3), play(batch.part(slice(4, 7)), members=3)
    np.testing.assert_array_equal(part.inputs, whole.inputs[:, 4:7])
    np.testing.assert_array_equal(whole.inputs[2], whole.inputs[0])
    np.testing.assert_array_equal(whole.part(slice(4, 7)).rewards, part.rewards)


def test_as_many_rows_as_graphs_keep_their_graphs_and_fewer_see_all():
    task = task_of()
    keep = [task.batch([1], "train", step, STEPS, GRAPHS).environment.numbers for step in (0, 5)]
    np.testing.assert_array_equal(*keep)
    few = np.concatenate([task.batch([1], "train", s, STEPS, 2).environment.numbers for s in range(GRAPHS)])
    assert np.bincount(few).tolist() == [2] * GRAPHS


def test_other_lengths_are_refused():
    with pytest.raises(UserError, match=f"must be {STEPS}, the steps of an episode; got 4"):
        task_of().test_batch(0, 4, 1, 2)


def test_what_the_program_does_not_show():
    stand = Stand(*(np.array([[value]]) for value in (2, 4, 3, NONE, 20.0)))
    program, paper = (observe(stand, 0.5, inputs)[0, 0] for inputs in ("code", "paper"))
    assert np.flatnonzero(program).tolist() == [2, 9, 14, 15]
    assert np.flatnonzero(paper).tolist() == [2, 9, 10, 14, 15, 16]
    assert paper[16] == 20

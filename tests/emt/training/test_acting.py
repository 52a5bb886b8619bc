"""Members that act: they learn from what they saw, with the gradient of the graph that acting would have kept."""

import numpy as np
import pytest
import torch
from planted.stacks import advance, content_of

from emt import config as configuration
from emt import effects, record, trace
from emt.acting import played_by
from emt.commands.main import main as emt
from emt.config import TrainingConfig
from emt.errors import UserError
from emt.interventions.intervene import intervene
from emt.models import MODELS
from emt.options import load, options_of
from emt.record import Loaded
from emt.tasks.graph_navigation import GraphNavigation
from emt.training.losses import advantage_loss
from emt.training.resume import restore, resume_state
from emt.training.stack import Stack

SEEDS, ROWS, STEPS, GRAPHS, UNITS, SIZE = (11, 1011), 5, 9, 7, 8, 4
LEARN_FROM_TARGETS = ("ethereal", "ethereal_rnn")
ACTORS = [name for name in MODELS if name not in LEARN_FROM_TARGETS]


def build(name, seeds=SEEDS, **options):
    known = {o.name for o in options_of(MODELS[name])}
    sizes = {"hidden_dim": UNITS, "memory_dim": SIZE, "variant": "meta_rl"} if name == "fwm" else {}
    chosen = {"hidden_dim": UNITS, "bias": True} | sizes | options
    kind = load(MODELS, name, "model_type")
    return kind(list(seeds), 17, 4, **{k: v for k, v in chosen.items() if k in known})


def task_of(**options):
    return GraphNavigation(**{"steps": STEPS, "graphs": GRAPHS, **options})


def make_stack(name="fwm", **training):
    settings = {"num_models": 2, "batch_size": ROWS, "epoch_batches": 4, "curriculum": False}
    config = TrainingConfig(curriculum_horizons=(1,), gradient_clip=0.0, **(settings | training))
    return Stack(config, task_of(), build(name), [1, 2])


def context_of(model, events, axis=None):
    told = {name: torch.from_numpy(events[name]) for name in model.context if name in events}
    return told if axis is None else {name: event.unsqueeze(axis) for name, event in told.items()}


class Kept:
    """A stepper that keeps its outputs with their graph, by the model's own step."""

    def __init__(self, model):
        self.model, self.state, self.outputs = model, None, []

    def __call__(self, seen, events):
        x = torch.from_numpy(seen).double().unsqueeze(2)
        outputs, self.state, _ = self.model(x, self.state, 1, context_of(self.model, events, 2))
        self.outputs.append(outputs)
        return outputs.detach().squeeze(2).numpy()


@pytest.mark.parametrize("name", ACTORS)
def test_outputs_while_acting_are_those_of_learning_and_gradients_those_of_the_kept_graph(name):
    model, task = build(name).double(), task_of(sees="paper", dynamics="paper")
    waiting = task.batch(SEEDS, "train", 3, STEPS, ROWS)
    kept = Kept(model)
    done = waiting.environment.play(kept, len(SEEDS))
    ours = played_by(model, waiting)
    np.testing.assert_array_equal(ours.actions, done.actions)
    outputs, _, _ = model(torch.from_numpy(done.inputs).double(), None, None, context_of(model, done.events))
    acted = torch.cat(kept.outputs, dim=2)
    scale = outputs.abs().max().item()
    torch.testing.assert_close(acted, outputs, rtol=0, atol=1e-12 * max(1, scale))
    actions, rewards = torch.from_numpy(done.actions), torch.from_numpy(done.rewards).double()
    options = {"discount": 0.9, "entropy": 0.03, "value_weight": 0.1, "pooled": True}
    both = [
        torch.autograd.grad(
            advantage_loss(o, actions, rewards, **options).sum(), list(model.parameters()), allow_unused=True
        )
        for o in (outputs, acted)
    ]
    for replayed, graph in zip(*both, strict=True):
        assert (replayed is None) == (graph is None)
        if replayed is not None:
            size = graph.abs().max().item()
            torch.testing.assert_close(replayed, graph, rtol=0, atol=1e-10 * max(1, size))


@pytest.mark.parametrize("name", LEARN_FROM_TARGETS)
def test_who_learns_from_targets_cannot_act(name):
    with pytest.raises(UserError, match="learns from targets: expected a task with cross_entropy or mse"):
        make_stack(name)


@pytest.mark.parametrize("name", ["fwm", "lstm", "deltanet"])
def test_some_members_of_a_stack_act_as_they_do_in_all_of_it(name):
    forward = make_stack(name).forward
    whole = forward.batch([0, 1], "validation", 2, STEPS)
    alone = forward.batch([1], "validation", 2, STEPS)
    np.testing.assert_array_equal(alone.actions[0], whole.actions[1])
    np.testing.assert_array_equal(alone.inputs[0], whole.inputs[1])
    assert not np.array_equal(whole.actions[0], whole.actions[1])


def test_a_run_that_is_resumed_is_the_same_to_the_byte():
    whole, begun = advance(make_stack(), 5), advance(make_stack(), 2)
    resumed = make_stack()
    restore(resumed, *resume_state(begun))
    # Evaluation between training steps moves nothing that training draws.
    resumed.validate(np.arange(2))
    found, expected = content_of(advance(resumed, 3)), content_of(whole)
    assert [name for name in expected if found[name] != expected[name]] == ["lowest"]
    assert content_of(advance(make_stack(), 4)) != content_of(whole)


@pytest.mark.slow
@pytest.mark.parametrize("critic", ["pooled", "own"])
def test_agents_learn(critic):
    """On one graph the return is soon far above that of random agents; without steps it stays where it is."""
    for rate, learns in ((5e-2, True), (1e-9, False)):
        config = TrainingConfig(
            num_models=2,
            batch_size=64,
            learning_rate=rate,
            adam_epsilon=1e-4,
            gradient_clip=0.0,
            curriculum=False,
            curriculum_horizons=(1,),
        )
        task = task_of(graphs=1, steps=8, critic=critic)
        stack, losses = Stack(config, task, build("lstm", hidden_dim=16), [1, 2]), []
        for _ in range(60):
            report = stack.gradients()
            stack.optimizer.step()
            stack.advance(report)
            losses.append(report.loss)
        first, last = (-np.mean(part, axis=0) for part in (losses[:10], losses[-10:]))
        assert ((last > 1.8 * first) == learns).all()


def loaded(name="fwm", task=None):
    labels = {"model": {"type": name}, "task": {}, "experiment": "x", "seeds": list(SEEDS)}
    return Loaded(build(name).requires_grad_(False), task or task_of(), (1, 2), labels)


def test_a_trace_holds_what_each_member_saw_and_did():
    one = loaded()
    made = record.record(one, one.task.test_batch(5, STEPS, 1, ROWS), STEPS)
    for name in ("inputs", "targets", "token", "written", "asked", "action", "reward"):
        assert made[name].dims[:3] == trace.MEMBER_TIME
    assert not np.array_equal(made["action"][0], made["action"][1])
    outputs = one.model(torch.from_numpy(made["inputs"].to_numpy()))[0]
    np.testing.assert_allclose(outputs, made["outputs"], atol=1e-6)
    np.testing.assert_array_equal(made["inputs"][0, :, 0], made["inputs"][1, :, 0])


def test_interventions_are_on_one_member_that_acts():
    one = loaded()
    batch = one.task.test_batch(5, STEPS, 1, 12)
    with pytest.raises(
        UserError, match=r"expected one member, since inputs depend on what it does, .* got 2"
    ):
        intervene(one, batch)
    alone = Loaded(
        build("fwm", SEEDS[:1]).requires_grad_(False), one.task, (1,), {**one.labels, "seeds": [11]}
    )
    found = intervene(alone, batch, kinds=("writes",))
    played = played_by(alone.model, batch)
    # What is asked for was tried before: queries are of pairs that are chosen again.
    steps, rows = found["step"].to_numpy(), found["sequence"].to_numpy()
    np.testing.assert_array_equal(found["item"], played.events["asked"][0, rows, steps])
    assert len(rows) > 3


@pytest.mark.slow
def test_interventions_run_all_members_on_what_the_first_did(tmp_path):
    few = f"--steps {STEPS} --graphs {GRAPHS} --num_models 2 --epochs 1 --epoch_batches 2 --batch_size {ROWS}"
    agent = (
        f"--task graph_navigation --model_type fwm --variant meta_rl --hidden_dim {UNITS} --memory_dim {SIZE}"
    )
    words = (
        f"train --experiment_name run --output_dir {tmp_path} {agent} {few} --engine inline --accelerator cpu"
    )
    assert emt(words.split()) == 0
    words = f"evaluate --models_dir {tmp_path / 'run'} --no_figures --interventions writes --intervention_trials 12"
    assert emt(words.split()) == 0
    (file,) = (tmp_path / "run" / "interventions").glob("seq*.nc")
    found, config = effects.load(file), configuration.read(tmp_path / "run" / "config.json")
    first = record.load_members(tmp_path / "run", config, [1])
    played = played_by(first.model, first.task.test_batch(0, STEPS, 1, 12))
    steps, rows = found["step"].to_numpy(), found["sequence"].to_numpy()
    np.testing.assert_array_equal(found["item"], played.events["asked"][0, rows, steps])
    assert found.sizes["member"] == 2
    assert len(rows) > 3

"""Recording trained members: laws over the whole registry of models, and facts about single ones."""

import dataclasses
import re
from dataclasses import replace

import numpy as np
import pytest
import torch

from emt import record, runs, trace
from emt.config import RunConfig, TrainingConfig
from emt.errors import UserError
from emt.models import MODELS
from emt.models.lstm import LSTM
from emt.options import load, options_of
from emt.tasks import TASKS

MEMBERS, BATCH, LENGTH, HORIZON, UNITS = 3, 5, 2, 9, 8
NUMBERS = (3, 1)
# In these the memory alone goes from step to step.
MEMORY_ALONE = ("fwp", "transformer_xl")

every_model = pytest.mark.parametrize("model", MODELS)


def options_for(model):
    known = {o.name for o in options_of(MODELS[model])}
    return {k: v for k, v in {"hidden_dim": UNITS, "embedding_dim": 7, "bias": True}.items() if k in known}


@pytest.fixture
def make_run(tmp_path):
    """Return a function that writes a run directory with untrained members and returns its configuration."""

    def make(model="rnn", task=None, **options):
        config = RunConfig(
            metadata={"experiment_name": "planted"},
            task={"name": "variable_binding", "seq_length": LENGTH, "input_dim": 4, **(task or {})},
            model={"type": model, **options_for(model), **options},
            training=TrainingConfig(num_models=MEMBERS, seed=5),
        )
        build = load(MODELS, model, "model_type")
        stack = build(
            config.training.seeds(), 4 + bool((task or {}).get("use_eos")), 4, **config.model_options()
        )
        for position in range(MEMBERS):
            runs.write_weights(runs.model_folder(tmp_path, position + 1), stack.export(position), {})
        return config

    return make


@pytest.fixture
def load_run(make_run, tmp_path):
    return lambda *model, **options: record.load_members(tmp_path, make_run(*model, **options), NUMBERS)


def batch_of(loaded, size=BATCH):
    return loaded.task.test_batch(5, LENGTH, HORIZON, size)


def inputs_of(batch):
    return torch.from_numpy(batch.padded_inputs(0)).repeat(len(NUMBERS), 1, 1, 1)


# Laws over the registry


@every_model
def test_recording_changes_no_bit_of_the_outputs(model, load_run):
    loaded = load_run(model)
    batch = batch_of(loaded)
    recorded = record.record(loaded, batch, LENGTH)
    loaded.model.requires_grad_(True)
    inputs, context = record.to_tensors(loaded, batch)
    plain, _, _ = loaded.model(inputs, None, batch.steps, context)
    np.testing.assert_array_equal(recorded["outputs"].values, plain.detach().numpy())


@every_model
def test_states_step_by_step_are_those_recorded(model, load_run):
    loaded = load_run(model)
    loaded.model.double()
    batch = batch_of(loaded)
    batch = dataclasses.replace(batch, inputs=batch.inputs.astype(float))
    recorded = record.record(loaded, batch, LENGTH)
    inputs, (_, context) = inputs_of(batch), record.to_tensors(loaded, batch)
    state = loaded.model.zero_state(inputs)
    assert list(state) == list(loaded.model.state_dims)
    for t in range(batch.steps):
        now = {name: values[:, :, t : t + 1] for name, values in context.items()}
        outputs, state, _ = loaded.model(inputs[:, :, t : t + 1], state, 1, now)
        np.testing.assert_allclose(recorded["outputs"].values[:, :, t], outputs[:, :, 0], atol=1e-11)
        for name in set(state) - set(loaded.model.held_state):
            value = state[name]
            np.testing.assert_allclose(
                recorded[name].values[:, :, t], value, atol=1e-11, err_msg=f"{name} at {t}"
            )


@every_model
def test_a_recorded_run_follows_the_schema(model, load_run, tmp_path):
    loaded = load_run(model)
    recorded = record.record(loaded, batch_of(loaded), LENGTH)
    for name, dims in loaded.model.state_dims.items():
        if name in loaded.model.held_state and not name.startswith("stabiliser"):
            assert name not in recorded.data_vars
        else:
            assert recorded[name].dims == ("member", "batch", "time", *dims)
    assert trace.about(recorded).memories == loaded.model.memories
    assert set(trace.nodes(recorded)) == set(loaded.model.memories)
    path = tmp_path / "traces" / "seq2.nc"
    trace.save(recorded, path)
    assert trace.load(path).identical(recorded)


def central_differences(model, state, x, step=1e-5):
    """∂(next state)/∂(state) of each member, one number of the state at a time; contents of memories stand still."""
    names = [name for name in model.state_dims if name not in model.held_state]
    held = {name: state[name][:, None] for name in model.held_state}
    sizes = [state[n][0].numel() for n in names]

    def following(joined):
        parts = dict(zip(names, joined.split(sizes, dim=-1), strict=True))
        carried = {n: p.view(state[n].shape)[:, None] for n, p in parts.items()}
        _, after, _ = model(x[:, None, None], carried | held)
        return torch.cat([after[n][:, 0].flatten(1) for n in names], dim=-1)

    joined = torch.cat([state[n].flatten(1) for n in names], dim=-1)
    directions = step * torch.eye(joined.shape[-1], dtype=joined.dtype)
    columns = [(following(joined + d) - following(joined - d)) / (2 * step) for d in directions]
    return torch.stack(columns, dim=-1).detach().numpy()


@pytest.fixture
def make_point(load_run):
    """Return a function that gives a model in float64, away from its initial weights, a state and an input of it."""

    def make(model):
        stack = load_run(model).model.double()
        draw = np.random.default_rng(2).standard_normal
        for parameter in stack.parameters():
            parameter += 0.3 * torch.from_numpy(draw(parameter.shape))
        zero = stack.zero_state(torch.zeros(len(NUMBERS), 1, dtype=torch.float64))
        state = {name: torch.from_numpy(draw(value[:, 0].shape)) for name, value in zero.items()}
        return stack, state, torch.from_numpy(draw((len(NUMBERS), 4)))

    return make


@every_model
def test_the_state_jacobian_is_that_of_central_differences(model, make_point):
    stack, state, x = make_point(model)
    jacobian = record.state_jacobian(stack, state, x)
    expected = central_differences(stack, state, x)
    assert jacobian.shape == expected.shape
    np.testing.assert_allclose(jacobian, expected, atol=1e-5)
    if model in MEMORY_ALONE:
        assert not expected.any()
        return
    # Controls: neither its transpose nor another member's would pass.
    assert np.abs(jacobian.swapaxes(1, 2) - expected).max() > 1e-2
    assert np.abs(jacobian[::-1] - expected).max() > 1e-2


def test_a_rotated_state_order_fails(make_point, monkeypatch):
    stack, state, x = make_point("lstm")
    jacobian = record.state_jacobian(stack, state, x)
    monkeypatch.setattr(type(stack), "state_dims", dict(reversed(stack.state_dims.items())))
    assert np.abs(jacobian - central_differences(stack, state, x)).max() > 1e-2


# Facts


def test_the_recorded_elman_network_is_a_tanh_loop(load_run, tmp_path):
    loaded = load_run("rnn")
    batch = batch_of(loaded)
    recorded = record.record(loaded, batch, LENGTH)
    x = batch.padded_inputs(loaded.task.input_channels)[0].astype(float)
    for position, number in enumerate(NUMBERS):
        w, _ = runs.read_weights(runs.model_folder(tmp_path, number))
        h = np.zeros((BATCH, UNITS))
        for t in range(batch.steps):
            a = x[:, t] @ w["rnn.weight_ih_l0"].T + h @ w["rnn.weight_hh_l0"].T
            h = np.tanh(a + w["rnn.bias_ih_l0"] + w["rnn.bias_hh_l0"])
            y = h @ w["readout.weight"].T + w["readout.bias"]
            np.testing.assert_allclose(recorded["hidden"].values[position, :, t], h, atol=1e-6)
            np.testing.assert_allclose(recorded["outputs"].values[position, :, t], y, atol=1e-6)


def test_a_trace_holds_the_batch_its_events_and_its_theory(load_run):
    loaded = load_run("rnn", task={"use_eos": True, "seq_length": (1, 3)})
    batch = batch_of(loaded)
    recorded = record.record(loaded, batch, LENGTH)
    np.testing.assert_array_equal(
        recorded["inputs"].values, batch.padded_inputs(loaded.task.input_channels)[0]
    )
    np.testing.assert_array_equal(recorded["targets"].values, batch.targets[0])
    np.testing.assert_array_equal(recorded["operator"].values, loaded.task.operator(LENGTH))
    np.testing.assert_array_equal(recorded["scored"].values, batch.scored[0])
    for name, event in batch.events.items():
        np.testing.assert_array_equal(recorded[name].values, event[0])
    assert recorded["inputs"].shape == (BATCH, LENGTH + HORIZON, 5)


def test_members_are_known_by_number_and_seed(load_run):
    loaded = load_run("rnn")
    recorded = record.record(loaded, batch_of(loaded), LENGTH)
    assert recorded["member"].values.tolist() == [3, 1]
    about = trace.about(recorded)
    assert about.seeds == (2005, 5)
    assert about.model["type"] == "rnn"
    assert (about.experiment, about.length) == ("planted", LENGTH)


def test_the_jacobian_at_the_mean_of_an_elman_network_has_a_closed_form(load_run, tmp_path):
    loaded = load_run("rnn")
    recorded = record.record(loaded, batch_of(loaded), LENGTH)
    jacobians = record.mean_state_jacobian(loaded, recorded)
    for position, number in enumerate(NUMBERS):
        w, _ = runs.read_weights(runs.model_folder(tmp_path, number))
        mean = recorded["hidden"].values[position].mean((0, 1))
        after = np.tanh(w["rnn.weight_hh_l0"] @ mean + w["rnn.bias_ih_l0"] + w["rnn.bias_hh_l0"])
        expected = (1 - after**2)[:, None] * w["rnn.weight_hh_l0"]
        np.testing.assert_allclose(jacobians[position], expected, atol=1e-6)


def test_the_jacobian_at_the_mean_holds_a_memory_at_its_mean(load_run):
    loaded = load_run("fw", eta=0.7, lam=0.8)
    recorded = record.record(loaded, batch_of(loaded), LENGTH)
    jacobian = record.mean_state_jacobian(loaded, recorded)
    hidden = torch.from_numpy(recorded["hidden"].values).double()
    content = torch.zeros(*hidden.shape[:2], UNITS, UNITS, dtype=torch.float64)
    contents = []
    for h in hidden.unbind(2):
        content = 0.8 * content + 0.7 * h[..., None] * h[..., None, :]
        contents.append(content)
    state = {"hidden": hidden.mean((1, 2)), "fast_weights": torch.stack(contents).mean((0, 2))}
    silence = torch.zeros(len(NUMBERS), 4, dtype=torch.float64)
    stack = loaded.model.double()
    np.testing.assert_allclose(jacobian, central_differences(stack, state, silence), atol=1e-5)
    empty = state | {"fast_weights": torch.zeros_like(state["fast_weights"])}
    assert np.abs(jacobian - central_differences(stack, empty, silence)).max() > 1e-3


def test_a_trace_says_when_an_output_is_right_and_what_its_tokens_are(load_run):
    about = trace.about(record.record((loaded := load_run()), batch_of(loaded), LENGTH))
    assert (about.accuracy, about.tokens) == ("sign", ())
    task = load(TASKS, "associative_retrieval", "task")(pairs=3)
    model = load(MODELS, "irnn", "model_type")(
        (5, 1005), task.input_channels, task.output_channels, hidden_dim=UNITS
    )
    choosing = record.Loaded(model, task, NUMBERS, loaded.labels)
    recorded = record.record(choosing, task.test_batch(0, 9, 1, BATCH), 9)
    about = trace.about(recorded)
    assert about.accuracy == "argmax"
    assert about.tokens[recorded["token"].values[0, 0]] in "abcdefghijklmnopqrstuvwxyz"
    assert recorded["inputs"].values[0, 0].argmax() == recorded["token"].values[0, 0]


def test_states_that_a_log_lacks_are_recomputed(load_run, monkeypatch):
    loaded = load_run("lstm")
    batch = batch_of(loaded)
    whole = record.record(loaded, batch, LENGTH)
    forward = LSTM.forward

    def secretive(self, *arguments):
        outputs, state, log = forward(self, *arguments)
        return outputs, state, {"hidden": log["hidden"]}

    monkeypatch.setattr(LSTM, "forward", secretive)
    recomputed = record.record(loaded, batch, LENGTH)
    np.testing.assert_allclose(recomputed["cell"].values, whole["cell"].values, atol=1e-6)
    np.testing.assert_array_equal(recomputed["hidden"].values, whole["hidden"].values)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_that_are_not_finite_are_refused_by_name(make_run, tmp_path, value):
    config = make_run()
    folder = runs.model_folder(tmp_path, 3)
    weights, _ = runs.read_weights(folder)
    weights["readout.weight"][0, 0] = value
    runs.write_weights(folder, weights, {})
    with pytest.raises(
        UserError, match=r"model-3: expected finite weights; readout\.weight holds NaN or infinity"
    ):
        record.load_members(tmp_path, config, NUMBERS)
    record.load_members(tmp_path, config, [1])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"hidden_dim": 7}, r"rnn\.weight_ih_l0: expected shape \(4, 7\) \(in, out\); got \(4, 8\)"),
        ({"bias": False}, "expected the weights"),
        ({"type": "lstm"}, "expected shape"),
    ],
)
def test_another_architecture_is_refused_by_name(make_run, tmp_path, change, message):
    config = make_run()
    other = config.model_copy(update={"model": config.model | change})
    with pytest.raises(
        UserError, match=rf"model-3: the weights do not match the architecture in config.*{message}"
    ):
        record.load_members(tmp_path, other, NUMBERS)


def test_a_model_that_is_not_of_the_run_is_refused_by_name(make_run, tmp_path):
    expected = "model-4 is not part of this run (config.json has 3 models)"
    with pytest.raises(UserError, match=re.escape(expected)):
        record.load_members(tmp_path, make_run(), [1, 4])


@every_model
def test_a_linear_task_comes_with_the_matrix_of_a_step(model, load_run):
    loaded = load_run(model)
    recorded = record.record(loaded, batch_of(loaded), LENGTH)
    names = trace.about(recorded).states
    size = sum(int(np.prod(recorded[name].shape[3:])) for name in names)
    assert recorded["step_matrix"].shape == (len(NUMBERS), size, size)
    weights = [loaded.model.export(position) for position in range(len(NUMBERS))]
    for position, member in enumerate(weights):
        if loaded.model.recurrent_name:
            np.testing.assert_array_equal(
                recorded["step_matrix"][position], member[loaded.model.recurrent_name]
            )
        if loaded.model.readout_name:
            hidden, outputs = recorded["hidden"][position].values, recorded["outputs"][position].values
            rebuilt = hidden @ recorded["readout"][position].values.T
            np.testing.assert_allclose(np.ptp(outputs - rebuilt, axis=(0, 1)), 0, atol=1e-5)
    assert ("readout" in recorded) == bool(loaded.model.readout_name)


@pytest.mark.parametrize(("model", "source"), [("rnn", "weights"), ("lstm", "mean state")])
def test_a_trace_has_the_matrix_of_a_step_whatever_the_task(model, source, load_run):
    loaded = load_run(model)
    linear = record.record(loaded, batch_of(loaded), LENGTH)
    loaded.task.operator = lambda length: None
    recorded = record.record(loaded, batch_of(loaded), LENGTH)
    assert "operator" not in recorded
    np.testing.assert_array_equal(recorded["step_matrix"], linear["step_matrix"])
    assert trace.about(recorded).step_matrix == source


def test_the_mean_contents_of_a_memory_that_learns_are_those_of_its_targets(tmp_path):
    config = RunConfig(
        task={"name": "associative_retrieval", "pairs": 2},
        model={"type": "ethereal", "hidden_dim": UNITS, "plast_clip": 300.0},
        training=TrainingConfig(num_models=MEMBERS, seed=5),
    )
    stack = load(MODELS, "ethereal", "model_type")(config.training.seeds(), 37, 10, **config.model_options())
    with torch.no_grad():
        stack.layer_1_weight += 0.1
        stack.recurrence_weight += 0.01
    for position in range(MEMBERS):
        runs.write_weights(runs.model_folder(tmp_path, position + 1), stack.export(position), {})
    loaded = record.load_members(tmp_path, config, NUMBERS)
    batch = loaded.task.test_batch(5, 7, 1, BATCH)
    targets = np.tile(np.arange(7), (1, BATCH, 1))
    batches = [replace(batch, answers=t, scored=t >= 0) for t in (targets, -np.ones_like(targets))]
    learnt, idle = (record.mean_state_jacobian(loaded, record.record(loaded, b, 7)) for b in batches)
    inputs, context = record.to_tensors(loaded, batches[0])
    states = list(record.states_of(loaded.model, inputs, 7, context))
    mean = {n: torch.stack([s[n].float() for s in states]).mean(dim=(0, 2)) for n in loaded.model.state_dims}
    mean["position"] = mean["position"].round().long()
    expected = record.state_jacobian(loaded.model, mean, torch.zeros(len(NUMBERS), 37))
    np.testing.assert_allclose(learnt, expected, atol=1e-5 * np.abs(expected).max())
    assert np.abs(learnt - idle).max() > 1e-2 * np.abs(learnt).max()

"""Networks of somebody else: what is recorded is what they do, and a network of which it is not is refused."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

import emt
from emt import trace
from emt.errors import UserError

TRIALS, STEPS, CHANNELS, UNITS, OUTPUTS = 5, 7, 3, 6, 2
KINDS = {"rnn": nn.RNN, "gru": nn.GRU, "lstm": nn.LSTM}


@pytest.fixture
def inputs():
    torch.manual_seed(0)
    return torch.randn(TRIALS, STEPS, CHANNELS)


class Network(nn.Module):
    """A recurrent layer and a linear head."""

    def __init__(self, kind="gru", **options):
        super().__init__()
        self.core = KINDS[kind](CHANNELS, UNITS, batch_first=True, **options)
        self.head = nn.Linear(UNITS, OUTPUTS)

    def forward(self, x):
        return self.head(self.core(x)[0])


@pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize(("kind", "levels", "projection"), [
    *((kind, levels, 0) for kind in KINDS for levels in (1, 3)), ("lstm", 2, 4),
])  # fmt: skip
def test_a_layer_is_recorded_to_the_bit(kind, levels, projection, batch_first, bias, inputs):
    size = {"proj_size": projection} if projection else {}
    layer = KINDS[kind](CHANNELS, UNITS, levels, batch_first=batch_first, bias=bias, **size)
    with torch.no_grad():
        hidden, last = layer(inputs if batch_first else inputs.transpose(0, 1))
    run = emt.from_torch(layer, emt.trials(inputs))
    recorded = run.recording
    assert recorded["outputs"].shape == (1, TRIALS, STEPS, 0)
    np.testing.assert_array_equal(recorded["hidden"][0], hidden if batch_first else hidden.transpose(0, 1))
    ends = dict(zip(("hidden", "cell"), last if kind == "lstm" else (last,), strict=False))
    for name, by_level in ends.items():
        for level, values in enumerate(by_level):
            variable = name if level == levels - 1 else f"{name}_l{level}"
            np.testing.assert_allclose(recorded[variable][0, :, -1], values, atol=1e-6)
    below = [f"_l{level}" for level in range(levels - 1)]
    names = [f"{name}{level}" for name in ends for level in ("", *below)]
    assert list(trace.about(recorded).states) == names
    if (kind, levels) == ("rnn", 1):
        np.testing.assert_array_equal(recorded["step_matrix"][0], layer.weight_hh_l0.detach().double())
    assert trace.about(recorded).step_matrix == ("weights" if (kind, levels) == ("rnn", 1) else "mean state")


@pytest.mark.parametrize("kind", ["gru", "lstm"])
def test_the_matrix_of_a_step_is_autograds(kind, inputs):
    layer = KINDS[kind](CHANNELS, UNITS, 2, batch_first=True).double()
    recorded = emt.from_torch(layer, emt.trials(inputs)).recording
    names = trace.about(recorded).states
    means = {n: torch.tensor(recorded[n].mean(("batch", "time")).values[0]) for n in names}
    halves = ("hidden", "cell") if kind == "lstm" else ("hidden",)

    def step(*state):
        parts = dict(zip(names, state, strict=True))
        stacked = tuple(torch.stack([parts[f"{h}_l0"], parts[h]])[:, None] for h in halves)
        _, after = layer(
            torch.zeros(1, 1, CHANNELS, dtype=torch.float64), stacked if kind == "lstm" else stacked[0]
        )
        after = dict(zip(halves, after if kind == "lstm" else (after,), strict=True))
        return tuple(after[n.removesuffix("_l0")][0 if n.endswith("_l0") else 1, 0] for n in names)

    blocks = torch.autograd.functional.jacobian(step, tuple(means[n] for n in names))
    expected = torch.cat([torch.cat(row, dim=1) for row in blocks])
    assert recorded["hidden"].dtype == np.float64
    np.testing.assert_allclose(recorded["step_matrix"][0], expected, atol=1e-12)


class Tokens(nn.Module):
    """An embedding, a learned initial state, time before batch within, an MLP, a tuple of the last step's outputs."""

    def __init__(self):
        super().__init__()
        self.embed, self.first = nn.Embedding(9, 4), nn.Parameter(torch.randn(2, 1, UNITS))
        self.core = nn.LSTM(4, UNITS, 2)
        self.head = nn.Sequential(nn.Linear(UNITS, 8), nn.ReLU(), nn.Linear(8, OUTPUTS))

    def forward(self, ids):
        first = self.first.expand(-1, len(ids), -1).contiguous()
        hidden, _ = self.core(self.embed(ids.T), (first, -first))
        return self.head(hidden[-1]), hidden


class Loop(nn.Module):
    """A layer that is called for one step at a time, with inputs that have time before batch."""

    def __init__(self):
        super().__init__()
        self.core, self.head = nn.GRU(CHANNELS, UNITS), nn.Linear(UNITS, OUTPUTS)

    def forward(self, x):
        state, outputs = torch.ones(1, x.shape[1], UNITS).to(x), []
        for now in x:
            hidden, state = self.core(now[None], state)
            outputs.append(self.head(hidden[0]))
        return {"logits": torch.stack(outputs)}


def test_a_whole_network_of_tokens_needs_no_glue():
    torch.manual_seed(1)
    network, ids = Tokens(), torch.randint(9, (TRIALS, STEPS))
    answers = [0, 1, 1, 0, 1]
    run = emt.from_torch([network], emt.trials(ids, answers), silence=8)
    with torch.no_grad():
        outputs, hidden = network(ids)
    recorded = run.recording
    np.testing.assert_array_equal(recorded["hidden"][0], hidden.transpose(0, 1))
    np.testing.assert_allclose(recorded["outputs"][0, :, -1], outputs, atol=1e-6)
    np.testing.assert_array_equal(recorded["token"], ids)
    assert recorded["scored"].values.sum(axis=1).tolist() == [1] * TRIALS
    right = (outputs.argmax(dim=1).numpy() == answers).mean()
    assert run.summary()["metrics"][0]["accuracy"] == pytest.approx(right)
    start = run.networks.model.zero_state(torch.zeros(1, 2, 1))
    np.testing.assert_array_equal(start["cell"][0], -network.first[1].expand(2, -1).detach())
    assert "readout" not in recorded
    assert "step_matrix" not in emt.from_torch(network, emt.trials(ids)).recording
    with pytest.raises(UserError, match="silence: expected the id of the token that stands for no input"):
        emt.from_torch(network, emt.trials(ids)).dynamics()


def test_a_layer_in_a_loop_with_time_before_batch(inputs):
    network = Loop()
    recorded = emt.from_torch(network, emt.trials(inputs)).recording
    with torch.no_grad():
        expected = network(inputs.transpose(0, 1))["logits"].transpose(0, 1)
    np.testing.assert_array_equal(recorded["outputs"][0], expected)
    np.testing.assert_allclose(recorded["readout"][0], network.head.weight.detach())


def test_trials_of_different_length_are_run_without_padding(inputs):
    network, lengths = Network(), [7, 4, 7, 5, 4]
    recorded = emt.from_torch(network, emt.trials(inputs, lengths=lengths)).recording
    with torch.no_grad():
        for trial, length in enumerate(lengths):
            alone = network(inputs[trial : trial + 1, :length])[0]
            np.testing.assert_allclose(recorded["outputs"][0, trial, :length], alone, atol=1e-6)
            assert np.isnan(recorded["hidden"].values[0, trial, length:]).all()
    assert recorded["present"].values.sum(axis=1).tolist() == lengths


def test_networks_stay_as_they_are(inputs):
    networks = [Network("lstm", dropout=0.5, num_layers=2) for _ in range(2)]
    networks[1].head.eval()
    before = [copy.deepcopy(network.state_dict()) for network in networks]
    flags = [[part.training for part in network.modules()] for network in networks]
    run = emt.from_torch(networks, emt.trials(inputs), seeds=(5, 8), label="two")
    assert trace.about(run.recording).seeds == (5, 8)
    assert [[part.training for part in network.modules()] for network in networks] == flags
    assert all(p.requires_grad and p.grad is None for network in networks for p in network.parameters())
    assert not any(part._forward_hooks or part._forward_pre_hooks for n in networks for part in n.modules())
    for network, weights in zip(networks, before, strict=True):
        assert all(torch.equal(value, weights[name]) for name, value in network.state_dict().items())


# The proofs


class Noisy(Network):
    def forward(self, x):
        return super().forward(x + torch.randn_like(x))


class Normalised(Network):
    def forward(self, x):
        return super().forward(x - x.mean(dim=0))


class LooksAhead(Network):
    def forward(self, x):
        return super().forward(x - x.mean(dim=1, keepdim=True))


class CarriesMore(Network):
    """Its head sees a running sum of inputs, which is no part of the layer's state."""

    def forward(self, x):
        return super().forward(x) + x.cumsum(dim=1)[..., :OUTPUTS]


class Watched(Network):
    """A network that sees whether somebody watches its layer."""

    def forward(self, x):
        return super().forward(x) + len(self.core._forward_hooks)


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (
            Noisy,
            r"networks: network 2: outputs differ by .* between two runs: something is random in evaluation mode",
        ),
        (Normalised, r"networks: network 2: rows of a batch change each other \("),
        (
            LooksAhead,
            r"networks: network 2: run step by step, outputs differ by .* from step 0 on: more is carried",
        ),
        (CarriesMore, r"outputs differ by .* from step 1 on: more is carried than the state of 'core'"),
        (Watched, "networks: network 2: outputs are others while its layer is watched"),
    ],
)
def test_each_proof_refuses_a_network_built_to_fail_it(kind, message, inputs):
    with pytest.raises(UserError, match=message):
        emt.from_torch([Network(), kind()], emt.trials(inputs))


def test_proofs_are_told_with_what_was_recorded(inputs):
    proof = trace.about(emt.from_torch(Network(), emt.trials(inputs)).recording).proof
    assert proof["outputs"] == proof["repeat"] == 0
    assert set(proof) == {"outputs", "repeat", "rows", "steps"}
    assert max(proof.values()) <= 1e-5


@pytest.mark.parametrize(
    ("networks", "message"),
    [
        (lambda: nn.Linear(3, 3), "found none: for a step function use emt.from_cells"),
        (
            lambda: nn.ModuleDict({"a": nn.GRU(3, 3), "b": nn.RNN(3, 3)}),
            "in ModuleDict; found a, b: name one",
        ),
        (
            lambda: nn.GRU(3, 3, bidirectional=True),
            "GRU: expected a layer that runs forwards; a bidirectional",
        ),
        (
            lambda: [nn.GRU(3, 16), nn.GRU(3, 32)],
            "network 2 has GRU of 1 x 32 units, network 1 has GRU of 1 x 16",
        ),
        (lambda: [nn.GRU(3, 4), abs], "network 2 is builtin_function_or_method"),
        (list, "at least one network; got none"),
        (lambda: nn.GRU(4, 4), "expected networks that take inputs of 5 trials and 3 steps"),
    ],
)
def test_what_is_no_such_network_is_refused(networks, message, inputs):
    with pytest.raises(UserError, match=message):
        emt.from_torch(networks(), emt.trials(inputs))


# Step functions


class Leaky(nn.Module):
    """h and a second state, in one of the three forms of a state."""

    def __init__(self, form):
        super().__init__()
        self.form = form
        self.w, self.u = (nn.Parameter(torch.randn(n, UNITS) / 3) for n in (UNITS, CHANNELS))

    def forward(self, x, state):
        h, rest = self.parts(state)
        rest = 0.8 * rest + 0.2 * h
        h = torch.tanh(h @ self.w + x @ self.u - rest)
        return h[:, :2], self.joined(h, rest)

    def parts(self, state):
        return (
            state.split(UNITS, dim=1)
            if self.form == "tensor"
            else state.values()
            if self.form == "dict"
            else state
        )

    def joined(self, h, rest):
        if self.form == "tensor":
            return torch.cat([h, rest], dim=1)
        return (h, rest) if self.form == "tuple" else {"h": h, "rest": rest}

    def start(self, batch):
        return self.joined(torch.zeros(batch, UNITS), torch.full((batch, UNITS), 0.1))


def test_a_state_may_be_a_tensor_a_tuple_or_a_dict(inputs):
    cells = {form: Leaky(form) for form in ("tensor", "tuple", "dict")}
    for cell in cells.values():
        cell.load_state_dict(cells["dict"].state_dict())
    runs = {form: emt.from_cells(cell, cell.start, emt.trials(inputs)) for form, cell in cells.items()}
    states = {form: trace.about(run.recording).states for form, run in runs.items()}
    assert states == {"tensor": ("hidden",), "tuple": ("hidden", "state_1"), "dict": ("hidden", "rest")}
    whole = [trace.member_states(run.recording, states[form], 0) for form, run in runs.items()]
    np.testing.assert_array_equal(whole[0], whole[1])
    np.testing.assert_array_equal(whole[1], whole[2])
    for run in runs.values():
        np.testing.assert_array_equal(run.recording["outputs"], runs["dict"].recording["outputs"])
        np.testing.assert_allclose(
            run.recording["step_matrix"], runs["dict"].recording["step_matrix"], atol=1e-6
        )


def test_a_cell_of_torch_is_its_layer(inputs):
    layer, cell = nn.GRU(CHANNELS, UNITS, batch_first=True), nn.GRUCell(CHANNELS, UNITS)
    cell.load_state_dict({name.removesuffix("_l0"): value for name, value in layer.state_dict().items()})

    def step(x, state):
        state = cell(x, state)
        return state, state

    by_step = emt.from_cells(step, lambda batch: torch.zeros(batch, UNITS), emt.trials(inputs)).recording
    by_layer = emt.from_torch(layer, emt.trials(inputs)).recording
    np.testing.assert_allclose(by_step["hidden"], by_layer["hidden"], atol=1e-6)
    np.testing.assert_allclose(by_step["step_matrix"], by_layer["step_matrix"], atol=1e-6)


def test_memory_contents_may_be_held_constant(inputs):
    class Delta(nn.Module):
        def forward(self, x, state):
            memory = 0.9 * state["memory"] + x[:, :, None] * x[:, None]
            h = torch.tanh(state["h"] + (memory @ x[..., None])[..., 0])
            return h, {"h": h, "memory": memory}

    start = lambda batch: {"h": torch.zeros(batch, 3), "memory": torch.zeros(batch, 3, 3)}  # noqa: E731
    recorded = emt.from_cells(Delta(), start, emt.trials(inputs), held=["memory"]).recording
    assert "memory" not in recorded.data_vars
    assert recorded["step_matrix"].shape == (1, 3, 3)
    moving = emt.from_cells(Delta(), start, emt.trials(inputs)).recording
    assert moving["memory"].shape == (1, TRIALS, STEPS, 3, 3)
    assert moving["step_matrix"].shape == (1, 12, 12)
    np.testing.assert_allclose(moving["step_matrix"][0, :3, :3], recorded["step_matrix"][0], atol=1e-6)


def zeros(batch):
    return torch.zeros(batch, 3)


class Counts:
    """Carries the number of its calls from one to the next."""

    calls = 0

    def __call__(self, x, state):
        self.calls += 1
        return state, torch.tanh(state + x + self.calls / 100)


class Clock:
    """The same, but it starts with every run, which it knows by the initial state."""

    calls = 0

    def __call__(self, x, state):
        self.calls = 1 + self.calls * bool(state.any())
        return state, torch.tanh(state + x + self.calls)


def test_a_cell_that_carries_more_than_its_state_is_refused(inputs):
    trials = emt.trials(inputs)
    with pytest.raises(UserError, match=r"network 1: outputs differ by .* between two runs"):
        emt.from_cells(Counts(), zeros, trials)
    with pytest.raises(
        UserError, match=r"single steps from recorded states differ by .* than the state of the"
    ):
        emt.from_cells(Clock(), zeros, trials)
    with pytest.raises(UserError, match="rows of a batch change each other"):
        emt.from_cells(lambda x, state: (state, torch.tanh(state + x - x.mean(dim=0))), zeros, trials)


def pass_on(x, state):
    return x, state


@pytest.mark.parametrize(
    ("start", "options", "message"),
    [
        (
            lambda batch: [torch.zeros(batch, 3)],
            {},
            r"start: expected a state of tensors \(batch, …\).*; got list",
        ),
        (lambda batch: (torch.zeros(batch, 3), 1.0), {}, "start: expected .*; got state_1: float"),
        (
            lambda batch: {"h": zeros(batch), "rest": zeros(batch), "memory": torch.zeros(batch, 12, 8)},
            {"hidden": "memory"},
            r"hidden: expected one of h, rest, output with axes \(batch, unit\); got 'memory' \(batch, 12, 8\)",
        ),
        (zeros, {"held": ["memory"]}, "held: expected one of state; got 'memory'"),
        (zeros, {"silence": [1.0]}, r"silence: expected a vector \(3,\)"),
        (zeros, {"seeds": [1, 2]}, "seeds: expected one for each of 1 networks; got 2"),
        (lambda batch: {"inputs": zeros(batch)}, {}, "start: expected names that recordings do not use"),
    ],
)
def test_states_that_do_not_fit_are_refused(start, options, message, inputs):
    with pytest.raises(UserError, match=message):
        emt.from_cells(pass_on, start, emt.trials(inputs), **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"targets": np.zeros((5, 6, 2))}, r"targets: expected vectors \(5, 7, target\)"),
        (
            {"targets": np.full((5, 7), 4)},
            "targets: expected ids from 0 to 1, places of the 2 outputs; got 4",
        ),
        ({"targets": np.zeros((5, 7, 3))}, "targets: expected 2 numbers a step, as many as outputs; got 3"),
        ({"lengths": [1, 2, 3, 4, 8]}, "lengths: expected whole numbers from 1 to 7"),
        ({"trial_ids": "abc"}, "trial_ids: expected one for each of 5 trials; got"),
        ({"trial_ids": [1, 1, 2, 3, 4]}, "trial_ids: expected trials that each have an identity"),
        (
            {"events": {"when it is": np.zeros((5, 7), int)}},
            "events: expected names such as 'asked' or one of your",
        ),
        (
            {"events": {"scored": np.zeros((5, 7), int)}},
            "events: expected names such as 'asked' or one of your",
        ),
        (
            {"events": {"hidden": np.zeros((5, 7), int)}},
            "events: expected names such as 'asked' or one of your",
        ),
        ({"group": [0.5] * 4}, "group: expected whole numbers"),
    ],
)
def test_what_does_not_fit_the_trials_is_refused(options, message, inputs):
    with pytest.raises(UserError, match=message):
        emt.from_torch(Network(), emt.trials(inputs, **options))

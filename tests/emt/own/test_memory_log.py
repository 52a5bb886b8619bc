"""Associative memories of one's own: what is logged is what was done, and a log of something else is refused.

The memory is M_t = M_{t-1} (diag(w) - b x yᵀ) + c v kᵀ. All sizes differ.
"""

import numpy as np
import pytest
import torch
from torch import nn

import emt
from analysis.memory.replay import match_grids, replay_memory
from emt import trace
from emt.errors import UserError

TRIALS, STEPS, CHANNELS, KEYS, VALUES, HEADS = 4, 9, 3, 5, 7, 2


@pytest.fixture
def trials():
    return emt.trials(np.random.default_rng(0).normal(size=(TRIALS, STEPS, CHANNELS)))


class General(nn.Module):
    """The whole rule: decay by key channel, erasing along vectors of its own, two reads a step, heads or none.

    ``log_heads`` says whether heads are logged together, or each as a memory.
    """

    def __init__(self, heads=0, reads="after", log_heads=True):
        super().__init__()
        self.axes, self.reads, self.log_heads = ((heads,) if heads else ()), reads, log_heads
        sizes = {"k": KEYS, "x": KEYS, "y": KEYS, "w": KEYS, "q": 2 * KEYS, "v": VALUES, "b": 1, "c": 1}
        self.sizes = {name: (*self.axes, size) for name, size in sizes.items()}
        self.maps = nn.ModuleDict({n: nn.Linear(CHANNELS, int(np.prod(s))) for n, s in self.sizes.items()})
        self.double()

    def forward(self, x, memory):
        p = {n: self.maps[n](x.double()).unflatten(-1, self.sizes[n]) for n in self.sizes}
        keep, erase, strength = p["w"].sigmoid(), p["b"][..., 0].sigmoid(), p["c"][..., 0]
        queries = p["q"].split(KEYS, dim=-1)
        transition = (
            torch.diag_embed(keep) - erase[..., None, None] * p["x"][..., None] * p["y"][..., None, :]
        )
        after = memory @ transition + strength[..., None, None] * p["v"][..., None] * p["k"][..., None, :]
        write = {"strength": strength, "erase": erase, "keep": keep}
        write |= {"erase_query": p["x"], "erase_key": p["y"]}
        if self.reads == "after":
            self.log(emt.log_write, p["k"], p["v"], **write)
        found = after if self.reads == "after" else memory
        answers = [(found @ q[..., None])[..., 0] for q in queries]
        for query, answer in zip(queries, answers, strict=True):
            self.log(emt.log_read, query, answer)
        if self.reads == "before":
            self.log(emt.log_write, p["k"], p["v"], **write)
        return answers[0].flatten(1), after

    def log(self, function, *vectors, **rates):
        if self.log_heads:
            function("fast", *vectors, **rates)
            return
        for head in range(*self.axes):
            function(
                f"fast{head}", *(v[:, head] for v in vectors), **{n: r[:, head] for n, r in rates.items()}
            )


def record(cells, trials, axes=(), **options):
    start = lambda batch: torch.zeros(batch, *axes, VALUES, KEYS, dtype=torch.float64)  # noqa: E731
    return emt.from_cells(cells, start, trials, hidden="output", held=["state"], **options)


def contents(cell, trials):
    """Return the memory itself after every step, (batch, time, …, value, key)."""
    memory, seen = torch.zeros(TRIALS, *cell.axes, VALUES, KEYS, dtype=torch.float64), []
    for x in torch.tensor(trials.inputs).unbind(1):
        _, memory = cell(x, memory)
        seen.append(memory)
    return torch.stack(seen, dim=1).detach()


@pytest.mark.parametrize("reads", ["before", "after"])
@pytest.mark.parametrize("heads", [0, HEADS])
def test_the_general_rule_closes_in_double_precision(heads, reads, trials):
    torch.manual_seed(0)
    cells = [General(heads, reads) for _ in range(3)]
    recording = record(cells, trials, cells[0].axes, tolerance=1e-12).recording
    assert trace.about(recording).proof["memories"] < 1e-12
    names = list(trace.places(recording))
    assert names == ([f"fast_head{head}" for head in range(heads)] or ["fast"])
    assert trace.memory_rule(recording, names[-1]) == {"kind": "linear", "reads": reads}
    for member, cell in enumerate(cells):
        expected = contents(cell, trials)
        for head, name in enumerate(names):
            replayed = replay_memory(recording, name, range(STEPS))[member]
            np.testing.assert_allclose(replayed, expected[:, :, head] if heads else expected, atol=1e-12)
    assert match_grids(recording, names[0]).weight.shape[2:5] == (STEPS, 2, STEPS)


def test_heads_are_logged_as_memories_of_their_own_would_be(trials):
    torch.manual_seed(1)
    cell = General(HEADS)
    together = record(cell, trials, cell.axes).recording
    cell.log_heads = False
    apart = record(cell, trials, cell.axes).recording
    for head in range(HEADS):
        one, other = trace.memory(together, f"fast_head{head}"), trace.memory(apart, f"fast{head}")
        assert set(one.data_vars) == set(other.data_vars)
        for name in one.data_vars:
            np.testing.assert_array_equal(one[name], other[name])


class Delta(nn.Module):
    """A delta memory with decay; ``logged`` are changes of what is logged, for logs that are wrong."""

    def __init__(self, read_first=False, **logged):
        super().__init__()
        self.q, self.k, self.v, self.b = (nn.Linear(CHANNELS, n) for n in (KEYS, KEYS, VALUES, 1))
        self.read_first, self.logged = read_first, logged

    def forward(self, x, memory, step=None):
        q, k, v, b = self.q(x), nn.functional.normalize(self.k(x), dim=-1), self.v(x), self.b(x).sigmoid()
        erased = b[..., None] * (memory @ k[..., None]) * k[:, None]
        memory = 0.9 * (memory - erased) + b[..., None] * v[..., None] * k[:, None]
        y = (memory @ q[..., None])[..., 0]
        rates = {"strength": b[:, 0], "erase": b[:, 0], "keep": 0.9, **self.logged}
        if self.read_first:
            emt.log_read("delta", q, y, step=step)
        emt.log_write("delta", k, v, **rates, step=step)
        if not self.read_first:
            emt.log_read("delta", q, y, step=step)
        k.zero_()
        return y, memory


def zeros(batch):
    return torch.zeros(batch, VALUES, KEYS)


def delta(trials, cells, **options):
    return emt.from_cells(cells, zeros, trials, hidden="output", held=["state"], **options)


def test_a_log_of_the_delta_rule_is_proved_and_kept_as_it_was(trials):
    """Keys are logged as they are at the call: the cell overwrites them with zeros afterwards."""
    torch.manual_seed(2)
    run = delta(trials, [Delta(), Delta()])
    assert run.recording["hidden"].sizes["unit"] == VALUES
    assert 0 < trace.about(run.recording).proof["memories"] < 1e-5
    np.testing.assert_allclose(np.linalg.norm(run.recording["memory/delta/write_key"], axis=-1), 1, atol=1e-6)
    assert "memories" in repr(run)
    with pytest.raises(UserError, match="dynamics: expected a state that moves; all of it is held constant"):
        run.dynamics()


@pytest.mark.parametrize(
    ("wrong", "step"),
    [
        ({"erase": 0.0}, 1),
        ({"keep": 0.91}, 1),
        ({"keep": 1.0}, 1),
        ({"strength": 1.0}, 0),
        ({"strength": 0.5, "erase": 0.5}, 0),
    ],
)
def test_a_log_of_another_protocol_is_refused(wrong, step, trials):
    """What is wrong is first seen at step 0 if the first write is wrong, else at step 1, which keeps and erases."""
    torch.manual_seed(3)
    cells = [Delta(), Delta(**wrong)]
    message = (
        rf"memory 'delta': weights times values differ .* \(network 2, row 0, step {step}\): strength, erase"
    )
    with pytest.raises(UserError, match=message):
        delta(trials, cells)
    assert delta(trials, [Delta(), Delta()]).recording


def test_a_log_in_another_order_is_refused(trials):
    torch.manual_seed(3)
    with pytest.raises(
        UserError, match=r"\(network 1, row 0, step 0\): .* or the order of calls is not what"
    ):
        delta(trials, [Delta(read_first=True)])


def test_a_memory_that_does_not_start_empty_is_refused(trials):
    torch.manual_seed(4)
    start = lambda batch: torch.ones(batch, VALUES, KEYS)  # noqa: E731
    with pytest.raises(UserError, match=r"row 0, step 0\): .* or it does not start empty"):
        emt.from_cells(Delta(), start, trials, hidden="output", held=["state"])


def test_rates_are_numbers_or_one_for_each_row_or_key(trials):
    torch.manual_seed(5)
    cell, wide = Delta(), torch.full((TRIALS, KEYS), 0.9)
    for keep in (0.9, torch.tensor(0.9), torch.full((TRIALS,), 0.9), torch.full((TRIALS, 1), 0.9), wide):
        cell.logged = {"keep": keep}
        found = delta(trials, cell).recording["memory/delta"]["write_keep"]
        assert found.dims[3:] == (("key",) if keep is wide else ())
        np.testing.assert_allclose(found, 0.9, rtol=1e-6)


def test_outside_a_recording_nothing_is_kept_or_checked():
    for function in (emt.log_write, emt.log_read):
        assert function("no such memory!", None, None) is None
    assert emt.log_dictionary("x", similarity="none of them") is None


def test_trials_end_where_they_end(trials):
    torch.manual_seed(6)
    lengths = [9, 5, 9, 7]
    ragged = emt.trials(trials.inputs, lengths=lengths)
    cell = Delta()
    found, whole = (delta(t, cell).recording["memory/delta"] for t in (ragged, trials))
    for name in found.data_vars:
        for row, length in enumerate(lengths):
            np.testing.assert_allclose(found[name][0, row, :length], whole[name][0, row, :length], atol=1e-6)
            assert np.isnan(found[name][0, row, length:]).all()


def test_jacobians_hold_contents_constant(trials):
    """The Jacobian by h of h' = tanh(U h + M q) at the means is diag(1 - h'²) U, whatever M becomes of h."""
    torch.manual_seed(7)
    u = torch.randn(VALUES, VALUES)

    def step(x, state):
        h, memory = state["h"], state["memory"]
        key = torch.tanh(torch.cat([x, h[:, : KEYS - CHANNELS]], dim=1))
        memory = 0.9 * memory + h[..., None] * key[:, None]
        read = memory.sum(dim=-1)
        emt.log_write("fast", key, h, keep=0.9)
        emt.log_read("fast", torch.ones_like(key), read)
        return h[:, :2], {"h": torch.tanh(h @ u.T + 0.1 * state["memory"].sum(dim=-1) + 1), "memory": memory}

    def start(batch):
        return {"h": torch.zeros(batch, VALUES), "memory": torch.zeros(batch, VALUES, KEYS)}

    run = emt.from_cells(step, start, trials, held=["memory"])
    assert trace.about(run.recording).states == ("hidden",)
    mean_h = run.recording["hidden"].mean(("batch", "time")).values[0]
    mean_memory = replay_memory(run.recording, "fast", range(STEPS))[0].mean(axis=(0, 1))
    following = np.tanh(u.numpy() @ mean_h + 0.1 * mean_memory.sum(axis=-1) + 1)
    expected = (1 - following**2)[:, None] * u.numpy()
    np.testing.assert_allclose(run.recording["step_matrix"][0], expected, atol=1e-5)


class Loop(nn.Module):
    """A delta memory in a module's own loop, beside an LSTM or alone; ``number`` names the step."""

    def __init__(self, layer, number=lambda t: t, at_end=False):
        super().__init__()
        self.cell = Delta()
        self.rnn = nn.LSTM(CHANNELS + VALUES, 6, 2, batch_first=True) if layer else None
        self.number, self.at_end = number, at_end

    def forward(self, x):
        memory, state, outputs = zeros(len(x)), None, []
        for t in range(x.shape[1]):
            y, memory = self.cell(x[:, t], memory, self.number(t))
            if self.rnn is not None:
                y, state = self.rnn(torch.cat([x[:, t], y], dim=1)[:, None], state)
                y = y[:, 0]
            outputs.append(y)
        return outputs[-1] if self.at_end else torch.stack(outputs, dim=1)


@pytest.mark.parametrize("layer", [False, True])
def test_a_module_names_the_steps_of_its_own_loop(layer, trials):
    """The log is that of the same cell as a step function; the module has no step that the memory is part of."""
    torch.manual_seed(8)
    networks = [Loop(layer), Loop(layer)]
    run = emt.from_torch(networks, trials)
    expected = delta(trials, [network.cell for network in networks]).recording
    for name in expected["memory/delta"].data_vars:
        np.testing.assert_array_equal(run.recording["memory/delta"][name], expected["memory/delta"][name])
    about = trace.about(run.recording)
    assert about.states == (("hidden", "hidden_l0", "cell", "cell_l0") if layer else ("hidden",))
    assert "steps" not in about.proof
    assert "step_matrix" not in run.recording
    with pytest.raises(UserError, match=r"dynamics: .* a memory that a module keeps itself is no state"):
        run.dynamics()
    ended = emt.from_torch(Loop(True, at_end=True), trials).recording
    np.testing.assert_allclose(ended["outputs"], ended["hidden"], atol=1e-6)


@pytest.mark.parametrize(
    ("number", "message"),
    [
        (lambda t: None, r"memory 'delta': expected step=t, the number of the time step, in a loop of a"),
        (lambda t: 2, "memory 'delta': is written twice at step 2"),
        (lambda t: t + 1, f"memory 'delta': expected a step from 0 to {STEPS - 1}; got {STEPS}"),
        (
            lambda t: STEPS - 1 - t,
            r"memory 'delta': weights times values differ .* \(network 1, row 0, step 0\)",
        ),
    ],
)
def test_a_module_that_names_other_steps_is_refused(number, message, trials):
    torch.manual_seed(9)
    with pytest.raises(UserError, match=message):
        emt.from_torch(Loop(True, number), trials)


def test_a_module_without_layer_or_log_is_refused(trials):
    with pytest.raises(UserError, match=r"recurrent: .* found none: .* for a memory in a loop emt.log_write"):
        emt.from_torch(nn.Linear(CHANNELS, VALUES), trials)


class Store(nn.Module):
    """A dictionary of the last writes, in a list; some rows write nothing at some steps."""

    def __init__(self, recall, **declared):
        super().__init__()
        self.recall, self.declared = (
            recall,
            {"similarity": "dot", "recall": recall, "capacity": 3, **declared},
        )
        self.maps = nn.ModuleDict(
            {n: nn.Linear(CHANNELS, s) for n, s in {"k": KEYS, "q": KEYS, "v": VALUES}.items()}
        )

    def forward(self, x, state):
        k, q, v = (self.maps[name](x) for name in ("k", "q", "v"))
        writes = (x[:, 0] > -0.5).float()
        emt.log_dictionary("store", **self.declared)
        emt.log_write("store", k, v, strength=writes)
        moved = {n: torch.cat([t[:, 1:], new[:, None]], dim=1) for (n, t), new in zip(
            state.items(), (k, v, torch.ones(len(x))), strict=True)}  # fmt: skip
        state = {
            n: torch.where(writes.bool().reshape(-1, *(1,) * (t.ndim - 1)), moved[n], t)
            for n, t in state.items()
        }
        keys, values, full = state.values()
        if self.recall == "kernel":
            weight = 1 / ((q[:, None] + 1e-6 - keys).square().sum(-1) + 1e-3) * full
            weight = weight / weight.sum(-1, keepdim=True).clamp_min(1e-30)
        else:
            logits = torch.where(full > 0, (keys @ q[..., None])[..., 0], -torch.inf)
            weight = nn.functional.one_hot(logits.argmax(-1), full.shape[1]).float()
            if self.recall == "softmax":
                weight = (2 * logits).exp() / (2 * logits).exp().sum(-1, keepdim=True).clamp_min(1e-30)
            weight = weight * full
        y = (weight[:, None] @ values)[:, 0]
        emt.log_read("store", q, y)
        return y, state


def store(trials, cell, slots=3):
    def start(batch):
        keys, values = torch.zeros(batch, slots, KEYS), torch.zeros(batch, slots, VALUES)
        return {"keys": keys, "values": values, "full": torch.zeros(batch, slots)}

    held = ["keys", "values", "full"]
    return emt.from_cells(cell, start, trials, hidden="output", held=held).recording


@pytest.mark.parametrize(
    ("recall", "right", "wrong"),
    [
        ("nearest", {}, {"similarity": "l2"}),
        ("nearest", {}, {"capacity": 4}),
        ("softmax", {"scale": 2.0}, {"scale": 1.0}),
        ("kernel", {"similarity": "l2"}, {"similarity": "l1"}),
    ],
)
def test_dictionaries_are_proved_as_they_are_declared(recall, right, wrong, trials):
    torch.manual_seed(10)
    cell = Store(recall, **right)
    recording = store(trials, cell)
    rule = trace.memory_rule(recording, "store")
    assert rule == {"kind": "dictionary", "reads": "after", **cell.declared}
    unwritten = ~np.isfinite(recording["memory/store/write_key"][0, ..., 0].values)
    np.testing.assert_array_equal(unwritten, trials.inputs[..., 0] <= -0.5)
    assert 0 < unwritten.mean() < 1
    cell.declared |= wrong
    said = next(f"{field} {value}" for field, value in wrong.items())
    with pytest.raises(UserError, match=rf"memory 'store': weights times .* step \d\): .*{said}"):
        store(trials, cell)


@pytest.mark.parametrize(
    ("calls", "message"),
    [
        (lambda k: [emt.log_write("m", k, k)], "m': expected a log of its reads; it is never read"),
        (lambda k: [emt.log_read("m", k, k)], "m': expected a log of its writes; it is never written"),
        (lambda k: [emt.log_write("m", k, k), emt.log_write("m", k, k)], "m': is written twice at step 0"),
        (
            lambda k: [emt.log_read("m", k, k), emt.log_write("m", k, k), emt.log_read("m", k, k)],
            "m': is read before its write at step 0 and after it at step 0",
        ),
        (lambda k: [emt.log_write("m", k[:1], k)], r"m': expected key \(batch 4, key\), .*; got \(1, 3\)"),
        (lambda k: [emt.log_write("m", k, k.tolist())], "m': expected value .*; got list"),
        (lambda k: [emt.log_write("m", k / 0, k)], "m': expected a finite key; got NaN or infinity"),
        (
            lambda k: [emt.log_write("m", k, k, erase=k)],
            r"m': expected erase to be a number or \(4,\); got \(4, 3\)",
        ),
        (lambda k: [emt.log_write("m", k, k, keep=k[:, :2])], r"or \(4, 3\) by key channel; got \(4, 2\)"),
        (
            lambda k: [emt.log_write("m", k, k, erase_key=k)],
            "m': expected erase_query and erase_key together",
        ),
        (
            lambda k: [emt.log_write("m", k, k[:, None])],
            "m': expected value and key with the same batch and heads",
        ),
        (
            lambda k: [emt.log_write("m", k, k), emt.log_read("m", k[:, :2], k)],
            r"m': expected reads with a query of the size that is written, \(3,\); got \(2,\)",
        ),
        (
            lambda k: [emt.log_write("a-b", k, k)],
            "memory: must be a name of letters, digits and _; got 'a-b'",
        ),
        (
            lambda k: [emt.log_dictionary("m", similarity="l1"), emt.log_dictionary("m", similarity="l2")],
            "m': is declared as .*l1.*, and then as .*l2",
        ),
        (
            lambda k: [
                emt.log_dictionary("m", similarity="l1"),
                emt.log_write("m", k, k, keep=0.9),
                emt.log_read("m", k, k),
            ],
            "m': expected of a dictionary no erase and no keep, and a strength of 1, or 0 for no write",
        ),
    ],
)
def test_what_is_wrong_with_a_call_is_said_in_one_line(calls, message, trials):
    def step(x, state):
        calls(x)
        return x, state

    with pytest.raises(UserError, match=message) as refused:
        emt.from_cells(step, lambda batch: torch.zeros(batch, 2), trials)
    assert "\n" not in str(refused.value)


def test_steps_and_networks_log_alike(trials):
    def step(x, state):
        if float(state[0, 0]) < 2:
            emt.log_read("m", x, 0 * x)
            emt.log_write("m", x, x, strength=0.0)
        else:
            emt.log_write("m", x, x, strength=0.0)
            emt.log_read("m", x, 0 * x)
        return x, state + 1

    def quiet(x, state):
        return x, state + 1

    start = lambda batch: torch.zeros(batch, 2)  # noqa: E731
    with pytest.raises(UserError, match="'m': is read before its write at step 0 and after it at step 2"):
        emt.from_cells(step, start, trials)
    with pytest.raises(UserError, match="'m': network 2 does not log it in every run; others do"):
        emt.from_cells([step, quiet], start, trials)

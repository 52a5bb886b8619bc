"""Laws of edited memories, over all models with a log: what is the same to the bit, and closed forms in float64."""

import numpy as np
import pytest
import torch
from ledger import Ledger, tensors_of
from planted.cells import woken

from emt.interventions.driver import run_edited
from emt.interventions.memories import product
from emt.models import MODELS
from emt.models.memory_edits import EDITS, context_with
from emt.ops.memory_edit import MemoryEdit
from emt.options import assigns, load, options_of

SEEDS, BATCH, TIME, IN, OUT = (11, 1011), 3, 6, 4, 5
WRITE, QUERY = 2, 4
ATTENTION = ("attention", "transformer_xl")

with_memory = pytest.mark.parametrize(
    "name", [n for n, model in MODELS.items() if assigns(model, "memories")]
)
CELLS = ["deltanet", "gated_deltanet", "mamba2", "mlstm", "rwkv7", "kda", "linear_attention"]
linear = pytest.mark.parametrize("name", ["fw", "fwm", "fwp", *CELLS, "ethereal"])


def build(name, **options):
    known = {o.name for o in options_of(MODELS[name])}
    wanted = {"hidden_dim": 8, "embedding_dim": 7, "memory_dim": 3, "reads": 2, "layers": 2, "inner_steps": 2}
    wanted |= {"key": "context"} if name == "dnd_lstm" else {}
    model = load(MODELS, name, "model_type")(
        SEEDS, IN, OUT, **{k: v for k, v in (wanted | options).items() if k in known}
    )
    if name == "rwkv7":
        model = woken(model)
    return model.double().requires_grad_(False)


def trials(model):
    """Return inputs, and a context in which steps 1 to 3 write where the task says what is written."""
    rng = np.random.default_rng(0)
    x = torch.tensor(rng.standard_normal((len(SEEDS), BATCH, TIME, IN)))
    targets = torch.tensor(rng.integers(0, OUT, (len(SEEDS), BATCH, TIME)))
    written = torch.full(targets.shape, -1)
    written[:, :, 1:4] = 0
    context = {"targets": targets, "written": written, "start": torch.full_like(written, -1)}
    return x, {n: t for n, t in context.items() if n in model.context}


def run(model, edits):
    """Return outputs, last state and log of a run with edits by memory; of all memories where one is given."""
    x, context = trials(model)
    if isinstance(edits, MemoryEdit):
        edits = dict.fromkeys(model.memories, edits)
    with torch.no_grad():
        return model(x, None, TIME, context_with(context, edits))


def at(step, value=1.0, else_=0.0):
    numbers = torch.full((len(SEEDS), BATCH, TIME), else_, dtype=torch.float64)
    numbers[:, :, step] = value
    return numbers


def blind_at(model, *steps):
    reads = max(log.shape[-2] for name, log in run(model, {})[2].items() if name.endswith("read_query"))
    blind = torch.zeros(len(SEEDS), BATCH, TIME, reads, dtype=torch.float64)
    blind[:, :, list(steps)] = 1.0
    return blind


def ones():
    return torch.ones(len(SEEDS), BATCH, TIME, dtype=torch.float64)


@with_memory
def test_edits_that_change_nothing_give_the_same_bits(name):
    model = build(name)
    none = run(model, MemoryEdit(scale=ones()))[0]
    for edit in (
        MemoryEdit(scale=ones(), hide=0 * ones(), blind=blind_at(model, *range(TIME))),
        MemoryEdit(scale=ones(), hide=ones(), blind=0 * blind_at(model)),
        MemoryEdit(scale=ones(), skip=torch.zeros_like(ones(), dtype=torch.bool)),
    ):
        outputs = run(model, edit)[0]
        if edit.hide is not None and name in (*ATTENTION, "fwm", "awd_fwm"):
            # Reads that are edited take another form, which differs by rounding.
            torch.testing.assert_close(outputs, none, atol=1e-12, rtol=0)
        else:
            assert torch.equal(outputs, none)
    # Negative control, and the form without edits, which is another one.
    assert not torch.allclose(run(model, MemoryEdit(scale=at(WRITE, 0.0, 1.0)))[0], none, atol=1e-9)
    torch.testing.assert_close(run(model, {})[0], none, atol=1e-11, rtol=0)


@with_memory
def test_a_write_hidden_from_all_reads_is_one_of_no_strength(name):
    model = build(name)
    # What a neural memory writes later depends on all that it holds, hidden or not.
    write = TIME - 1 if name == "mnm" else WRITE
    removed = run(model, MemoryEdit(scale=at(write, 0.0, 1.0)))[0]
    hidden = run(model, MemoryEdit(hide=at(write), blind=blind_at(model, *range(TIME))))[0]
    if name in ("dnd_lstm", *ATTENTION):
        # A slot of value zero is still compared with queries; one that is skipped is not.
        removed = run(model, MemoryEdit(skip=at(WRITE).bool()))[0]
    torch.testing.assert_close(hidden, removed, atol=1e-11, rtol=0)
    if name == "fw":
        assert torch.equal(hidden, removed)


def same(actual, expected, name):
    """Equal to the bit; of dnd_lstm within the last one, which some processors round by where an array lies."""
    if name == "dnd_lstm":
        torch.testing.assert_close(actual, expected, atol=1e-16, rtol=0)
    else:
        assert torch.equal(actual, expected)


@with_memory
def test_nothing_changes_before_the_edit_nor_where_nothing_reads_it(name):
    model = build(name)
    base, _, log = run(model, MemoryEdit(scale=ones()))
    after = all(rule["reads"] == "after" for rule in model.memories.values())
    for edit in (
        MemoryEdit(scale=at(WRITE, 0.0, 1.0)),
        MemoryEdit(skip=at(WRITE).bool()),
        MemoryEdit(freeze=at(WRITE).bool()),
    ):
        outputs, _, changed = run(model, edit)
        last = WRITE if after else WRITE + 1
        same(outputs[:, :, :last], base[:, :, :last], name)
        same(changed["hidden"][:, :, :last], log["hidden"][:, :, :last], name)
    if not after:
        last_write = run(model, MemoryEdit(scale=at(TIME - 1, 0.0, 1.0)))[0]
        assert torch.equal(last_write, base)
    blind = run(model, MemoryEdit(hide=at(QUERY), blind=blind_at(model, WRITE)))[0]
    torch.testing.assert_close(blind, base, atol=1e-12, rtol=0)


def weight_times_value(model, log, node, read=0):
    """Return W_ti v_i of the write for a read at the query, from the log: e_i led through the steps between."""
    ledger = Ledger(model, log, node)
    change = ledger.written(WRITE)
    last = QUERY + 1 if model.memories[node]["reads"] == "after" else QUERY
    for step in range(WRITE + 1, last):
        change = ledger.advance(change, step)
    query = product(ledger.writes.query[:, :, QUERY])[:, :, :, read]
    return torch.einsum("mbhvk,mbhk->mbhv", change, query)


@linear
def test_a_read_whose_edge_is_cut_is_less_by_weight_times_value_and_so_is_one_with_that_added(name):
    """Δr = −(1 − α) W v, of the first read of the first memory; all others follow from it."""
    model = build(name)
    node = next(iter(model.memories))
    _, _, log = run(model, MemoryEdit(scale=ones()))
    first = blind_at(model, QUERY)
    first[..., 1:] = 0
    lost = weight_times_value(model, log, node)
    values = log[f"memory/{node}/read_value"]
    for share in (1.0, 0.3):
        outputs, _, cut = run(model, {node: MemoryEdit(hide=share * at(WRITE), blind=first)})
        found = values[:, :, QUERY] - cut[f"memory/{node}/read_value"][:, :, QUERY]
        torch.testing.assert_close(found[..., 0, :].reshape(lost.shape), share * lost, atol=1e-12, rtol=0)
        add = torch.zeros_like(values)
        add[:, :, QUERY, ..., 0, :] = -share * lost.reshape(found[..., 0, :].shape)
        torch.testing.assert_close(run(model, {node: MemoryEdit(add=add)})[0], outputs, atol=1e-11, rtol=0)
    assert lost.abs().max() > 1e-6


@pytest.mark.parametrize("name", ["fwm", "fwp", *CELLS])
def test_a_single_read_of_several_is_cut_and_not_the_others(name):
    model = build(name, layers=1)
    base = run(model, MemoryEdit(scale=ones()))[2]
    [node] = model.memories
    blind = blind_at(model, QUERY)
    last = blind.clone()
    last[..., :-1] = 0
    changed = run(model, MemoryEdit(hide=at(WRITE), blind=last))[2]
    reads = [log[f"memory/{node}/read_value"][:, :, QUERY] for log in (base, changed)]
    assert torch.allclose(reads[0][..., :-1, :], reads[1][..., :-1, :], atol=1e-12)
    assert not torch.allclose(reads[0][..., -1, :], reads[1][..., -1, :], atol=1e-9)


@with_memory
def test_the_log_of_an_edited_run_is_a_log_of_that_run(name):
    """What each step leaves of the memory, and its own write, is the memory after it."""
    model = build(name)
    own = run(model, {})[2]
    node = next(iter(model.memories))
    value = torch.full_like(own[f"memory/{node}/write_value"], torch.nan)
    value[:, :, 1] = torch.roll(own[f"memory/{node}/write_value"][:, :, 1], 1, dims=1)
    edit = MemoryEdit(scale=at(WRITE, 0.5, 1.0), skip=at(3).bool(), value=value)
    if "key" in model.edits:
        key = torch.full_like(own[f"memory/{node}/write_key"], torch.nan)
        key[:, :, 1] = torch.roll(own[f"memory/{node}/write_key"][:, :, 1], 1, dims=1)
        edit = edit._replace(key=key)
    _, state, log = run(model, {node: edit})
    ledger = Ledger(model, log, node)
    writes = ledger.writes
    assert not writes.written[:, :, 3].any()
    assert torch.equal(writes.value[:, :, 1].squeeze(), value[:, :, 1].squeeze())
    if name == "transformer_xl":
        # It holds what keys and values are made of, not these.
        assert state[f"held_{node}"].sum(dim=2).eq(TIME - 1).all()
        return
    if writes.kind == "dictionary":
        newest = state[tensors_of(model, node)[2]][:, :, -1]
        last = WRITE if name == "dnd_lstm" else TIME - 1
        torch.testing.assert_close(newest, writes.value[:, :, last].reshape(newest.shape))
        return
    [tensor] = tensors_of(model, node)
    held = torch.zeros_like(state[tensor] if state[tensor].ndim == 5 else state[tensor].unsqueeze(2))
    for step in range(TIME):
        held = ledger.advance(held, step) + ledger.written(step)
    torch.testing.assert_close(held.reshape(state[tensor].shape), state[tensor], atol=1e-12, rtol=0)


@with_memory
def test_frozen_memories_stay_as_they_are(name):
    model = build(name)
    frozen = torch.zeros(len(SEEDS), BATCH, TIME, dtype=torch.bool)
    frozen[:, :, 3:] = True
    x, context = trials(model)
    state = run(model, MemoryEdit(freeze=frozen))[1]
    part = {n: t[:, :, :3] for n, t in context.items()}
    with torch.no_grad():
        early = model(x[:, :, :3], None, 3, part)[1]
        late = model(x, None, TIME, context)[1]
    held = [n for n in model.held_state if model.state_dims[n]]
    for tensor in held:
        if name not in ATTENTION:
            torch.testing.assert_close(state[tensor], early[tensor], atol=1e-12, rtol=0)
    assert any(not torch.equal(late[tensor], early[tensor]) for tensor in held)


@pytest.mark.parametrize("name", ["fwm", "fwp", "linear_attention"])
def test_where_the_norm_is_held_a_removed_write_changes_reads_by_its_weight_alone(name):
    """Divisors above one couple all writes: free, what is left grows when one is removed (artefact of rescaling)."""
    model = build(name, layers=1, variant="paper", write_rule="fwm", initializer_range=1.0)
    assert "hold" in model.edits
    for parameter in ("w_write", "b_write"):
        if hasattr(model, parameter):
            getattr(model, parameter).mul_(5)
    [node] = model.memories
    _, _, log = run(model, MemoryEdit(scale=ones()))
    divided = 1 / log[f"memory/{node}/write_keep"]
    assert (divided > 1 + 1e-9).double().mean() > 0.4
    lost = weight_times_value(model, log, node)
    removed = at(WRITE, 0.0, 1.0)
    deltas = {}
    for what, edit in {
        "held": MemoryEdit(scale=removed, hold=divided),
        "free": MemoryEdit(scale=removed),
    }.items():
        changed = run(model, edit)[2][f"memory/{node}/read_value"]
        values = log[f"memory/{node}/read_value"]
        deltas[what] = (values - changed)[:, :, QUERY, ..., 0, :].reshape(lost.shape)
    torch.testing.assert_close(deltas["held"], lost, atol=1e-12, rtol=0)
    assert not torch.allclose(deltas["free"], lost, atol=1e-3 * float(lost.abs().max()))


@pytest.mark.parametrize("name", ["fw", "fwm", *CELLS, "ethereal"])
def test_a_removed_write_is_one_that_is_taken_out_of_the_state(name):
    """M − c v kᵀ right after the step, of a first layer's memory: the same from the next step on."""
    model = build(name, layers=1)
    x, context = trials(model)
    node = next(iter(model.memories))
    log = run(model, {})[2]
    [tensor] = tensors_of(model, node)
    written = Ledger(model, log, node).written(WRITE)

    def take_out(state):
        return {tensor: state[tensor] - written.reshape(state[tensor].shape)}

    outputs, _ = run_edited(model, x, TIME, context, {WRITE + 1: take_out})
    removed = run(model, {node: MemoryEdit(scale=at(WRITE, 0.0, 1.0))})[0]
    torch.testing.assert_close(outputs[:, :, WRITE + 1 :], removed[:, :, WRITE + 1 :], atol=1e-11, rtol=0)
    # A read after the write of its step sees its own write, which the state no more holds afterwards.
    same = model.memories[node]["reads"] == "before"
    assert torch.allclose(outputs[:, :, WRITE], removed[:, :, WRITE], atol=1e-11) == same


@pytest.mark.parametrize("name", ["fwm", "fwp", *CELLS])
def test_a_read_changes_in_proportion_to_a_write_and_without_it_by_what_the_write_changed(name):
    """Scale s: Δr = (s − 1) W v. Skip: Δr = −q · (u kᵀ led to the query), u = c v − b w M k what the step changed."""
    model = build(name, layers=1, write_rule="delta", features="elu")
    [node] = model.memories
    _, _, log = run(model, MemoryEdit(scale=ones()))
    ledger, lost = Ledger(model, log, node), weight_times_value(model, log, node)
    values, hold = log[f"memory/{node}/read_value"], {}
    if "hold" in model.edits:
        hold = {"hold": 1 / log[f"memory/{node}/write_keep"]}

    def change_of(edit):
        changed = run(model, edit)[2][f"memory/{node}/read_value"]
        return (changed - values)[:, :, QUERY, ..., 0, :].reshape(lost.shape)

    for scale in (-1.0, 0.25, 2.0):
        edit = MemoryEdit(scale=at(WRITE, scale, 1.0), **hold)
        torch.testing.assert_close(change_of(edit), (scale - 1) * lost, atol=1e-12, rtol=0)
    held = torch.zeros_like(ledger.written(0))
    for step in range(WRITE):
        held = ledger.advance(held, step) + ledger.written(step)
    keep = ledger.writes.keep[:, :, WRITE].unsqueeze(-2)
    left = ledger.advance(held, WRITE) + ledger.written(WRITE) - held * keep
    for step in range(WRITE + 1, QUERY + 1):
        left = ledger.advance(left, step)
    query = product(ledger.writes.query[:, :, QUERY])[:, :, :, 0]
    expected = -torch.einsum("mbhvk,mbhk->mbhv", left, query)
    skip = MemoryEdit(skip=at(WRITE).bool(), **hold)
    torch.testing.assert_close(change_of(skip), expected, atol=1e-12, rtol=0)
    erases = bool(ledger.writes.erase.any())
    assert torch.allclose(change_of(skip), -lost, atol=1e-6) == (not erases)


def test_effects_of_two_removed_writes_add_at_the_read_and_those_of_skipped_ones_do_not():
    """Delta rule, one layer: blank writes keep erasing, so the memory stays linear in what is written."""
    model = build("deltanet", layers=1)
    reads = {}
    for what, make in {
        "blank": lambda steps: MemoryEdit(scale=at(steps, 0.0, 1.0)),
        "skip": lambda steps: MemoryEdit(skip=at(steps).bool()),
    }.items():
        base, first, second, both = (
            run(model, make(steps))[2]["memory/fast/read_value"][:, :, QUERY]
            for steps in ([], [1], [2], [1, 2])
        )
        reads[what] = (base - first) + (base - second) - (base - both)
    assert reads["blank"].abs().max() < 1e-12
    assert reads["skip"].abs().max() > 1e-6


def test_a_dictionary_whose_entry_is_skipped_is_one_without_it():
    """With room for all, nothing but that entry is missing; in a full one an older entry survives."""
    model = build("dnd_lstm", capacity=9)
    x, context = trials(model)
    less = {**context, "written": context["written"].clone()}
    less["written"][:, :, WRITE] = -1
    with torch.no_grad():
        wanted = model(x, None, TIME, less)[0]
    assert torch.equal(run(model, MemoryEdit(skip=at(WRITE).bool()))[0], wanted)
    full = build("dnd_lstm", capacity=2)
    held = run(full, MemoryEdit(skip=at(WRITE).bool()))[1]
    assert held["held"].all()


def test_hiding_an_entry_that_is_not_the_nearest_changes_nothing_and_the_nearest_gives_way_to_the_next():
    model = build("dnd_lstm", key="input")
    x, context = trials(model)
    x[:, :, QUERY] = x[:, :, 1]
    hide = lambda step: {"dnd": MemoryEdit(hide=at(step), blind=blind_at(model, QUERY))}  # noqa: E731
    with torch.no_grad():
        base = model(x, None, TIME, context)[2]
        other = model(x, None, TIME, context_with(context, hide(2)))[2]
        own = model(x, None, TIME, context_with(context, hide(1)))[2]
    read = "memory/dnd/read_value"
    assert torch.equal(other[read], base[read])
    written = base["memory/dnd/write_value"]
    assert torch.equal(base[read][:, :, QUERY, 0], written[:, :, 1])
    distances = (x[:, :, QUERY, None] - x[:, :, 2:4]).norm(dim=-1)
    nearest = distances.argmin(dim=-1) + 2
    expected = written.gather(2, nearest[..., None, None].expand(*nearest.shape, 1, written.shape[-1]))
    assert torch.equal(own[read][:, :, QUERY], expected)


@with_memory
def test_every_memory_takes_all_edits_but_those_it_names(name):
    model = build(name)
    missing = {"ethereal": {"key"}}
    assert set(model.edits) >= set(EDITS) - missing.get(name, set())


def test_with_its_memory_switched_off_no_edit_of_writes_matters():
    for name, options in (("fw", {"eta": 0.0}), ("dnd_lstm", {"retrieval": False})):
        model = build(name, **options)
        base = run(model, MemoryEdit(scale=ones()))[0]
        for edit in (MemoryEdit(scale=at(WRITE, 0.0, 1.0)), MemoryEdit(skip=at(WRITE).bool())):
            same(run(model, edit)[0], base, name)

"""The DND-LSTM: what it keeps, what it drops, what it recalls, and where a trial starts."""

import numpy as np
import pytest
import torch

from emt.models.dnd_lstm import DNDLSTM, INITIAL_SCALE, semi_orthogonal

SEEDS, BATCH, IN, UNITS, OUT = (11, 1011), 3, 8, 7, 4


def build(**options):
    return DNDLSTM(SEEDS, IN, OUT, hidden_dim=UNITS, **options).double()


def draw(steps, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).standard_normal((len(SEEDS), BATCH, steps, IN)))


def cue(steps, **at):
    """Return a cue (member, batch, time): -1, and values at steps, the same in all rows."""
    values = torch.full((len(SEEDS), BATCH, steps), -1)
    for step, value in at.items():
        values[:, :, int(step.strip("t"))] = value
    return values


def recalled(log):
    return log["memory/dnd/read_value"][:, :, :, 0]


def test_what_was_written_is_recalled_by_its_key_and_only_then():
    x = draw(6)
    x[:, :, 4] = x[:, :, 1]
    _, state, log = build()(x, None, None, {"written": cue(6, t1=0, t2=1)})
    cell = log["cell"].detach()
    assert not recalled(log)[:, :, :2].any()
    torch.testing.assert_close(recalled(log)[:, :, 4], cell[:, :, 1])
    assert torch.equal(state["held"].sum(dim=2), torch.full((len(SEEDS), BATCH), 2))
    torch.testing.assert_close(state["values"][:, :, -2:], cell[:, :, 1:3])
    torch.testing.assert_close(state["keys"][:, :, -2:], x[:, :, 1:3])
    assert torch.isnan(log["memory/dnd/write_key"]).all(dim=-1)[0, 0].tolist() == [
        True,
        False,
        False,
        True,
        True,
        True,
    ]


def test_a_full_dictionary_drops_its_oldest_entry():
    x = draw(7)
    x[:, :, 5], x[:, :, 6] = x[:, :, 0], x[:, :, 3]
    written = {"written": cue(7, t0=0, t1=1, t2=2, t3=3)}
    _, state, log = build(capacity=3)(x, None, None, written)
    torch.testing.assert_close(state["values"], log["cell"].detach()[:, :, 1:4])
    torch.testing.assert_close(recalled(log)[:, :, 6], log["cell"].detach()[:, :, 3])
    _, _, roomy = build(capacity=4)(x, None, None, written)
    torch.testing.assert_close(recalled(roomy)[:, :, 5], roomy["cell"].detach()[:, :, 0])
    assert (recalled(log)[:, :, 5] - log["cell"][:, :, 0]).abs().max() > 1e-3


def test_rows_write_for_themselves():
    x, written = draw(5), cue(5, t1=0)
    written[0, 1], written[1, 2, 3] = -1, 5
    model = build(capacity=2)
    _, state, log = model(x, None, None, {"written": written})
    assert state["held"].sum(dim=2).tolist() == [[1, 0, 1], [1, 1, 2]]
    for m, b in np.ndindex(len(SEEDS), BATCH):
        steps = (written[m, b] >= 0).nonzero().flatten()
        torch.testing.assert_close(
            state["values"][m, b, state["held"][m, b]], log["cell"][m, b, steps].detach()
        )


def test_a_read_comes_before_the_write_of_its_step_and_nothing_flows_back():
    x = draw(4).requires_grad_()
    _, state, log = build()(x, None, None, {"written": cue(4, t0=0, t1=1, t2=2)})
    torch.testing.assert_close(recalled(log)[:, :, 1], log["cell"].detach()[:, :, 0])
    assert not recalled(log).requires_grad
    assert not state["values"].requires_grad


def test_without_retrieval_nothing_is_read_though_it_is_written():
    x = draw(5)
    written = {"written": cue(5, t1=0)}
    outputs, state, log = build(retrieval=False)(x, None, None, written)
    assert torch.isnan(log["memory/dnd/read_query"]).all()
    assert not recalled(log).any()
    assert state["held"].any()
    torch.testing.assert_close(build()(x)[0], outputs, atol=1e-12, rtol=0)
    assert (build()(x, None, None, written)[0] - outputs).abs().max() > 1e-3


def test_context_keys_are_the_last_half_of_the_input():
    x = draw(5)
    x[:, :, 4, IN // 2 :] = x[:, :, 1, IN // 2 :]
    x[:, :, 4, : IN // 2] = x[:, :, 2, : IN // 2] = 9
    written = {"written": cue(5, t1=0, t2=1)}
    by_context, by_input = (build(key=key)(x, None, None, written)[2] for key in ("context", "input"))
    torch.testing.assert_close(recalled(by_context)[:, :, 4], by_context["cell"].detach()[:, :, 1])
    torch.testing.assert_close(recalled(by_input)[:, :, 4], by_input["cell"].detach()[:, :, 2])


def test_hidden_keys_are_the_states_before_each_step():
    x, model = draw(5), build(key="hidden")
    _, state, log = model(x, None, None, {"start": cue(5, t0=3), "written": cue(5, t1=0, t2=1)})
    before, query = log["hidden"][:, :, :-1].detach(), log["memory/dnd/read_query"][:, :, 1:, 0]
    torch.testing.assert_close(query, before)
    torch.testing.assert_close(state["keys"][:, :, -2:], before[:, :, :2])
    assert not recalled(log)[:, :, :2].any()
    torch.testing.assert_close(recalled(log)[:, :, 2], log["cell"].detach()[:, :, 1])
    first, second = ((query[:, :, 3] - state["keys"][:, :, slot]).norm(dim=-1) for slot in (-2, -1))
    nearest = torch.where((first < second)[..., None], *log["cell"].detach()[:, :, 1:3].unbind(dim=2))
    torch.testing.assert_close(recalled(log)[:, :, 4], nearest)
    assert (
        recalled(build()(x, None, None, {"written": cue(5, t1=0, t2=1)})[2]) - recalled(log)
    ).abs().max() > 1e-3


def test_a_kernel_recalls_an_average():
    x = draw(5)
    _, state, log = build(recall="kernel")(x, None, None, {"written": cue(5, t0=0, t1=1)})
    kept = state["values"][:, :, -2:]
    share = torch.linalg.lstsq(kept.mT, recalled(log)[:, :, 4, :, None]).solution.squeeze(-1)
    torch.testing.assert_close(share.sum(dim=-1), torch.ones_like(share[..., 0]))
    assert (share > 0).all()


def test_a_trial_starts_from_a_state_of_its_own():
    x, model = draw(6), build()
    start = cue(6, t0=2**61, t3=2**61 + 1)
    _, _, log = model(x, None, None, {"start": start})
    _, _, second = model(x[:, :, 3:], None, None, {"start": start[:, :, 3:]})
    torch.testing.assert_close(log["hidden"][:, :, 3:], second["hidden"], atol=1e-12, rtol=0)
    carried = model(x, None, None, {"start": cue(6, t0=2**61)})[2]
    assert (carried["hidden"][:, :, 3:] - second["hidden"]).abs().max() > 1e-3
    torch.testing.assert_close(carried["hidden"][:, :, :3], log["hidden"][:, :, :3], atol=1e-12, rtol=0)


def test_initial_states_are_normal_and_differ_between_trials_and_members():
    model = DNDLSTM(SEEDS, IN, OUT, hidden_dim=50)
    start = torch.arange(len(SEEDS) * 200).view(len(SEEDS), 200) % 200
    nothing = torch.zeros(len(SEEDS), 200, 50)
    h, c = model._begin(start, nothing, nothing)
    states = torch.stack([h, c])
    assert abs(states.std().item() / INITIAL_SCALE - 1) < 0.02
    assert abs(states.mean().item()) < 0.002
    assert len(states.flatten(0, 2).unique(dim=0)) == 2 * len(SEEDS) * 200
    alone = DNDLSTM(SEEDS[1:], IN, OUT, hidden_dim=50)._begin(start[1:], nothing[1:], nothing[1:])
    assert torch.equal(torch.stack(alone)[:, 0], states[:, 1])
    begun = model._begin(torch.where(start < 3, -1, start), nothing + 7, nothing)[0]
    assert (begun[:, :3] == 7).all()
    assert torch.equal(begun[:, 3:], h[:, 3:])


@pytest.mark.parametrize("shape", [(7, 3), (3, 7), (5, 5)])
def test_weights_start_orthonormal(shape):
    weight = semi_orthogonal(np.random.default_rng(0), shape)
    smaller = weight.T @ weight if shape[0] >= shape[1] else weight @ weight.T
    np.testing.assert_allclose(smaller, np.eye(min(shape)), atol=1e-12)
    model = build()
    heads = model.w_out[0].detach().numpy()
    np.testing.assert_allclose(heads[:, :-1].T @ heads[:, :-1], np.eye(OUT - 1), atol=1e-6)
    assert np.linalg.norm(heads[:, -1]) == pytest.approx(1)
    assert not model.b_in.any()

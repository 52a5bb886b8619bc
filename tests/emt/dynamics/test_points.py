"""Searches of fixed and slow points: networks whose points are known."""

import itertools

import numpy as np
import pytest
import torch

from emt.dynamics import points
from emt.dynamics.points import Search, StepMap, find_points, merge_points
from emt.models.elman import Elman

UNITS, IN, OUT, STARTS = 3, 2, 4, 300
HELD = 0.9575040240772687
"""The positive solution of h = tanh(2 h)."""


def network(*matrices, bias=0.0):
    """Return Elman networks, one for each matrix, h' = tanh(h W + bias) without input."""
    model = (
        Elman(range(len(matrices)), IN, OUT, hidden_dim=len(matrices[0]), bias=True)
        .double()
        .requires_grad_(False)
    )
    model.w_rec[:] = torch.from_numpy(np.stack(matrices))
    model.b_in[:], model.b_rec[:] = bias, 0.0
    return model


def step_of(model, x=0.0):
    like = torch.zeros(model.members, 1, 1, dtype=torch.float64)
    return StepMap(model, model.zero_state(like), torch.full((model.members, 1, IN), x, dtype=torch.float64))


def starts_for(model, reach=1.3):
    draw = np.random.default_rng(0).uniform(-reach, reach, (model.members, STARTS, model.w_rec.shape[1]))
    return torch.from_numpy(draw)


@pytest.fixture(scope="module")
def searched():
    """Three separate latches in the first member; the second turns and shrinks."""
    turn = np.linalg.qr(np.random.default_rng(1).normal(size=(UNITS, UNITS)))[0]
    model = network(2 * np.eye(UNITS), 0.7 * turn)
    return step_of(model), find_points(step_of(model), starts_for(model))


def test_all_points_of_three_latches_are_found(searched):
    step, search = searched
    first, hits = merge_points(search, 0, 1e-2)
    found = search.position[:, first][0].numpy()
    expected = np.array([*itertools.product((-HELD, 0.0, HELD), repeat=UNITS)])
    order = [np.abs(found - e).max(axis=1).argmin() for e in expected]
    assert len(found) == len(expected) == 27
    np.testing.assert_allclose(found[order], expected, atol=1e-7)
    assert hits.sum() == search.fixed[0].sum()
    assert not search.slow.any()

    moduli = torch.linalg.eigvals(step.jacobians(search.position[:, first])[0][0]).abs().numpy()
    unstable = (moduli > 1).sum(axis=1)[order]
    np.testing.assert_array_equal(unstable, (expected == 0).sum(axis=1))


def test_none_is_invented(searched):
    _, search = searched
    first, hits = merge_points(search, 1, 1e-2)
    assert len(first) == 1
    assert hits.tolist() == [STARTS]
    assert search.position[1, first].abs().max() < 1e-7


def test_what_never_stands_still_has_no_points():
    class Drift(Elman):
        def forward(self, x, state=None, steps=None, context=None):
            following = {"hidden": state["hidden"] + 1}
            return x, following, {}

    model = Drift((0,), IN, OUT, hidden_dim=UNITS).double()
    search = find_points(step_of(model), starts_for(model))
    assert not (search.fixed | search.slow).any()
    assert [len(x) for x in merge_points(search, 0, 1e-2)] == [0, 0]


def test_the_ghost_of_a_lost_pair_of_points_is_slow():
    # h = tanh(2 h + b) loses two of its three solutions at b = 0.5328.
    before, after = (network(np.array([[2.0]]), bias=b) for b in (0.52, 0.5428))
    fixed, slow = (
        [int(kind.sum()) for kind in (s.fixed, s.slow)]
        for s in (find_points(step_of(m), starts_for(m)) for m in (before, after))
    )
    assert fixed == [STARTS, 0]
    assert slow[1] > 0
    search = find_points(step_of(after), starts_for(after))
    first, _ = merge_points(search, 0, 1e-2)
    ends = search.position[0, first, 0]
    assert search.fixed[0, first].tolist() == [True, False]
    np.testing.assert_allclose(ends[1], -0.70, atol=0.02)
    assert ends[0] > 0.9


def test_a_constant_input_moves_the_point():
    turn = 0.5 * np.eye(UNITS)
    model = network(turn)
    silent, driven = (find_points(step_of(model, x), starts_for(model)) for x in (0.0, 0.8))
    assert bool((silent.fixed & driven.fixed).all())
    assert silent.position.abs().max() < 1e-7
    place = driven.position[0, :1]
    expected = torch.tanh(place @ model.w_rec[0] + 0.8 * model.w_in[0].sum(dim=0))
    torch.testing.assert_close(place, expected, atol=1e-7, rtol=0)
    assert place.abs().max() > 0.01


def test_blocks_change_nothing(searched, monkeypatch):
    step, whole = searched
    monkeypatch.setattr(points, "_BLOCK_BYTES", 7 * 2 * UNITS**2 * 8)
    again = find_points(step, starts_for(step.model)[:, :20])
    torch.testing.assert_close(again.position, whole.position[:, :20], atol=1e-9, rtol=0)


def test_ends_that_are_near_are_one_point_and_fixed_ones_come_first():
    position = torch.tensor([[[0.0, 0], [0.3, 0], [5, 5], [0.301, 0], [9, 9], [7, 7]]], dtype=torch.float64)
    speed = torch.tensor([[1e-5, 1e-20, 1e-20, 1e-18, 1e-2, 1e-5]], dtype=torch.float64)
    settled = torch.tensor([[True, True, True, True, True, False]])
    search = Search(position, speed, settled)
    assert [x.tolist() for x in merge_points(search, 0, 0.01)] == [[1, 2, 0], [2, 1, 1]]
    assert [x.tolist() for x in merge_points(search, 0, 0.5)] == [[1, 2], [3, 1]]
    assert [x.tolist() for x in merge_points(search, 0, 1e-4)] == [[1, 2, 3, 0], [1, 1, 1, 1]]

"""`emt.fixed_points` on functions whose points are known, and against scipy's root finding."""

import itertools

import numpy as np
import pytest
import torch
from scipy.optimize import root

import emt
from emt.dynamics import function_map
from emt.dynamics.function_map import FunctionMap
from emt.errors import UserError

HELD = 0.9575040240772687
"""The positive solution of h = tanh(2 h)."""

UNITS, STARTS = 3, 200


def rotation(seed, units=UNITS):
    return np.linalg.qr(np.random.default_rng(seed).normal(size=(units, units)))[0]


def draw(starts=STARTS, units=UNITS, reach=1.5, seed=0):
    return np.random.default_rng(seed).uniform(-reach, reach, (starts, units))


def scipy_roots(step, starts):
    """Return the solutions of F(h) = h that scipy reaches from each start, (root, unit)."""

    def apart(h):
        return step(torch.from_numpy(h[None])).numpy()[0] - h

    ends = [root(apart, start, tol=1e-12) for start in starts]
    return np.array([end.x for end in ends if end.success and np.abs(end.fun).max() < 1e-10])


def nearest(points, others):
    """Return for each of ``others`` the distance to the nearest of ``points``."""
    return np.linalg.norm(others[:, None] - points, axis=-1).min(axis=1)


@pytest.fixture(scope="module")
def latches():
    """Three latches in a rotated basis: a step, and its 27 points by the solutions of h = tanh(2 h)."""
    turn = rotation(1)
    basis = torch.from_numpy(turn)
    grid = np.array([*itertools.product((-HELD, 0.0, HELD), repeat=UNITS)])
    return (lambda h: torch.tanh(2 * h @ basis) @ basis.T), grid @ turn.T, grid


def test_all_points_of_three_latches_their_stability_and_scipys_roots(latches):
    step, expected, grid = latches
    found = emt.fixed_points(step, draw(), progress=False)
    assert len(found) == 27
    np.testing.assert_allclose(nearest(found.points, expected), 0, atol=1e-12)
    order = [np.linalg.norm(found.points - e, axis=1).argmin() for e in expected]
    np.testing.assert_array_equal(found.unstable[order], (grid == 0).sum(axis=1))
    assert found.residual.max() < 1e-13
    kinds = {kind: found.kind.count(kind) for kind in found.kind}
    assert kinds == {"stable": 8, "saddle": 18, "repeller": 1}
    slopes = np.sort(np.where(grid == 0, 2, 2 * (1 - HELD**2)), axis=1)[:, ::-1]
    np.testing.assert_allclose(found.eigenvalues[order], slopes, atol=1e-9)
    roots = scipy_roots(step, draw(60))
    assert len(roots) > 20
    assert nearest(found.points, roots).max() < 1e-8


def test_a_random_network_has_no_root_of_scipys_that_is_not_found():
    weights = torch.from_numpy(2.5 * np.random.default_rng(5).normal(size=(5, 5)) / np.sqrt(5))

    def step(h):
        return torch.tanh(h @ weights + 0.1)

    found = emt.fixed_points(step, draw(units=5), progress=False)
    roots = scipy_roots(step, draw(60, units=5))
    assert len(roots) > 10
    assert nearest(found.points, roots).max() < 1e-8
    after = step(torch.from_numpy(found.points)).numpy()
    assert np.abs(after - found.points).max() < 1e-12
    # Not normal: the Jacobian is F's, not its transpose.
    by_hand = (1 - after[:, :, None] ** 2) * weights.numpy().T
    np.testing.assert_allclose(found.jacobian, by_hand, atol=1e-12)


def test_starts_belong_to_points():
    found = emt.fixed_points(lambda h: torch.tanh(2 * h), [[-0.9], [0.8], [-0.7], [0.9]], progress=False)
    np.testing.assert_allclose(found.points[:, 0], [-HELD, HELD], atol=1e-12)
    assert (found.hits.tolist(), found.found_from.tolist(), found.starts) == ([2, 2], [0, 1], 4)
    np.testing.assert_allclose(found.distance, HELD - 0.9, atol=1e-12)


def test_a_line_attractor_is_fixed_wherever_it_is_met():
    turn = torch.from_numpy(rotation(2))
    matrix = turn @ torch.diag(torch.tensor([1.0, 0.5, -0.4], dtype=torch.float64)) @ turn.T
    found = emt.fixed_points(lambda h: h @ matrix, draw(), progress=False)
    assert found.hits.sum() == STARTS
    assert len(found) > 100
    assert found.stable.all()
    np.testing.assert_allclose(np.abs(found.eigenvalues), [[1.0, 0.5, 0.4]] * len(found), atol=1e-12)
    off_line = found.points - (found.points @ turn[:, 0].numpy())[:, None] * turn[:, 0].numpy()
    assert np.abs(off_line).max() < 1e-6
    merged = emt.fixed_points(lambda h: h @ matrix, draw(), merge_distance=1.0, progress=False)
    assert 2 <= len(merged) <= 4
    assert merged.hits.sum() == STARTS


def test_a_flip_flop_with_and_without_input():
    class FlipFlop(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.gain = torch.nn.Parameter(torch.tensor([2.0, 2.0]))
            self.drop = torch.nn.Dropout(0.5)

        def forward(self, x, h):
            return torch.tanh(self.gain * self.drop(h) + 3 * x)

    cell = FlipFlop()
    silent = emt.fixed_points(cell, draw(units=2), inputs=[0.0, 0.0], progress=False)
    assert sorted(silent.kind) == sorted(["stable"] * 4 + ["saddle"] * 4 + ["repeller"])
    driven = emt.fixed_points(cell, draw(units=2), inputs=torch.tensor([1.0, 0.0]), progress=False)
    assert sorted(driven.kind) == ["saddle", "stable", "stable"]
    assert (driven.points[:, 0] > 0.99).all()
    # The user's module is as it was.
    assert cell.training
    assert cell.gain.dtype == torch.float32
    assert cell.gain.requires_grad


def turning(angle):
    """Return a map that turns states by an angle and draws them to the unit circle."""
    c, s = np.cos(angle), np.sin(angle)
    turn = torch.tensor([[c, s], [-s, c]], dtype=torch.float64)
    return lambda h: (h * (1.5 - 0.5 * h.square().sum(dim=-1, keepdim=True))) @ turn


def test_a_limit_cycle_is_no_fixed_point():
    circle = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    starts = np.concatenate([np.stack([np.cos(circle), np.sin(circle)], axis=1), draw(40, 2)])
    found = emt.fixed_points(turning(0.3), starts, slow_speed=1e-4, progress=False)
    np.testing.assert_allclose(found.points, [[0, 0]], atol=1e-12)
    assert found.kind == ["repeller"]
    assert found.hits.sum() < len(starts)
    # Without the turn the circle is a ring of fixed points.
    ring = emt.fixed_points(turning(0.0), starts, progress=False)
    on_ring = np.abs(np.linalg.norm(ring.points, axis=1) - 1) < 1e-6
    assert on_ring.sum() >= 40


def test_a_cycle_of_two_states_is_no_fixed_point():
    found = emt.fixed_points(lambda h: -torch.tanh(2 * h), draw(units=1), slow_speed=1e-4, progress=False)
    np.testing.assert_allclose(found.points, [[0]], atol=1e-12)
    np.testing.assert_allclose(found.eigenvalues, [[-2]], atol=1e-12)


def test_a_saddle_has_one_unstable_direction():
    matrix = torch.tensor([[2.0, 0.3], [0.0, 0.5]], dtype=torch.float64)
    found = emt.fixed_points(lambda h: h @ matrix + 1, draw(units=2), progress=False)
    assert (found.kind, found.unstable.tolist(), found.hits.tolist()) == (["saddle"], [1], [STARTS])
    np.testing.assert_allclose(found.eigenvalues, [[2, 0.5]], atol=1e-12)


def test_slow_points_are_an_option_and_say_how_slow_they_are():
    # h = tanh(2 h + b) loses two of its three solutions at b = 0.5328.
    def step(h):
        return torch.tanh(2 * h + 0.5428)

    fixed = emt.fixed_points(step, draw(units=1), progress=False)
    both = emt.fixed_points(step, draw(units=1), slow_speed=1e-4, progress=False)
    assert (fixed.kind, both.kind) == (["stable"], ["stable", "slow"])
    np.testing.assert_allclose(both.points[1], -0.70, atol=0.02)
    apart = np.tanh(2 * both.points[1, 0] + 0.5428) - both.points[1, 0]
    np.testing.assert_allclose(both.q[1], apart**2 / 2, rtol=1e-9)
    assert both.q[1] > 1e-7
    nothing = emt.fixed_points(lambda h: h + 1 + 0 * h, draw(9), slow_speed=1e-4, progress=False)
    assert (len(nothing), nothing.points.shape, nothing.jacobian.shape) == (0, (0, 3), (0, 3, 3))
    assert "none found; 0 of 9 starts" in repr(nothing)
    assert nothing._repr_html_()


class InPlace(torch.autograd.Function):
    """Tanh whose backward pass torch cannot batch."""

    @staticmethod
    def forward(ctx, h):
        ctx.save_for_backward(after := torch.tanh(h))
        return after

    @staticmethod
    def backward(ctx, gradient):
        (after,) = ctx.saved_tensors
        result = torch.zeros_like(after)
        return result.add_(gradient * (1 - after**2))


def test_a_step_with_a_backward_pass_by_hand_gives_the_same(monkeypatch):
    weights = torch.from_numpy(np.random.default_rng(0).normal(size=(UNITS, UNITS)))
    position = torch.from_numpy(draw(7))[None]
    batched = FunctionMap(lambda h: torch.tanh(h @ weights), None)
    by_hand = FunctionMap(lambda h: InPlace.apply(h @ weights), None)
    monkeypatch.setattr(FunctionMap, "_by_copies", copies := Counted(FunctionMap._by_copies))
    for ours, theirs in zip(batched.linearised(position), by_hand.linearised(position), strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-14, rtol=0)
    assert copies.calls == 1


class Counted:
    def __init__(self, function):
        self.function, self.calls = function, 0

    def __get__(self, instance, owner):
        def call(*arguments):
            self.calls += 1
            return self.function(instance, *arguments)

        return call


def test_what_was_found_is_there_before_the_search_ends(latches, monkeypatch):
    step, expected, _ = latches
    monkeypatch.setattr(function_map, "ROWS", 1)
    seen = []
    whole = emt.fixed_points(step, draw(40), progress=False, report=seen.append)
    assert [early.starts for early in seen] == [16, 32, 40]
    assert 0 < len(seen[0]) <= len(seen[1]) <= len(seen[2]) == len(whole)
    assert nearest(expected, seen[0].points).max() < 1e-12
    np.testing.assert_array_equal(seen[0].points, whole.points[: len(seen[0])])

    kept = []

    def interrupt(early):
        kept.append(early)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        emt.fixed_points(step, draw(40), progress=False, report=interrupt)
    assert kept[0].starts == 16


@pytest.mark.parametrize(
    ("step", "message"),
    [
        (lambda h: (h, h), r"step: expected the next state, a tensor .* = \(3, 3\); got tuple; .* torch.cat"),
        (lambda h: h[:, :2], r"step: expected the next state, .* got \(3, 2\)"),
        (
            lambda h: h.float(),
            "step: expected a step that computes in float64 when its input is; got float32",
        ),
        (lambda h: h @ torch.eye(3), "step: expected a step that computes in float64 .*cast its weights"),
        (lambda h: h.detach() + 1, "step: expected a step that torch differentiates"),
        (torch.nn.functional.dropout, "step: expected the same result whenever it is called"),
        (lambda h: h - h.mean(dim=0), "step: expected the rows of a batch not to change each other"),
    ],
)
def test_steps_that_cannot_be_searched(step, message):
    with pytest.raises(UserError, match=message):
        emt.fixed_points(step, draw(9), progress=False)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"starts": draw()[0]},
            r"starts: expected finite numbers \(start, unit\); got an array of shape \(3,\)",
        ),
        ({"starts": np.zeros((0, 3))}, r"starts: .* got an array of shape \(0, 3\)"),
        ({"starts": [[0.0, np.nan, 0.0]]}, "starts: .* got NaN or infinity"),
        ({"inputs": [[0.0]]}, r"inputs: expected finite numbers \(channel\)"),
    ],
)
def test_arguments_that_are_refused(options, message):
    with pytest.raises(UserError, match=message):
        emt.fixed_points(lambda *h: torch.tanh(h[-1]), **{"starts": draw(), "progress": False, **options})


def test_a_result_says_what_it_is(latches):
    found = emt.fixed_points(latches[0], draw(), progress=False)
    assert repr(found).startswith("FixedPoints(27 of 3 units: 8 stable, 18 saddle, 1 repeller; 200 of 200 ")
    assert len(found.table()) == 27
    assert "and 7 more" in found._repr_html_()
    assert {"fixed_points", "FixedPoints"} <= set(dir(emt))
    with pytest.raises(AttributeError, match="no attribute 'fixed_pionts'"):
        _ = emt.fixed_pionts

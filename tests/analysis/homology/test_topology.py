"""Topology of hidden trajectories: planted loops."""

import numpy as np
import pytest
import xarray as xr

from analysis.errors import AnalysisError
from analysis.homology.topology import analyse_topology


@pytest.fixture
def trajectories(make_recording):
    """Return a function that makes a trace of two members whose states go round a circle, and of one without a loop."""

    def make(turns=True, units=7, sequences=6):
        recording = make_recording(members=3, trials=sequences)
        rng = np.random.default_rng(0)
        steps = recording.sizes["time"]
        hidden = rng.normal(size=(3, sequences, steps, units))
        if turns:
            angle = np.cumsum(rng.uniform(0.3, 1.5, (2, sequences, steps)), axis=2)
            frames = np.stack([np.linalg.qr(rng.normal(size=(units, 2)))[0] for _ in range(2)])
            circle = np.stack([np.cos(angle), np.sin(angle)], axis=-1)
            hidden[:2] = circle @ np.swapaxes(frames, 1, 2)[:, None] + 0.1 * hidden[:2]
        hidden.setflags(write=False)
        return recording.assign(hidden=xr.Variable(("member", "batch", "time", "unit"), hidden))

    return make


def test_members_whose_states_go_round_are_found(trajectories):
    result = analyse_topology(trajectories(), points=40, null_clouds=59)
    p = result.tests.members.xs(1, level="dimension")["p"]
    assert result.tests.members.index.unique("null").tolist() == ["gaussian", "shuffle", "phases"]
    for name in ("model-1", "model-3"):
        assert p[name, "gaussian"] == p[name, "shuffle"] == pytest.approx(1 / 60)
    assert p["model-5", "gaussian"] > 0.05
    assert (result.n_points, result.n_states) == (40, 66)
    assert "40 of 66 states of each member" in result.headline()
    assert "gaussian 2, shuffle 2" in result.headline()
    tables = result.tables()
    assert (tables["topology_tests"]["points"] == 40).all()
    assert (tables["topology_diagrams"].query("dimension == 0").groupby("model_name").size() == 40).all()


def test_few_states_are_all_taken(trajectories):
    result = analyse_topology(trajectories(turns=False, sequences=2), null_clouds=19, max_dimension=0)
    assert result.n_points == result.n_states == 22
    assert len(result.diagrams[0]) == 1


def test_bad_options_and_states_are_refused(trajectories):
    recording = trajectories()
    for options, message in (
        ({"points": 3}, "points: must be at least 4"),
        ({"max_dimension": 5}, "max_dimension: must be 0 to 3; got 5"),
        ({"points": 66, "max_dimension": 3, "memory_limit": 0.01}, "memory_limit: expected .* of 66 points"),
    ):
        with pytest.raises(AnalysisError, match=message):
            analyse_topology(recording, **options)
    broken = recording["hidden"].copy(deep=True).variable
    broken[1, 0, 0, 0] = np.nan
    with pytest.raises(AnalysisError, match="model-3: expected finite hidden states"):
        analyse_topology(recording.assign(hidden=broken))

"""``emt selftest --calibrate``: false-positive rates of all tests."""

import inspect
import json
import re
from functools import lru_cache

import numpy as np
import pytest

from analysis import COMMANDS, statistics
from emt.commands import calibration, selftest
from emt.commands.calibration import NULLS, Rate, draw, rate_of
from emt.commands.known_systems import null_statistics
from emt.errors import UserError

STATISTICS = [name for name in NULLS if name.startswith("null_statistics")]


@pytest.fixture
def one_process(monkeypatch):
    rates_of = calibration.rates_of
    monkeypatch.setattr(calibration, "rates_of", lambda *job: rates_of(*job, parallel=False))


@lru_cache
def draw_once(name):
    [found] = draw((name, 3, [7]))
    return found


@pytest.mark.parametrize("name", NULLS)
def test_each_draw_gives_p_values(name):
    found = draw_once(name)
    assert found
    assert all(0 < p <= 1 for p in found.values())


def test_draws_repeat_and_differ():
    first, again, other = (draw((STATISTICS[0], seed, [7])) for seed in (3, 3, 4))
    assert first == again != other


def test_every_test_of_statistics_is_calibrated():
    kinds = ("PermutationTest", "ChanceTest")
    tests = [
        name
        for name, function in inspect.getmembers(statistics, inspect.isfunction)
        if str(function.__annotations__.get("return")).endswith(tuple(f"{kind}'>" for kind in kinds))
        and not name.startswith("_")
    ]
    assert len(tests) > 5
    found = [test for name in STATISTICS for test in draw((name, 0, [0]))[0]]
    assert [name for name in tests if not any(test.startswith(name) for test in found)] == []


def test_conservative_tests_and_analyses_are_ones_that_are_drawn():
    source = "".join(
        inspect.getsource(calibration.import_module(f"emt.commands.known_systems.{module}"))
        for module in ("null_statistics", "null_analyses")
    )
    drawn = {test for name in NULLS for test in draw_once(name)}
    assert set(calibration.CONSERVATIVE) <= drawn
    with_p = {
        "topology",
        "persistence",
        "compare",
        "similarity",
        "dimensionality",
        "decode",
        "trajectories",
        "geometry",
        "degeneracy",
        "match",
        "memory",
        "emergence",
    }
    assert with_p <= set(COMMANDS)
    assert [command for command in with_p if not re.search(rf'analyse\(\s*"{command}"', source)] == []


def test_a_rate_has_the_exact_binomial_interval():
    rate = rate_of("any", [0.01, 0.05, 0.2, 0.9, np.nan])
    assert (rate.rejections, rate.draws, rate.undefined, rate.rate) == (2, 4, 1, 0.5)
    # P(X ≥ 2) = .025 at the lower end, and by symmetry of n = 4, k = 2 the ends add up to one.
    low = rate.low
    tail = 1 - (1 - low) ** 4 - 4 * low * (1 - low) ** 3
    assert tail == pytest.approx(0.025, abs=1e-6)
    assert rate.low + rate.high == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("test", "low", "high", "ok"),
    [
        ("permutation_test", 0.02, 0.09, True),
        ("permutation_test", 0.06, 0.12, False),
        ("permutation_test", 0.00, 0.04, False),
        ("emergence", 0.00, 0.04, True),
        ("emergence", 0.06, 0.12, False),
    ],
)
def test_the_interval_contains_the_level_or_is_below_by_construction(test, low, high, ok):
    assert Rate(test, 5, 100, low, high, 0).ok is ok
    assert not Rate(test, 0, 0, np.nan, np.nan, 100).ok


def test_a_test_that_takes_members_for_trials_is_caught(monkeypatch, capsys, tmp_path, one_process):
    """Members above chance by sign flips alone, with an effect of these trials that all share: far above the level."""

    def over_members(rng):
        values = rng.normal(size=(40, 1)) + rng.normal(size=(40, 10))
        differences = values[0] - values[1:].mean(axis=0)
        return {"members alone": statistics.sign_flip_test(differences, one_sided=True).p}

    monkeypatch.setattr(null_statistics, "own_trials", over_members)
    monkeypatch.setattr(calibration, "NULLS", ("null_statistics:own_trials", "null_statistics:differences"))
    path = tmp_path / "rates.json"
    assert selftest.main(["--calibrate", "--draws", "50", "--json", str(path)]) == 1
    assert "FAULT: members alone" in capsys.readouterr().out
    rows = {row["test"]: row for row in json.loads(path.read_text())}
    assert rows["members alone"]["rate"] > 0.2
    assert rows["sign_flip_test"]["ok"]


def test_a_test_that_misses_by_accident_is_repeated_on_new_data(monkeypatch, capsys):
    first, new = [0.01] * 6 + [0.9] * 14, [0.01, *[0.9] * 19] * 5
    values = {range(20): first, range(20, 120): new}
    monkeypatch.setattr(
        calibration, "rates_of", lambda name, numbers, seed: [rate_of("test", values[numbers])]
    )
    [rate] = calibration.judge("any", 20, 0)
    assert not rate_of("test", first).ok
    assert rate == rate_of("test", new)
    assert rate.ok
    assert capsys.readouterr().out.count("\n") == 2


@pytest.mark.parametrize("words", [["--draws", "0"], ["--draws", "many"]])
def test_draws_are_a_positive_number(words):
    with pytest.raises(UserError, match=f"--draws: must be an integer ≥ 1; got {words[1]}"):
        selftest.main(["--calibrate", *words])

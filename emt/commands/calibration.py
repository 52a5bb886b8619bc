"""How often each test rejects although nothing is there to find: false-positive rates on data drawn without an effect.

The files ``null_…`` of `emt.commands.known_systems` draw the data. At the level .05 a test may reject 5 % of
them: the exact binomial interval (Clopper & Pearson 1934, 95 %) of its rate must contain .05. Of tests that
are conservative by construction it must not lie above; `CONSERVATIVE` says which and why. Of twenty tests
that are right, about one misses by accident: a test that misses is repeated on `AGAIN` times as many new data
sets, whose verdict counts.
"""

import math
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib import import_module
from pathlib import Path

from emt.commands.output import say
from emt.streams import stream

LEVEL = 0.05

ROUNDING = 1e-9
"""p-values are ratios of integers; those equal to the level count as rejections."""

NULLS = (
    *("null_statistics:two_samples", "null_statistics:differences", "null_statistics:distances"),
    *("null_statistics:two_matrices", "null_statistics:simulations", "null_statistics:shared_trials"),
    *("null_statistics:own_trials", "null_analyses:trajectories", "null_analyses:spectra"),
    *("null_analyses:sets_of_networks", "null_analyses:sets_of_states", "null_analyses:sets_of_noise"),
    *("null_analyses:unrelated_sets", "null_analyses:units", "null_analyses:memories", "null_analyses:lags"),
    *("null_analyses:labels_of_trials", "null_analyses:paths_of_members", "null_analyses:alike_conditions"),
    "null_analyses:alike_settings",
)
"""Functions of a random generator that return p-values by the test's name, "module:function"."""

_LARGER = "the larger of two p-values, of which that over trials alone keeps the level"
_TIES = "scores take few values, and ties count as at least as large"
CONSERVATIVE = {
    "chance_test, larger p": _LARGER,
    "match, larger p": _LARGER,
    "memory, larger p": _LARGER,
    "decode, larger p": _LARGER,
    "geometry, larger p": _LARGER,
    "geometry, model, larger p": _LARGER,
    "match, trials": _TIES,
    **{f"similarity, {m}, larger p": _LARGER for m in ("cka", "cka_unbiased", "procrustes", "rsa")},
    "compare, smallest p after Holm": "Holm's bound on any rejection holds whatever the dependence of statistics",
    "degeneracy, trend": "the jackknife over members of means over pairs is a little wide",
    "emergence": "lags are multiples of the distance of checkpoints, and ties count as at least as large",
}
"""Tests that may reject less often than the level, and why."""

CHUNK = 10
"""Data sets that one job draws."""

AGAIN = 5
"""How many times as many data sets decide on a test that missed."""


@dataclass(frozen=True)
class Rate:
    """False positives of one test.

    Attributes
    ----------
    test
        Name of the test.
    rejections, draws
        Data sets at whose p-value the test rejects, and those of which it has one.
    low, high
        Binomial 95 % interval of the rate.
    undefined
        Data sets without a p-value.
    """

    test: str
    rejections: int
    draws: int
    low: float
    high: float
    undefined: int

    @property
    def rate(self) -> float:
        """Share of rejections; NaN without a p-value."""
        return self.rejections / self.draws if self.draws else math.nan

    @property
    def ok(self) -> bool:
        """Whether the interval contains the level, or, of a conservative test, does not lie above."""
        return self.draws > 0 and self.low <= LEVEL and (self.high >= LEVEL or self.test in CONSERVATIVE)

    def line(self, wrong: str = "FAULT") -> str:
        """Return the line of the table; ``wrong`` stands where the interval is wrong."""
        why = f"  (may be below: {CONSERVATIVE[self.test]})" if self.test in CONSERVATIVE else ""
        interval = f"{self.low:.3f} to {self.high:.3f}"
        return (
            f"{self.test:40} {self.draws:6} {self.rate:6.3f}  {interval:16} {'ok' if self.ok else wrong}{why}"
        )


def run(draws: int, seed: int, path: Path | None = None) -> int:
    """Print the false-positive rate of every test; return 1 if one is wrong, else 0."""
    start = time.monotonic()
    say(f"{'test':40} {'draws':>6} {'rate':>6}  {'95 % interval':16} level {LEVEL:g}")
    rates = []
    for name in NULLS:
        rates += judge(name, draws, seed)
    faults = [rate.test for rate in rates if not rate.ok]
    verdict = f"FAULT: {', '.join(faults)}" if faults else f"ok: {len(rates)} tests keep the level"
    say(f"{verdict}; {time.monotonic() - start:.0f} s")
    if path is not None:
        from emt.commands.selftest import write_table

        write_table([asdict(rate) | {"rate": rate.rate, "ok": rate.ok} for rate in rates], path)
    return 1 if faults else 0


def judge(name: str, draws: int, seed: int) -> list[Rate]:
    """Print and return the rates of the tests that one function of `NULLS` runs; those that miss are repeated."""
    first = rates_of(name, range(draws), seed)
    for rate in first:
        say(rate.line("missed: repeated below"), flush=True)
    missed = [rate.test for rate in first if not rate.ok]
    if not missed:
        return first
    again = {rate.test: rate for rate in rates_of(name, range(draws, (1 + AGAIN) * draws), seed)}
    for test in missed:
        say(again[test].line(), flush=True)
    return [again[rate.test] if rate.test in missed else rate for rate in first]


def rates_of(name: str, numbers: range, seed: int, parallel: bool = True) -> list[Rate]:
    """Return the rates of the tests that one function of `NULLS` runs, on the data sets with these numbers."""
    from analysis.parallel import run_parallel

    jobs = [(name, seed, numbers[k : k + CHUNK]) for k in range(0, len(numbers), CHUNK)]
    found = defaultdict(list)
    for one in run_parallel(draw, jobs, name.partition(":")[2].replace("_", " "), parallel):
        for values in one:
            for test, p in values.items():
                found[test].append(p)
    return [rate_of(test, values) for test, values in found.items()]


def draw(job: tuple[str, int, Sequence[int]]) -> list[dict[str, float]]:
    """Return the p-values of some data sets."""
    name, seed, numbers = job
    module, _, function = name.partition(":")
    null = getattr(import_module(f"emt.commands.known_systems.{module}"), function)
    return [null(stream(f"calibration.{function}", seed, "test", number)) for number in numbers]


def rate_of(test: str, p: Sequence[float]) -> Rate:
    """Return how often p-values reject at `LEVEL`, with the exact binomial interval."""
    from scipy.stats import binomtest

    known = [value for value in p if not math.isnan(value)]
    rejections = sum(value <= LEVEL + ROUNDING for value in known)
    low, high = (
        binomtest(rejections, len(known)).proportion_ci(0.95, "exact") if known else (math.nan, math.nan)
    )
    return Rate(test, rejections, len(known), float(low), float(high), len(p) - len(known))

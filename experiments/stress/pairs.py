"""Pairs: two commands write the same folder at the same time."""

import shutil
from dataclasses import dataclass, field
from pathlib import Path

from emt.streams import stream
from experiments.stress.cases import EVALUATE, LIMIT, SUMMARY, Case, Trees, train
from experiments.stress.commands import Ended
from experiments.stress.outcome import FAULTS, Outcome, Trial, Trials
from experiments.stress.results import left_over, results_of


@dataclass
class Pair:
    """Two commands with the same starting tree.

    Attributes
    ----------
    possible
        What may be left: results of either alone, and of one after the other.
    """

    first: Case
    second: Case
    possible: list[dict[str, str]] = field(default_factory=list)

    @property
    def name(self) -> str:
        """Both names."""
        return f"{self.first.name} + {self.second.name}"

    def prepare(self, trees: Trees) -> None:
        """Run them alone and one after the other, once."""
        orders = [(self.first,), (self.second,), (self.first, self.second), (self.second, self.first)]
        for number, order in enumerate(orders if not self.possible else ()):
            place = trees.folder / f"order {number} of {self.name}"
            trees.copy(self.first.tree, place)
            for case in order:
                ended = case.run(place).wait(LIMIT)
                self.first.seconds = max(self.first.seconds, ended.seconds)
            self.possible.append(results_of(place))


PAIRS = (
    (
        Case("embedding", f"analyze embedding --summary_file {SUMMARY}", "evaluated"),
        Case("embedding mds", f"analyze embedding --summary_file {SUMMARY} --method mds", "evaluated"),
    ),
    (Case("evaluate", EVALUATE, "trained"), Case("evaluate again", EVALUATE, "trained")),
    (
        Case("evaluate", EVALUATE, "trained"),
        Case("evaluate length 2", f"{EVALUATE} --seq_length 2 --no_figures", "trained"),
    ),
    (
        Case("train", train("rnn", "--engine local")),
        Case("train shard", train("rnn", "--engine local --shard 1/1")),
    ),
    (
        Case("report", f"analyze report --summary_file {SUMMARY}", "evaluated"),
        Case("evaluate", f"{EVALUATE} --no_figures", "evaluated"),
    ),
)


def pairs() -> list[Pair]:
    """Return all pairs."""
    return [Pair(*both) for both in PAIRS]


def attack_pair(pair: Pair, trees: Trees, count: int, seed: int, folder: Path) -> Trials:
    """Yield what the two do to each other, the second begun at a random moment of the first."""
    for number in range(count):
        pair.prepare(trees)
        place = folder / f"{pair.name} {number}"
        trees.copy(pair.first.tree, place)
        random = stream(f"stress pair {pair.name}", seed, "test", number)
        moment = float(random.uniform(0, pair.first.seconds))
        first = pair.first.run(place)
        first.wait_until(first.began + moment)
        second = pair.second.run(place)
        ends = [second.wait(LIMIT), first.wait(LIMIT)]
        trial = Trial(f"{pair.name} {number} (after {moment:.2f} s)", *_judge(pair, place, ends))
        if trial.outcome not in FAULTS:
            shutil.rmtree(place)
        yield trial


def _judge(pair: Pair, place: Path, ends: list[Ended]) -> tuple[Outcome, str]:
    text = "; ".join(end.text() for end in ends if end.code)
    for end in ends:
        if end.outcome() in FAULTS:
            return end.outcome(), text
    if all(end.code for end in ends):
        return Outcome.TRACEBACK, f"both failed: {text}"
    if (found := results_of(place)) not in pair.possible or left_over(place):
        return (
            Outcome.SILENT,
            f"what is left is the work of neither: {sorted(found)} {left_over(place)} {text}"[:3000],
        )
    return (Outcome.CLEAR if any(end.code for end in ends) else Outcome.SAME), text

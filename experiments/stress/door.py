"""Doors through which a name or a text comes in, and hostile names."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from experiments.stress.outcome import Attack, Outcome, Trials, try_each


@dataclass(frozen=True)
class Door:
    """A place at which the product takes a name or a text and puts it into another language.

    Attributes
    ----------
    name
        Says which, such as "experiment name in a SLURM job".
    enter
        Takes a text and an empty folder to work in. Returns `Outcome.SAME` where the text was carried as a text,
        `Outcome.SILENT` where it took effect, and raises what the product raises.
    """

    name: str
    enter: Callable[[str, Path], Outcome]


def attack_doors(doors: Sequence[Door], texts: Sequence[str], folder: Path, limit: float) -> Trials:
    """Yield what each text at each door comes to."""
    attacks = []
    for place, (door, text) in enumerate((door, text) for door in doors for text in texts):
        own = folder / f"door-{place}"
        own.mkdir(parents=True)
        attacks.append(Attack(f"{door.name} {text!r}", partial(door.enter, text, own)))
    yield from try_each(attacks, limit)

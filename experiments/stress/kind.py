"""Kinds of file that the product reads, and damage to them."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import joblib
from numpy.random import Generator

from emt.streams import stream
from experiments.stress.outcome import FAULTS, Attack, Outcome, Trials, try_each

Mutate = Callable[[bytes, Generator], bytes]


def damage(content: bytes, random: Generator) -> bytes:
    """Return the content with a fault as disks and transfers make them: bits, blocks, an end, an excess."""
    damaged = bytearray(content)
    place = int(random.integers(len(damaged) or 1))
    length = int(random.integers(1, 513))
    match random.integers(6):
        case 0:
            return bytes(damaged[:place])
        case 1:
            damaged[place : place + 1] = bytes(
                [(damaged[place] if damaged else 0) ^ (1 << int(random.integers(8)))]
            )
        case 2:
            damaged[place : place + length] = bytes(len(damaged[place : place + length]))
        case 3:
            damaged[place : place + length] = random.bytes(len(damaged[place : place + length]))
        case 4:
            damaged[place:place] = random.bytes(length)
        case _:
            del damaged[place : place + length]
    return bytes(damaged)


@dataclass(frozen=True)
class Kind:
    """A kind of file.

    Attributes
    ----------
    name
        Says what it is, such as "weights".
    make
        Writes whole files into an empty folder and returns the path of the one to damage.
    read
        Reads that file as the product does and returns what a user would get of it: numbers, text, arrays, lists
        and mappings of these. Raises what the product raises.
    vouched
        Whether another value than that of the whole file is a fault (weights, traces, resume states, caches,
        data sets), or whether a user may edit the file to say something else (JSON, CSV).
    mutate
        Returns content with one fault, drawn from the generator.
    """

    name: str
    make: Callable[[Path], Path]
    read: Callable[[Path], Any]
    vouched: bool = True
    mutate: Mutate = damage


def attack_kind(kind: Kind, count: int, seed: int, folder: Path, limit: float) -> Trials:
    """Yield what reading ``count`` damaged files of a kind comes to; whatever is at fault stays in ``folder/faults``.

    Raises
    ------
    RuntimeError
        If the whole file cannot be read.
    """
    place = folder / kind.name.replace(" ", "_")
    place.mkdir(parents=True)
    path = kind.make(place)
    whole = path.read_bytes()
    first = place / "whole"
    [trial] = try_each([Attack(kind.name, partial(_keep_hash, kind, path, first))], limit * 10)
    if trial.outcome != Outcome.SAME:
        raise RuntimeError(f"{kind.name}: expected the whole file to be read; got {trial.text}")
    expected = first.read_text(encoding="ascii")
    attacks = [
        Attack(
            f"{kind.name} {number}",
            partial(_read_damaged, kind, path, expected, partial(_damaged, kind, whole, seed, number)),
        )
        for number in range(count)
    ]
    for number, trial in enumerate(try_each(attacks, limit)):
        if trial.outcome in FAULTS:
            kept = folder / "faults" / trial.name.replace(" ", "_")
            kept.parent.mkdir(exist_ok=True)
            kept.write_bytes(_damaged(kind, whole, seed, number))
        yield trial
    path.write_bytes(whole)


def _damaged(kind: Kind, whole: bytes, seed: int, number: int) -> bytes:
    random = stream(f"stress {kind.name}", seed, "test", number)
    while (content := kind.mutate(whole, random)) == whole:
        pass
    return content


def _keep_hash(kind: Kind, path: Path, place: Path) -> Outcome:
    place.write_text(joblib.hash(kind.read(path)), encoding="ascii")
    return Outcome.SAME


def _read_damaged(kind: Kind, path: Path, expected: str, content: Callable[[], bytes]) -> Outcome:
    path.write_bytes(content())
    if joblib.hash(kind.read(path)) == expected:
        return Outcome.SAME
    return Outcome.SILENT if kind.vouched else Outcome.LEGAL

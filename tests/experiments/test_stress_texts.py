"""Damaged text files and hostile names: each is the same, a legal edit, or refused in one line."""

import json
from collections import Counter

import numpy as np
import pytest

from emt import files, runs
from experiments.stress.door import Door, attack_doors
from experiments.stress.kind import Kind, attack_kind
from experiments.stress.mutations import mutate_json, mutate_lines, mutate_table
from experiments.stress.names import DOORS, HOSTILE
from experiments.stress.outcome import FAULTS, Outcome
from experiments.stress.texts import KINDS

SLOW_DOORS = ("figure", "page", "experiment name")


def faults(trials):
    return {trial.name: trial.text for trial in trials if trial.outcome in FAULTS}


@pytest.mark.slow
@pytest.mark.parametrize("kind", [pytest.param(kind, id=kind.name) for kind in KINDS])
def test_damage_is_found_or_legal(kind, tmp_path):
    assert faults(attack_kind(kind, 40, 0, tmp_path, 60)) == {}


# Figures say which letters their font lacks, and that a name is wider than they are.
@pytest.mark.filterwarnings("ignore:Glyph", "ignore:.*layout not applied")
@pytest.mark.parametrize(
    "door",
    [
        pytest.param(door, id=door.name, marks=[pytest.mark.slow] * (door.name in SLOW_DOORS))
        for door in DOORS
    ],
)
def test_a_hostile_name_takes_no_effect(door, tmp_path):
    assert len(HOSTILE) >= 100
    names = HOSTILE if door.name in SLOW_DOORS else HOSTILE[::4]
    plain, *trials = attack_doors([door], ["a plain name", *names], tmp_path, 60)
    assert plain.outcome == Outcome.SAME, plain.text
    found = faults(trials)
    assert not found, "\n".join(map(str, found.items()))


def test_an_entry_without_its_hash_would_be_used(tmp_path):
    whole = next(kind for kind in KINDS if kind.name == "entry of a member")
    unchecked = Kind("entry", whole.make, lambda path: files.read_json(path)["entry"], mutate=mutate_json)
    found = Counter(trial.outcome for trial in attack_kind(unchecked, 60, 0, tmp_path, 20))
    assert found[Outcome.SILENT] > 0


def test_a_name_that_is_printed_raw_takes_effect(tmp_path):
    raw = Door("raw", lambda text, folder: Outcome.SAME if text.isprintable() else Outcome.SILENT)
    assert faults(attack_doors([raw], HOSTILE[:1], tmp_path, 20))


@pytest.mark.parametrize(
    ("mutate", "whole"),
    [
        (mutate_json, json.dumps({"a": [1, {"b": 2}], "c": None}).encode()),
        (mutate_table, b"a,b\n1,2\n3,4\n"),
        (mutate_lines, b"1 a b.\n2 c d.\n"),
    ],
)
def test_mutations_are_many_and_the_same_for_the_same_draws(mutate, whole):
    made = [[mutate(whole, np.random.default_rng(seed)) for seed in range(60)] for _ in range(2)]
    assert made[0] == made[1]
    assert len({content for content in made[0] if content != whole}) > 30


def test_the_summary_of_the_attacks_is_one_that_is_read(tmp_path):
    summary = next(kind for kind in KINDS if kind.name == "summary")
    assert len(runs.read_summary(summary.make(tmp_path))["metrics"]) == 4

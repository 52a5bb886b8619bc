"""Damaged weight files of other programs: each is the same, another whole file, or refused in one line."""

from collections import Counter

import pytest

from experiments.stress.kind import attack_kind
from experiments.stress.outcome import FAULTS, Outcome
from experiments.stress.weights import KINDS


@pytest.mark.parametrize("kind", KINDS, ids=[kind.name for kind in KINDS])
def test_damage_ends_in_one_line_or_in_another_whole_file(kind, tmp_path):
    found = Counter(trial.outcome for trial in attack_kind(kind, 20, 0, tmp_path, limit=60))
    assert found.total() == 20
    assert [found[fault] for fault in FAULTS] == [0, 0, 0]
    assert found[Outcome.CLEAR] > 0

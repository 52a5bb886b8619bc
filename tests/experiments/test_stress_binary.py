"""Damaged binary files: each is the same, or refused in one line."""

import dataclasses
from collections import Counter

import pytest
import safetensors.numpy
from safetensors import SafetensorError

from emt.errors import UserError
from experiments.stress.binary import KINDS
from experiments.stress.kind import attack_kind
from experiments.stress.outcome import FAULTS, Outcome


def outcomes(kind, count, folder):
    return Counter(trial.outcome for trial in attack_kind(kind, count, 0, folder, limit=60))


@pytest.mark.parametrize(
    "kind",
    [pytest.param(kind, id=kind.name, marks=[] if kind.vouched else pytest.mark.slow) for kind in KINDS],
)
def test_damage_is_found(kind, tmp_path):
    found = outcomes(kind, 20, tmp_path)
    assert found.total() == 20
    assert [found[fault] for fault in FAULTS] == [0, 0, 0]


def test_without_a_checksum_it_is_not_found(tmp_path):
    def unchecked(path):
        try:
            return safetensors.numpy.load(path.read_bytes())
        except SafetensorError as error:
            raise UserError(str(error)) from None

    kind = next(kind for kind in KINDS if kind.name == "weights after a step")
    assert outcomes(dataclasses.replace(kind, read=unchecked), 20, tmp_path)[Outcome.SILENT] > 0

"""What the figures of one member show."""

from dataclasses import replace

import numpy as np
import pytest

from analysis.errors import AnalysisError
from analysis.evaluation.inspection import inspect_member
from analysis.variables.companion import companion_eigenvalues


def repeat_copy(length, width):
    operator = np.zeros((length * width, width))
    operator[range(width), range(width)] = 1
    return operator


def test_the_four_subspaces_of_an_exact_solution_coincide(plant):
    member = plant(units=29, length=4, width=3, batch=9, horizon=17)
    (at,) = inspect_member(member, {4: repeat_copy(4, 3)}).lengths
    assert list(at.overlap) == list(at.overlap.index) == ["invariant", "singular", "principal", "variables"]
    assert np.allclose(at.overlap, 1)


def test_a_strong_block_outside_parts_the_singular_subspace_from_the_others(plant):
    member = plant(units=29, length=4, width=3, batch=9, horizon=17)
    rows = np.linalg.svd(member.recurrent)[0][:, 12:]
    strong = member.recurrent + rows @ np.triu(np.full((17, 17), 2.0), 1) @ rows.T
    (at,) = inspect_member(replace(member, recurrent=strong), {4: repeat_copy(4, 3)}).lengths
    assert at.overlap.loc["invariant", "variables"] == pytest.approx(1)
    assert at.overlap.loc["singular", "variables"] < 0.8


def test_each_length_has_its_own_theory(plant):
    member = plant(units=29, length=4, width=3, noise=0.1)
    inspection = inspect_member(member, {s: repeat_copy(s, 3) for s in (5, 3, 4)})
    assert [at.length for at in inspection.lengths] == [3, 4, 5]
    for at in inspection.lengths:
        assert len(at.eigenvalues) == 3 * at.length
        assert np.allclose(at.theory, companion_eigenvalues(at.companion))
        assert np.allclose(np.abs(at.eigenvalues), np.abs(inspection.spectrum[: len(at.eigenvalues)]))
        assert len(at.modes) == 3 * at.length
    assert inspection.activity_shares.sum() == pytest.approx(1)


def test_without_a_theory_the_whole_spectrum_is_shown(plant):
    member = plant(units=24, length=3, width=2)
    inspection = inspect_member(replace(member, recurrent=None, jacobian=member.recurrent), {}, lengths=[3])
    (at,) = inspection.lengths
    assert at.theory is at.companion is at.variables is None
    assert len(at.eigenvalues) == 24
    assert at.overlap.empty
    assert not len(at.modes)


def test_a_jacobian_has_no_readout_of_its_own(plant):
    member = plant(units=24, length=3, width=2)
    whole = replace(member, recurrent=None, jacobian=member.recurrent, hidden=member.hidden[..., :12])
    (at,) = inspect_member(whole, {3: repeat_copy(3, 2)}).lengths
    assert list(at.overlap) == ["invariant", "singular"]
    assert at.variables is None


@pytest.mark.parametrize(("field", "name"), [("hidden", "states"), ("readout", "readout weights")])
def test_what_is_not_finite_is_named(plant, field, name):
    member = plant()
    broken = np.array(getattr(member, field))
    broken[1, 1] = np.nan
    with pytest.raises(AnalysisError, match=f"model-3: expected finite {name}; got NaN or infinity"):
        inspect_member(replace(member, **{field: broken}), {3: repeat_copy(3, 2)})

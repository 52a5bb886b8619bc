"""Similarity of hidden states: copies, rotated and shuffled ones, and a twin that takes pairs one by one."""

import dataclasses
import itertools
import json
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import xarray as xr
from scipy import stats
from scipy.spatial.distance import pdist

from analysis.cache import cached_in
from analysis.errors import AnalysisError
from analysis.figures.states.similarity import draw
from analysis.states.similarity import compare_states, dynamical_distances, state_distances
from analysis.states.state_distances import unit_states
from emt import trace

MEASURES = ("cka", "cka_unbiased", "procrustes", "rsa")


def rotation(size, seed):
    return np.linalg.qr(np.random.default_rng(seed).normal(size=(size, size)))[0]


def runs_of(members, noise=0.5, sequences=4, steps=11, units=6, seed=0):
    """Return states (sequence, time, unit) of members that share a part, each in a basis of its own."""
    rng = np.random.default_rng(seed)
    shared = rng.normal(size=(sequences, steps, units)) * np.linspace(2, 0.5, units)
    return [shared @ rotation(units, 7 + i) + noise * rng.normal(size=shared.shape) for i in range(members)]


@pytest.fixture
def make_runs(make_recording):
    """Return a function that makes a trace with given hidden states, one (sequence, time, unit) for each member."""

    def make(runs, inputs=0, seeds=()):
        recording = make_recording(members=len(runs), trials=len(runs[0]))
        hidden = np.stack(runs)
        hidden.setflags(write=False)
        seen = np.random.default_rng(inputs).normal(size=recording["inputs"].shape)
        recording.attrs["about"] = json.dumps({"seeds": list(seeds)})
        return recording.assign(
            hidden=xr.Variable(("member", "batch", "time", "unit"), hidden),
            inputs=xr.Variable(("batch", "time", "channel"), seen),
        )

    return make


def one_step(runs):
    """Return a trace of the first step of runs (sequence, time, unit), without inputs."""
    hidden = np.stack(runs)[:, :, :1]
    nothing = np.zeros((*hidden.shape[1:3], 2))
    variables = {
        "inputs": (("batch", "time", "channel"), nothing),
        "targets": (("batch", "time", "target"), nothing),
        "scored": (("batch", "time"), nothing[..., 0]),
        "outputs": (("member", "batch", "time", "output"), hidden[..., :1]),
        "hidden": (("member", "batch", "time", "unit"), hidden),
    }
    return trace.make(variables, list(range(1, len(hidden) + 1)), {})


def distances_of(runs):
    return state_distances(unit_states(runs, [str(i) for i in range(len(runs))]))


def test_a_rotated_shifted_scaled_copy_is_at_distance_zero_and_a_shuffled_one_is_not():
    (run,) = runs_of(1)
    copy = 3 * run @ rotation(6, 1) + np.arange(6)
    shuffled = np.random.default_rng(2).permutation(run.reshape(-1, 6)).reshape(run.shape)
    for measure, matrix in distances_of([run, copy, shuffled]).items():
        assert matrix[0, 1] == pytest.approx(0.0, abs=1e-6), measure
        assert matrix[0, 2] > 0.5, measure
        assert (np.diag(matrix) == 0).all()


def ranks_one_by_one(values):
    """Return mean ranks of values, neighbours in order being ties where they differ by 1e-6 of the largest."""
    order = sorted(range(len(values)), key=lambda k: values[k])
    groups = [[order[0]]]
    for k in order[1:]:
        if values[k] - values[groups[-1][-1]] > 1e-6 * max(values):
            groups.append([])
        groups[-1].append(k)
    found, before = np.zeros(len(values)), 0
    for group in groups:
        found[group] = before + (len(group) + 1) / 2
        before += len(group)
    return found


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_rotated_copy_of_states_with_tied_distances_is_at_distance_zero(make_runs, dtype):
    """Distances of ±1 vectors of 8 units are 2 √k, k = 1 … 8: rotation keeps them, but for rounding of its own."""
    vertices = np.random.default_rng(0).choice([-1.0, 1.0], (25, 11, 8))
    runs = [vertices.astype(dtype), (vertices @ rotation(8, 1)).astype(dtype)]
    assert compare_states({"a": make_runs(runs)}).distances["rsa"][0, 1] < 1e-6
    exact = (stats.spearmanr(*(pdist(run.reshape(-1, 8).astype(float)) for run in runs))[0],)
    assert np.arccos(min(*exact, 1.0)) > 0.1  # ranks without ties


def hsic(X, Y):
    """Return HSIC_1 as in Song et al. (2007, eq. 5), from matrices without their diagonals."""
    n, ones = len(X), np.ones(len(X))
    K, L = (x @ x.T * (1 - np.eye(n)) for x in (X, Y))
    terms = np.trace(K @ L) + (ones @ K @ ones) * (ones @ L @ ones) / ((n - 1) * (n - 2))
    return (terms - 2 / (n - 2) * (ones @ K @ L @ ones)) / (n * (n - 3))


def test_all_pairs_are_those_taken_one_by_one():
    runs = [*runs_of(3), runs_of(1, units=4, seed=5)[0]]  # the last has other units
    matrices = distances_of(runs)
    for i, j in itertools.combinations(range(4), 2):
        X, Y = (run.reshape(-1, run.shape[-1]) for run in (runs[i], runs[j]))
        X, Y = X - X.mean(axis=0), Y - Y.mean(axis=0)
        cka = np.linalg.norm(X.T @ Y) ** 2 / (np.linalg.norm(X.T @ X) * np.linalg.norm(Y.T @ Y))
        unbiased = hsic(X, Y) / np.sqrt(hsic(X, X) * hsic(Y, Y))
        procrustes = np.linalg.norm(X.T @ Y, "nuc") / (np.linalg.norm(X) * np.linalg.norm(Y))
        rsa = np.corrcoef(*(ranks_one_by_one(pdist(states)) for states in (X, Y)))[0, 1]
        for measure, expected in zip(MEASURES, (cka, unbiased, procrustes, rsa), strict=True):
            assert matrices[measure][i, j] == pytest.approx(np.arccos(expected), abs=1e-7), measure
            assert matrices[measure][j, i] == matrices[measure][i, j]


def test_the_angle_of_procrustes_is_that_of_scipy():
    from scipy.spatial import procrustes

    X, Y = (run.reshape(-1, 6) for run in runs_of(2))
    disparity = procrustes(X, Y)[2]  # 1 - cos²
    assert distances_of(runs_of(2))["procrustes"][0, 1] == pytest.approx(np.arcsin(np.sqrt(disparity)))


def test_members_are_compared_within_and_between_experiments(make_runs):
    first, second = make_runs(runs_of(5, noise=0.2)), make_runs(runs_of(4, noise=0.2, seed=9))
    result = compare_states({"one": first, "two": second})
    assert result.sizes == {"one": 5, "two": 4}
    assert result.members.index[5] == ("two", "model-1")
    for measure, matrix in result.distances.items():
        rows = result.sets.loc[measure]
        within = matrix[:5, :5][np.triu_indices(5, 1)]
        assert rows.loc[("one", "one"), "mean_distance"] == pytest.approx(within.mean())
        between = rows.loc[("one", "two")]
        assert between["mean_distance"] == pytest.approx(matrix[:5, 5:].mean())
        assert between["mean_distance"] > within.mean()
        assert between["p"] < 0.01
        assert between[["n_a", "n_b"]].tolist() == [5, 4]
        assert result.members[measure].iloc[0] == pytest.approx(matrix[0, 1:5].mean())
        assert result.shuffled[measure] > within.mean()
    assert set(result.arrays()) == {f"similarity_{m}" for m in MEASURES}
    table = result.tables()["similarity_sets"].loc["cka"]
    pairs = {("one", "one"): 10, ("one", "two"): 20, ("two", "two"): 6}
    mean = sum(n * table.loc[key, "shuffled"] for key, n in pairs.items()) / 36
    assert result.shuffled["cka"] == pytest.approx(mean)
    assert result.headline().startswith("one (n = 5), two (n = 4); 44 states of hidden.")


def test_where_rsa_sees_fewer_states_they_are_counted(make_runs):
    for sequences, counted in (
        (23, "253 states of hidden."),
        (24, "264 states (rsa: 256 of them) of hidden."),
    ):
        result = compare_states({"one": make_runs(runs_of(3, sequences=sequences))})
        assert result.headline().startswith(f"one (n = 3); {counted}")
        caption = dict(draw(result))["similarity_distances"].get_suptitle()
        assert caption.replace("\n", " ") == f"one (n = 3); {counted[:-1]}"


def test_sets_of_one_origin_are_not_told_apart(make_runs):
    runs = runs_of(10, seed=3)
    result = compare_states({"one": make_runs(runs[:5]), "two": make_runs(runs[5:])})
    assert (result.sets["p"].dropna() > 0.05).all()


def test_members_of_one_seed_are_compared_with_each_other(make_runs):
    runs = runs_of(9, seed=3)
    noise = np.random.default_rng(1).normal(size=runs[0].shape)
    noisier = [run + 0.3 * noise for run in runs]
    first, second = make_runs(runs, seeds=range(9)), make_runs(noisier[::-1], seeds=range(8, -1, -1))
    apart, paired = (compare_states({"one": first, "two": second}, paired=p).sets for p in (False, True))
    row = apart.loc[("cka", "one", "two")], paired.loc[("cka", "one", "two")]
    assert row[1]["p"] == row[1]["smallest_p"] < row[0]["p"]
    assert paired.loc[("cka", "one", "one"), "n_a"] == 9
    fewer = compare_states({"one": first, "two": make_runs(noisier[:8], seeds=range(1, 9))}, paired=True).sets
    assert fewer.loc[("rsa", "one", "two"), ["n_a", "n_b"]].tolist() == [8, 8]
    with pytest.raises(AnalysisError, match=r"members of two with a seed each; got seed 3 \(9 times\)"):
        compare_states({"one": first, "two": make_runs(noisier, seeds=[3] * 9)}, paired=True)
    with pytest.raises(
        AnalysisError, match="paired: expected experiments with seeds in common; one and two have none"
    ):
        compare_states({"one": first, "two": make_runs(noisier, seeds=range(9, 18))}, paired=True)


def test_measures_that_disagree_are_named(make_runs):
    recording = make_runs(runs_of(6))
    strict, lenient = (compare_states({"a": recording}, bar=bar) for bar in (1.0, -1.0))
    disagree = strict.headline().split("Measures disagree (rank correlation below 1): ")[1]
    assert "cka and rsa (" in disagree
    assert "The measures agree" in lenient.headline()
    # The two forms of CKA may order these members alike, up to rounding.
    assert not strict.agreement["agree"].drop(index=("cka", "cka_unbiased")).any()
    upper = np.triu_indices(6, 1)
    expected = stats.spearmanr(strict.distances["cka"][upper], strict.distances["rsa"][upper])[0]
    assert strict.agreement.loc[("cka", "rsa"), "rank_correlation"] == pytest.approx(expected)
    assert (strict.agreement["n"] == 6).all()


def test_measures_look_at_different_things(make_runs):
    """Members that are noisy in the strongest direction are calm in the weak ones: CKA sees the first only."""
    rng = np.random.default_rng(0)
    base = rng.normal(size=(20, 11, 31))
    runs = []
    for strong in np.linspace(0, 1, 8):
        run, noise = base.copy(), rng.normal(size=base.shape)
        run[..., 0] = 6 * (run[..., 0] + 0.2 * strong * noise[..., 0])
        run[..., 1:] += 0.7 * (1 - strong) * noise[..., 1:]
        runs.append(run)
    result = compare_states({"a": make_runs(runs)})
    assert result.agreement.loc[("cka", "procrustes"), "rank_correlation"] < 0
    assert "Measures disagree (rank correlation below 0.7): cka and procrustes" in result.headline()


def test_pairs_of_measures_whose_agreement_is_undefined_are_counted_and_named(make_runs):
    result = compare_states({"a": make_runs(runs_of(6))}, bar=-1.0)
    unknown = result.agreement.assign(rank_correlation=[0.9, *[np.nan] * 5])
    headline = dataclasses.replace(result, agreement=unknown).headline()
    assert "The measures agree" not in headline
    assert "These agree (rank correlation at least -1): cka and cka_unbiased." in headline
    assert "Undefined for 5 of 6 pairs: cka and procrustes, cka and rsa, " in headline


def test_two_members_have_no_agreement(make_runs):
    result = compare_states({"a": make_runs(runs_of(2))})
    assert result.agreement["rank_correlation"].isna().all()
    with pytest.raises(AnalysisError, match="at least two members to compare; got 1"):
        compare_states({"a": make_runs(runs_of(1))})


def test_experiments_on_other_inputs_are_refused_with_the_reason(make_runs):
    recording = make_runs(runs_of(2))
    with pytest.raises(
        AnalysisError, match=r"the same inputs.*inputs of 'a' and 'b' differ \(other values\)"
    ):
        compare_states({"a": recording, "b": make_runs(runs_of(2), inputs=1)})
    with pytest.raises(AnalysisError, match=r"sizes \(4, 11, 2\) and \(3, 11, 2\)"):
        compare_states({"a": recording, "b": make_runs(runs_of(2, sequences=3))})
    acted = recording.assign(inputs=recording["inputs"].expand_dims(member=recording["member"]))
    with pytest.raises(AnalysisError, match="a: expected one batch that all members saw; their own actions"):
        compare_states({"a": acted})


@pytest.mark.parametrize("value", [2.0, np.nan])
def test_states_that_do_not_vary_are_refused(make_runs, value):
    runs = runs_of(2)
    runs[1] = np.full_like(runs[1], value)
    with pytest.raises(AnalysisError, match="a, model-3: expected hidden states that vary and are finite"):
        compare_states({"a": make_runs(runs)})
    with pytest.raises(AnalysisError, match="bar: must be a correlation"):
        compare_states({"a": make_runs(runs)}, bar=2.0)


def test_dynamical_similarity_asks_for_its_package(make_runs, monkeypatch):
    monkeypatch.setitem(sys.modules, "DSA", None)
    with pytest.raises(AnalysisError, match=r"dynamical: expected the package dsa-metric"):
        compare_states({"a": make_runs(runs_of(3))}, dynamical=True)


def test_dynamical_similarity_is_one_more_measure(make_runs, monkeypatch):
    given = {}

    class Stub:
        def __init__(self, runs, other=None, **options):
            given.update(options, shapes=[run.shape for run in runs])

        def fit_score(self):
            return np.abs(np.subtract.outer(np.arange(3), np.arange(3)))

    monkeypatch.setitem(sys.modules, "DSA", SimpleNamespace(DSA=Stub))
    recording = make_runs(runs_of(3))
    recording = recording.assign(inputs=xr.zeros_like(recording["inputs"]))
    result = compare_states({"a": recording}, dynamical=True)
    assert given == {
        "n_delays": 1,
        "rank": [6, 6, 6],
        "score_method": "wasserstein",
        "shapes": [(4, 11, 6)] * 3,
    }
    assert result.distances["dsa"][0, 2] == 2
    assert ("rsa", "dsa") in result.agreement.index
    assert "dsa" not in result.shuffled
    assert result.headline().startswith("a (n = 3); 44 states of hidden; dsa of rank 6.")


def test_where_inputs_vary_dynamics_are_also_compared_beside_them(make_runs):
    pytest.importorskip("DSA")
    result = compare_states({"a": make_runs(runs_of(3, sequences=9))}, dynamical=True)
    assert list(result.distances)[-2:] == ["dsa", "input_dsa"]
    assert result.dynamics == "dsa of rank 6, input_dsa with 2 input dimensions"
    assert result.dynamics in dict(draw(result))["similarity_distances"].get_suptitle().replace("\n", " ")


def test_a_linear_model_that_steps_are_too_few_for_is_refused_and_the_rest_is_not(make_runs):
    pytest.importorskip("DSA")
    result = compare_states({"a": one_step(runs_of(3, sequences=20))}, dynamical=True)
    assert "dsa" not in result.distances
    assert "No dsa: a, model-1: expected at least 2 steps of 20 trials" in result.headline()
    assert "expected at least 2 steps" in dict(draw(result))["similarity_distances"].get_suptitle()


def test_the_whole_state_is_compared_unless_one_variable_is_asked_for(make_runs):
    """Members with one hidden state and cells of their own are copies only where cells do not count."""
    (run,) = runs_of(1)
    recording = make_runs([run @ rotation(6, k) for k in range(3)])
    cells = np.random.default_rng(4).normal(size=(3, 4, 11, 5))
    recording = recording.assign(cell=xr.Variable(("member", "batch", "time", "cell_unit"), cells))
    recording.attrs["about"] = json.dumps({"states": ["hidden", "cell"]})
    whole, part = (compare_states({"a": recording}, variable=name) for name in ("", "hidden"))
    for measure, matrix in whole.distances.items():
        assert matrix[0, 1] > 0.1, measure
        assert part.distances[measure][0, 1] == pytest.approx(0.0, abs=1e-6), measure
    assert "44 states of the whole state (hidden, cell)." in whole.headline()
    assert "44 states of hidden." in part.headline()
    assert "the whole state (hidden, cell)" in dict(draw(whole))["similarity_distances"].get_suptitle()
    with pytest.raises(
        AnalysisError, match="variable: expected one of hidden, cell, the state of a; got 'gate'"
    ):
        compare_states({"a": recording}, variable="gate")


def test_noise_is_called_as_far_as_unrelated_states_and_related_states_are_not(make_runs):
    """What the cases of one control for all sets printed: .628 beside 1.459 and p = 2e-4 for 60 states of noise."""
    rng = np.random.default_rng(0)
    small, large = (list(rng.normal(size=(n, 60, 1, units))) for n, units in ((12, 8), (10, 100)))
    sets = {"small": one_step(small), "large": one_step(large)}
    result, swapped = compare_states(sets), compare_states(dict(reversed(sets.items())))
    alone = compare_states({"large": sets["large"]})
    for measure in MEASURES:
        row, other = (
            result.sets.loc[(measure, "large", "large")],
            swapped.sets.loc[(measure, "large", "large")],
        )
        assert row["shuffled"] == pytest.approx(other["shuffled"]) == pytest.approx(alone.shuffled[measure])
        assert row["mean_distance"] == pytest.approx(row["shuffled"], abs=0.05)
        assert row["p_unrelated"] == pytest.approx(other["p_unrelated"])
        assert result.sets.loc[(measure, "small", "large"), "p"] > 0.05
    assert alone.headline().count("as far as unrelated states") == 4
    related = compare_states({"a": make_runs(runs_of(10, sequences=9))})
    assert "as far as unrelated states" not in related.headline()
    assert (related.sets["p_unrelated"] <= 0.05).all()
    assert "(shuffled 1.5" in related.headline()


def test_dynamics_of_a_rotated_copy_are_alike_and_shuffled_ones_are_not():
    pytest.importorskip("DSA")
    (run,) = runs_of(1)
    run = run.cumsum(axis=1)
    shuffled = np.random.default_rng(2).permuted(run, axis=1)
    copies = [run, run @ rotation(6, 1), run + np.arange(6), shuffled]
    distances = dynamical_distances(copies)
    assert distances[0, 1:3] == pytest.approx(0.0, abs=1e-3)
    assert distances[0, 3] > 1e-2
    np.testing.assert_allclose(distances, distances.T)


def test_dynamics_of_one_more_member_cost_its_own_pairs(monkeypatch, tmp_path):
    asked = []

    class Stub:
        def __init__(self, runs, other=None, **options):
            self.sides = runs, runs if other is None else other

        def fit_score(self):
            first, second = ([run[0, 0, 0] for run in side] for side in self.sides)
            asked.append(tuple(map(len, self.sides)))
            return np.squeeze(np.abs(np.subtract.outer(first, second)))

    monkeypatch.setitem(sys.modules, "DSA", SimpleNamespace(DSA=Stub))
    runs = runs_of(5)
    with cached_in(tmp_path):
        dynamical_distances([runs[k] for k in (0, 1, 3)])
        dynamical_distances([runs[k] for k in (0, 1, 3)])
        more = dynamical_distances(runs[:4])
    alone = dynamical_distances(runs[:4])
    assert asked == [(3, 3), (1, 4), (4, 4)]
    np.testing.assert_array_equal(more, alone)
    assert (more == 0).sum() == 4

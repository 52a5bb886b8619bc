import numpy as np
import pytest
from sklearn.covariance import ledoit_wolf_shrinkage
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from analysis.conditions.discriminant import discriminants, shrinkage, whiten


def drawn(n, units, classes, seed=0):
    rng = np.random.default_rng(seed)
    # Unequal classes, correlated units of different scales, means that differ.
    labels = np.sort(
        rng.choice(classes, size=n, p=np.arange(1, classes + 1) / np.arange(1, classes + 1).sum())
    )
    states = rng.normal(size=(n, units)) @ rng.normal(size=(units, units)) * np.geomspace(0.1, 10, units)
    return states + labels[:, None] * rng.normal(size=units) + 5, labels, rng.normal(size=(9, units)) * 4 + 5


def within_classes(z, labels):
    means = np.stack([z[labels == c].mean(axis=0) for c in np.unique(labels)])
    return means, (z - means[labels]).T @ (z - means[labels]) / len(z)


def ridge_of(z):
    rho = shrinkage(z)
    return rho / (1 - rho) * np.mean(np.sum(z**2, axis=0)) / len(z)


@pytest.mark.parametrize(("n", "units", "classes"), [(60, 7, 2), (100, 12, 3), (90, 5, 4), (40, 60, 3)])
class TestDiscriminants:
    def test_equal_the_formula_of_linear_discriminants_with_equal_priors(self, n, units, classes):
        states, labels, others = drawn(n, units, classes)
        space = whiten(states)
        weights, offsets = discriminants(space.train, labels[None], classes)
        got = space.of(others) @ weights[0].T + offsets[0]
        z, tested = ((x - space.mean) / space.scale for x in (states, others))
        means, within = within_classes(z, labels)
        inverse = np.linalg.inv(within + ridge_of(z) * np.eye(units))
        expected = tested @ inverse @ means.T - 0.5 * np.diag(means @ inverse @ means.T)
        # What all classes have in common decides nothing.
        np.testing.assert_allclose(got - got[:, :1], expected - expected[:, :1], rtol=1e-9, atol=1e-10)

    def test_equal_scikit_learn(self, n, units, classes):
        states, labels, others = drawn(n, units, classes)
        space = whiten(states)
        weights, offsets = discriminants(space.train, labels[None], classes)
        got = space.of(others) @ weights[0].T + offsets[0]
        z, tested = ((x - space.mean) / space.scale for x in (states, others))
        _, within = within_classes(z, labels)
        variance, ridge = np.trace(within) / units, ridge_of(z)
        peer = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=ridge / (variance + ridge)).fit(z, labels)
        scores = peer.decision_function(tested) * variance / (variance + ridge)
        priors = np.log(peer.priors_) * variance / (variance + ridge)
        if classes == 2:
            np.testing.assert_allclose(got[:, 1] - got[:, 0], scores - priors[1] + priors[0], atol=1e-9)
        else:
            expected = scores - priors
            np.testing.assert_allclose(got - got[:, :1], expected - expected[:, :1], atol=1e-9)

    def test_shrinkage_is_that_of_ledoit_and_wolf(self, n, units, classes):
        states, _, _ = drawn(n, units, classes)
        z = states - states.mean(axis=0)
        assert shrinkage(z) == pytest.approx(ledoit_wolf_shrinkage(z, assume_centered=True), rel=1e-9)


def test_labellings_are_independent_of_each_other():
    states, labels, _ = drawn(60, 7, 3)
    space = whiten(states)
    several = np.stack([labels, np.random.default_rng(1).permutation(labels)])
    weights, offsets = discriminants(space.train, several, 3)
    for place in range(2):
        alone = discriminants(space.train, several[place : place + 1], 3)
        np.testing.assert_allclose(weights[place], alone[0][0], atol=1e-12)
        np.testing.assert_allclose(offsets[place], alone[1][0], atol=1e-12)
    assert not np.allclose(weights[0], weights[1])


def test_states_that_do_not_vary_are_no_error():
    space = whiten(np.ones((10, 4)))
    assert np.isfinite(space.of(np.zeros((3, 4)))).all()

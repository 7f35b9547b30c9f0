"""The logistic regression: scikit-learn's optimum, at every strength, separable or not."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from probes.logistic import LogisticFits


def _cloud(shift, n=300, d=20):
    rng = np.random.default_rng(0)
    positive = np.arange(n) % 2 == 1
    x = rng.normal(size=(n, d)) * rng.uniform(0.1, 5, d) + 3
    x[positive, :3] += shift
    return x, positive


def _loss(x, positive, direction, offset, strength):
    """C sum log(1 + exp(-y f)) + |w|^2 / 2 with w in standardised coordinates."""
    margin = np.where(positive, 1.0, -1.0) * (x @ direction + offset)
    return strength * np.logaddexp(0, -margin).sum() + 0.5 * np.sum((direction * x.std(axis=0)) ** 2)


@pytest.mark.parametrize("strength", [0.001, 0.1, 10.0])
def test_the_fit_is_scikit_learn_s(strength):
    x, positive = _cloud(0.5)
    middle, scale = x.mean(axis=0), x.std(axis=0)

    direction, offset = LogisticFits(x, positive).fit(strength)

    model = LogisticRegression(C=strength, solver="newton-cholesky", tol=1e-10).fit((x - middle) / scale, positive)
    np.testing.assert_allclose(direction * scale, model.coef_[0], atol=1e-4)
    assert offset + direction @ middle == pytest.approx(model.intercept_[0], abs=1e-4)


@pytest.mark.parametrize("strength", [0.001, 1.0, 100.0])
def test_where_the_classes_come_apart_the_loss_is_no_greater_than_scikit_learn_s(strength):
    x, positive = _cloud(30)
    middle, scale = x.mean(axis=0), x.std(axis=0)

    direction, offset = LogisticFits(x, positive).fit(strength)

    model = LogisticRegression(C=strength, solver="newton-cholesky", tol=1e-8, max_iter=500).fit((x - middle) / scale, positive)
    theirs = model.coef_[0] / scale
    least = _loss(x, positive, theirs, model.intercept_[0] - theirs @ middle, strength)
    assert _loss(x, positive, direction, offset, strength) <= least * (1 + 1e-4)


def test_the_order_of_strengths_does_not_matter():
    """Each fit starts from the one before; all end at the one optimum."""
    x, positive = _cloud(0.5)
    up, down = LogisticFits(x, positive), LogisticFits(x, positive)

    forth = {strength: up.fit(strength)[0] for strength in (0.001, 0.1, 1.0)}
    back = {strength: down.fit(strength)[0] for strength in (1.0, 0.1, 0.001)}

    for strength, direction in forth.items():
        np.testing.assert_allclose(direction, back[strength], atol=1e-4)


def test_a_constant_coordinate_gets_no_weight():
    x, positive = _cloud(0.5)

    direction, _ = LogisticFits(np.concatenate([x, np.ones((len(x), 1))], axis=1), positive).fit(1.0)

    assert np.isfinite(direction).all()
    assert direction[-1] == pytest.approx(0.0, abs=1e-6)


def test_single_precision_gives_the_same_scores():
    x, positive = _cloud(0.5)

    exact, rounded = (LogisticFits(x.astype(kind), positive).fit(0.1) for kind in (np.float64, np.float32))

    np.testing.assert_allclose(x @ rounded[0] + rounded[1], x @ exact[0] + exact[1], atol=1e-3)

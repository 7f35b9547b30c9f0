"""The logistic regressions: scikit-learn's optimum, at every strength and on every training set, separable or not."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from probes.stats.logistic import LogisticFits


def _cloud(shift, n=300, d=20):
    rng = np.random.default_rng(0)
    positive = np.arange(n) % 2 == 1
    x = rng.normal(size=(n, d)) * rng.uniform(0.1, 5, d) + 3
    x[positive, :3] += shift
    return x, positive


def remove_class_means(x, labels, train):
    """Subtract from each row the mean of its class over the training rows, or that of all of them where its class has none."""
    of = {label: x[train & (labels == label)] for label in np.unique(labels)}
    return x - np.stack([(of[label] if len(of[label]) else x[train]).mean(axis=0) for label in labels])


def _fit(x, positive, strength):
    models = LogisticFits(x, positive).fit([0], [strength])
    return models.directions[0], models.offsets[0]


def _loss(x, positive, direction, offset, strength):
    """C sum log(1 + exp(-y f)) + |w|^2 / 2 with w in standardised coordinates."""
    margin = np.where(positive, 1.0, -1.0) * (x @ direction + offset)
    return strength * np.logaddexp(0, -margin).sum() + 0.5 * np.sum((direction * x.std(axis=0)) ** 2)


@pytest.mark.parametrize("strength", [0.001, 0.1, 10.0])
def test_the_fit_is_scikit_learn_s(strength):
    x, positive = _cloud(0.5)
    middle, scale = x.mean(axis=0), x.std(axis=0)

    direction, offset = _fit(x, positive, strength)

    model = LogisticRegression(C=strength, solver="newton-cholesky", tol=1e-10).fit((x - middle) / scale, positive)
    np.testing.assert_allclose(direction * scale, model.coef_[0], atol=1e-4)
    assert offset + direction @ middle == pytest.approx(model.intercept_[0], abs=1e-4)


@pytest.mark.parametrize("strength", [0.001, 1.0, 100.0])
def test_where_the_classes_come_apart_the_loss_is_no_greater_than_scikit_learn_s(strength):
    x, positive = _cloud(30)
    middle, scale = x.mean(axis=0), x.std(axis=0)

    direction, offset = _fit(x, positive, strength)

    model = LogisticRegression(C=strength, solver="newton-cholesky", tol=1e-8, max_iter=500).fit((x - middle) / scale, positive)
    theirs = model.coef_[0] / scale
    least = _loss(x, positive, theirs, model.intercept_[0] - theirs @ middle, strength)
    assert _loss(x, positive, direction, offset, strength) <= least * (1 + 1e-4)


@pytest.mark.parametrize("by_class", [False, True])
def test_models_fitted_together_are_those_fitted_alone(by_class):
    """Each on its own training set, its own class means and its own standardisation, though products and curvature are shared."""
    x, positive = _cloud(0.7)
    labels = np.arange(len(x)) // 2 % 3
    x += labels[:, None] * np.linspace(0, 3, x.shape[1])
    fold = np.arange(len(x)) // 6 % 3
    kept = np.array([[False, True, True], [True, False, True], [True, False, False]])
    sets, strengths = [0, 1, 2, 2, 0], [0.1, 1.0, 0.01, 10.0, 10.0]

    models = LogisticFits(x, positive, fold=fold, kept=kept, within=labels if by_class else None).fit(sets, strengths)

    for number, (chosen, strength) in enumerate(zip(sets, strengths, strict=True)):
        train = kept[chosen][fold]
        features = remove_class_means(x, labels, train) if by_class else x
        middle, scale = features[train].mean(axis=0), features[train].std(axis=0)
        alone = LogisticRegression(C=strength, solver="newton-cholesky", tol=1e-10).fit((features[train] - middle) / scale, positive[train])
        expected = alone.decision_function((features - middle) / scale)
        np.testing.assert_allclose(models.scores[:, number], expected, atol=2e-4)
        np.testing.assert_allclose(features @ models.directions[number] + models.offsets[number], expected, atol=2e-4)


def test_an_image_of_a_class_that_was_not_learnt_from_counts_from_the_mean_of_all():
    x, positive = _cloud(0.5)
    labels = np.arange(len(x)) // 100
    train = labels > 0

    fits = LogisticFits(x, positive, fold=1 - train, kept=np.array([[True, False]]), within=labels)
    models = fits.fit([0], [1.0])

    expected = remove_class_means(x, labels, train) @ models.directions[0] + models.offsets[0]
    np.testing.assert_allclose(models.scores[:, 0], expected, atol=1e-9)


def test_where_fits_start_does_not_matter():
    x, positive = _cloud(0.5)
    fits = LogisticFits(x, positive)

    models = fits.fit([0, 0, 0], [0.001, 0.1, 1.0])
    again = fits.fit([0, 0, 0], [0.001, 0.1, 1.0], models.start[::-1])

    np.testing.assert_allclose(again.directions, models.directions, atol=1e-4)


@pytest.mark.parametrize("labels", [None, np.arange(300) // 2 % 3])
def test_a_coordinate_that_is_constant_where_it_is_compared_gets_no_weight(labels):
    x, positive = _cloud(0.5)
    constant = np.ones(len(x)) if labels is None else 0.1 + labels / 7

    fits = LogisticFits(np.column_stack([x, constant]), positive, within=labels)
    models = fits.fit([0], [1.0])

    assert np.isfinite(models.directions).all()
    assert models.directions[0, -1] == pytest.approx(0.0, abs=1e-6)


def test_single_precision_gives_the_same_scores():
    x, positive = _cloud(0.5)

    exact, rounded = (LogisticFits(x.astype(kind), positive).fit([0], [0.1]).scores for kind in (np.float64, np.float32))

    np.testing.assert_allclose(rounded, exact, atol=1e-3)

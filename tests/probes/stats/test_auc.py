"""AUC over cells, its influence-curve interval, the domain classifiers and the permutation test."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import norm
from sklearn.metrics import roc_auc_score

from probes.separability.permutation import ShuffledDomains, shuffled
from probes.stats.auc import auc_interval, auc_over_cells, difference_interval
from probes.stats.domain_classifiers import file_fact_scores, logistic_scores, neighbour_scores
from probes.stats.folds import balanced_sample, sample_domain, stratified_folds


def gaussians(n: int, dimension: int, shift: float, seed: int):
    """n images, every second one synthetic, moved by `shift` along the first axis; and five folds."""
    rng = np.random.default_rng(seed)
    synthetic = np.arange(n) % 2 == 1
    x = rng.normal(size=(n, dimension))
    x[:, 0] += shift * synthetic
    return x, synthetic, stratified_folds(synthetic.astype(int), folds=5, seed=seed)


def true_area(direction: np.ndarray, shift: float) -> float:
    """AUC of a linear score between N(0, I) and N(shift e1, I): Phi(w1 shift / (|w| sqrt 2))."""
    return float(norm.cdf(direction[0] * shift / np.linalg.norm(direction) / math.sqrt(2)))


def test_one_cell_agrees_with_scikit_learn_also_with_ties():
    rng = np.random.default_rng(0)
    synthetic = rng.random(80) < 0.4
    scores = np.round(rng.normal(size=80) + synthetic, 1)

    assert auc_over_cells(scores, synthetic, np.zeros(80, int)).value == pytest.approx(roc_auc_score(synthetic, scores))


def test_cells_are_averaged_and_never_compared():
    """Two perfectly ordered cells on different levels: the mean of cells is 1, the AUC of the pile is not."""
    scores = np.array([0.0, 1.0, 10.0, 11.0, 5.0, 6.0])
    synthetic = np.array([False, True, False, True, False, True])
    cells = np.array([0, 0, 1, 1, -1, -1])

    assert auc_over_cells(scores, synthetic, cells).value == 1.0
    assert roc_auc_score(synthetic, scores) < 1


def test_the_variance_is_delongs_by_explicit_sums():
    rng = np.random.default_rng(1)
    synthetic = rng.random(50) < 0.5
    scores = np.round(rng.normal(size=50) + synthetic, 1)
    wins = np.array([[(s > r) + 0.5 * (s == r) for s in scores[synthetic]] for r in scores[~synthetic]])
    expected = wins.mean(1).var(ddof=1) / len(wins) + wins.mean(0).var(ddof=1) / wins.shape[1]

    assert np.sum(auc_over_cells(scores, synthetic, np.zeros(50, int)).influence ** 2) == pytest.approx(expected)


def test_the_null_variance_is_that_of_all_arrangements_with_ties():
    """All 20 arrangements of 3 synthetic among 6 tied scores, counted one by one."""
    from itertools import combinations

    scores = np.array([1.0, 1.0, 2.0, 2.0, 2.0, 3.0])
    areas = [roc_auc_score(np.isin(np.arange(6), chosen), scores) for chosen in combinations(range(6), 3)]

    found = auc_over_cells(scores, np.arange(6) < 3, np.zeros(6, int)).null_variance
    assert found == pytest.approx(np.var(areas))


def test_perfect_order_still_has_an_interval():
    """Ten disjoint pairs in order: a true AUC of 0.025 ** (1 / 10) = 0.69 gives that in 2.5 % of draws."""
    synthetic = np.arange(20) >= 10

    area = auc_over_cells(np.arange(20.0), synthetic, np.zeros(20, int))

    assert auc_interval(area) == pytest.approx((0.025**0.1, 1.0))
    assert auc_interval(auc_over_cells(-np.arange(20.0), synthetic, np.zeros(20, int))) == pytest.approx((0.0, 1 - 0.025**0.1))
    low, high = difference_interval(area, area)
    assert low == pytest.approx(0.025**0.1 - 1)
    assert high == pytest.approx(1 - 0.025**0.1)


def test_an_encoder_compared_with_itself_has_no_excess():
    x, synthetic, fold = gaussians(100, 4, 1.0, 0)
    area = auc_over_cells(x[:, 0], synthetic, fold)

    assert difference_interval(area, area) == pytest.approx((0.0, 0.0), abs=1e-9)


def test_cells_of_one_domain_are_refused():
    with pytest.raises(ValueError, match="Every fold must hold images of both domains"):
        auc_over_cells(np.arange(4.0), np.array([True, True, False, False]), np.array([0, 0, 1, 1]))


def test_the_linear_probe_reaches_the_closed_form_auc():
    """Shift 2: the best AUC is Phi(2 / sqrt 2) = 0.921. Sampling s.d. at 2 x 1,000 images is 0.006; fitting costs under 0.005."""
    x, synthetic, fold = gaussians(2000, 6, 2.0, 0)

    area = auc_over_cells(logistic_scores(x, synthetic, fold, fold).scores, synthetic, fold)

    assert area.value == pytest.approx(norm.cdf(math.sqrt(2)), abs=0.02)


def test_held_out_scores_are_those_of_the_fold_s_own_model():
    x, synthetic, fold = gaussians(100, 5, 1.0, 1)

    found = logistic_scores(x, synthetic, fold, fold)

    for f in range(5):
        np.testing.assert_allclose(found.scores[fold == f], x[fold == f] @ found.directions[f] + found.offsets[f])
    np.testing.assert_allclose(
        found.score_unseen(x), np.mean([x @ w + b for w, b in zip(found.directions, found.offsets, strict=True)], axis=0)
    )
    assert np.linalg.norm(found.direction) == pytest.approx(1)


def test_an_image_s_own_domain_never_reaches_its_score():
    """Flip the domain of all images of one fold: the scores of that fold come from models that never saw them."""
    x, synthetic, fold = gaussians(100, 5, 1.0, 2)
    flipped = synthetic ^ (fold == 0)

    # two strengths tie-break the same way because judging uses folds other than the held-out one
    before = logistic_scores(x, synthetic, fold, fold).scores
    after = logistic_scores(x, flipped, fold, fold).scores
    near = [neighbour_scores(x.astype(np.float32), d, fold, neighbours=5)[fold == 0] for d in (synthetic, flipped)]

    # all folds are fitted in one call, which stops within the optimiser's tolerance
    np.testing.assert_allclose(before[fold == 0], after[fold == 0], atol=1e-6)
    np.testing.assert_array_equal(*near)
    assert not np.allclose(before[fold == 1], after[fold == 1])


def test_neighbour_scores_agree_with_scikit_learn():
    from sklearn.neighbors import KNeighborsClassifier

    x, synthetic, fold = gaussians(120, 4, 1.0, 3)
    x = (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)

    found = neighbour_scores(x, synthetic, fold, neighbours=7)

    for f in range(5):
        model = KNeighborsClassifier(7).fit(x[fold != f], synthetic[fold != f])
        np.testing.assert_allclose(found[fold == f], model.predict_proba(x[fold == f])[:, 1])


def test_neighbours_within_class_come_from_the_class():
    """Two far apart classes; in class 1 all training images are synthetic, which says nothing of class 0."""
    rng = np.random.default_rng(4)
    labels = np.repeat([0, 1], 40)
    x = rng.normal(size=(80, 3)).astype(np.float32)
    synthetic = np.concatenate([np.zeros(40, bool), np.ones(40, bool)])

    found = neighbour_scores(x, synthetic, np.arange(80) % 4, neighbours=5, labels=labels)

    np.testing.assert_array_equal(found, labels)


def test_file_facts_separate_by_a_range_that_no_line_separates():
    """Synthetic files are of middling size: a linear score would see nothing."""
    rng = np.random.default_rng(5)
    size = rng.uniform(0, 3, 600)
    synthetic = (size > 1) & (size < 2)
    fold = stratified_folds(synthetic.astype(int), folds=5, seed=0)

    scores = file_fact_scores({"bytes": size, "codec": np.array(["png"] * 600)}, synthetic, fold, seed=0)

    assert auc_over_cells(scores, synthetic, fold).value > 0.95


def test_the_aspect_is_a_file_fact():
    """Width and height are each alike in both domains; only real files are square."""
    rng = np.random.default_rng(6)
    width = rng.integers(20, 2000, 800)
    synthetic = np.arange(800) % 2 == 1
    height = np.where(synthetic, rng.permutation(width), width)
    fold = stratified_folds(synthetic.astype(int), folds=5, seed=0)

    scores = file_fact_scores({"width": width, "height": height}, synthetic, fold, seed=0)

    assert auc_over_cells(scores, synthetic, fold).value > 0.95


def test_folds_spread_every_stratum_evenly():
    strata = np.repeat([0, 1, 2], [50, 23, 7])

    fold = stratified_folds(strata, folds=5, seed=0)

    for stratum in range(3):
        sizes = np.bincount(fold[strata == stratum], minlength=5)
        assert sizes.max() - sizes.min() <= 1


def test_groups_stay_in_one_fold():
    groups = np.arange(120) // 6

    fold = stratified_folds(np.arange(120) % 2, folds=5, seed=0, groups=groups)

    assert all(len(set(fold[groups == g])) == 1 for g in range(20))
    with pytest.raises(ValueError, match="at least as many groups as `folds` = 5, got 3"):
        stratified_folds(np.zeros(9), folds=5, seed=0, groups=np.arange(9) // 3)


def test_the_sample_holds_as_many_of_each_domain_in_every_class():
    rng = np.random.default_rng(7)
    labels, synthetic = rng.integers(0, 3, 900), rng.random(900) < 0.2

    for limit in (10_000, 100):
        rows = balanced_sample(labels, synthetic, max_images=limit, seed=0)

        assert len(rows) <= limit
        assert len(set(rows)) == len(rows)
        for label in range(3):
            made = synthetic[rows[labels[rows] == label]]
            assert made.sum() * 2 == len(made) > 0


def test_domains_are_sampled_to_the_same_size():
    domain = np.array(["real"] * 70 + ["synthetic"] * 30)

    rows = sample_domain(domain, max_images=1000, seed=0)

    assert {name: len(found) for name, found in rows.items()} == {"real": 30, "synthetic": 30}
    assert all((domain[found] == name).all() for name, found in rows.items())


def test_shuffles_keep_the_counts_of_every_stratum():
    synthetic, stratum = np.arange(60) % 3 == 0, np.arange(60) // 10

    drawn = shuffled(synthetic, stratum, permutations=50, seed=0)

    for value in range(6):
        np.testing.assert_array_equal(drawn[stratum == value].sum(axis=0), synthetic[stratum == value].sum())
    assert len(np.unique(drawn, axis=1).T) > 40


def test_whole_groups_are_shuffled_when_each_lies_in_one_domain():
    groups = np.arange(60) // 3
    synthetic = groups % 2 == 1

    drawn = shuffled(synthetic, np.zeros(60, int), permutations=20, seed=0, groups=groups)

    by_group = drawn.reshape(20, 3, 20)
    assert (by_group == by_group[:, :1]).all()
    assert (drawn != synthetic[:, None]).any()


@pytest.mark.parametrize("within_class", [False, True])
def test_the_fast_null_is_the_slow_refit(within_class):
    """Refit ridge regression by its normal equations for one shuffle, with scikit-learn's AUC: the same number."""
    from sklearn.linear_model import Ridge
    from sklearn.preprocessing import StandardScaler

    x, synthetic, fold = gaussians(150, 4, 0.5, 8)
    labels = np.arange(150) // 50
    x[:, 0] += 3 * labels
    drawn = shuffled(synthetic, labels * 5 + fold, permutations=3, seed=9)

    test = ShuffledDomains(x, synthetic, fold, labels, permutations=3, seed=9).test(within_class=within_class)

    for domains, found in ((synthetic, test.observed), (drawn[:, 1], test.null_auc[1])):
        areas = []
        for f in range(5):
            train = fold != f
            means = np.stack([x[train & (labels == label)].mean(axis=0) for label in range(3)])
            features = x - means[labels] if within_class else x
            scaler = StandardScaler().fit(features[train])
            model = Ridge(alpha=0.01 * train.sum()).fit(scaler.transform(features[train]), np.where(domains, 1.0, -1.0)[train])
            for cell in [~train & (labels == label) for label in range(3)] if within_class else [~train]:
                areas.append((cell.sum(), roc_auc_score(domains[cell], model.predict(scaler.transform(features[cell])))))
        assert found == pytest.approx(np.average([area for _, area in areas], weights=[n for n, _ in areas]), abs=1e-9)


def test_p_is_uniform_when_there_is_nothing_to_find():
    """60 seeds, p on a grid of 1/40: a valid test gives p <= 0.1 six times of 60 (s.d. 2.3) and p <= 0.5 thirty times (s.d. 3.9)."""
    found = []
    for seed in range(60):
        x, synthetic, fold = gaussians(60, 4, 0.0, seed)
        labels = np.random.default_rng(seed).integers(0, 2, 60)
        x[:, 1] += 5 * labels  # content that is alike in both domains
        found.append(ShuffledDomains(x, synthetic, fold, labels, permutations=39, seed=seed).test(within_class=seed % 2 == 0).p_value)

    assert np.sum(np.array(found) <= 0.1) <= 13
    assert 18 <= np.sum(np.array(found) <= 0.5) <= 42


def test_p_is_smallest_when_the_domains_differ():
    x, synthetic, fold = gaussians(200, 4, 1.0, 0)

    test = ShuffledDomains(x, synthetic, fold, np.zeros(200, int), permutations=99, seed=0).test(within_class=False)

    assert test.p_value == pytest.approx(0.01)


def cover(n: int, dimension: int, shift: float, times: int) -> tuple[float, float]:
    """Coverage of the AUC, and of the difference to an encoder with more noise, for the truth of the fitted models."""
    hits = excess = 0
    for seed in range(times):
        x, synthetic, fold = gaussians(n, dimension, shift, seed)
        noisy = x + 0.5 * np.random.default_rng(10_000 + seed).normal(size=x.shape)
        found = []
        for features, sigma in ((x, 1.0), (noisy, math.sqrt(1.25))):
            model = logistic_scores(features, synthetic, fold, fold)
            found.append((auc_over_cells(model.scores, synthetic, fold), np.mean([true_area(w, shift / sigma) for w in model.directions])))
        (first, truth), (second, other) = found
        low, high = auc_interval(first)
        hits += low <= truth <= high
        low, high = difference_interval(first, second)
        excess += low <= truth - other <= high
    return hits / times, excess / times


def test_the_auc_interval_covers_when_there_is_nothing_to_find():
    """20 draws of which 19 are expected: 15 or fewer come once in 2,500 times. The slow test below is the real one."""
    assert min(cover(100, 4, 0.0, 20)) >= 16 / 20


@pytest.mark.slow
@pytest.mark.parametrize(("n", "dimension", "shift"), [(200, 8, 0.0), (200, 8, 1.0), (200, 8, 3.0), (400, 32, 0.0), (600, 32, 1.0)])
def test_the_auc_interval_covers_over_sizes(n, dimension, shift):
    """200 draws: 0.90 is 3.2 standard errors below 0.95."""
    assert min(cover(n, dimension, shift, 200)) >= 0.90


def test_perfect_order_in_cells_of_uneven_weight_is_one_without_rounding() -> None:
    cells = np.repeat(np.arange(50), 4)
    synthetic = np.tile([False, False, True, True], 50)
    weights = {cell: 1 / (cell + 3) for cell in range(50)}

    area = auc_over_cells(synthetic.astype(float), synthetic, cells, weights)

    assert area.value == 1.0
    assert auc_interval(area)[1] == 1.0

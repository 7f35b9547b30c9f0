"""Intervals: closed forms, laws, and coverage by simulation."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from probes.stats.intervals import (
    as_score,
    bootstrap,
    exact_proportion,
    jackknife,
    mean_interval,
    over_seeds,
    paired_proportions,
    smallest_proportion,
    subtract,
    wilson,
)


def coverage(draw, truth: float, times: int) -> float:
    """Share of `times` intervals that hold the truth."""
    low, high = np.array([draw() for _ in range(times)]).T
    return float(np.mean((low <= truth) & (truth <= high)))


def lowest_honest(times: int) -> float:
    """What a 95 % interval's coverage stays above in all but one of a thousand such simulations (normal approximation)."""
    return 0.95 - 3.1 * float(np.sqrt(0.95 * 0.05 / times))


def test_wilson_agrees_with_scipy():
    expected = stats.binomtest(37, 52).proportion_ci(0.95, method="wilson")

    assert wilson(37, 52) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_the_exact_interval_agrees_with_scipy():
    expected = stats.binomtest(3, 40).proportion_ci(0.95, method="exact")

    assert exact_proportion(3, 40) == pytest.approx((expected.low, expected.high), abs=1e-9)
    assert exact_proportion(0, 10)[0] == 0.0
    assert exact_proportion(10, 10)[1] == 1.0


def test_the_difference_of_proportions_is_newcombes_example():
    """Newcombe (1998), Table II (a): 56/70 - 48/80 = 0.2 with method 10 interval (0.0524, 0.3339)."""
    low, high = subtract((56 / 70, wilson(56, 70)), (48 / 80, wilson(48, 80)))

    assert (low, high) == pytest.approx((0.0524, 0.3339), abs=5e-5)


def test_the_paired_interval_is_the_adjusted_wald_formula():
    """Counts 12 and 3 of 50: p12 = 13/52, p21 = 4/52, difference 9/52, variance (17/52 - (9/52)^2) / 52."""
    first = np.array([True] * 12 + [False] * 3 + [True] * 35)
    second = np.array([False] * 12 + [True] * 3 + [True] * 35)
    half = 1.959964 * np.sqrt((17 / 52 - (9 / 52) ** 2) / 52)

    assert paired_proportions(first, second) == pytest.approx((9 / 52 - half, 9 / 52 + half), abs=1e-6)


def test_pairing_narrows_the_interval_of_agreeing_encoders():
    rng = np.random.default_rng(0)
    first = rng.random(400) < 0.6
    second = first ^ (rng.random(400) < 0.02)

    low, high = paired_proportions(first, second)
    loose_low, loose_high = subtract(*((x.mean(), wilson(int(x.sum()), 400)) for x in (first, second)))

    assert high - low < 0.4 * (loose_high - loose_low)


def test_the_mean_over_seeds_uses_students_quantile():
    values = [0.50, 0.56, 0.53]
    half = 4.302653 * 0.03 / np.sqrt(3)

    assert over_seeds(values) == pytest.approx((0.53 - half, 0.53 + half), abs=1e-6)


def test_one_seed_has_no_interval():
    with pytest.raises(ValueError, match="at least 2 seeds, got 1; train more seeds"):
        over_seeds([0.5])


def test_the_jackknife_of_a_mean_is_the_interval_of_a_mean():
    """With one image a block the jackknife variance of a mean is s^2 / n exactly."""
    x = np.random.default_rng(1).normal(size=23)
    left_out = (x.sum() - x) / 22

    assert jackknife(x.mean(), left_out) == pytest.approx(mean_interval(x), abs=1e-12)


def test_the_bootstrap_keeps_each_stratum_at_its_size():
    strata = np.repeat([0, 1, 2], [5, 30, 7])
    seen = []

    bootstrap(lambda rows: float(seen.append(np.bincount(strata[rows]).tolist()) or 0.0), strata, seed=0, draws=3)

    assert seen == [[5, 30, 7]] * 3


def test_the_paired_bootstrap_agrees_with_the_normal_interval_of_a_difference():
    """Standard error of a percentile end at 2,000 draws is about 2.7 % of sigma; 10 % of the half width is safe."""
    rng = np.random.default_rng(2)
    first = rng.normal(size=300)
    second = first + 0.2 * rng.normal(size=300) - 0.1

    low, high = bootstrap(lambda rows: float((first[rows] - second[rows]).mean()), np.zeros(300), seed=3, draws=2000)

    expected = mean_interval(first - second)
    assert (low, high) == pytest.approx(expected, abs=0.1 * (expected[1] - expected[0]) / 2)


def test_a_score_always_holds_its_value_and_stays_in_bounds():
    score = as_score(1.0 + 1e-12, (0.98, 1.4), bounds=(0.0, 1.0))
    outside = as_score(0.5, (0.51, 0.6))

    assert (score.value, score.low, score.high) == (1.0, 0.98, 1.0)
    assert outside.low == 0.5


def test_the_smallest_of_equal_classes_is_covered_although_it_is_looked_for():
    """Ten classes of true accuracy 0.8: the plain interval of the class that came out worst misses 0.8 far too often."""
    rng = np.random.default_rng(4)
    draws = [rng.binomial(50, np.full(10, 0.8)) for _ in range(300)]
    ours = iter([smallest_proportion(k, np.full(10, 50)) for k in draws])
    plain = iter([wilson(int(k.min()), 50) for k in draws])

    assert coverage(lambda: next(ours), 0.8, 300) >= 0.95
    assert coverage(lambda: next(plain), 0.8, 300) < 0.85


def test_proportions_and_their_differences_are_covered():
    rng = np.random.default_rng(5)

    def gap():
        made, real = rng.binomial(300, 0.95), rng.binomial(200, 0.4)
        return subtract((made / 300, wilson(made, 300)), (real / 200, wilson(real, 200)))

    assert coverage(gap, 0.55, 500) >= lowest_honest(500)


def paired_outcome(rng: np.random.Generator, n: int, teacher: float, kept: float, gained: float) -> tuple[np.ndarray, np.ndarray]:
    """Teacher right with `teacher`; student right with `kept` where the teacher is, with `gained` where it is not."""
    right = rng.random(n) < teacher
    return right, np.where(right, rng.random(n) < kept, rng.random(n) < gained)


@pytest.mark.slow
@pytest.mark.parametrize("n", [40, 300])
@pytest.mark.parametrize(("teacher", "kept", "gained"), [(0.9, 0.6, 0.2), (0.95, 0.97, 0.3), (0.99, 0.99, 0.5)])
def test_paired_differences_and_the_excess_gap_are_covered(n, teacher, kept, gained):
    """Truths: below = t - (t kept + (1 - t) gained); excess = below on real - below on synthetic (t = 0.97, kept 0.95, gained 0)."""
    rng = np.random.default_rng(6)
    below = teacher - (teacher * kept + (1 - teacher) * gained)

    def excess():
        parts = [paired_outcome(rng, n, teacher, kept, gained), paired_outcome(rng, n, 0.97, 0.95, 0.0)]
        return subtract(*((float(t.mean() - s.mean()), paired_proportions(t, s)) for t, s in parts))

    assert coverage(lambda: paired_proportions(*paired_outcome(rng, n, teacher, kept, gained)), below, 3000) >= lowest_honest(3000)
    assert coverage(excess, below - (0.97 - 0.97 * 0.95), 3000) >= lowest_honest(3000)


@pytest.mark.slow
@pytest.mark.parametrize(("n", "truths"), [(30, [0.95] * 100), (200, np.linspace(0.6, 0.9, 10)), (50, [0.4] + [0.9] * 9)])
def test_the_worst_class_is_covered(n, truths):
    rng = np.random.default_rng(7)
    truths = np.asarray(truths)

    def draw():
        return smallest_proportion(rng.binomial(n, truths), np.full(len(truths), n))

    assert coverage(draw, truths.min(), 2000) >= 0.95


@pytest.mark.slow
@pytest.mark.parametrize("n", [60, 200, 2000])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_wilson_covers_on_average_over_sizes(n, share):
    """Coverage of any plain proportion interval swings with n; averaged over ten neighbouring n it is 95 % within half a point."""
    rng = np.random.default_rng(8)
    sizes = iter(rng.integers(n, n + 10, 20_000).tolist())

    def draw():
        size = next(sizes)
        return wilson(rng.binomial(size, share), size)

    assert coverage(draw, share, 20_000) >= 0.945

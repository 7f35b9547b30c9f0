"""Intervals beside thresholds and beside each other."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from diagnose.judge.comparison import common_sign, compare, difference, sign, surely_more
from diagnose.schema import Estimate
from probes.result import Score
from probes.stats.intervals import subtract


def estimate(value: float, low: float, high: float) -> Estimate:
    return Estimate(value=value, low=low, high=high, n=3, over="seeds and images")


@pytest.mark.parametrize(
    ("low", "high", "side"),
    [(0.06, 0.1, "above"), (0.01, 0.04, "below"), (0.05, 0.1, "unclear"), (0.0, 0.05, "unclear"), (0, 0.1, "unclear")],
)
def test_a_side_needs_the_whole_interval(low: float, high: float, side: str) -> None:
    assert compare(estimate((low + high) / 2, low, high), 0.05) == side


def test_estimates_and_scores_are_compared_alike() -> None:
    assert sign(Score(-0.2, -0.3, -0.1)) == sign(estimate(-0.2, -0.3, -0.1)) == "below"


def test_seeds_have_a_common_sign_only_where_all_agree() -> None:
    above, below, open_one = (0.2, 0.1, 0.3), (-0.2, -0.3, -0.1), (0.1, -0.1, 0.3)

    assert common_sign([above, above]) == "above"
    assert common_sign([below]) == "below"
    assert {common_sign(seeds) for seeds in ([above, below], [above, open_one], [open_one])} == {"unclear"}


def test_numbers_whose_intervals_overlap_a_little_still_differ_for_sure() -> None:
    """20 (12 to 28) against 9 (6 to 13): the difference is 11, and its half-width below is the root of 8 squared and 4 squared, 8.94."""
    larger, smaller = estimate(0.20, 0.12, 0.28), estimate(0.09, 0.06, 0.13)

    assert larger.low < smaller.high
    assert surely_more(larger, smaller)
    assert not surely_more(smaller, larger)
    assert difference((0.20, 0.12, 0.28), (0.09, 0.06, 0.13)) == pytest.approx(
        (0.11, 0.11 - math.sqrt(0.0080), 0.11 + math.hypot(0.08, 0.03))
    )


def test_the_interval_of_a_difference_and_the_judgement_are_one_rule() -> None:
    rng = np.random.default_rng(0)
    numbers = [(value, value - down, value + up) for value, down, up in rng.uniform(0, 1, (40, 3)).tolist()]

    for first, second in itertools.permutations(numbers, 2):
        low, high = difference(first, second)[1:]
        assert (low, high) == pytest.approx(subtract((first[0], first[1:]), (second[0], second[1:])))
        assert surely_more(estimate(*first), estimate(*second)) == (low > 0)

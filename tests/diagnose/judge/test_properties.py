"""Which property of a loss costs accuracy, which costs more, and what a contrast of one factor means."""

from __future__ import annotations

from dataclasses import replace

import pytest

from diagnose.judge import verdict
from diagnose.judge.facts import Contrast, Facts
from diagnose.judge.properties import judge_contrast, judge_properties
from diagnose.schema import Estimate


def estimate(value: float, low: float, high: float) -> Estimate:
    return Estimate(value=value, low=low, high=high, n=3, over="seeds and images")


TEXT, NEGATIVES = estimate(0.20, 0.12, 0.28), estimate(0.09, 0.06, 0.13)
"""Both cost more than 5 points; their intervals touch, and the careful rule for independent numbers calls the first larger."""


@pytest.mark.parametrize(
    ("paired", "larger"),
    [
        (None, "text_target"),
        (estimate(0.11, 0.04, 0.18), "text_target"),
        (estimate(0.11, -0.01, 0.23), None),
        (estimate(-0.05, -0.08, -0.02), "negatives"),
    ],
)
def test_the_paired_difference_decides_which_costs_more_and_intervals_only_where_it_is_not_known(
    paired: Estimate | None, larger: str | None
) -> None:
    costs = judge_properties(TEXT, NEGATIVES, paired)

    assert costs.blamed == ("text_target", "negatives")
    assert costs.larger == larger


def test_neither_is_larger_where_two_costs_are_nearly_equal() -> None:
    assert judge_properties(estimate(0.2, 0.18, 0.22), estimate(0.21, 0.19, 0.23)).larger is None
    assert judge_properties(NEGATIVES, TEXT).larger == "negatives"


def test_a_property_is_blamed_beyond_the_margin_alone() -> None:
    costs = judge_properties(estimate(0.2, 0.18, 0.22), estimate(0.04, 0.03, 0.06))

    assert costs.blamed == ("text_target",)
    assert costs.negatives == "unclear"


@pytest.mark.parametrize("paired", [estimate(0.11, 0.04, 0.18), estimate(0.11, -0.01, 0.23), estimate(-0.05, -0.08, -0.02)])
def test_the_verdict_and_the_pages_name_the_same_property(paired: Estimate) -> None:
    facts = Facts(
        "clip", None, None, None, 10,
        contrasts=(Contrast("text_target", ("a",), ("b",), TEXT), Contrast("negatives", ("c",), ("a",), NEGATIVES)),
        text_minus_negatives=paired,
    )  # fmt: skip
    label = {
        "text_target": "text_target_costs_real_accuracy",
        "negatives": "negatives_cost_real_accuracy",
        None: "contrastive_loss_fails_on_real",
    }

    named = verdict.label_of_causes(facts, ["text_target", "negatives"])

    assert named == label[judge_properties(TEXT, NEGATIVES, paired).larger]
    assert verdict.label_of_causes(replace(facts, text_minus_negatives=None), ["text_target", "negatives"]) == label[None]


@pytest.mark.parametrize(
    ("real", "synthetic", "meaning"),
    [
        (-0.1, 0.1, "fits_synthetic"),
        (-0.1, -0.1, "worse_on_both"),
        (-0.1, 0.0, "worse_on_real"),
        (0.1, 0.1, "better_on_both"),
        (0.1, -0.1, "better_on_real"),
        (0.0, -0.1, "unclear"),
    ],
)
def test_a_contrast_means_what_its_two_signs_say(real: float, synthetic: float, meaning: str) -> None:
    assert judge_contrast(*(estimate(at, at - 0.02, at + 0.02) for at in (real, synthetic))) == meaning


def test_a_twin_is_clearly_better_beyond_the_margin_between_the_near_ends_alone() -> None:
    weak = estimate(0.50, 0.48, 0.52)

    assert verdict.clearly_better(estimate(0.60, 0.58, 0.62), weak)
    assert not verdict.clearly_better(estimate(0.58, 0.56, 0.60), weak)


def test_nothing_exceeds_an_area_at_the_ceiling_by_the_margin() -> None:
    assert verdict.at_ceiling(estimate(0.96, 0.95, 0.97))
    assert not verdict.at_ceiling(estimate(0.94, 0.93, 0.96))


@pytest.mark.parametrize(("p", "stands"), [(0.05, True), (0.0501, False), (0.0, True)])
def test_an_edit_stands_at_the_share_of_false_alarms_that_is_allowed(p: float, stands: bool) -> None:
    assert verdict.stands(p) is stands

"""The verdict on hand-made facts: each label, the null, reversed signs, one seed, missing controls, intervals that straddle."""

from __future__ import annotations

from dataclasses import replace

import pytest

from diagnose.judge import verdict
from diagnose.judge.facts import Contrast, Facts, Measured
from diagnose.report import findings, statement
from diagnose.schema import Estimate

HALF = 0.02


def value(at: float, half: float = HALF, *, seeds: int = 3) -> Estimate:
    over = "images" if seeds == 1 else "seeds and images"
    return Estimate(value=at, low=at - half, high=at + half, n=1000 if seeds == 1 else seeds, over=over)


def loss(
    name: str, real: float, synthetic: float, *, half: float = HALF, trained_on: str | None = "synthetic", seeds: int = 3, **more: object
) -> Measured:
    """Give a loss beside a teacher that is right on 0.85 of real and 0.90 of synthetic images."""
    target, negatives = {"l2": ("image", False), "image_image": ("image", True), "image_text": ("text", True)}.get(name, (None, None))
    behind_real, behind_synthetic = 0.85 - real, 0.90 - synthetic
    excess = behind_real - behind_synthetic
    fields = {
        "name": name if trained_on != "real" else f"{name} on real",
        "loss": name,
        "trained_on": trained_on,
        "target": target,
        "negatives": negatives,
        "params": 100,
        "students": tuple(f"{name}-{seed}" for seed in range(seeds)),
        "real": value(real, half, seeds=seeds),
        "synthetic": value(synthetic, half, seeds=seeds),
        "excess": value(excess, half, seeds=seeds),
        "behind_real": value(behind_real, half, seeds=seeds),
        "behind_synthetic": value(behind_synthetic, half, seeds=seeds),
        "mostly_behind": value(behind_synthetic - excess, half, seeds=seeds),
    }
    return Measured(**(fields | more))  # type: ignore[arg-type]


def facts(*measured: Measured, half: float = HALF, gap: float = 0.05, classes: int = 10, **more: object) -> Facts:
    """Give facts with the contrasts and gains that follow from the losses' accuracies on real images."""
    found = {(m.loss, m.trained_on): m for m in measured}

    def pair(name: str, without: str, having: str) -> list[Contrast]:
        if (without, "synthetic") not in found or (having, "synthetic") not in found:
            return []
        seeds = 1 if found[without, "synthetic"].real.over == "images" else 3
        cost = found[without, "synthetic"].real.value - found[having, "synthetic"].real.value
        on_real = interaction = None
        if (without, "real") in found and (having, "real") in found:
            control = found[without, "real"].real.value - found[having, "real"].real.value
            on_real, interaction = value(control, half), value(cost - control, half)
        return [Contrast(name, (without,), (having,), value(cost, half, seeds=seeds), None, on_real, interaction)]

    contrasts = pair("text_target", "image_image", "image_text") + pair("negatives", "l2", "image_image")
    if not contrasts:
        contrasts = pair("text_target_and_negatives", "l2", "image_text")
    both = value(contrasts[0].points.value - contrasts[1].points.value, half) if len(contrasts) == 2 else None
    gains = {
        name: value(m.real.value - found[name, "synthetic"].real.value, half)
        for (name, domain), m in found.items()
        if domain == "real" and (name, "synthetic") in found
    }
    fields = {
        "teacher": "clip",
        "teacher_real": value(0.85, 0.01),
        "teacher_synthetic": value(0.85 + gap, 0.01),
        "teacher_gap": value(gap, 0.01),
        "classes": classes,
        "measured": measured,
        "contrasts": tuple(contrasts),
        "text_minus_negatives": both,
        "gains": gains,
    }
    return Facts(**(fields | more))  # type: ignore[arg-type]


def test_a_teacher_that_alone_stumbles_over_synthetic_images_makes_no_failure_of_its_student() -> None:
    student = loss(
        "image_text", 0.62, 0.62, behind_real=value(0.16), behind_synthetic=value(0.0), excess=value(0.16), mostly_behind=value(-0.16)
    )
    given = facts(student, gap=-0.16)

    assert verdict.outcome(student) == "unclear"
    assert verdict.choose_label(given) == "inconclusive"
    assert "no gap of its own" in statement.state(given).statement
    [outcome] = [item for item in findings.findings(given, "inconclusive") if item.id.startswith("outcome/")]
    assert outcome.verdict == "inconclusive"
    assert "not surely better on synthetic" in outcome.statement


TEXT_FAILS = (loss("l2", 0.82, 0.87), loss("image_image", 0.81, 0.86), loss("image_text", 0.48, 0.97))
ON_REAL = (loss("l2", 0.83, 0.80, trained_on="real"), loss("image_text", 0.84, 0.80, trained_on="real"))

CASES = {
    "text_target_costs_real_accuracy": facts(*TEXT_FAILS, *ON_REAL),
    "negatives_cost_real_accuracy": facts(loss("l2", 0.82, 0.87), loss("image_image", 0.50, 0.90), loss("image_text", 0.49, 0.95)),
    "contrastive_loss_fails_on_real": facts(loss("l2", 0.82, 0.87), loss("image_text", 0.48, 0.97)),
    "image_target_fails_on_real": facts(loss("l2", 0.70, 0.90), loss("image_image", 0.71, 0.90), loss("image_text", 0.84, 0.95)),
    "all_losses_fail_on_real": facts(loss("l2", 0.50, 0.90), loss("image_image", 0.50, 0.90), loss("image_text", 0.49, 0.95)),
    "fails_on_real": facts(loss("other", 0.50, 0.90)),
    "training_failure": facts(loss("l2", 0.35, 0.40), loss("image_text", 0.30, 0.36)),
    "domain_difficulty": facts(loss("l2", 0.84, 0.90), loss("image_text", 0.84, 0.91), gap=0.20),
    "no_gap": facts(loss("l2", 0.84, 0.88), loss("image_text", 0.84, 0.89), gap=0.03),
    "inconclusive": facts(loss("l2", 0.78, 0.90, half=0.08), loss("image_text", 0.78, 0.92, half=0.08)),
}


@pytest.mark.parametrize("label", CASES)
def test_each_label_follows_from_its_own_facts_and_is_said_in_words(label: str) -> None:
    said = statement.state(CASES[label])

    assert said.label == label
    assert said.statement.endswith(".")
    assert 1 <= said.statement.count(". ") + 1 <= 7
    assert "None" not in said.statement
    assert findings.findings(CASES[label], said.label)  # type: ignore[arg-type]


def test_every_label_has_a_case() -> None:
    from typing import get_args

    assert set(get_args(verdict.Label)) == set(CASES)


def test_a_text_target_that_fails_is_named_with_its_cost_and_the_cure() -> None:
    said = statement.state(CASES["text_target_costs_real_accuracy"])
    loss_finding = next(item for item in findings.findings(CASES[said.label], said.label) if item.id == "loss")  # type: ignore[arg-type]

    assert "the text target costs 33 points (31 to 35)" in said.statement
    assert "the use of negatives costs 1 point (" in said.statement
    assert "so the training as such works" in said.statement
    assert loss_finding.verdict == "fail"
    assert "image embedding" in loss_finding.recommendation


def test_a_gap_that_is_wide_since_the_teacher_does_better_on_real_images_says_so() -> None:
    stumbles = replace(facts(*TEXT_FAILS), teacher_real=value(0.93, 0.01), teacher_synthetic=value(0.43, 0.01))

    assert "wider than its teacher's, who is better on real images than on synthetic ones." in statement.state(stumbles).statement
    assert "wider than its teacher's." in statement.state(facts(*TEXT_FAILS)).statement


def test_a_text_target_that_helps_is_said_to_help() -> None:
    said = statement.state(CASES["image_target_fails_on_real"])

    assert "the text target helps by 13 points" in said.statement
    assert "text target" not in said.label


def test_l2_that_fails_too_is_said_not_to_be_immune() -> None:
    said = statement.state(facts(loss("l2", 0.70, 0.90), loss("image_image", 0.69, 0.90), loss("image_text", 0.40, 0.97)))

    assert said.label == "text_target_costs_real_accuracy"
    assert "is not immune" in said.statement


def test_a_cost_smaller_than_what_all_losses_lose_does_not_name_the_text_target() -> None:
    said = statement.state(facts(loss("l2", 0.50, 0.88), loss("image_image", 0.50, 0.88), loss("image_text", 0.40, 0.97)))

    assert said.label == "all_losses_fail_on_real"
    assert "on top of it the text target costs 10 points" in said.statement


def test_students_of_unknown_training_that_are_behind_everywhere_are_not_said_to_have_failed_in_training() -> None:
    said = statement.state(facts(loss("student", 0.35, 0.40, trained_on=None), loss("other", 0.30, 0.36, trained_on=None)))

    assert said.label == "inconclusive"
    assert "What it was trained on is not known, so whether it has learnt that is not either." in said.statement


def test_a_student_that_outdoes_its_teacher_on_synthetic_images_alone_does_not_fail() -> None:
    better = loss("image_text", 0.86, 0.99)

    assert better.excess.low > 0.05
    assert verdict.outcome(better) == "holds"


def test_losses_that_do_as_badly_when_trained_on_real_images_are_a_training_failure() -> None:
    on_real = [loss(name, real, 0.5, trained_on="real") for name, real in (("l2", 0.51), ("image_text", 0.50))]
    said = statement.state(facts(loss("l2", 0.50, 0.85), loss("image_text", 0.49, 0.86), *on_real))

    assert said.label == "training_failure"
    assert "training or the capacity" in said.statement


def test_a_text_target_that_costs_as_much_on_real_images_is_not_called_a_synthetic_cue() -> None:
    on_real = [loss(name, real, 0.6, trained_on="real") for name, real in (("l2", 0.83), ("image_image", 0.83), ("image_text", 0.55))]
    said = statement.state(facts(loss("l2", 0.80, 0.86), loss("image_image", 0.80, 0.86), loss("image_text", 0.48, 0.90), *on_real))

    assert said.label == "training_failure"


def test_without_students_on_real_images_the_training_control_is_untested() -> None:
    known = facts(*TEXT_FAILS)
    said = statement.state(known)
    controls = next(item for item in findings.findings(known, said.label) if item.id == "controls")  # type: ignore[arg-type]

    assert said.label == "text_target_costs_real_accuracy"
    assert "not tested" in said.statement
    assert controls.verdict == "inconclusive"
    assert {item.name: item.status for item in controls.alternatives}["optimisation failure"] == "untested"


def test_one_seed_is_said_not_to_cover_the_randomness_of_training() -> None:
    known = facts(*(loss(m.loss, m.real.value, m.synthetic.value, seeds=1) for m in TEXT_FAILS))
    said = statement.state(known)
    controls = next(item for item in findings.findings(known, said.label) if item.id == "controls")  # type: ignore[arg-type]

    assert "rests on one training" in said.statement
    assert {item.name: item.status for item in controls.alternatives}["chance of one training"] == "untested"


def test_one_student_alone_names_no_property_of_the_loss() -> None:
    said = statement.state(CASES["fails_on_real"])

    assert findings.factors(CASES["fails_on_real"]) == []
    assert "is not shown" in said.statement
    assert all(not item.recommendation for item in findings.findings(CASES["fails_on_real"], "fails_on_real"))


def test_a_cost_whose_interval_straddles_the_margin_is_not_named() -> None:
    known = facts(loss("l2", 0.70, 0.90), loss("image_image", 0.70, 0.90), loss("image_text", 0.62, 0.97), half=0.06)

    assert statement.state(known).label == "all_losses_fail_on_real"


def test_a_missing_domain_is_inconclusive_and_says_which() -> None:
    said = statement.state(Facts("clip", None, None, None, 10, missing=("No real images were given",)))

    assert said.label == "inconclusive"
    assert "No real images were given" in said.statement


def test_a_teacher_at_chance_is_inconclusive_and_points_at_the_class_weights() -> None:
    said = statement.state(replace(facts(*TEXT_FAILS), teacher_real=value(0.1, 0.01), teacher_synthetic=value(0.1, 0.01)))

    assert said.label == "inconclusive"
    assert "class weights" in said.statement


def test_students_trained_on_real_images_only_are_not_judged() -> None:
    assert statement.state(facts(*ON_REAL)).label == "inconclusive"


def test_high_separability_alone_changes_neither_verdict_nor_outcome() -> None:
    scores = {
        "separability/linear/auc": value(0.95),
        "separability/teacher/linear/auc": value(0.6),
        "separability/excess/linear/auc": value(0.35),
    }
    calm = CASES["no_gap"]
    apart = replace(calm, measured=tuple(replace(m, scores=scores) for m in calm.measured))
    found = {item.id: item for item in findings.findings(apart, "no_gap")}

    assert statement.state(apart) == statement.state(calm)
    assert found["separability/l2"].verdict == "warn"
    assert "proves no cause" in found["separability/l2"].statement


def test_a_teacher_at_the_ceiling_of_separability_leaves_the_comparison_open() -> None:
    scores = {
        "separability/linear/auc": value(0.985, 0.005),
        "separability/teacher/linear/auc": value(0.98, 0.005),
        "separability/excess/linear/auc": value(0.005, 0.005),
    }
    found = {item.id: item for item in findings.findings(facts(loss("l2", 0.84, 0.88, scores=scores)), "no_gap")}

    assert found["separability/l2"].verdict == "inconclusive"


def test_file_facts_that_separate_warn_of_the_codec() -> None:
    known = facts(*(replace(m, scores={"separability/metadata/auc": value(0.9)}) for m in TEXT_FAILS))
    found = {item.id: item for item in findings.findings(known, "text_target_costs_real_accuracy")}

    assert found["separability/file_facts"].verdict == "warn"
    assert {a.name: a.status for a in found["controls"].alternatives}["codec or file facts"] == "not ruled out"


def test_falling_agreement_on_real_images_is_noted_as_drift() -> None:
    scores = {"drift/cosine/real": value(0.6), "drift/cosine/synthetic": value(0.9), "drift/cosine/difference": value(0.3)}
    found = {item.id: item for item in findings.findings(facts(loss("l2", 0.84, 0.88, scores=scores)), "no_gap")}

    assert found["drift/l2"].verdict == "warn"
    assert "a fall of 0.30 (0.28 to 0.32)" in found["drift/l2"].statement


def test_a_student_at_chance_on_both_domains_does_not_pass() -> None:
    # It is behind by as much on both, so its gap is no wider than the teacher's.
    blind = loss("l2", 0.10, 0.11)

    given = facts(blind)
    [outcome] = [item for item in findings.findings(given, verdict.choose_label(given)) if item.id == "outcome/l2"]

    assert verdict.outcome(blind) == "holds"
    assert outcome.verdict == "inconclusive"
    assert "but the student is not surely better than chance (10.0 %) on either domain" in outcome.statement


def test_a_student_that_has_not_learnt_the_task_does_not_pass() -> None:
    weak = loss("l2", 0.35, 0.40)  # above chance, and as far behind on both
    given = facts(weak)
    [outcome] = [item for item in findings.findings(given, verdict.choose_label(given)) if item.id == "outcome/l2"]

    assert (verdict.outcome(weak), outcome.verdict) == ("holds", "inconclusive")
    assert "has not learnt the task well enough to judge what carries over" in outcome.statement


def test_nobody_passes_beside_a_teacher_at_chance_on_real_images() -> None:
    given = facts(loss("l2", 0.30, 0.30), teacher_real=value(0.11), teacher_synthetic=value(0.5))

    [outcome] = [item for item in findings.findings(given, verdict.choose_label(given)) if item.id == "outcome/l2"]

    assert outcome.verdict == "inconclusive"
    assert "but the teacher is not surely better than chance (10.0 %) on real images" in outcome.statement


def test_a_student_above_chance_in_one_domain_is_judged() -> None:
    assert verdict.at_chance(loss("l2", 0.10, 0.30), facts()) is None
    assert verdict.at_chance(loss("l2", 0.30, 0.10), facts()) is None


def test_a_group_that_does_surely_worse_than_the_others_is_named() -> None:
    measured = loss("l2", real=0.8, synthetic=0.85, worst_group=value(0.4), mean_group=value(0.75))

    (found,) = [item for item in findings.findings(facts(measured), "inconclusive") if item.id == "groups/l2"]

    assert found.verdict == "warn"
    assert "40.0 %" in found.statement
    assert "does not do equally well on all groups" in found.statement


def test_groups_that_do_alike_or_are_not_known_are_no_warning() -> None:
    alike = loss("l2", real=0.8, synthetic=0.85, worst_group=value(0.74), mean_group=value(0.76))

    (found,) = [item for item in findings.findings(facts(alike), "inconclusive") if item.id == "groups/l2"]

    assert found.verdict == "inconclusive"
    assert not [item for item in findings.findings(facts(loss("l2", real=0.8, synthetic=0.85)), "inconclusive") if item.id == "groups/l2"]

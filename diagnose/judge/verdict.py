"""The thresholds of the project, and the decisions that follow from them; no words and no models.

Every decision compares a 95 % interval with a threshold: above, below, or unclear when the interval straddles it. A student fails
only when two intervals lie above their threshold at once, so the chance of a false alarm at the border is at most 2.5 % for
each loss, and far less where there is no gap.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from diagnose.judge.comparison import Side, compare, surely_more
from diagnose.judge.facts import Contrast, Facts, Measured
from diagnose.schema import Estimate

MARGIN = 0.05
"""Least difference in accuracy that matters: 5 points. Two to three times what the seed alone changes in small students (1 to 2
points), and less than any difference for which one would change a loss; smaller effects are called unclear or none."""

AUC_MARGIN = 0.05
"""Least excess of a student's separability AUC over its teacher's: 0.05 of AUC is 5 in 100 pairs ordered right more often."""

COSINE_MARGIN = 0.05
"""Least fall of the student-teacher cosine from synthetic to real images: about 5 % of full agreement, in step with `MARGIN`."""

MAJORITY = 0.0
"""A shortfall is mostly under-training when its part on the training domain exceeds the part that the change of domain adds."""

ALARM = 0.05
"""Chance of any false alarm among all edits of one student, after Holm's correction: the share of false alarms this project allows."""

NOT_FOLLOWED = 0.15
"""A student that surely follows every exchanged cue in fewer than 15 in 100 images has no cue of these kinds worth naming: a cue that
costs `MARGIN` at ten classes decides in about that many. Wider intervals leave the question open."""

MOSTLY = 0.5
"""A cue lies at a place when that place surely accounts for more than half of what is seen of it: more than all other places together.
For the border, more than half of the gap closes when it is hidden; for a window, it is followed more than half as much as any exchange
that covers the whole image, and the border less than half as much as the window."""

READABLE = 0.5
"""A student that its texts find at chance lives in another space when a linear probe of its embeddings surely goes more than half of the way from
chance to every image right: the classes are there, and these texts do not point at them."""

Outcome = Literal["fails", "holds", "unclear"]
Label = Literal[
    "text_target_costs_real_accuracy",
    "negatives_cost_real_accuracy",
    "contrastive_loss_fails_on_real",
    "image_target_fails_on_real",
    "all_losses_fail_on_real",
    "fails_on_real",
    "training_failure",
    "domain_difficulty",
    "no_gap",
    "inconclusive",
]


def outcome(measured: Measured) -> Outcome:
    """Decide whether a loss fails on real images.

    It fails when its gap exceeds the teacher's by more than `MARGIN` and it is behind the teacher on real images by more than
    `MARGIN`. The second condition keeps a student that only outdoes its teacher on synthetic images from being called a failure;
    `no_gap_of_its_own` one whose teacher alone is thrown off by the synthetic images.
    """
    if measured.other_space or no_gap_of_its_own(measured):
        return "unclear"
    sides = {compare(measured.excess, MARGIN), compare(measured.behind_real, MARGIN)}
    if sides == {"above"}:
        return "fails"
    return "holds" if "below" in sides else "unclear"


def no_gap_of_its_own(measured: Measured) -> bool:
    """Return whether a gap beyond the teacher's is the teacher's doing: the student is not surely better on synthetic than on real images.

    A teacher that stumbles over synthetic images which the student was trained on gives any small student such an excess, planted cues
    that tell nothing included. Whether training on real images would have done better, only a student trained on them can tell.
    """
    if measured.other_space:
        return False
    both = compare(measured.excess, MARGIN) == compare(measured.behind_real, MARGIN) == "above"
    return both and not surely_more(measured.synthetic, measured.real)


def undertrained(measured: Measured) -> bool:
    """Return whether most of a student's shortfall is already there on held-out images of the synthetic domain."""
    if measured.other_space:
        return False
    return compare(measured.behind_synthetic, MARGIN) == "above" and compare(measured.mostly_behind, MAJORITY) == "above"


def lives_elsewhere(zero_shot: Sequence[Estimate], linear_probe: Estimate | None, chance: float) -> bool:
    """Return whether a student lives in another space than its teacher's texts: they find it at chance on both domains, and a linear probe does not.

    How far such a student is "behind" its teacher says nothing.

    Args:
        zero_shot: its accuracies by the teacher's texts, on each domain.
        linear_probe: accuracy on real images of a linear probe of its embeddings; None where none was fitted.
        chance: accuracy that takes no look at the images.
    """
    if linear_probe is None or any(compare(value, chance) == "above" for value in zero_shot):
        return False
    return compare(linear_probe, chance + READABLE * (1 - chance)) == "above"


def real_at_chance(real: Estimate | None, chance: float) -> bool:
    """Return whether an accuracy is known and not surely above chance.

    Args:
        real: accuracy on real images, or None.
        chance: accuracy that takes no look at the images.
    """
    return real is not None and compare(real, chance) != "above"


def fails_a_group(measured: Measured) -> bool:
    """Return whether the worst group of real images is surely worse than the mean of the groups by more than `MARGIN`."""
    worst, mean = measured.worst_group, measured.mean_group
    return worst is not None and mean is not None and worst.high + MARGIN < mean.low


def judged(facts: Facts) -> list[Measured]:
    """Return the losses that are judged: those that saw no real image; if all saw some, those not trained on real images alone."""
    students = [measured for measured in facts.measured if measured.trained_on != "real"]
    return [measured for measured in students if measured.levels.get("real_images") in (None, "0 %")] or students


def teacher_at_chance(facts: Facts) -> bool:
    """Return whether the teacher is no better than chance on both domains, as with class weights of another model."""
    known = [value for value in (facts.teacher_real, facts.teacher_synthetic) if value is not None]
    return bool(known) and all(compare(value, facts.chance) != "above" for value in known)


def at_chance(measured: Measured, facts: Facts) -> Literal["teacher", "student"] | None:
    """Return who is at chance: the teacher on real images, or the student on both domains; None where neither is.

    No student is behind a teacher at chance, and a student at chance follows no cue: both would pass every test without meaning anything.

    Args:
        measured: the students of one loss.
        facts: the teacher's accuracy and the chance level.
    """
    if facts.teacher_real is not None and compare(facts.teacher_real, facts.chance) != "above":
        return "teacher"
    return "student" if all(compare(value, facts.chance) != "above" for value in (measured.real, measured.synthetic)) else None


def costs(contrast: Contrast | None) -> Side:
    """Decide whether a property of the loss costs more than `MARGIN` on real images."""
    return "unclear" if contrast is None else compare(contrast.points, MARGIN)


def helps(contrast: Contrast | None) -> bool:
    """Return whether a property of the loss surely raises the accuracy on real images, by any amount."""
    return contrast is not None and compare(contrast.points, 0.0) == "below"


def costs_everywhere(contrast: Contrast | None) -> bool:
    """Return whether a property costs more than `MARGIN` after training on real images too, and synthetic images do not surely add as much."""
    if contrast is None or contrast.on_real is None or contrast.interaction is None:
        return False
    return compare(contrast.on_real, MARGIN) == "above" and compare(contrast.interaction, MARGIN) != "above"


def no_gain_from_real(facts: Facts, failing: Sequence[Measured]) -> bool:
    """Return whether each failing loss does no better on real images when it is trained on them.

    Args:
        facts: the gains from training on real images.
        failing: losses that fail on real images; False without any, or where one was not trained on real images as well.
    """
    gains = [facts.gains[measured.loss] for measured in failing if measured.loss in facts.gains]
    return len(gains) == len(failing) > 0 and all(compare(gain, MARGIN) == "below" for gain in gains)


def choose_label(facts: Facts) -> Label:
    """Choose the one label that the facts license.

    Args:
        facts: from `evidence.gather`, or made by hand.
    """
    students = judged(facts)
    if not students or facts.teacher_gap is None or teacher_at_chance(facts):
        return "inconclusive"
    failing = [measured for measured in students if outcome(measured) == "fails"]
    return _label_of_failure(facts, students, failing) if failing else _label_without_failure(facts, students)


def _label_without_failure(facts: Facts, students: Sequence[Measured]) -> Label:
    if all(undertrained(measured) for measured in students):
        return "inconclusive" if untold(students) else "training_failure"
    if any(outcome(measured) == "unclear" for measured in students) or facts.teacher_gap is None:
        return "inconclusive"
    return "domain_difficulty" if compare(facts.teacher_gap, MARGIN) == "above" else "no_gap"


def untold(students: Sequence[Measured]) -> bool:
    """Return whether the training images of all students are unknown."""
    return all(measured.trained_on is None for measured in students)


def _label_of_failure(facts: Facts, students: Sequence[Measured], failing: Sequence[Measured]) -> Label:
    if no_gain_from_real(facts, failing):
        return "training_failure"
    causes = named_causes(facts)
    if causes and all(costs_everywhere(facts.contrast(name)) for name in causes):
        return "training_failure"
    if causes and not mostly_shared(facts, causes):
        return label_of_causes(facts, causes)
    text = facts.contrast("text_target") or facts.contrast("text_target_and_negatives")
    if helps(text) and not any(measured.target == "text" for measured in failing):
        return "image_target_fails_on_real"
    if len(failing) == len(students) and len({measured.loss for measured in students}) > 1:
        return "all_losses_fail_on_real"
    return "fails_on_real"


def clearly_better(accuracy: Estimate, other: Estimate) -> bool:
    """Return whether an accuracy exceeds another by more than `MARGIN`, from the low end of the one to the high end of the other.

    Args:
        accuracy: of students that may differ from the others in anything, so that the difference is not paired.
        other: of the other students.
    """
    return accuracy.low > other.high + MARGIN


def at_ceiling(auc: Estimate) -> bool:
    """Return whether an AUC is so near to 1 that no other can exceed it by `AUC_MARGIN`."""
    return 1.0 - auc.value < AUC_MARGIN


def named_causes(facts: Facts) -> list[str]:
    """Return the properties of the loss that cost more than `MARGIN` on real images and belong to a loss that fails there."""
    failing = [measured for measured in judged(facts) if outcome(measured) == "fails"]
    owners = {
        "text_target": any(measured.target == "text" for measured in failing),
        "negatives": any(measured.negatives for measured in failing),
        "text_target_and_negatives": any(measured.target == "text" and measured.negatives for measured in failing),
    }
    return [name for name, owned in owners.items() if owned and costs(facts.contrast(name)) == "above"]


def mostly_shared(facts: Facts, causes: Sequence[str]) -> bool:
    """Return whether all losses fail and those without the property surely lose more than the property costs on top of that.

    Args:
        facts: the numbers.
        causes: properties that cost accuracy; it has to hold for each.
    """
    students = judged(facts)
    if not all(outcome(measured) == "fails" for measured in students):
        return False
    for name in causes:
        contrast = facts.contrast(name)
        without = [measured for measured in students if contrast is not None and measured.loss in contrast.without]
        if contrast is None or not without or min(measured.behind_real.low for measured in without) <= contrast.points.high:
            return False
    return True


def label_of_causes(facts: Facts, causes: Sequence[str]) -> Label:
    """Choose the label that blames properties of the loss; of two that cost, the one whose cost is larger in the paired difference.

    Args:
        facts: the numbers.
        causes: properties that cost more than `MARGIN`, from `named_causes`.
    """
    causes = [name for name in causes if not costs_everywhere(facts.contrast(name))]
    if causes == ["text_target"]:
        return "text_target_costs_real_accuracy"
    if causes == ["negatives"]:
        return "negatives_cost_real_accuracy"
    if facts.text_minus_negatives is not None and "text_target" in causes:
        larger = compare(facts.text_minus_negatives, 0.0)
        if larger != "unclear":
            return "text_target_costs_real_accuracy" if larger == "above" else "negatives_cost_real_accuracy"
    return "contrastive_loss_fails_on_real"


def alarms(scores: Mapping[str, Estimate], edit: str) -> bool:
    """Return whether an edit shows that a student relies on its cue, after the correction for all edits that were tried.

    Args:
        scores: of the interventions, without the name of the probe.
        edit: name of the edit.
    """
    reliance, adjusted = scores.get(f"reliance/{edit}"), scores.get(f"adjusted_p/{edit}")
    return reliance is not None and adjusted is not None and alarms_at(reliance, adjusted)


def alarms_at(value: Estimate, adjusted: Estimate) -> bool:
    """Return whether a number surely exceeds 0 and the upper end of its corrected p-value is at most `ALARM`.

    Args:
        value: the number.
        adjusted: its p-value, corrected for all that were tried; over seeds with an interval.
    """
    return stands(adjusted.high) and compare(value, 0.0) == "above"


def stands(adjusted_p: float) -> bool:
    """Return whether a p-value, already corrected for all that were tried, is at most `ALARM`."""
    return adjusted_p <= ALARM


def closes(share: Estimate) -> bool:
    """Return whether an edit surely closes some of the gap between synthetic and real images."""
    return compare(share, 0.0) == "above"


def lies_at_border(
    border: Estimate | None,
    substance: Estimate | None,
    hidden: Estimate | None,
    back: tuple[Estimate | None, Estimate | None] = (None, None),
) -> bool | None:
    """Decide whether a cue lies at the border rather than everywhere; None where nothing settles it.

    Args:
        border: how far the student follows an exchanged border.
        substance: how far it follows the exchange that says what the cue is made of.
        hidden: share of the gap that closes when the border is hidden: little if the cue is in the centre as well. A lot shows only that
            the border is needed: of a cue that covers the image, what is left in the centre may be too little.
        back: share of the gap that a matched border gives back, and the matched substance: the border has to carry all of the cue.
    """
    if back[0] is not None and back[1] is not None and surely_more(back[1], back[0]):
        return False
    if hidden is not None and compare(hidden, MOSTLY) != "unclear":
        return compare(hidden, MOSTLY) == "above"
    if border is None or substance is None:
        return None
    return True if surely_more(border, substance) else False if surely_more(substance, border) else None


def mostly(part: Estimate | None, whole: Estimate | None) -> bool:
    """Return whether a part surely accounts for more than `MOSTLY` of a whole; not where either is unknown.

    Args:
        part: how far the student follows one exchange.
        whole: how far it follows another one, which holds the first.
    """
    return part is not None and whole is not None and surely_more(part, _scaled(whole, MOSTLY))


def lies_in_window(window: Estimate | None, substances: Sequence[Estimate | None], border: Estimate | None) -> bool:
    """Decide whether a cue lies in one window, a quarter of the image, and not around it or everywhere.

    A cue that covers the image moves with the border, which is larger than a window, at least as much as with a window.

    Args:
        window: how far the student follows the best exchanged window.
        substances: the same for the exchanges of the whole image that stand; None for one that only blunt edits speak for.
        border: the same for the exchanged border.
    """
    if window is None or border is None or not surely_more(_scaled(window, MOSTLY), border):
        return False
    return all(mostly(window, substance) for substance in substances if substance is not None)


def _scaled(value: Estimate, factor: float) -> Estimate:
    return value.model_copy(update={name: factor * getattr(value, name) for name in ("value", "low", "high")})

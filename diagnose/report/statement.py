"""The verdict in one to four sentences."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from diagnose.judge import verdict
from diagnose.judge.facts import Facts, Measured
from diagnose.judge.verdict import MARGIN, Label, compare
from diagnose.report.cause_findings import cause_sentence, strongest
from diagnose.schema import Verdict
from diagnose.wording.factor_words import COSTS as NAMES
from diagnose.wording.factor_words import short_division
from diagnose.wording.numbers import in_percent
from diagnose.wording.space_words import CAUSES, elsewhere_sentence
from diagnose.wording.words import listed, plain, short_effect, short_percent, short_points, upper_first

Failing = Sequence[Measured]
"""The judged losses that fail on real images, the least accurate first; worked out once by `state`."""


def state(facts: Facts) -> Verdict:
    """Choose the label and write the verdict.

    Args:
        facts: the numbers, from `evidence.gather` or made by hand.
    """
    label = verdict.choose_label(facts)
    failing = _failing(facts)
    return Verdict(label=label, statement=_WORDS[label](facts, failing) + _spaces(facts) + _cue(failing, label))


def _spaces(facts: Facts) -> str:
    """Write which students are scored with the texts of their own text tower; empty where none is."""
    names = [measured.name for measured in verdict.judged(facts) if measured.text_space == "own"]
    if not names:
        return ""
    are, their = ("is", "its") if len(names) == 1 else ("are", "their")
    return f" {upper_first(listed(names))} {are} scored with the texts of {their} own text tower."


def _cue(failing: Failing, label: Label) -> str:
    """Write which cue the failing loss relies on; empty where none fails, or where the training is at fault."""
    worst = strongest(failing)
    return "" if worst is None or label == "training_failure" else cause_sentence(worst)


def _failing(facts: Facts) -> list[Measured]:
    """Return the judged losses that fail on real images, the least accurate first."""
    failing = [measured for measured in verdict.judged(facts) if verdict.outcome(measured) == "fails"]
    return sorted(failing, key=lambda measured: measured.real.value)


def _failure(measured: Measured, facts: Facts) -> str:
    real, synthetic = facts.teacher_real, facts.teacher_synthetic
    better = real is not None and synthetic is not None and verdict.surely_more(real, synthetic)
    return (
        f"{upper_first(plain(measured.name))} fails on real images: it is right on {short_percent(measured.real)} of them and on "
        f"{short_percent(measured.synthetic)} of held-out synthetic ones, its teacher on {short_percent(facts.teacher_real)} and "
        f"{short_percent(facts.teacher_synthetic)}: a gap {short_points(measured.excess)} wider than its teacher's"
        + (", who is better on real images than on synthetic ones." if better else ".")
    )


def _caveat(facts: Facts, failing: Failing) -> str:
    if any(measured.excess.over == "images" for measured in failing):
        return " Each number rests on one training; other seeds may differ."
    gains = [facts.gains[measured.loss] for measured in failing if measured.loss in facts.gains]
    if not gains:
        return " No student was trained on real images, so a failure of the training itself is not tested."
    if all(compare(gain, MARGIN) == "above" for gain in gains):
        worst = failing[0]
        gain = facts.gains.get(worst.loss, gains[0])
        return f" Trained on real images instead, {plain(worst.loss)} gains {short_points(gain)} there, so the training as such works."
    return ""


def _others(facts: Facts, contrast_losses: tuple[str, ...], failing: Failing) -> str:
    """Write how accurate the best loss without the property is, and that it is not immune where it fails too."""
    best = [measured for measured in verdict.judged(facts) if measured.loss in contrast_losses]
    if not best:
        return ""
    other = max(best, key=lambda measured: measured.real.value)
    immune = f" but is not immune: its gap is {short_points(other.excess)} wider than the teacher's" if other in failing else ""
    return f" {upper_first(plain(other.name))} is right on {short_percent(other.real)} of real images{immune}."


def _cause(name: str) -> Callable[[Facts, Failing], str]:
    def words(facts: Facts, failing: Failing) -> str:
        contrast = facts.contrast(name)
        if contrast is None:
            return _failure(failing[0], facts)
        owners: Failing = [m for m in failing if m.loss in contrast.having] or [
            m for m in failing if (m.target == "text" if name == "text_target" else bool(m.negatives))
        ]
        owners = owners or failing
        rest = "; ".join(f"{NAMES[item.name]} {short_effect(item.points)}" for item in facts.contrasts if item.name != name)
        cause = f" On real images {NAMES[name]} {short_effect(contrast.points)}{f', {rest}' if rest else ''}."
        cause += "".join(short_division(item) for item in facts.divisions[:1])
        return _failure(owners[0], facts) + cause + _others(facts, contrast.without, failing) + _caveat(facts, owners)

    return words


def _contrastive(facts: Facts, failing: Failing) -> str:
    costs = "; ".join(f"{NAMES[item.name]} {short_effect(item.points)}" for item in facts.contrasts)
    joint = facts.contrast("text_target_and_negatives")
    end = " Add an image-target student with negatives to tell the two apart." if joint else ""
    without = joint.without if joint else next((item.without for item in facts.contrasts if item.name == "negatives"), ())
    return f"{_failure(failing[0], facts)} On real images {costs}.{_others(facts, without, failing)}{end}{_caveat(facts, failing)}"


def _image_target(facts: Facts, failing: Failing) -> str:
    contrast = facts.contrast("text_target") or facts.contrast("text_target_and_negatives")
    helps = (
        ""
        if contrast is None
        else f" Here {NAMES[contrast.name]} {short_effect(contrast.points)} on real images, the reverse of the usual finding."
    )
    return _failure(failing[0], facts) + helps + _caveat(facts, failing)


def _all_losses(facts: Facts, failing: Failing) -> str:
    worst, best = failing[0], failing[-1]
    text = (
        f"All losses fail on real images: they are right on {short_percent(worst.real)} ({plain(worst.name)}) to "
        f"{short_percent(best.real)} ({plain(best.name)}) of them, their teacher on {short_percent(facts.teacher_real)}."
    )
    plain_ones = [measured for measured in failing if measured.target == "image" and measured.negatives is False]
    if plain_ones:
        text += f" {upper_first(listed([measured.name for measured in plain_ones]))} is not immune."
    added = [item for item in facts.contrasts if verdict.costs(item) == "above"]
    details = ", ".join(f"{NAMES[item.name]} {short_effect(item.points)}" for item in (added or facts.contrasts))
    if added:
        text += f" That is the larger part; on top of it {details}."
    elif details:
        text += f" No property of the loss is shown to cost more than {100 * MARGIN:.0f} points: {details}."
    return text + _caveat(facts, failing)


def _fails(facts: Facts, failing: Failing) -> str:
    holding = [measured.name for measured in verdict.judged(facts) if verdict.outcome(measured) == "holds"]
    text = _failure(failing[0], facts)
    if holding:
        text += f" {upper_first(listed(holding))} does not fail."
    text += " Which property of the loss causes it is not shown: the students given do not isolate one that costs more than "
    return text + f"{100 * MARGIN:.0f} points for sure." + _caveat(facts, failing)


def _training(facts: Facts, failing: Failing) -> str:
    if not failing:
        students = verdict.judged(facts)
        worst = max(students, key=lambda measured: measured.behind_synthetic.value)
        return (
            f"The students have not learnt the task: {plain(worst.name)} is {short_points(worst.behind_synthetic)} behind the teacher "
            "on held-out synthetic images, the domain they were trained on. This is a matter of training or of capacity, not of real "
            "against synthetic images."
        )
    worst = failing[0]
    gain = facts.gains.get(worst.loss)
    words = (
        f"Training {plain(worst.loss)} on real images instead changes its accuracy there by {short_points(gain)}"
        if gain
        else "The controls show it"
    )
    causes = [facts.contrast(name) for name in verdict.named_causes(facts)]
    costs = [item for item in causes if item is not None and item.on_real is not None]
    if costs and costs[0].on_real is not None and not verdict.no_gain_from_real(facts, failing):
        words = f"After training on real images {NAMES[costs[0].name]} {short_effect(costs[0].on_real)} as well"
    return f"{_failure(worst, facts)} {words}, so the training or the capacity of the encoder is at fault rather than the synthetic images."


def _difficulty(facts: Facts, failing: Failing) -> str:
    return (
        f"The real images are harder for the teacher itself, by {short_points(facts.teacher_gap)}, and no student falls further behind "
        f"on them by more than {100 * MARGIN:.0f} points. Nothing in the loss is at fault; the students inherit the teacher's own gap."
    )


def _no_gap(facts: Facts, failing: Failing) -> str:
    students = verdict.judged(facts)
    worst = max(students, key=lambda measured: min(measured.excess.high, measured.behind_real.high))
    text = (
        f"No student fails on real images: none is more than {100 * MARGIN:.0f} points worse there than its teacher's own gap explains. "
        f"The closest to it, {plain(worst.name)}, is right on {short_percent(worst.real)} of real images."
    )
    weak = [measured.name for measured in students if verdict.undertrained(measured)]
    if weak:
        text += f" {upper_first(listed(weak))} has not learnt the synthetic images either."
    helped = [item for item in facts.contrasts if verdict.helps(item)]
    return text + "".join(f" {upper_first(NAMES[item.name])} {short_effect(item.points)} on real images." for item in helped)


def _inconclusive(facts: Facts, failing: Failing) -> str:
    students = verdict.judged(facts)
    if verdict.teacher_at_chance(facts):
        return (
            f"Nothing can be said: the teacher itself is at chance on both domains ({short_percent(facts.teacher_real)} of real images, "
            f"{in_percent(facts.chance)} % by chance). Check that the class weights belong to this teacher. Likely causes: {CAUSES}."
        )
    if facts.teacher_gap is None:
        reason = facts.missing[0] if facts.missing else "no student was measured on both"
        return f"Nothing can be said about real against synthetic images: {reason.rstrip('.')}."
    if not students:
        return "Nothing can be said: no student was trained on synthetic images, so there is none to judge."
    elsewhere = [measured for measured in students if measured.other_space]
    if elsewhere:
        return elsewhere_sentence(elsewhere[0].name, elsewhere[0].real, elsewhere[0].linear_probe, facts.chance) + (
            f" The same holds for {listed([measured.name for measured in elsewhere[1:]])}." if elsewhere[1:] else ""
        )
    if all(verdict.undertrained(measured) for measured in students):
        worst = max(students, key=lambda measured: measured.behind_synthetic.value)
        return (
            f"{upper_first(plain(worst.name))} is {short_points(worst.behind_synthetic)} behind the teacher on held-out synthetic images already, which is more than "
            "the change to real images adds: no failure that belongs to real images. What it was trained on is not known, so whether it has learnt that is not either."
        )
    unclear = [measured for measured in students if verdict.outcome(measured) == "unclear"]
    widest = max(unclear, key=lambda measured: min(measured.excess.value, measured.behind_real.value))
    if verdict.no_gap_of_its_own(widest):
        return (
            f"It is not settled whether {plain(widest.name)} fails on real images: it is {short_points(widest.behind_real)} behind its teacher "
            f"there, but right on {short_percent(widest.real)} of them and on {short_percent(widest.synthetic)} of the synthetic images, so it has no "
            "gap of its own; it is the teacher that does worse on the synthetic ones. A student trained on real images would tell."
        )
    straddles = {
        "its gap beyond the teacher's": widest.excess,
        "its distance behind the teacher on real images": widest.behind_real,
    }
    open_ones = [f"{what} is {short_points(value)}" for what, value in straddles.items() if compare(value, MARGIN) == "unclear"]
    return (
        f"The numbers do not settle whether {plain(widest.name)} fails on real images: {' and '.join(open_ones)}, "
        f"on both sides of the {100 * MARGIN:.0f} points that would matter. It takes more seeds or more held-out images."
    )


_WORDS: dict[Label, Callable[[Facts, Failing], str]] = {
    "text_target_costs_real_accuracy": _cause("text_target"),
    "negatives_cost_real_accuracy": _cause("negatives"),
    "contrastive_loss_fails_on_real": _contrastive,
    "image_target_fails_on_real": _image_target,
    "all_losses_fail_on_real": _all_losses,
    "fails_on_real": _fails,
    "training_failure": _training,
    "domain_difficulty": _difficulty,
    "no_gap": _no_gap,
    "inconclusive": _inconclusive,
}

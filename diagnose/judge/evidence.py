"""From probe results to facts: the numbers of all students, and their differences; nothing is judged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from diagnose.inputs.subjects import DOMAINS, Subject
from diagnose.judge import verdict
from diagnose.judge.contrasts import level_contrasts
from diagnose.judge.factors import contrasts, divisions, training_domain
from diagnose.judge.facts import Facts, Measured
from diagnose.judge.groups import Group, group_students
from diagnose.judge.intervals import Sample, estimate, over_seeds
from diagnose.schema import Estimate, ZeroShot
from probes.result import ProbeResult, Score

Results = Mapping[str, Mapping[str, ProbeResult]]
"""probe -> subject -> result."""


def gather(
    students: Sequence[Subject],
    teacher: Subject,
    results: Results,
    *,
    classes: int,
    missing: Sequence[str] = (),
) -> Facts:
    """Collect the facts that a verdict rests on from probe results.

    Args:
        students: the students, in the order of the report.
        teacher: the teacher; its numbers come from the students' results, where it is measured beside them.
        results: probe -> student -> result.
        classes: number of classes C.
        missing: what could not be measured or was left out, a sentence each; handed through to the facts.
    """
    groups = group_students(students, results.get("transfer", {}))
    if not groups:
        return Facts(teacher.name, None, None, None, classes, missing=tuple(missing))
    first = groups[0]
    teacher_real, teacher_synthetic = first.teacher_real.take(first.real.seeds[:1]), first.teacher_synthetic.take(first.real.seeds[:1])
    names = _names(groups)
    facts = Facts(
        teacher=teacher.name,
        teacher_real=_accuracy(teacher_real),
        teacher_synthetic=_accuracy(teacher_synthetic),
        teacher_gap=estimate(Sample((teacher_synthetic.parts[0], -teacher_real.parts[0]), ("teacher",)), low=-1.0, high=1.0),
        classes=classes,
        missing=tuple(missing),
        largest_class=_largest_class(results.get("transfer", {})),
    )
    measured = [_measure(group, name, results) for group, name in zip(groups, names, strict=True)]
    measured = [replace(item, other_space=_lives_elsewhere(item, facts)) for item in measured]
    # An accuracy in a space where a student does not live says nothing of its loss.
    groups = [group for group, item in zip(groups, measured, strict=True) if not item.other_space]
    names = [item.name for item in measured if not item.other_space]
    costs, cost_difference = contrasts(groups)
    return replace(
        facts,
        measured=tuple(measured),
        contrasts=costs,
        text_minus_negatives=None if cost_difference is None else estimate(cost_difference, low=-2.0, high=2.0),
        divisions=divisions(groups, names),
        levels=level_contrasts(groups, names, training_domain(groups)),
        gains=_gains(groups),
    )


def _largest_class(transfers: Mapping[str, ProbeResult]) -> float:
    """Return the share of the largest class in the domain where it is smaller; who does not exceed it in either domain has shown nothing."""
    counts = [result.arrays.get(f"class_count/{domain}") for result in list(transfers.values())[:1] for domain in DOMAINS]
    return min((float(count.max() / count.sum()) for count in counts if count is not None and count.sum()), default=0.0)


def _names(groups: Sequence[Group]) -> list[str]:
    """Return a name for each group: its loss, and its training images where they are real or where the loss was trained on several."""
    others = [group.loss for group in groups if group.trained_on != "real"]
    return [
        f"{group.loss} on {group.trained_on or 'unknown images'}"
        if group.trained_on == "real" or (group.trained_on != "synthetic" and others.count(group.loss) > 1)
        else group.loss
        for group in groups
    ]


def _accuracy(sample: Sample) -> Estimate:
    return estimate(sample, low=0.0, high=1.0)


def _measure(group: Group, name: str, results: Results) -> Measured:
    first, levels = group.subjects[0], group.levels
    target = levels.get("target")
    return Measured(
        name=name,
        loss=group.loss,
        trained_on=group.trained_on,
        target=target if target in ("image", "text") else first.target,
        negatives={"yes": True, "no": False}.get(levels.get("negatives", ""), first.negatives),
        params=first.params,
        students=tuple(subject.name for subject in group.subjects),
        real=_accuracy(group.real),
        synthetic=_accuracy(group.synthetic),
        excess=estimate(group.excess, low=-2.0, high=2.0),
        behind_real=estimate(group.teacher_real - group.real, low=-1.0, high=1.0),
        behind_synthetic=estimate(group.teacher_synthetic - group.synthetic, low=-1.0, high=1.0),
        mostly_behind=estimate(group.mostly_behind, low=-3.0, high=3.0),
        scores=_scores(group, results),
        levels=levels,
        text_space="teacher" if first.text_space is None else "own",
        teacher_space=_transfer_score(group, results, "teacher_space/zero_shot/real"),
        linear_probe=_transfer_score(group, results, "linear_probe/real"),
        worst_group=_transfer_score(group, results, "worst_group/real"),
        mean_group=_transfer_score(group, results, "mean_group/real"),
    )


def _lives_elsewhere(measured: Measured, facts: Facts) -> bool:
    """Return whether a student lives in another space than the texts that it is scored with; a teacher at chance speaks of wrong class weights instead."""
    if measured.text_space == "own" or verdict.real_at_chance(facts.teacher_real, facts.chance):
        return False
    return verdict.lives_elsewhere((measured.real, measured.synthetic), measured.linear_probe, facts.chance)


def _transfer_score(group: Group, results: Results, name: str) -> Estimate | None:
    """Average a score of `transfer` over the students that have it; None where none has."""
    transfers = [results["transfer"][subject.name] for subject in group.subjects]
    values = [of_score(result.scores[name], result.counts) for result in transfers if name in result.scores]
    return over_seeds(values) if values else None


def _scores(group: Group, results: Results) -> dict[str, Estimate]:
    scores: dict[str, Estimate] = {}
    for probe, by_student in results.items():
        measured = [by_student[subject.name] for subject in group.subjects if subject.name in by_student]
        if probe == "transfer" or not measured:
            continue
        for score in measured[0].scores:
            values = [of_score(result.scores[score], result.counts) for result in measured if score in result.scores]
            scores[f"{probe}/{score}"] = over_seeds(values)
    return scores


def _gains(groups: Sequence[Group]) -> dict[str, Estimate]:
    on_real = {group.loss: group for group in groups if group.trained_on == "real"}
    gains: dict[str, Estimate] = {}
    for group in groups:
        if group.trained_on == "synthetic" and group.loss in on_real:
            gains[group.loss] = estimate(on_real[group.loss].real - group.real, low=-1.0, high=1.0)
    return gains


def of_score(score: Score, counts: Mapping[str, int]) -> Estimate:
    """Convert a probe's score to an estimate over images.

    Args:
        score: the score.
        counts: counts of the result it belongs to, with the images of each domain.
    """
    return Estimate(value=score.value, low=score.low, high=score.high, n=_images(counts))


def _images(counts: Mapping[str, int]) -> int:
    return int(counts.get("images/real", 0) + counts.get("images/synthetic", 0))


def zero_shot(result: ProbeResult | None, prefix: str = "") -> ZeroShot:
    """Return one encoder's accuracies from a transfer result.

    Args:
        result: result of the `transfer` probe, or None where it failed.
        prefix: "teacher/" for the teacher's own.
    """
    accuracies: dict[str, Estimate | None] = {"real": None, "synthetic": None}
    for domain in accuracies:
        score = None if result is None else result.scores.get(f"{prefix}zero_shot/{domain}")
        if score is not None and result is not None:
            count = int(np.sum(result.arrays["domain"] == domain)) if "domain" in result.arrays else _images(result.counts)
            accuracies[domain] = Estimate(value=score.value, low=score.low, high=score.high, n=count)
    return ZeroShot(real=accuracies["real"], synthetic=accuracies["synthetic"])

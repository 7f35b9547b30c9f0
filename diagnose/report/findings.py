"""Findings: each judged statement in plain words, with the numbers behind it."""

from __future__ import annotations

from collections.abc import Sequence

from diagnose.judge import verdict
from diagnose.judge.facts import Contrast, Facts, Measured
from diagnose.judge.verdict import AUC_MARGIN, COSINE_MARGIN, MARGIN, Label, compare
from diagnose.report.alternatives import alternatives, metadata_auc
from diagnose.report.cause_findings import cause_findings
from diagnose.report.factor_findings import factor_findings
from diagnose.report.group_findings import group_finding
from diagnose.schema import Estimate, Evidence, Factor, Finding, FindingVerdict
from diagnose.wording.factor_words import COSTS as NAMES
from diagnose.wording.factor_words import division_sentence, share_words
from diagnose.wording.numbers import in_percent
from diagnose.wording.space_words import chance_sentence, elsewhere_sentence, own_texts
from diagnose.wording.words import (
    bare_percent,
    chance_words,
    effect,
    listed,
    more_or_less,
    negative,
    number,
    percent,
    plain,
    points,
    seeds,
    upper_first,
)


def findings(facts: Facts, label: Label) -> list[Finding]:
    """Write all findings, in the order of the page: outcome, controls, loss, cue, separability, drift, what is missing.

    Args:
        facts: the numbers.
        label: the chosen label; it decides which recommendation is licensed.
    """
    students = verdict.judged(facts)
    chain = [_outcome(facts, measured) for measured in students]
    chain += _at_chance(facts)
    if students and facts.teacher_gap is not None:
        chain += [_controls(facts, label), _loss(facts, label, students), *factor_findings(facts)]
    chain += cause_findings(facts)
    chain += [item for measured in students if (item := group_finding(measured))]
    chain += [item for measured in students if (item := _separability(measured))]
    chain += [item for item in (_codec(facts),) if item]
    chain += [item for measured in students if (item := _drift(measured))]
    if facts.missing:
        chain.append(
            Finding(id="missing", probe="", verdict="inconclusive", statement=" ".join(_sentence(reason) for reason in facts.missing))
        )
    return chain


def _sentence(text: str) -> str:
    text = upper_first(text)
    return text if text.endswith((".", "!", "?")) else f"{text}."


def _outcome(facts: Facts, measured: Measured) -> Finding:
    state = verdict.outcome(measured)
    numbers = (
        f"{upper_first(plain(measured.name))} is right on {percent(measured.real)} of real and {percent(measured.synthetic)} "
        f"of held-out synthetic images ({seeds(measured.real)}), the teacher on {_teacher(facts)}; chance is {in_percent(facts.chance)} %."
    )
    against = (
        f"Its gap is {more_or_less(measured.excess, 'wider', 'narrower')} than the teacher's, and on real images it is "
        f"{more_or_less(measured.behind_real, 'behind', 'ahead of')} the teacher"
    )
    judgement = {
        "fails": f"{against}: it fails on real images.",
        "holds": f"{against}: it does not fail there by more than {100 * MARGIN:.0f} points.",
        "unclear": f"{against}: the intervals do not settle whether it fails there by more than {100 * MARGIN:.0f} points.",
    }[state]
    if verdict.no_gap_of_its_own(measured):
        judgement = (
            f"{against}. But it is not surely better on synthetic than on real images: the difference in gaps is its teacher's, who does worse on "
            "the synthetic images, so it is not settled that anything fails to carry over."
        )
    if measured.other_space:
        judgement = elsewhere_sentence(measured.name, measured.real, measured.linear_probe, facts.chance)
    if measured.text_space == "own":
        numbers += f" {own_texts(measured.teacher_space)}"
    if verdict.undertrained(measured):
        judgement += (
            f" It is {points(measured.behind_synthetic)} behind the teacher on the synthetic images too, which is most of its shortfall: "
            "it has not learnt the task well enough to judge what carries over."
        )
    verdicts: dict[str, FindingVerdict] = {"fails": "fail", "holds": "pass", "unclear": "inconclusive"}
    if state == "holds" and (who := verdict.at_chance(measured, facts)):
        state, judgement = "unclear", f"{against}: but {chance_words(facts.chance, who)}, so this does not say that anything carries over."
    elif state == "holds" and verdict.undertrained(measured):
        state = "unclear"
    return Finding(
        id=f"outcome/{measured.name}",
        probe="transfer",
        verdict=verdicts[state],
        statement=f"{numbers} {judgement}",
        students=list(measured.students),
        evidence=[
            Evidence(
                what="accuracy on real images", estimate=measured.real, teacher=facts.teacher_real, unit="share", source="zero_shot/real"
            ),
            Evidence(
                what="accuracy on synthetic images",
                estimate=measured.synthetic,
                teacher=facts.teacher_synthetic,
                unit="share",
                source="zero_shot/synthetic",
            ),
            Evidence(what="gap in excess of the teacher's", estimate=measured.excess, unit="points", source="excess_gap"),
            Evidence(what="behind the teacher on real images", estimate=measured.behind_real, unit="points", source="below_teacher/real"),
            Evidence(
                what="behind the teacher on synthetic images",
                estimate=measured.behind_synthetic,
                unit="points",
                source="below_teacher/synthetic",
            ),
        ],
    )


def _at_chance(facts: Facts) -> list[Finding]:
    """Name every encoder that is not surely above chance on real images, the teacher first, with the likely causes."""
    encoders = [(f"the teacher {facts.teacher}", facts.teacher_real, facts.teacher_synthetic, ())]
    encoders += [(plain(m.name), m.real, m.synthetic, m.students) for m in facts.measured if not m.other_space]  # type: ignore[misc]
    return [
        Finding(
            id=f"chance/{name.removeprefix('the teacher ')}",
            probe="transfer",
            verdict="warn",
            statement=chance_sentence(
                name, real, facts.chance, synthetic_above=synthetic is not None and compare(synthetic, facts.chance) == "above"
            ),
            students=list(students),
            evidence=[Evidence(what="accuracy on real images", estimate=real, unit="share", source="zero_shot/real")],
        )
        for name, real, synthetic, students in encoders
        if real is not None and verdict.real_at_chance(real, facts.chance)
    ]


def _teacher(facts: Facts) -> str:
    real, synthetic = facts.teacher_real, facts.teacher_synthetic
    return " and ".join(bare_percent(value) for value in (real, synthetic) if value is not None)


def _controls(facts: Facts, label: Label) -> Finding:
    gains = facts.gains
    evidence = [
        Evidence(what=f"gain on real images from training on them, {plain(loss)}", estimate=gain, unit="points", source="2 x 2 grid")
        for loss, gain in gains.items()
    ]
    evidence += [
        Evidence(
            what=f"{item.loss} trained on {item.trained_on}",
            estimate=item.real,
            teacher=facts.teacher_real,
            unit="share",
            source="zero_shot/real",
        )
        for item in facts.measured
        if item.loss in gains and item.trained_on in ("real", "synthetic")
    ]
    others = alternatives(facts, label)
    if not gains:
        return Finding(
            id="controls",
            probe="transfer",
            verdict="inconclusive",
            statement="No loss was trained on real as well as on synthetic images, so it is untested whether the same training would "
            "succeed on real images.",
            alternatives=others,
        )
    words = "; ".join(f"{plain(loss)} {_gain(gain)}" for loss, gain in gains.items())
    statement = f"Trained on real instead of synthetic images, with all else equal, accuracy on real images changes: {words}."
    if label == "training_failure":
        state: FindingVerdict = "fail"
        statement += " The loss or its training is at fault, or the encoder is too small; synthetic images are not what it fails on."
    elif any(compare(gain, MARGIN) == "above" for gain in gains.values()):
        state = "pass"
        statement += " So these encoders, losses and settings can learn real images; what fails is learning them from synthetic ones."
    elif all(compare(gain, MARGIN) == "below" for gain in gains.values()):
        state = "pass"
        statement += f" So real images would not have served better by more than {100 * MARGIN:.0f} points."
    else:
        state = "inconclusive"
    advice = ""
    if label == "all_losses_fail_on_real" and state == "pass":
        advice = (
            f"Change the images before the loss: training on real images gains {points(max(gains.values(), key=lambda gain: gain.value))}."
        )
    return Finding(
        id="controls", probe="transfer", verdict=state, statement=statement, evidence=evidence, alternatives=others, recommendation=advice
    )


def _gain(gain: Estimate) -> str:
    once = ", one seed" if gain.over == "images" else ""
    return (f"gains {points(gain)}" if gain.value >= 0 else f"loses {points(negative(gain))}") + once


def factor_sentence(contrast: Contrast) -> str:
    """Write what one property costs, and which losses were compared for it."""
    name = NAMES.get(contrast.name, plain(contrast.name))
    behind = f" of what {plain(contrast.of)} is behind its teacher"
    share = "" if contrast.share is None else f", {share_words(contrast.share)}{behind}"
    text = f"On real images {name} {effect(contrast.points)}{share} ({listed(contrast.having)} against {listed(contrast.without)})."
    if contrast.on_real is not None:
        text += f" After training on real images it {effect(contrast.on_real)}."
    return text


def factors(facts: Facts) -> list[Factor]:
    """Convert the costs of the properties of the loss to rows of the report, with their sentences."""
    return [Factor(name=item.name, share=item.share, points=item.points, statement=factor_sentence(item)) for item in facts.contrasts]


def _loss(facts: Facts, label: Label, students: Sequence[Measured]) -> Finding:
    if not facts.contrasts:
        return Finding(
            id="loss",
            probe="transfer",
            verdict="inconclusive",
            statement="No two students differ in one known property of the loss alone, so none is named; add students with an image "
            "target, with and without negatives, and with a text target.",
        )
    sides = {item.name: verdict.costs(item) for item in facts.contrasts}
    evidence = []
    for item in facts.contrasts:
        evidence.append(
            Evidence(what=f"cost of {NAMES[item.name]}", estimate=item.points, unit="points", source="paired over seeds and images")
        )
        if item.interaction is not None:
            what = f"cost of {NAMES[item.name]} beyond its cost after training on real images"
            evidence.append(Evidence(what=what, estimate=item.interaction, unit="points", source="2 x 2 grid"))
    causes = verdict.named_causes(facts)
    state: FindingVerdict = "inconclusive" if "unclear" in sides.values() else "pass"
    if causes:
        state = "fail"
    weak = [m.name for m in students if verdict.undertrained(m) and any(m.loss in (*c.without, *c.having) for c in facts.contrasts)]
    notes = "".join(f" {factor_sentence(item)}" for item in facts.contrasts)
    notes += "".join(f" {division_sentence(item)}" for item in facts.divisions[1:])
    if weak:
        notes += f" {upper_first(listed(weak))} is under-trained on the synthetic images themselves, which blurs these costs."
    return Finding(
        id="loss",
        probe="transfer",
        verdict=state,
        statement=notes.strip(),
        evidence=evidence,
        students=[name for m in students for name in m.students],
        recommendation=_advice(facts, label),
    )


def _advice(facts: Facts, label: Label) -> str:
    if label == "text_target_costs_real_accuracy":
        contrast = facts.contrast("text_target")
        instead = "draw the student to the teacher's image embedding instead of a text embedding"
    elif label == "negatives_cost_real_accuracy":
        contrast = facts.contrast("negatives")
        instead = "leave the negatives out of the loss"
    elif label == "contrastive_loss_fails_on_real":
        contrast = facts.contrast("text_target_and_negatives") or facts.contrast("text_target")
        instead = "match the teacher's image embedding without negatives"
    else:
        return ""
    if contrast is None:
        return ""
    return f"On such images, {instead}: worth {points(contrast.points)} on real images here."


def _separability(measured: Measured) -> Finding | None:
    within = "separability/excess/within_class/linear/auc" in measured.scores
    name = "within_class/linear/auc" if within else "linear/auc"
    auc, excess = measured.scores.get(f"separability/{name}"), measured.scores.get(f"separability/excess/{name}")
    if auc is None or excess is None:
        return None
    teacher = measured.scores.get(f"separability/teacher/{name}")
    ceiling = teacher is not None and verdict.at_ceiling(teacher)
    side = compare(excess, AUC_MARGIN)
    state: FindingVerdict = "warn" if side == "above" else "inconclusive" if side == "unclear" or ceiling else "pass"
    where = "within a class " if within else ""
    text = (
        f"A linear probe tells real from synthetic images {where}by the embeddings of {plain(measured.name)} with an AUC of {number(auc)}"
    )
    if teacher is not None:
        text += f", by the teacher's with {number(teacher)}"
    text += f", a difference of {number(excess)}; chance is 0.50."
    if ceiling and side != "above":
        text += " The teacher separates them almost perfectly itself, so this comparison cannot tell much."
    elif side == "above":
        text += " The student keeps the two domains further apart than its teacher; by itself this does no harm and proves no cause."
    return Finding(
        id=f"separability/{measured.name}",
        probe="separability",
        verdict=state,
        statement=text,
        students=list(measured.students),
        evidence=[
            Evidence(what="separability of real and synthetic images", estimate=auc, teacher=teacher, unit="AUC", source=name),
            Evidence(what="in excess of the teacher's", estimate=excess, unit="AUC", source=f"excess/{name}"),
        ],
    )


def _codec(facts: Facts) -> Finding | None:
    value = metadata_auc(facts)
    if value is None:
        return None
    side = compare(value, 0.5 + AUC_MARGIN)
    meaning = {
        "above": "Part of what separates the domains may come from how the files were written; re-encode both domains alike to be sure.",
        "below": "So how the files were written does not separate the domains.",
        "unclear": "It is not settled whether how the files were written separates the domains.",
    }[side]
    states: dict[str, FindingVerdict] = {"above": "warn", "below": "pass", "unclear": "inconclusive"}
    return Finding(
        id="separability/file_facts",
        probe="separability",
        verdict=states[side],
        statement=f"File facts alone (codec, size, quality) tell real from synthetic with an AUC of {number(value)}; "
        f"chance is 0.50. {meaning}",
        evidence=[Evidence(what="separability by file facts", estimate=value, unit="AUC", source="metadata/auc")],
    )


def _drift(measured: Measured) -> Finding | None:
    difference = measured.scores.get("drift/cosine/difference")
    real, synthetic = measured.scores.get("drift/cosine/real"), measured.scores.get("drift/cosine/synthetic")
    if measured.text_space == "own" or measured.other_space:
        return _drift_across_spaces(measured)
    if difference is None or real is None or synthetic is None:
        return None
    side = compare(difference, COSINE_MARGIN)
    states: dict[str, FindingVerdict] = {"above": "warn", "below": "pass", "unclear": "inconclusive"}
    text = (
        f"The embeddings of {plain(measured.name)} agree with the teacher's with a mean cosine of {number(synthetic)} "
        f"on held-out synthetic and {number(real)} on real images, a fall of {number(difference)}."
    )
    if side == "above":
        text += " It follows its teacher less on real images than on synthetic ones."
    if measured.target == "text":
        text += " Its loss never asked for the teacher's image embedding, so only the fall counts, not the level."
    return Finding(
        id=f"drift/{measured.name}",
        probe="drift",
        verdict=states[side],
        statement=text,
        students=list(measured.students),
        evidence=[
            Evidence(what="cosine to the teacher on synthetic images", estimate=synthetic, unit="cosine", source="cosine/synthetic"),
            Evidence(what="cosine to the teacher on real images", estimate=real, unit="cosine", source="cosine/real"),
            Evidence(what="fall from synthetic to real", estimate=difference, unit="cosine", source="cosine/difference"),
        ],
    )


def _drift_across_spaces(measured: Measured) -> Finding | None:
    """Compare a student of another space with its teacher by a measure that rotations leave as it is; the cosine does not apply."""
    real, synthetic = measured.scores.get("drift/cka/real"), measured.scores.get("drift/cka/synthetic")
    if real is None or synthetic is None:
        return None
    return Finding(
        id=f"drift/{measured.name}",
        probe="drift",
        verdict="inconclusive",
        statement=f"{upper_first(plain(measured.name))} lives in a space of its own, so the cosine to its teacher does not apply. By linear CKA, which does not "
        f"depend on rotations, its embeddings agree with the teacher's to {number(synthetic)} on held-out synthetic and {number(real)} on real images (1 is full agreement).",
        students=list(measured.students),
        evidence=[
            Evidence(what="linear CKA with the teacher on synthetic images", estimate=synthetic, source="cka/synthetic"),
            Evidence(what="linear CKA with the teacher on real images", estimate=real, source="cka/real"),
        ],
    )

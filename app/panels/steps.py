"""The chain of evidence: findings gathered into steps, each with its question, its sentences, one chart, and its numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import streamlit as st

from app import charts
from app.panels.groups import StudentGroup
from app.panels.measures import draw
from app.panels.report_view import ReportView
from app.panels.wording import VERDICT_WORDS, escape, estimate
from diagnose.schema import Evidence, Factor, Finding
from diagnose.wording.words import first_sentence

QUESTIONS = {
    "outcome": "Does it fail on real images?",
    "controls": "Is the training itself at fault?",
    "loss": "Which property of the loss is to blame?",
    "factors": "What else in the recipe matters?",
    "cause": "Which cue does it rely on?",
    "separability": "Can it tell synthetic from real, more than its teacher can?",
    "drift": "Does it leave its teacher on real images?",
    "missing": "What could not be measured?",
}
"""First part of a finding's id -> the question it answers."""

LARGEST = 3
"""Edits of each loss in the chart of the cues; all stand in words below it."""

READING = {
    "outcome": "Each mark is a loss: how many points wider its gap between synthetic and real images is than its teacher's own gap.",
    "controls": "Each mark is a loss: how many more real images it gets right when it is trained on real instead of synthetic images.",
    "loss": "Each mark is a property of the loss: how many points of accuracy on real images it costs. Left of the line it helps.",
    "factors": "Each mark changes one thing in the recipe: how many points more of real images are right. Right of the line it helps.",
    "cause": f"Each row is an edit of the images: how many points more the student follows, or misses, what it changes than its teacher does and than it does "
    f"on real images. The {LARGEST} largest of each loss; the others stand below in words.",
    "separability": "Each row is a loss: how well real and synthetic images can be told apart by its embeddings; the grey square is its "
    "teacher. What counts is the distance between the two.",
    "drift": "Each row is a loss: how alike its embedding and its teacher's are, on real images (circle) and on synthetic ones (diamond).",
}
"""Step -> how to read its chart."""

CHARTED = {
    "outcome": ("excess_gap",),
    "separability": ("within_class/linear/auc", "linear/auc", "metadata/auc"),
    "drift": ("cosine/real", "cosine/synthetic"),
}
"""Step -> sources of the numbers its chart shows; a step that is not named shows all."""

AXES = {
    "points": "percentage points",
    "share": "share",
    "AUC": "AUC (0.5 = cannot tell, 1 = always tells)",
    "cosine": "cosine to the teacher (1 = the same)",
    "none": "value",
}
GUIDES = {
    "points": (0.0, "no difference"),
    "AUC": (0.5, "cannot tell"),
    "cosine": (0.0, "unrelated"),
    "share": (0.0, ""),
    "none": (None, ""),
}
FACTOR_WORDS = {"text_target": "text target", "negatives": "negatives", "text_target_and_negatives": "text target and negatives together"}


@dataclass(frozen=True)
class Step:
    """Findings that answer one question.

    Args:
        key: first part of their ids.
        findings: in the report's order.
    """

    key: str
    findings: tuple[Finding, ...]

    @property
    def question(self) -> str:
        """Return the question as a heading; a step of another version shows its own id."""
        return QUESTIONS.get(self.key, self.key.replace("_", " "))

    @property
    def charted(self) -> list[tuple[Finding, Evidence]]:
        """Return the numbers the chart shows."""
        pairs = [(finding, evidence) for finding in self.findings for evidence in finding.evidence]
        if self.key in READING:  # one chart that can be read in one way; the other numbers stand in words
            wanted = CHARTED.get(self.key)
            pairs = [pair for pair in pairs if wanted and pair[1].source in wanted] or pairs
            pairs = [pair for pair in pairs if pair[1].unit == pairs[0][1].unit]
        if self.key == "cause":
            largest = {
                finding.id: sorted((e.estimate.value for f, e in pairs if f is finding), reverse=True)[:LARGEST]
                for finding in self.findings
            }
            pairs = [pair for pair in pairs if pair[1].estimate.value in largest[pair[0].id]]
        return pairs


def steps(view: ReportView) -> list[Step]:
    """Gather the report's findings into steps, in the report's order."""
    by_step: dict[str, list[Finding]] = {}
    for finding in view.report.findings:
        by_step.setdefault(finding.id.split("/", 1)[0], []).append(finding)
    return [Step(key, tuple(findings)) for key, findings in by_step.items()]


def group_of(finding: Finding, groups: Sequence[StudentGroup]) -> StudentGroup | None:
    """Find the one group a finding is about, or None where it is about several or none.

    Args:
        finding: the finding.
        groups: groups of students, in the order of the page.
    """
    about = [group for group in groups if set(group.names) & set(finding.students)]
    return about[0] if len(about) == 1 else None


def step_dots(pairs: list[tuple[Finding, Evidence]], view: ReportView) -> list[charts.Dot]:
    """Make a step's marks: a row a loss where a finding is about one loss and one number, else a row a number; the teacher in grey.

    Args:
        pairs: findings with the numbers to draw.
        view: the report, with what pages read from it.
    """
    groups, colours = view.groups, view.colours
    rows, dots = shortened([_row(finding, evidence, pairs, groups) for finding, evidence in pairs]), []
    for row, (finding, evidence) in zip(rows, pairs, strict=True):
        group = group_of(finding, groups)
        colour = colours[group.key] if group else charts.NEUTRAL
        domain = _domain(evidence)
        if evidence.teacher is not None:
            teacher = evidence.teacher
            dots.append(charts.Dot(row, teacher.value, teacher.low, teacher.high, charts.TEACHER, domain, f"teacher, {evidence.what}"))
        estimate = evidence.estimate
        dots.append(charts.Dot(row, estimate.value, estimate.low, estimate.high, colour, domain, f"{row}: {evidence.what}"))
    return dots


def _domain(evidence: Evidence) -> str:
    return evidence.source.rsplit("/", 1)[-1] if evidence.source.endswith(("/real", "/synthetic")) else ""


def _row(finding: Finding, evidence: Evidence, pairs: list[tuple[Finding, Evidence]], groups: Sequence[StudentGroup]) -> str:
    """Name a row: the loss, with what was measured where a finding has several numbers of one kind."""
    group = group_of(finding, groups)
    if group is None:
        return evidence.what
    alike = sum(other is finding and _domain(item) == _domain(evidence) for other, item in pairs)
    if alike == 1:
        return group.title
    what = evidence.what.partition(" (")[0].partition(", beyond")[0].removeprefix("goes over with an ")
    return f"{group.label.removesuffix(' to the teacher').removesuffix(' contrastive')}: {what}"


def shortened(rows: list[str]) -> list[str]:
    """Drop what all rows begin with, up to a comma: the sentence above the chart says it, and a phone has no room for it."""
    begins = {row.rpartition(", ")[0] for row in rows}
    return [row.rpartition(", ")[2] for row in rows] if len(set(rows)) > 1 and len(begins) == 1 else rows


def evidence_words(evidence: Evidence) -> str:
    """Write one number of the chain with its interval and n, and the teacher's beside it."""
    words = f"{escape(evidence.what)}: **{estimate(evidence.estimate, evidence.unit).replace(' (', '** (', 1)}"
    return words + (f"; the teacher's own: {estimate(evidence.teacher, evidence.unit)}" if evidence.teacher else "")


def finding_words(finding: Finding, *, short: bool = False) -> str:
    """Write a finding's judgement as a badge with its statement behind it, or the statement's first sentence alone.

    Args:
        finding: the finding.
        short: write the statement's first sentence alone.
    """
    words, icon, colour = VERDICT_WORDS[finding.verdict]
    return f":{colour}-badge[{icon} {words}] {escape(first_sentence(finding.statement)[0] if short else finding.statement)}"


def factor_words(factor: Factor) -> str:
    """Write what a property of the loss costs, with its share of the gap, interval and n."""
    name = escape(FACTOR_WORDS.get(factor.name, factor.name))
    share = f"; its share of what the students are behind their teacher there: {estimate(factor.share, 'share')}" if factor.share else ""
    return f"**{name}** costs {estimate(factor.points, 'points')} on real images{share}."


def show_evidence(step: Step, view: ReportView) -> None:
    """Put the chart of a step on the page, and its numbers with intervals and n.

    Args:
        step: the step.
        view: the report, with what pages read from it.
    """
    pairs = step.charted
    for unit in dict.fromkeys(evidence.unit for _, evidence in pairs):
        chosen = [pair for pair in pairs if pair[1].unit == unit]
        guide, label = GUIDES[unit]
        figure = charts.dot_chart(step_dots(chosen, view), AXES[unit], percent=unit in ("points", "share"), guide=guide, guide_label=label)
        alt = "; ".join(f"{finding.id} {evidence.what}: {estimate(evidence.estimate, unit)}" for finding, evidence in chosen)
        if step.key in READING:
            st.caption(READING[step.key])
        draw(figure, alt, f"step-{step.key}-{unit}")
    if step.key == "loss":
        st.markdown("\n".join(f"- {factor_words(factor)}" for factor in view.report.factors))
    for finding in step.findings:
        group = group_of(finding, view.groups)
        if finding.evidence:
            st.markdown(
                "\n".join([f"**{escape(group.title)}**" if group else "", "", *(f"- {evidence_words(item)}" for item in finding.evidence)])
            )


def show_factors(index: int, view: ReportView) -> None:
    """Put the costs of the loss's properties on the page, for a report whose findings do not hold them.

    Args:
        index: number of the step before.
        view: the report, with what pages read from it.
    """
    st.subheader(f"{index}. {QUESTIONS['loss']}")
    st.caption(READING["loss"])
    dots = [
        charts.Dot(FACTOR_WORDS.get(factor.name, factor.name), factor.points.value, factor.points.low, factor.points.high, charts.NEUTRAL)
        for factor in view.report.factors
    ]
    words = [factor_words(factor) for factor in view.report.factors]
    draw(charts.dot_chart(dots, AXES["points"], percent=True, guide=0.0, guide_label="costs nothing"), " ".join(words), "factors")
    st.markdown("\n".join(f"- {line}" for line in words))

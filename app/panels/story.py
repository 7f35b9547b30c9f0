"""The verdict as a story: outcome, not a training failure, where, what, proof, which factor of the loss, what to do."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import streamlit as st

from app.panels.cue_examples import show_examples
from app.panels.edits import edit_name, edit_words, kind_of
from app.panels.groups import group_students
from app.panels.links import page_link
from app.panels.notices import missing
from app.panels.opened import when_opened
from app.panels.outcome import show_outcome
from app.panels.steps import Step, finding_words, group_of, show_evidence, show_factors, steps
from app.panels.targets import show_targets
from app.panels.wording import plain
from app.run_store.reports import Run, records
from diagnose.judge.comparison import sign
from diagnose.schema import Finding, Report
from diagnose.wording.words import first_sentence

ORDER = ("outcome", "controls", "separability", "drift", "cause", "loss", "factors")
"""Steps of the story; a step that is not named comes after these, in the report's order."""

DETAIL = {
    "outcome": ("The students, side by side", "students"),
    "controls": ("The grid of trainings, and the training curves", "students"),
    "separability": ("By depth, step by step, and whether it is used", "separability"),
    "drift": ("Other measures, and epoch by epoch", "drift"),
    "cause": ("Every edit, with the images before and after", "cues"),
    "loss": ("Every part of the gap", "factors"),
    "factors": ("Every comparison of one factor", "factors"),
}
"""Step -> words of the link to the page with the detail, and the page."""


@dataclass(frozen=True)
class Proof:
    """The edit that shows a cue best, and a student to look at it with."""

    student: str
    edit: str


def in_order(chain: list[Step]) -> list[Step]:
    """Put steps into the order of the story."""
    place = {key: number for number, key in enumerate(ORDER)}
    return sorted(chain, key=lambda step: place.get(step.key, len(place)))


def proof_of(report: Report) -> Proof | None:
    """Find the intervention with the largest effect among the findings on cues that raise one; None where there is none.

    A cue exchanged with another class comes first: it says most, and its images are the easiest to read.
    """
    asked = records(report, "interventions")
    best: tuple[tuple[bool, float], Proof] | None = None
    for finding in report.findings:
        students = [name for name in finding.students if name in asked]
        if finding.id.split("/", 1)[0] != "cause" or finding.verdict == "pass" or not students:
            continue
        for evidence in finding.evidence:
            score, _, edit = evidence.source.partition("/")
            rank = (kind_of(edit) == "swapped", evidence.estimate.value)
            if score == "reliance" and edit and sign(evidence.estimate) == "above" and (best is None or rank > best[0]):
                best = rank, Proof(students[0], edit)
    return None if best is None else best[1]


def show_story(report: Report, run: Run) -> None:
    """Put the chain of evidence on the page, one box a step; each opens its evidence and leads to the page with the detail."""
    chain = in_order(steps(report))
    for number, step in enumerate(chain):
        with st.container(border=True):
            st.subheader(f"{number + 1}. {plain(step.question)}")
            if step.key == "outcome":
                show_outcome(report, "why-outcome")
            _statements(step.findings)
            if step.key == "cause":
                _proof(report, run)
            if step.key == "loss":
                show_targets(report)
            words = "The evidence: chart and numbers, with intervals and n"
            when_opened(words, f"evidence-{step.key}", partial(_evidence, step, report))
            if step.key in DETAIL:
                _link(step.key, report, run)
    if not any(step.key == "outcome" for step in chain):
        st.subheader("The outcome: real and synthetic images, side by side")
        show_outcome(report, "why-outcome")
    if not chain:
        missing("This report holds no findings.", run)
    if report.factors and not any(step.key == "loss" for step in chain):
        show_factors(len(chain) + 1, report)


def _evidence(step: Step, report: Report) -> None:
    """Show what a step's first sentences leave out, its chart and its numbers."""
    for finding in step.findings:
        rest = first_sentence(finding.statement)[1]
        if rest:
            group = group_of(finding, group_students(report))  # "it" in a later sentence is the loss of the first
            st.markdown(f"**{plain(group.title)}**: {plain(rest)}" if group else plain(rest))
    show_evidence(step, report)


def _statements(findings: tuple[Finding, ...]) -> None:
    for finding in findings:
        st.markdown(finding_words(finding, short=True))


def _proof(report: Report, run: Run) -> None:
    proof = proof_of(report)
    if proof is None:
        return
    group = next((group.title for group in group_students(report) if proof.student in group.names), proof.student)
    st.markdown(
        f"**See for yourself.** The edit that moves {plain(group)} most beyond its teacher is **{plain(edit_name(proof.edit))}**: "
        f"{plain(edit_words(proof.edit))}. These are the images before and after it:"
    )
    show_examples(run, report, proof.student, proof.edit, most=2)


def _link(key: str, report: Report, run: Run) -> None:
    label, page = DETAIL[key]
    opened: dict[str, str] = {}
    if key == "cause" and (proof := proof_of(report)) is not None:
        opened = {"kind": kind_of(proof.edit), "student": proof.student, "edit": proof.edit}
    elif key == "factors":
        first = next((finding.id.partition("/")[2] for finding in report.findings if finding.id.startswith("factors/")), "")
        opened = {"factor": first} if any(item.factor == first for item in report.contrasts) else {}
    page_link(label, page, run, **opened)

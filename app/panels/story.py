"""The verdict as a story: outcome, not a training failure, where, what, proof, which factor of the loss, what to do."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import streamlit as st

from app.panels.cue_examples import show_examples
from app.panels.edits import edit_name, edit_words, kind_of
from app.panels.links import page_link
from app.panels.notices import missing
from app.panels.opened import when_opened
from app.panels.outcome import show_outcome
from app.panels.report_view import ReportView
from app.panels.steps import Step, finding_words, group_of, show_evidence, show_factors, steps
from app.panels.targets import show_targets
from app.panels.wording import escape
from app.run_store.reports import Run
from diagnose.judge.comparison import sign
from diagnose.schema import Finding
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


def proof_of(view: ReportView) -> Proof | None:
    """Find the intervention with the largest effect among the findings on cues that raise one; None where there is none.

    A cue exchanged with another class comes first: it says most, and its images are the easiest to read.
    """
    asked = view.records("interventions")
    best: tuple[tuple[bool, float], Proof] | None = None
    for finding in view.report.findings:
        students = [name for name in finding.students if name in asked]
        if finding.id.split("/", 1)[0] != "cause" or finding.verdict == "pass" or not students:
            continue
        for evidence in finding.evidence:
            score, _, edit = evidence.source.partition("/")
            rank = (kind_of(edit) == "swapped", evidence.estimate.value)
            if score == "reliance" and edit and sign(evidence.estimate) == "above" and (best is None or rank > best[0]):
                best = rank, Proof(students[0], edit)
    return None if best is None else best[1]


def show_story(view: ReportView, run: Run) -> None:
    """Put the chain of evidence on the page, one box a step; each opens its evidence and leads to the page with the detail.

    Args:
        view: the report, with what pages read from it.
        run: the run.
    """
    chain = in_order(steps(view))
    for number, step in enumerate(chain):
        with st.container(border=True):
            st.subheader(f"{number + 1}. {escape(step.question)}")
            if step.key == "outcome":
                show_outcome(view, "why-outcome")
            _statements(step.findings)
            if step.key == "cause":
                _proof(view, run)
            if step.key == "loss":
                show_targets(view)
            words = "The evidence: chart and numbers, with intervals and n"
            when_opened(words, f"evidence-{step.key}", partial(_evidence, step, view))
            if step.key in DETAIL:
                _link(step.key, view, run)
    if not any(step.key == "outcome" for step in chain):
        st.subheader("The outcome: real and synthetic images, side by side")
        show_outcome(view, "why-outcome")
    if not chain:
        missing("This report holds no findings.", run)
    if view.report.factors and not any(step.key == "loss" for step in chain):
        show_factors(len(chain) + 1, view)


def _evidence(step: Step, view: ReportView) -> None:
    """Show what a step's first sentences leave out, its chart and its numbers."""
    for finding in step.findings:
        rest = first_sentence(finding.statement)[1]
        if rest:
            group = group_of(finding, view.groups)  # "it" in a later sentence is the loss of the first
            st.markdown(f"**{escape(group.title)}**: {escape(rest)}" if group else escape(rest))
    show_evidence(step, view)


def _statements(findings: tuple[Finding, ...]) -> None:
    for finding in findings:
        st.markdown(finding_words(finding, short=True))


def _proof(view: ReportView, run: Run) -> None:
    proof = proof_of(view)
    if proof is None:
        return
    group = view.group_of(proof.student)
    st.markdown(
        f"**See for yourself.** The edit that moves {escape(group.title if group else proof.student)} most beyond its teacher is **{escape(edit_name(proof.edit))}**: "
        f"{escape(edit_words(proof.edit))}. These are the images before and after it:"
    )
    show_examples(run, view, proof.student, proof.edit, most=2)


def _link(key: str, view: ReportView, run: Run) -> None:
    label, page = DETAIL[key]
    opened: dict[str, str] = {}
    if key == "cause" and (proof := proof_of(view)) is not None:
        opened = {"kind": kind_of(proof.edit), "student": proof.student, "edit": proof.edit}
    elif key == "factors":
        first = next((finding.id.partition("/")[2] for finding in view.report.findings if finding.id.startswith("factors/")), "")
        opened = {"factor": first} if any(item.factor == first for item in view.report.contrasts) else {}
    page_link(label, page, run, **opened)

"""Page Why: the verdict first, then the chain of evidence, other explanations, and what to do."""

from __future__ import annotations

import streamlit as st

from app import charts
from app.reports import Run, load_thumbnails
from app.views.groups import keys_in_order
from app.views.images import strip
from app.views.measures import draw
from app.views.notices import missing, report_or_notice
from app.views.outcome import show_outcome
from app.views.wording import LOSS_WORDS, STATUS_WORDS, VERDICT_WORDS, estimate, loss_name, plain
from diagnose.schema import Evidence, Factor, Finding, Report
from probes.result import DiagnosticError

QUESTIONS = {
    "transfer": "Does it fail, and on which images?",
    "separability": "Can it tell synthetic from real?",
    "drift": "How far is it from its teacher?",
    "factors": "Which property of the loss is to blame?",
}
"""Probe -> the question it answers."""

AXES = {
    "points": "percentage points",
    "share": "share",
    "AUC": "AUC (0.5 = cannot tell them apart, 1 = always can)",
    "cosine": "cosine",
    "none": "value",
}
FACTOR_WORDS = {"text_target": "text target", "negatives": "negatives", "text_target_and_negatives": "text target and negatives together"}


def show(run: Run) -> None:
    """Show the page of one run."""
    st.title("Why does this student fail on real images?")
    report = report_or_notice(run)
    if report is None:
        return
    _verdict(report)
    _pictures(run, report)
    st.header("The evidence, step by step")
    st.subheader("1. The outcome: real and synthetic images side by side")
    show_outcome(report, "why-outcome")
    for index, finding in enumerate(report.findings):
        _finding(index, finding, report)
    if not report.findings:
        missing("This report holds no findings.", run)
    if report.factors:
        _factors(report)
    _alternatives(report)
    _recommendations(report)
    with st.expander("Words used here"):
        st.markdown(GLOSSARY)


def _verdict(report: Report) -> None:
    with st.container(border=True):
        st.markdown(f"### {plain(report.verdict.statement)}")
        students = len(report.students)
        n = next((own.n for own in (report.teacher.zero_shot.real,) if own is not None), None)
        images = f", measured on {n:,} real images" if n else ""
        seeds = {student.seed for student in report.students} - {None}
        st.caption(
            f"Verdict: {plain(report.verdict.label)}. From {students} student{'s' if students != 1 else ''}"
            f"{f' ({len(seeds)} seeds)' if len(seeds) > 1 else ''}{images}, {len(report.class_names)} classes. "
            f"Numbers in brackets are 95 % intervals. Made {plain(report.created)}."
        )
    losses = dict.fromkeys(student.loss for student in report.students if student.loss)
    if losses:
        with st.expander("What was compared"):
            if report.about:
                st.markdown(plain(report.about))
            st.markdown(
                f"A **teacher** ({plain(report.teacher.name)}, {report.teacher.params:,} parameters) is copied by smaller **students**. They share "
                "their images, their start and their size, and differ in one thing, the **loss**: what they are asked to copy."
            )
            st.markdown("\n".join(f"- **{plain(loss_name(loss))}**{_teaches(loss)}" for loss in losses))


def _teaches(loss: str) -> str:
    return f": {LOSS_WORDS[loss][1]}." if loss in LOSS_WORDS else ""


def _pictures(run: Run, report: Report) -> None:
    try:
        thumbnails = load_thumbnails(run)
    except (FileNotFoundError, DiagnosticError) as error:
        missing("The pictures behind this run are not stored with it.", run, error)
        return
    known = [
        name for name in report.class_names if {"real", "synthetic"} <= set(thumbnails.loc[thumbnails["class_name"] == name, "domain"])
    ]
    if not known:
        return
    chosen = known[0]
    st.markdown(f"The same class, {plain(chosen)}, as photographs and as the generator paints it:")
    for domain in ("real", "synthetic"):
        strip(thumbnails[(thumbnails["class_name"] == chosen) & (thumbnails["domain"] == domain)].head(10), f"{domain}")


def _finding(index: int, finding: Finding, report: Report) -> None:
    words, icon, colour = VERDICT_WORDS[finding.verdict]
    st.subheader(f"{index + 2}. {QUESTIONS.get(finding.probe, plain(finding.probe))}")
    st.badge(words, icon=icon, color=colour)  # type: ignore[arg-type]
    st.markdown(plain(finding.statement))
    for unit in dict.fromkeys(evidence.unit for evidence in finding.evidence):
        chosen = [evidence for evidence in finding.evidence if evidence.unit == unit]
        guide, label = {"AUC": (0.5, "cannot tell"), "points": (0.0, "no difference")}.get(unit, (None, ""))
        figure = charts.dot_chart(
            evidence_dots(chosen, finding, report), AXES[unit], percent=unit in ("points", "share"), guide=guide, guide_label=label
        )
        alt = "; ".join(f"{evidence.what}: {estimate(evidence.estimate, unit)}" for evidence in chosen)
        draw(figure, alt, f"why-{index}-{unit}")
    st.markdown("\n".join(f"- {evidence_words(evidence)}" for evidence in finding.evidence))
    if any(evidence.teacher for evidence in finding.evidence):
        st.caption("Grey squares are the teacher's own value: what the student did not add.")


def evidence_dots(evidence: list[Evidence], finding: Finding, report: Report) -> list[charts.Dot]:
    """Make the marks of a finding's numbers: coloured by loss where the finding is about one loss, the teacher in grey."""
    colours = charts.colours(keys_in_order(report))
    keys = {student.loss or student.name for student in report.students if student.name in finding.students}
    colour = colours[keys.pop()] if len(keys) == 1 else charts.NEUTRAL
    dots = []
    for item in evidence:
        if item.teacher is not None:
            own = item.teacher
            dots.append(charts.Dot(item.what, own.value, own.low, own.high, charts.TEACHER, "", f"teacher, {item.what}", main=False))
        dots.append(charts.Dot(item.what, item.estimate.value, item.estimate.low, item.estimate.high, colour, "", item.what))
    return dots


def evidence_words(evidence: Evidence) -> str:
    """Write one number of the chain with its interval and n, and the teacher's beside it."""
    words = f"{plain(evidence.what)}: **{estimate(evidence.estimate, evidence.unit).replace(' (', '** (', 1)}"
    return words + (f"; the teacher's own: {estimate(evidence.teacher, evidence.unit)}" if evidence.teacher else "")


def _factors(report: Report) -> None:
    st.subheader(f"{len(report.findings) + 2}. What each property of the loss costs on real images")
    st.markdown("\n".join(f"- {factor_words(factor)}" for factor in report.factors))
    dots = [
        charts.Dot(FACTOR_WORDS.get(factor.name, factor.name), factor.points.value, factor.points.low, factor.points.high, charts.NEUTRAL)
        for factor in report.factors
    ]
    alt = "; ".join(f"{factor.name}: {estimate(factor.points, 'points')}" for factor in report.factors)
    draw(
        charts.dot_chart(dots, "accuracy lost on real images, in points", percent=True, guide=0.0, guide_label="costs nothing"),
        alt,
        "why-factors",
    )


def factor_words(factor: Factor) -> str:
    """Write a factor's statement with its cost and its share of the gap."""
    share = f"; share of the gap {estimate(factor.share, 'share')}" if factor.share else ""
    return f"{plain(factor.statement)} {estimate(factor.points, 'points')}{share}."


def alternatives_table(report: Report) -> str:
    """Write all other explanations as a markdown table; empty where there are none."""
    found = {alternative.name: alternative for finding in report.findings for alternative in finding.alternatives}
    if not found:
        return ""
    rows = [f"| {plain(item.name)} | {STATUS_WORDS[item.status]} | {plain(item.because)} |" for item in found.values()]
    return "\n".join(["| Other explanation | Is it that? | What says so |", "|---|---|---|", *rows])


def _alternatives(report: Report) -> None:
    table = alternatives_table(report)
    if table:
        st.header("Could it be something else?")
        st.markdown(table)


def _recommendations(report: Report) -> None:
    advice = list(dict.fromkeys(finding.recommendation for finding in report.findings if finding.recommendation))
    if advice:
        st.header("What to do")
        st.markdown("\n".join(f"- {plain(item)}" for item in advice))


GLOSSARY = """
- **Zero-shot accuracy**: share of images whose class the student finds by comparing the image with the texts of the class names.
- **Teacher, student**: a large frozen CLIP, and a small network that learns to copy it.
- **Loss**: what exactly the student is asked to copy. **Text target**: the text of the class. **Image target**: the teacher's own embedding of the image. \
**Negatives**: other items the student must move away from.
- **Real, synthetic**: photographs, and images made by a generator.
- **AUC**: how well the two kinds can be told apart from the student's embeddings: 0.5 not at all, 1 always.
- **95 % interval**: where the number would lie in 95 of 100 repetitions with other images (or other seeds, where it says so).
- **Seed**: a repetition of the same training with other random numbers.
"""

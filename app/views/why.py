"""Page Why: the verdict first, then the chain of evidence, other explanations, and what to do."""

from __future__ import annotations

import streamlit as st

from app.panels.images import strip
from app.panels.notices import missing, view_or_notice
from app.panels.report_view import ReportView
from app.panels.sharing import show_sharing
from app.panels.story import show_story
from app.panels.targets import in_plain_words
from app.panels.wording import LOSS_WORDS, STATUS_WORDS, escape, loss_name
from app.run_store.reports import Run, load_thumbnails
from diagnose.wording.words import first_sentence
from probes.result import DiagnosticError

GLOSSARY = """
- **Zero-shot accuracy**: share of images whose class the student finds by comparing the image with the texts of the class names.
- **Teacher, student**: a frozen CLIP, and a small network that learns to copy it.
- **Real, synthetic**: images taken from the world, and images made by a generator.
- **Gap**: accuracy on synthetic images minus accuracy on real ones. **Point**: one percentage point.
- **Loss**: what exactly the student is asked to copy. **Text target**: the text of the class. **Image target**: the teacher's own \
embedding of the image. **Negatives**: other items the student must move away from.
- **Embedding**: the list of numbers a network turns an image into. **Cosine**: how alike two embeddings are; 1 the same, 0 unrelated.
- **AUC**: how well two kinds of image can be told apart: 0.5 not at all, 1 always.
- **95 % interval**: a range made so that it holds the true value in 95 of 100 repetitions with other images (or seeds, where it says so).
- **Seed**: a repetition of the same training with other random numbers. **n**: how many images, or seeds, a number rests on.
"""

TITLES = {
    "no_gap": "Does this student fail on real images?",
    "inconclusive": "Does this student fail on real images?",
    "domain_difficulty": "Why are real images harder here?",
    "training_failure": "Why did this training fail?",
}
"""Label of the verdict -> title, where the usual one would say what the verdict denies."""


def show(run: Run) -> None:
    """Show the page of one run."""
    head = st.container()
    view = view_or_notice(run)
    head.title(TITLES.get(view.report.verdict.label if view is not None else "", "Why does this student fail on real images?"))
    if view is None:
        return
    _verdict(view)
    _compared(view)
    with st.expander("Words used here"):
        st.markdown(GLOSSARY)
    _pictures(run, view)
    st.header("The evidence, step by step")
    show_story(view, run)
    table = alternatives_table(view)
    if table:
        st.header("Could it be something else?")
        st.markdown(table)
    advice = list(dict.fromkeys(finding.recommendation for finding in view.report.findings if finding.recommendation))
    if advice:
        st.header("What to do")
        st.markdown("\n".join(f"- {escape(item)}" for item in advice))
    show_sharing(view, run)


def _verdict(view: ReportView) -> None:
    first, rest = first_sentence(view.report.verdict.statement)
    with st.container(border=True):
        st.markdown(f"### {escape(first)}")
        if meaning := in_plain_words(view):
            st.markdown(meaning)
        if rest:
            st.markdown(escape(rest))
        st.caption(behind_words(view))


def behind_words(view: ReportView) -> str:
    """Say how many students, seeds, images and classes the verdict rests on."""
    seeds = {student.seed for student in view.report.students} - {None}
    counts = [
        f"{accuracy.n:,} {domain} images"
        for domain in ("real", "synthetic")
        if (accuracy := getattr(view.report.teacher.zero_shot, domain))
    ]
    parts = [
        f"{len(view.report.students)} student{'s' if len(view.report.students) != 1 else ''}{f' ({len(seeds)} seeds)' if len(seeds) > 1 else ''}",
        *counts,
        f"{len(view.report.class_names)} classes",
    ]
    label = view.report.verdict.label.replace("_", " ")
    created = escape(view.report.created[:16].replace("T", " "))
    return f"Verdict: {escape(label)}. It rests on {', '.join(parts)}. Numbers in brackets are 95 % intervals. Made {created}."


def _compared(view: ReportView) -> None:
    losses = dict.fromkeys(student.loss for student in view.report.students if student.loss)
    with st.expander("What was compared"):
        if view.report.about:
            st.markdown(escape(view.report.about))
        st.markdown(
            f"A frozen **teacher** ({escape(view.report.teacher.name)}, {view.report.teacher.params:,} parameters) is copied by **students**. They "
            "share their size, their start and the order of their images, and differ in the **loss**: what they are asked to copy:"
        )
        st.markdown(
            "\n".join(f"- **{escape(loss_name(loss))}**{f': {LOSS_WORDS[loss][1]}.' if loss in LOSS_WORDS else ''}" for loss in losses)
        )


def _pictures(run: Run, view: ReportView) -> None:
    try:
        thumbnails = load_thumbnails(run)
    except (FileNotFoundError, DiagnosticError) as error:
        missing("The pictures behind this run are not stored with it.", run, error)
        return
    domains = {name: set(thumbnails.loc[thumbnails["class_name"] == name, "domain"]) for name in view.report.class_names}
    known = [name for name in view.report.class_names if {"real", "synthetic"} <= domains[name]]
    if not known:
        missing("No class has pictures of both kinds stored with this run.", run)
        return
    st.markdown(
        f"The same class, **{escape(known[0])}**, in both kinds of image. The stored sample favours images on which the students disagree."
    )
    for domain, words in (("real", "real"), ("synthetic", "synthetic, made by a generator")):
        chosen = thumbnails[(thumbnails["class_name"] == known[0]) & (thumbnails["domain"] == domain)]
        strip(chosen.head(8), f"{words} ({min(8, len(chosen))} of the sample)")


def alternatives_table(view: ReportView) -> str:
    """Write all other explanations as a markdown table; empty where there are none."""
    alternatives = {alternative.name: alternative for finding in view.report.findings for alternative in finding.alternatives}
    if not alternatives:
        return ""
    rows = [f"| {escape(item.name)}: **{STATUS_WORDS[item.status]}** | {escape(item.because)} |" for item in alternatives.values()]
    return "\n".join(["| Is it … ? | What says so |", "|---|---|", *rows])

"""Page Factors: what each property of the loss, of its texts and of the training images costs on real images."""

from __future__ import annotations

import streamlit as st

from app import charts
from app.panels.choices import choose
from app.panels.factor_parts import (
    contrast_dots,
    contrast_words,
    division_bars,
    division_words,
    factor_label,
    kind_dots,
    kind_sentences,
    level_table,
)
from app.panels.links import page_link
from app.panels.measures import draw
from app.panels.notices import view_or_notice
from app.panels.report_view import ReportView
from app.panels.steps import finding_words
from app.panels.targets import EXPLAINED, target_sentence
from app.panels.wording import escape
from app.run_store.reports import Run
from diagnose.judge.comparison import sign
from diagnose.schema import Division

COMMANDS = "synthgap train configs/factors.toml --out runs/factors --jobs 2 --set data.folder=FOLDER\nsynthgap diagnose runs/factors --probe transfer"


def show(run: Run) -> None:
    """Show the page of one run."""
    st.title("What does each property of the loss cost?")
    view = view_or_notice(run)
    if view is None:
        return
    st.markdown(
        "Losses differ in several things at once. Students that differ in **one thing at a time**, with the same start and the same order of "
        "images, show what each of them costs on real images."
    )
    if not (view.report.factors or view.report.divisions or view.report.contrasts):
        st.info(
            "This report compares no losses that differ in one thing. A run that does, one factor at a time, is made and judged by:",
            icon=":material/info:",
        )
        st.code(COMMANDS, language="bash")
        return
    _target(view)
    for number, division in enumerate(view.report.divisions):
        _division(division, number)
    _contrasts(view)
    _levels(view, run)


def _target(view: ReportView) -> None:
    st.header("Text target or image target, negatives or none?")
    with st.expander("What the two properties mean"):
        st.markdown(EXPLAINED)
    for finding in view.report.findings:
        if finding.id == "loss":
            st.markdown(finding_words(finding, short=True))
    st.markdown(target_sentence(view))
    dots, lines = kind_dots(view), kind_sentences(view)
    if lines:
        figure = charts.dot_chart(dots, "zero-shot accuracy", percent=True, bounds=(0, 1))
        draw(figure, "Zero-shot accuracy by kind of loss. " + " ".join(lines).replace("*", "").replace("\\", ""), "factor-kinds")
        st.caption(
            "A row a kind of loss, a pair of marks a loss: real images (circle) and synthetic ones (diamond). Students trained on synthetic images."
        )
        with st.expander("The same in words, with intervals and n"):
            st.markdown("\n".join(f"- {line}" for line in lines))


def _division(division: Division, number: int) -> None:
    names = {1: "Of what the gap is made", 2: "The same gap, with the training images among its parts"}
    st.header(names.get(number + 1, f"The gap, divided another way ({number + 1})"))
    st.markdown(escape(division.statement))
    words = division_words(division)
    figure = charts.bar_chart(division_bars(division), "points behind the teacher on real images")
    draw(figure, "Parts of the gap. " + words.replace("\\", ""), f"division-{number}")
    st.caption(
        "Each bar begins where the one before ends, and together they are the gap; a bar to the left helps. In brackets the share of the gap. Whiskers: 95 % interval of the "
        "part. A part is the mean effect of switching this factor over the orders in which the factors can be switched (Shapley value)."
    )
    with st.expander("The parts in words, with intervals, shares and n"):
        st.markdown(words)


def _contrasts(view: ReportView) -> None:
    st.header("One thing changed at a time")
    factors = list(dict.fromkeys(item.factor for item in view.report.contrasts))
    if not factors:
        st.info("No two kinds of students of this run differ in one factor alone; docs/factors.md says which do.", icon=":material/info:")
        st.code(COMMANDS, language="bash")
        return
    factor = choose("Factor", factors, "factor", words=factor_label)
    items = [item for item in view.report.contrasts if item.factor == factor]
    lines = [contrast_words(item) for item in items]
    st.markdown(contrast_summary(view, factor))
    figure = charts.dot_chart(
        contrast_dots(items), "change in accuracy, percentage points", percent=True, guide=0.0, guide_label="no change"
    )
    draw(figure, f"{factor_label(factor)}. " + " ".join(lines).replace("\\", ""), "contrasts")
    st.caption(
        "Circle: real images, diamond: synthetic ones; right of the line the first level is better. Whiskers: 95 % interval over seeds and images. "
        "Worse on both is a training that got worse; worse on real images alone is what this page is about. Each is judged on its own: of 20 "
        "true zeros one interval misses zero."
    )
    with st.expander("The same in words, with intervals and n", expanded=len(lines) <= 3):
        st.markdown("\n".join(lines))


def contrast_summary(view: ReportView, factor: str) -> str:
    """Say how many contrasts of a factor surely change real accuracy, and by how much at most.

    Args:
        view: the report, with what pages read from it.
        factor: name of the factor.
    """
    items = [item for item in view.report.contrasts if item.factor == factor]
    sure = [item for item in items if sign(item.real) != "unclear"]
    widest = max(items, key=lambda item: abs(item.real.value))
    plural = "comparisons change" if len(sure) != 1 else "comparison changes"
    return (
        f"**{factor_label(factor)}**: {len(sure)} of {len(items)} {plural} accuracy on real images for sure. The largest: "
        f"{escape(widest.statement)}"
    )


def _levels(view: ReportView, run: Run) -> None:
    table = level_table(view)
    st.header("Every kind of student and its levels")
    st.dataframe(table, hide_index=True, alt="Levels and accuracies of every kind of student")
    st.caption("Accuracy: mean over seeds, in brackets the lowest and highest seed (with one seed: its 95 % interval over images).")
    page_link("The students, side by side", "students", run)

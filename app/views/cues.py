"""Page Cues: what is used when one thing in an image is changed, the images before and after, and what discovery finds by itself."""

from __future__ import annotations

from functools import partial

import streamlit as st

from app import charts
from app.panels.choices import choose, state_key
from app.panels.counts import counts_sentence
from app.panels.cue_examples import show_examples
from app.panels.cue_matrix import accuracy_dots, cells, edit_sentence, edits_of, matrix_sentence, measured_groups, row_label, spread_words
from app.panels.discoveries import show_discoveries
from app.panels.edits import KINDS, edit_name, edit_words, kind_of
from app.panels.groups import StudentGroup
from app.panels.measures import CONFIG, draw
from app.panels.notices import failed_probes, missing, view_or_notice
from app.panels.opened import when_opened
from app.panels.report_view import ReportView
from app.panels.steps import finding_words
from app.panels.wording import escape
from app.run_store.reports import Run
from diagnose.wording.numbers import with_interval

LIMITS = {"reliance": 0.4, "gap_closed": 1.0}
"""Size of a number that is drawn deepest: 40 points, the whole gap."""


def show(run: Run) -> None:
    """Show the page of one run."""
    st.title("Which cue does it use?")
    view = view_or_notice(run)
    if view is None:
        return
    st.markdown(
        "We change **one thing** in an image, keep the rest, and ask student and teacher again. A change does some harm to any network. What "
        "counts is what it does to the student **beyond its teacher**, and on synthetic images **beyond real ones**: that is a cue which "
        "the student found in the synthetic images and its teacher does not need."
    )
    _findings(view)
    _interventions(view, run)
    show_discoveries(view, run)


def _findings(view: ReportView) -> None:
    for finding in view.report.findings:
        if finding.id.split("/", 1)[0] == "cause":
            st.markdown(finding_words(finding))


def _interventions(view: ReportView, run: Run) -> None:
    st.header("Student by edit")
    failed_probes(view, "interventions", run)
    records = view.records("interventions")
    groups = measured_groups(records, view.groups)
    kinds = [kind for kind in KINDS if edits_of(records, kind)]
    if not groups or not kinds:
        missing("The interventions are not in this report.", run)
        return
    with st.expander("Four ways of asking, and what the answers mean"):
        st.markdown("\n".join(f"- **{kind.label}.** {kind.does} {kind.means}" for kind in KINDS.values()))
    asked = st.query_params.get("edit", "")
    if asked and "kind" not in st.query_params and state_key("kind") not in st.session_state and kind_of(asked) in kinds:
        st.session_state[state_key("kind")] = kind_of(asked)  # a link to an edit need not name its kind
    kind = choose("How the cue is changed", kinds, "kind", words=lambda name: KINDS[name].label, buttons=True)
    st.markdown(f"{KINDS[kind].does} {KINDS[kind].means}")
    sentence = matrix_sentence(records, groups, kind)
    st.markdown(sentence)
    with st.expander("What each edit does"):
        st.markdown("\n".join(f"- **{escape(edit_name(edit))}**: {escape(edit_words(edit))}" for edit in edits_of(records, kind)))
    student, edit = _chosen(view, groups, kind, edits_of(records, kind))
    _matrix(view, groups, kind, sentence, (student, edit))
    _one(view, run, student, edit)


def _matrix(view: ReportView, groups: list[StudentGroup], kind: str, sentence: str, opened: tuple[str, str]) -> None:
    records = view.records("interventions")
    edits = edits_of(records, kind)
    column = next((group.title for group in groups if opened[0] in group.names), "")
    figure = charts.matrix_chart(
        cells(records, groups, kind),
        [row_label(edit) for edit in edits],
        [group.title for group in groups],
        limit=LIMITS[KINDS[kind].score],
        chosen=(row_label(opened[1]), column),
    )
    key = f"cue-matrix-{kind}"
    event = st.plotly_chart(
        figure, config=CONFIG, alt=f"{KINDS[kind].label}: {sentence}".replace("*", ""), key=key, on_select="rerun", selection_mode="points"
    )
    st.caption(
        f"Each number: {KINDS[kind].axis}; the mean over seeds. Framed and bold: "
        f"{'surely above nothing' if kind == 'matched' else 'adjusted p at most 0.05'} in most seeds. Orange: above nothing; blue: below, "
        "so that its teacher, or the same student on real images, is moved as much. "
        f"Press a cell to see the images. {counts_sentence(view, 'interventions')}"
    )
    points = event.selection.points if event else []
    pressed = points[0].get("customdata") if points else None
    seen = f"{key}-seen"
    if pressed and pressed != st.session_state.get(seen):
        st.session_state[seen] = pressed
        names = next((group.names for group in groups if group.title == pressed[1]), ())
        edit = next((edit for edit in edits if row_label(edit) == pressed[0]), None)
        if names and edit:
            st.session_state["cue-wanted"] = (names[0], edit)
            st.rerun()


def _chosen(view: ReportView, groups: list[StudentGroup], kind: str, edits: list[str]) -> tuple[str, str]:
    """Let the reader choose student and edit, from the keyboard too; a pressed cell has set them before."""
    names = [name for group in groups for name in group.names if name in view.records("interventions")]
    wanted = st.session_state.pop("cue-wanted", None)
    if wanted is not None and wanted[0] in names and wanted[1] in edits:
        st.session_state[state_key("student")], st.session_state[state_key("edit")] = wanted
    start = strongest(view, groups, kind) or (names[0], edits[0])
    left, right = st.columns(2)
    student = choose("Student", names, "student", start=start[0], place=left)
    return student, choose("Edit", edits, "edit", start=start[1], words=edit_name, place=right)


def strongest(view: ReportView, groups: list[StudentGroup], kind: str) -> tuple[str, str] | None:
    """Find the student and edit of the framed cell with the largest number, so that the page opens with it.

    Args:
        view: the report, with what pages read from it.
        groups: groups of students, in the order of the page.
        kind: key of `KINDS`.
    """
    records = view.records("interventions")
    candidates = [cell for cell in cells(records, groups, kind) if cell.strong] or cells(records, groups, kind)
    if not candidates:
        return None
    best = max(candidates, key=lambda cell: cell.value)
    group = next(group for group in groups if group.title == best.column)
    edit = next(edit for edit in edits_of(records, kind) if row_label(edit) == best.row)
    return next(name for name in group.names if name in records), edit


def _one(view: ReportView, run: Run, student: str, edit: str) -> None:
    records = view.records("interventions")
    st.subheader("One cell, and its images")
    st.markdown(f"**{escape(student)}**, {edit_sentence(edit)}")
    st.markdown(spread_words(records, student, edit))
    dots = accuracy_dots(records, student, edit, view.colour_of(student))
    if dots:
        alt = "; ".join(f"{dot.row}, {dot.domain}: {with_interval(dot, digits=1, percent=True, unit=' %')}" for dot in dots)
        when_opened("Accuracy before and after", "cue-accuracy-opened", partial(_accuracy, dots, alt, view))
    show_examples(run, view, student, edit)


def _accuracy(dots: list[charts.Dot], alt: str, view: ReportView) -> None:
    draw(charts.dot_chart(dots, "zero-shot accuracy", percent=True, bounds=(0, 1)), alt, "cue-accuracy")
    st.caption(
        f"Circle: real images, diamond: synthetic ones. Whiskers: 95 % interval over images. {counts_sentence(view, 'interventions')}"
    )

"""Images before and after an edit, with what student and teacher call them, from what the run stores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import streamlit as st

from app.panels.edits import kind_of
from app.panels.groups import as_score
from app.panels.images import SIDE
from app.panels.notices import missing
from app.panels.report_view import ReportView
from app.panels.wording import NO_BREAK, escape
from app.run_store.reports import Run, load_edited, load_probe
from diagnose.schema import ProbeRecord
from diagnose.wording.numbers import with_interval
from probes.result import DiagnosticError, ProbeResult, Score

CARD = 3 * SIDE + 72
"""Pixels that a card of three images takes."""


@dataclass(frozen=True)
class Answer:
    """What one encoder calls an image before and after an edit; class names, empty where not known."""

    before: str
    after: str


@dataclass(frozen=True)
class Example:
    """One image before and after an edit.

    Args:
        before: PNG bytes.
        after: PNG bytes.
        partner: PNG bytes of the image that the cue was taken from, or None.
        partner_class: its class.
        class_name: the image's own class.
        domain: `real` or `synthetic`.
        telling: whether it was chosen for what the students answer.
        student: the student's answers.
        teacher: the teacher's answers.
    """

    before: bytes
    after: bytes
    partner: bytes | None
    partner_class: str
    class_name: str
    domain: str
    telling: bool
    student: Answer
    teacher: Answer


def examples(edited: pd.DataFrame, result: ProbeResult | None, edit: str, class_names: Sequence[str]) -> list[Example]:
    """Join stored images with the probe's answers; those without the image before the edit are left out.

    Args:
        edited: from `load_edited`.
        result: of the student, or None: then the answers are empty.
        edit: key of `probes.edits.EDITS`.
        class_names: C names.
    """
    whole = edited[edited["edit"] == "none"].drop_duplicates("id").set_index("id")
    collected = []
    for row in edited[edited["edit"] == edit].drop_duplicates("id").itertuples():
        if row.id not in whole.index:
            continue
        partner = whole.loc[row.partner] if row.partner in whole.index else None
        collected.append(
            Example(
                whole.loc[row.id, "image"],
                row.image,
                None if partner is None else partner["image"],
                "" if partner is None else str(partner["class_name"]),
                str(row.class_name),
                str(row.domain),
                bool(row.telling),
                answer(result, row.id, edit, class_names, ""),
                answer(result, row.id, edit, class_names, "teacher/"),
            )
        )
    return collected


def answer(result: ProbeResult | None, name: str, edit: str, class_names: Sequence[str], prefix: str) -> Answer:
    """Look up what an encoder calls an image unchanged and under an edit; arrays of other shapes give empty names.

    Args:
        result: the stored result with its arrays.
        name: id of the image.
        edit: key in `probes.edits.EDITS`.
        class_names: C names.
        prefix: `teacher/`, or empty for the student.
    """
    arrays = {} if result is None else result.arrays
    predictions, ids, edits = (arrays.get(key) for key in (f"{prefix}prediction", "ids", "edits"))
    if predictions is None or ids is None or edits is None or predictions.shape != (len(edits), len(ids)):
        return Answer("", "")
    column = np.flatnonzero(ids.astype(str) == name)
    words = []
    for wanted in ("none", edit):
        row = np.flatnonzero(edits.astype(str) == wanted)
        label = int(predictions[row[0], column[0]]) if len(row) and len(column) else -1
        words.append(class_names[label] if 0 <= label < len(class_names) else "")
    return Answer(*words)


USES = {
    "swapped": ("follows", "Beyond the errors that any damage makes, it goes over to the class that the cue came from"),
    "removes": ("drop", "It loses accuracy"),
    "isolates": ("accuracy", "It is still right"),
    "matched": ("accuracy", "It is right"),
}
"""Kind of edits -> the score that says what one encoder shows, before the edit's name; and words for it."""


def use_sentence(records: Mapping[str, ProbeRecord], student: str, edit: str) -> str:
    """Say how far student and teacher use what an edit changes, by domain with interval and n; empty where it was not measured.

    Args:
        records: subject -> its record of the probe.
        student: the student's name.
        edit: key in `probes.edits.EDITS`.
    """
    score, words = USES[kind_of(edit)]
    record, parts = records.get(student), []
    if record is None:
        return ""
    for domain in ("synthetic", "real"):
        mine, its = (as_score(record.scores.get(f"{prefix}{score}/{edit}/{domain}")) for prefix in ("", "teacher/"))
        if mine is None:
            continue
        n = record.counts.get(f"images/{domain}", 0)
        count = f"n = {n:,} " if n else ""
        beside = f", its teacher on {_share(its)}" if its is not None else ""
        parts.append(f"on **{_share(mine)}** of {count}{domain} images{beside}")
    return f"{words} {'; '.join(parts)}." if parts else ""


def _share(score: Score) -> str:
    return with_interval(score, digits=0, percent=True, unit=f"{NO_BREAK}%")


def show_examples(run: Run, view: ReportView, student: str, edit: str, *, most: int = 16) -> None:
    """Put the images before and after an edit on the page, at most `most` of each domain, the telling ones first.

    Args:
        run: the run.
        view: the report, with what pages read from it.
        student: the student's name.
        edit: key in `probes.edits.EDITS`.
        most: images of each domain at most.
    """
    result, unread = None, None
    st.markdown(use_sentence(view.records("interventions"), student, edit))
    try:
        result = load_probe(run, view.records("interventions")[student])
    except (KeyError, FileNotFoundError, DiagnosticError) as error:
        unread = error
    try:
        collected = examples(load_edited(run), result, edit, view.report.class_names)
    except (FileNotFoundError, DiagnosticError) as error:
        missing("The images before and after the edit, and the answers to them, are not stored with this run.", run, error)
        return
    if unread is not None:
        missing("What was answered is not stored with this report.", run, None if isinstance(unread, KeyError) else unread)
    if not collected:
        missing("No images before and after this edit are stored with this run.", run)
        return
    for domain in ("synthetic", "real"):
        here = sorted((example for example in collected if example.domain == domain), key=lambda example: not example.telling)[:most]
        if here:
            telling = sum(example.telling for example in here)
            st.caption(f"{domain.capitalize()} images{chosen_words(telling, len(here) - telling)}.")
            with st.container(horizontal=True, gap="small"):
                for example in here:
                    _card(example)


def chosen_words(telling: int, drawn: int) -> str:
    """Say how the images on the page were chosen, so that nobody takes them for a sample.

    Args:
        telling: examples that were chosen for what they show.
        drawn: examples drawn at random.
    """
    because = f"{telling} chosen because students change their answer and the teacher does not" if telling else ""
    parts = [because, f"{drawn} drawn at random" if drawn else ""]
    return "".join(f", {part}" for part in parts if part)


def _card(example: Example) -> None:
    images = [("before", example.before, f"{example.domain} image of class {example.class_name}, unchanged")]
    if example.partner is not None:
        images.append((f"cue from: {example.partner_class}", example.partner, f"image of class {example.partner_class} that gives the cue"))
    images.append(("after", example.after, f"the same {example.class_name} after the edit"))
    with st.container(border=True, width=CARD, gap="xsmall"):
        with st.container(horizontal=True, gap="xsmall"):
            for words, content, alt in images:
                st.image(content, width=SIDE, caption=escape(words), alt=alt)
        st.markdown(
            f"{answer_words('Student', example.student, example.class_name)}  \n{answer_words('Teacher', example.teacher, example.class_name)}"
        )


def answer_words(who: str, answers: Answer, truth: str) -> str:
    """Write an answer before and after: `Student: bird → **frog** ✗`; a cross where it is wrong, so that no colour is needed.

    Args:
        who: our word for the encoder.
        answers: before and after the edit.
        truth: the true class.
    """
    if not answers.after:
        return f"{who}: not stored"
    before, after = (f"{escape(name)} {'✓' if name == truth else '✗'}" for name in (answers.before, answers.after))
    return f"{who}: still {after}" if answers.before == answers.after else f"{who}: {before} → **{after}**"

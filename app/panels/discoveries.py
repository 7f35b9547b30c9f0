"""What discovery finds by itself: words for what only synthetic images have, components of the classes' scores, groups of errors."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import streamlit as st

from app.panels.choices import choose
from app.panels.groups import as_score
from app.panels.images import by_id, strip
from app.panels.notices import measured_or_notice, missing
from app.panels.report_view import ReportView
from app.panels.wording import escape
from app.run_store.reports import Run, load_probe, load_thumbnails
from diagnose.schema import ProbeRecord
from diagnose.wording.numbers import format_number, in_percent, with_interval
from probes.result import DiagnosticError, ProbeResult, Score

SHOWN = 6
"""Components and slices on the page."""


@dataclass(frozen=True)
class Component:
    """A direction within a class in which synthetic and real images differ.

    Args:
        class_name: the class.
        index: number of the component within its class.
        auc: how well it tells synthetic from real images.
        effect: what it adds to the class's score on synthetic images, in units of what the right class has over the others.
        excess: effect of the student minus that of its teacher, or None.
        word: the word for its synthetic end, empty where there is none.
        top: ids of the images at its synthetic end; empty where not stored.
    """

    class_name: str
    index: int
    auc: Score
    effect: Score
    excess: Score | None
    word: str = ""
    top: tuple[str, ...] = ()


@dataclass(frozen=True)
class Slice:
    """A group of real images that lie together.

    Args:
        number: of the group.
        error: share of wrong answers on images that did not find the group.
        teacher: the teacher's on the same images, or None.
        about: its commonest class with its share and its images, empty where not stored.
        word: a word that goes with it, empty where there is none.
        top: ids of some of its images; empty where not stored.
    """

    number: int
    error: Score
    teacher: Score | None
    about: str = ""
    word: str = ""
    top: tuple[str, ...] = ()


def show_discoveries(view: ReportView, run: Run) -> None:
    """Put names, components and slices of one student on the page.

    Args:
        view: the report, with what pages read from it.
        run: the run.
    """
    st.header("What is found when no cue is asked for?")
    records = measured_or_notice(view, "discovery", run, "Discovery is not in this report.")
    if not records:
        return
    student = choose("Student", list(records), "found-in", start=wide(records))
    record = records[student]
    result, thumbnails = None, pd.DataFrame()
    try:
        result = load_probe(run, record)
        thumbnails = load_thumbnails(run)
    except (FileNotFoundError, DiagnosticError) as error:
        missing("The images behind what was found are not stored with this report.", run, error)
    _names(record, result)
    _components(components(record, result, view.report.class_names), thumbnails, record)
    _slices(slices(record, result), thumbnails)


def wide(held: Mapping[str, ProbeRecord]) -> str:
    """Name the student of which one component has the largest effect beyond its teacher; the first where none has."""

    def largest(record: ProbeRecord) -> float:
        scores = (as_score(raw) for name, raw in record.scores.items() if name.startswith("excess/component/") and name.endswith("/effect"))
        return max((score.value for score in scores if score is not None), default=float("-inf"))

    return max(held, key=lambda name: largest(held[name]))


def components(record: ProbeRecord, result: ProbeResult | None, class_names: Sequence[str]) -> list[Component]:
    """List the components of a student, the largest excess over the teacher first.

    Args:
        record: the record of one student.
        result: the stored result, or None: then without images.
        class_names: C names.
    """
    arrays = {} if result is None else result.arrays
    stored = {
        (str(name), int(index)): (str(word), tuple(top.astype(str)))
        for name, index, word, top in zip(
            *(arrays.get(f"component/{key}", ()) for key in ("class", "index", "word", "top_images")), strict=False
        )
    }
    by_stem = {(in_key(name), index): value for (name, index), value in stored.items()}
    called = {in_key(name): name for name in class_names}
    collected = []
    for key in record.scores:
        parts = key.split("/")
        if parts[0] != "component" or parts[-1] != "auc" or not parts[-2].isdigit():
            continue
        stem, name, index = "/".join(parts[:-1]), "/".join(parts[1:-2]), int(parts[-2])
        auc, effect = as_score(record.scores[key]), as_score(record.scores.get(f"{stem}/effect"))
        if auc is not None and effect is not None:
            word, top = by_stem.get((name, index), ("", ()))
            collected.append(
                Component(called.get(name, name), index, auc, effect, as_score(record.scores.get(f"excess/{stem}/effect")), word, top)
            )
    return sorted(collected, key=lambda item: -(item.excess or item.effect).value)


def in_key(name: str) -> str:
    """Write a class name as it stands in the name of a score of discovery."""
    return re.sub(r"[^a-z0-9.-]+", "_", name.lower()).strip("_") or "_"


def slices(record: ProbeRecord, result: ProbeResult | None) -> list[Slice]:
    """List the groups of real images of a student, the most wrong first.

    Args:
        record: the record of one student.
        result: the stored result, or None: then without images.
    """
    arrays = {} if result is None else result.arrays
    tops = {
        int(n): tuple(top.astype(str)) for n, top in zip(arrays.get("slice/number", ()), arrays.get("slice/top_images", ()), strict=False)
    }
    names: dict[int, Mapping[str, object]] = {}
    for entry in result.params.get("slice_names", []) if result is not None else []:
        if isinstance(entry, Mapping) and isinstance(entry.get("slice"), int):
            names[entry["slice"]] = entry
    collected = []
    for key in record.scores:
        parts = key.split("/")
        error = as_score(record.scores[key])
        if parts[0] == "slice" and parts[2:] == ["error", "real"] and parts[1].isdigit() and error is not None:
            number, entry = int(parts[1]), names.get(int(parts[1]), {})
            about = ""
            images, share = entry.get("images"), entry.get("class_share", 0)
            if "class" in entry and isinstance(images, int) and isinstance(share, int | float):
                about = f"n = {images:,}, {in_percent(share, 0)} % of them {entry['class']}"
            teacher = as_score(record.scores.get(f"teacher/{key}"))
            collected.append(Slice(number, error, teacher, about, str(entry.get("word", "")), tops.get(number, ())))
    return sorted(collected, key=lambda item: -item.error.value)


def name_table(record: ProbeRecord) -> pd.DataFrame:
    """Return one row a name: the word, where it stands, its effect and whether the student uses it, the most used first."""

    def cell(score: Score | None, scale: float, p: Score | None) -> str:
        if score is None:
            return "not measured"
        digits = 0 if scale > 1 else 2
        return with_interval(score, digits=digits, percent=scale > 1) + (
            "" if p is None else f", p {'< 0.001' if p.value < 0.001 else f'= {format_number(p.value, 3)}'}"
        )

    rows: list[tuple[float, dict[str, str]]] = []
    for key in record.scores:
        scope, _, rest = key.partition("/")
        if scope not in ("word", "tied"):
            continue
        of, _, word = rest.rpartition("/")
        effect, p = as_score(record.scores[key]), as_score(record.scores.get(f"adjusted_p/{key}"))
        used = as_score(record.scores.get(f"used/{rest}"))
        row = {
            "word": (word or rest).replace("_", " "),
            "on synthetic images of": of.replace("_", " ") or "every class",
            "fits them better by": cell(effect, 1, p),
            "student uses it, points": cell(used, 100, as_score(record.scores.get(f"adjusted_p/used/{rest}"))),
        }
        rows.append((float("-inf") if used is None else used.value, row))
    return pd.DataFrame([row for _, row in sorted(rows, key=lambda item: -item[0])])


def _names(record: ProbeRecord, result: ProbeResult | None) -> None:
    st.subheader("In words")
    table = name_table(record)
    known, tried = record.counts.get("words/known", 0), record.counts.get("words", 0)
    naming = result.params.get("naming") if result is not None else None
    if table.empty:
        why = f" ({escape(naming)})" if isinstance(naming, str) and known else ""
        st.markdown(
            f"No word was found for what the synthetic images have: the teacher's text tower knows {known:,} of the {tried:,} words that were "
            f"tried{why}. The pictures below have to speak."
        )
        return
    st.markdown(
        f"{len(table)} times a word fits the synthetic images of a class better than the real ones; the teacher's text tower knows {known:,} of the "
        f"{tried:,} words that were tried. The last column says whether the student **uses** what the word names: how much more often it calls real "
        "images of other classes by this class when they show it. Numbers in brackets are 95 % intervals; p is corrected for all that was tried."
    )
    st.dataframe(table, hide_index=True, alt="Words for what synthetic images have, with effect and use")


def component_sentence(item: Component) -> str:
    """Say what one component does."""
    auc, effect = item.auc, item.effect
    beyond = "" if item.excess is None else f", {_plain_number(item.excess)} more than on its teacher"
    word = f", called **{escape(item.word)}**" if item.word else ""
    return (
        f"**{escape(item.class_name)}**, component {item.index + 1}{word}: tells synthetic from real {escape(item.class_name)} with an AUC of {format_number(auc.value)} "
        f"({format_number(auc.low)} to {format_number(auc.high)}; 0.5 = cannot) and changes the class's score on synthetic images by {_plain_number(effect)} of what "
        f"the right class has over the others{beyond}."
    )


def _plain_number(score: Score) -> str:
    return with_interval(score, digits=2)


def _components(shown_components: list[Component], thumbnails: pd.DataFrame, record: ProbeRecord) -> None:
    if not shown_components:
        return
    st.subheader("In pictures: what lifts a class's score on synthetic images")
    n = (
        f"n = {record.counts['images/real']:,} real and {record.counts.get('images/synthetic', 0):,} synthetic images"
        if "images/real" in record.counts
        else ""
    )
    st.markdown(
        "Each component is one direction in which the images of a class differ. The pictures are those in which it is strongest, towards the "
        f"synthetic side. If they share something that is not the object, it may be the cue. {n}; half found the components, half measured them."
    )
    for item in shown_components[:SHOWN]:
        st.markdown(component_sentence(item))
        _pictures(item.top, thumbnails)


def _slices(shown_slices: list[Slice], thumbnails: pd.DataFrame) -> None:
    if not shown_slices:
        return
    st.subheader("Groups of real images on which it errs most")
    st.markdown("Real images that lie together, found on one half and measured on the other. They say where to look, not why.")
    for item in shown_slices[:SHOWN]:
        st.markdown(slice_sentence(item))
        _pictures(item.top, thumbnails)


def slice_sentence(item: Slice) -> str:
    """Say how often student and teacher err in a group, and what it holds."""
    error, its = item.error, item.teacher
    beside = "" if its is None else f"; its teacher on {with_interval(its, digits=0, percent=True, unit=' %')}"
    about = f" ({escape(item.about)})" if item.about else ""
    word = f", with **{escape(item.word)}**" if item.word else ""
    return f"**Group {item.number + 1}**{about}{word}: wrong on {with_interval(error, digits=0, percent=True, unit=' %')}{beside}."


def _pictures(top: tuple[str, ...], thumbnails: pd.DataFrame) -> None:
    if top and not thumbnails.empty:
        names = list(dict.fromkeys(top))
        stored = by_id(thumbnails, names, 8)
        kinds = np.unique(stored["domain"], return_counts=True) if len(stored) else ((), ())
        words = ", ".join(f"{count} {kind}" for kind, count in zip(*kinds, strict=True))
        strip(stored, f"{words} (of {len(names)}; the others are not stored)" if len(stored) < len(names) else words)

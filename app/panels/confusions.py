"""What a student calls the images of one class, with the images."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import streamlit as st

from app.panels.choices import choose
from app.panels.images import by_id, strip
from app.panels.notices import missing
from app.panels.report_view import ReportView
from app.panels.wording import escape
from app.run_store.reports import Run, load_probe, load_thumbnails
from diagnose.wording.numbers import format_number, in_percent
from probes.result import DiagnosticError, ProbeResult
from probes.stats.confidence import Z

SHOWN = 3
"""Wrong classes on the page."""


@dataclass(frozen=True)
class Confusion:
    """Images of one class that a student calls by one other class.

    Args:
        said: the class it names.
        count: how many.
        of: images of the class.
        teacher: how many of them the teacher calls so too, -1 where not stored.
        ids: their ids.
    """

    said: str
    count: int
    of: int
    teacher: int
    ids: tuple[str, ...]


def confusions(result: ProbeResult, class_names: list[str], label: int, domain: str) -> list[Confusion]:
    """Count what a student calls the images of a class, wrong names only, the commonest first; empty without the arrays.

    Args:
        result: of `transfer`.
        class_names: C names.
        label: the class, in [0, C).
        domain: `real` or `synthetic`.
    """
    arrays = result.arrays
    needed = ("prediction", "labels", "ids", "domain")
    if any(name not in arrays for name in needed) or len({len(arrays[name]) for name in needed}) > 1:
        return []
    here = (arrays["labels"] == label) & (arrays["domain"].astype(str) == domain)
    predictions, theirs = arrays["prediction"], arrays.get("teacher/prediction")
    confused = []
    for other in np.unique(predictions[here]):
        rows = np.flatnonzero(here & (predictions == other))
        if other == label or not 0 <= other < len(class_names):
            continue
        its = int((theirs[rows] == other).sum()) if theirs is not None and len(theirs) == len(predictions) else -1
        confused.append(Confusion(class_names[int(other)], len(rows), int(here.sum()), its, tuple(arrays["ids"][rows].astype(str))))
    return sorted(confused, key=lambda item: -item.count)


def confusion_words(item: Confusion, class_name: str, domain: str) -> str:
    """Say how many images of a class are called by another, with n.

    Args:
        item: the confusion.
        class_name: the true class.
        domain: `real` or `synthetic`.
    """
    low, high = (100 * end for end in share_interval(item.count, item.of))
    its = "" if item.teacher < 0 else f" The teacher calls {f'{item.teacher:,} of them so too' if item.teacher else 'none of them so'}."
    return (
        f"**{in_percent(item.count / item.of, 0)} %** of {domain} images of {escape(class_name)} are called **{escape(item.said)}** "
        f"(95 % interval {format_number(low, 0)} to {format_number(high, 0)}; {item.count:,} of n = {item.of:,}).{its}"
    )


def share_interval(count: int, of: int) -> tuple[float, float]:
    """Compute the 95 % interval of a share, in [0, 1].

    Args:
        count: images that count, at most `of`.
        of: images, at least 1.

    Source: Wilson (1927).
    """
    z, share = Z, count / of
    middle, half = share + z * z / (2 * of), z * (share * (1 - share) / of + z * z / (4 * of * of)) ** 0.5
    return (middle - half) / (1 + z * z / of), (middle + half) / (1 + z * z / of)


def show_confusions(view: ReportView, run: Run, domain: str, worst: str) -> None:
    """Put one student's confusions of one class on the page.

    Args:
        view: the report, with what pages read from it.
        run: the run.
        domain: `real` or `synthetic`.
        worst: class to begin with.
    """
    records = {name: record for name, record in view.finished("transfer").items() if name != view.report.teacher.name}
    if not records or not view.report.class_names:
        return
    st.subheader("What does it take them for?")
    left, right = st.columns(2)
    student = choose("Student", list(records), "student", start=view.widest_gap(list(records)), place=left)
    start = view.report.class_names.index(worst) if worst in view.report.class_names else 0
    numbers = [str(number) for number in range(len(view.report.class_names))]
    label = int(choose("Class", numbers, "class", start=str(start), words=lambda number: view.report.class_names[int(number)], place=right))
    try:
        confused = confusions(load_probe(run, records[student]), view.report.class_names, label, domain)
    except (FileNotFoundError, DiagnosticError) as error:
        missing("What each image was taken for is not stored with this report.", run, error)
        return
    if not confused:
        missing(f"No {domain} image of this class was taken for another, or the answers are not stored.", run)
        return
    try:
        thumbnails = load_thumbnails(run)
    except (FileNotFoundError, DiagnosticError) as error:
        missing("The pictures are not stored with this run.", run, error)
        thumbnails = None
    for item in confused[:SHOWN]:
        st.markdown(confusion_words(item, view.report.class_names[label], domain))
        if thumbnails is not None:
            stored = by_id(thumbnails, list(item.ids), 8)
            strip(stored, f"{len(stored)} of these {item.count:,} images (of the stored sample)")

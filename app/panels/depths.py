"""Where in the network the two kinds of image come apart, and where the classes can be read: the probe `depth`."""

from __future__ import annotations

from collections.abc import Mapping

import streamlit as st

from app import charts
from app.panels.groups import StudentGroup, collect_seeds, over_all
from app.panels.measures import draw, score_reader
from app.panels.notices import measured_or_notice
from app.panels.report_view import ReportView
from app.panels.wording import escape
from app.run_store.reports import Run
from diagnose.schema import ProbeRecord
from diagnose.wording.numbers import format_number

Curve = tuple[list[float], list[float], list[float], list[float]]
"""Depth in [0, 1], mean, low and high end."""

APART, READABLE = "within_class/auc/{}", "refit/to_classes/{}/real"


def show_depths(view: ReportView, run: Run) -> None:
    """Put the curves over depth on the page.

    Args:
        view: the report, with what pages read from it.
        run: the run.
    """
    st.header("Where in the network?")
    records = measured_or_notice(view, "depth", run, "The separability by depth is not in this report.")
    if not records:
        return
    st.markdown(
        "The same question at several depths, from the first stage of the network to its embedding. All networks see the kind of image early, by its "
        "texture. **What counts is whether they give it up towards the end**, as a teacher does."
    )
    lines = depth_lines(view, records, APART)
    words = depth_sentence(view, records)
    st.markdown(words)
    draw(
        charts.line_chart(lines, "AUC within a class", across="depth (1 = embedding)", step=0.25),
        f"Separability by depth. {words}",
        "depth-auc",
    )
    n = depth_n(records)
    st.caption(
        f"0.5 = cannot tell, 1 = always tells. Dotted: trained on real images. Bands: lowest to highest seed, with one seed its 95 % interval; {n}."
    )
    readable = depth_lines(view, records, READABLE)
    if readable:
        reads = readable_sentence(view, records)
        st.markdown(reads)
        figure = charts.line_chart(readable, "accuracy on real images (%)", percent=True, across="depth (1 = embedding)", step=0.25)
        draw(figure, f"Classes readable by depth. {reads}", "depth-classes")
        st.caption(
            f"Accuracy after the best linear map from here to the class texts, fitted on other real images; dotted: trained on real images; {n}."
        )


def depth_n(records: Mapping[str, ProbeRecord]) -> str:
    """Say how many images are behind the curves."""
    counts = next((record.counts for record in records.values() if record.counts), {})
    return f"n = {counts.get('images/real', 0):,} real and {counts.get('images/synthetic', 0):,} synthetic images"


def curve(records: Mapping[str, ProbeRecord], names: tuple[str, ...], score: str) -> Curve:
    """Average a score over seeds at every depth that all of them have.

    Args:
        records: student -> record.
        names: the seeds.
        score: its name with `{}` for the depth, e.g. `auc/{}`.
    """
    stages: list[int] = []
    while over_all(records, names, score.format(f"at_{len(stages) + 1}")) is not None:
        stages.append(len(stages) + 1)
    across, middle, low, high = [], [], [], []
    for place, name in [*((stage / (len(stages) + 1), f"at_{stage}") for stage in stages), (1.0, "at_end")]:
        values = over_all(records, names, score.format(name))
        if values is not None:
            across.append(place)
            middle.append(values.mean)
            low.append(values.span[0])
            high.append(values.span[1])
    return across, middle, low, high


def depth_lines(view: ReportView, records: Mapping[str, ProbeRecord], score: str) -> list[charts.Line]:
    """Make the teacher's curve and one a group of students.

    Args:
        view: the report, with what pages read from it.
        records: subject -> its record of the probe.
        score: its name with `{}` for the depth.
    """
    colours = view.colours
    curves = [("teacher", charts.TEACHER, curve(records, tuple(records)[:1], f"teacher/{score}"), False)]
    curves += [(group.title, colours[group.key], curve(records, group.names, score), group.trained_on == "real") for group in view.groups]
    return [charts.Line(title, x, y, colour, "", low, high, dotted) for title, colour, (x, y, low, high), dotted in curves if len(x) > 1]


def depth_sentence(view: ReportView, records: Mapping[str, ProbeRecord]) -> str:
    """Say of teacher and students how far the kinds come apart at most, and what is left at the embedding.

    Args:
        view: the report, with what pages read from it.
        records: subject -> its record of the probe.
    """
    lines = []
    for line in depth_lines(view, records, APART):
        most = max(line.y)
        low, high = (ends[-1] if ends else 0.0 for ends in (line.low, line.high))
        lines.append(
            f"- **{escape(line.name)}**: up to {format_number(most)}, {format_number(line.y[-1])} ({format_number(low)} to {format_number(high)}) at the embedding: {format_number(most - line.y[-1])} given up again"
        )
    return "\n".join(lines)


def readable_sentence(view: ReportView, records: Mapping[str, ProbeRecord]) -> str:
    """Say what can be read of the classes of real images just before the embedding, beside what the student reads, for each group.

    Args:
        view: the report, with what pages read from it.
        records: subject -> its record of the probe.
    """
    lines = []
    for group in view.groups:
        gain = gain_words(records, group)
        if gain:
            lines.append(f"- **{escape(group.title)}**: {gain}")
    return (
        "\n".join(["Would another last layer do? A new projection on the same network changes accuracy on real images by:", "", *lines])
        if lines
        else ""
    )


def gain_words(records: Mapping[str, ProbeRecord], group: StudentGroup) -> str:
    """Write what a new projection gains on real images, over seeds; empty where it is not measured.

    Args:
        records: subject -> its record of the probe.
        group: students that differ in their seed alone.
    """
    gains = collect_seeds(group, score_reader(dict(records), "refit_gain/before_projection/real"))
    if gains is None:
        return ""
    mean, low, high = (100 * value for value in (gains.mean, *gains.span))
    over = "95 % interval" if len(gains.seeds) == 1 else f"{len(gains.seeds)} seeds,"
    return f"{format_number(mean, 1, signed=True)} points ({over} {format_number(low, 1, signed=True)} to {format_number(high, 1, signed=True)})"

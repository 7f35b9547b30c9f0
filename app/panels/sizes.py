"""Whether a student is simply too small: parameters against accuracy."""

from __future__ import annotations

from functools import partial

import streamlit as st

from app import charts
from app.panels.differences import accuracy
from app.panels.measures import draw
from app.panels.opened import when_opened
from app.panels.report_view import ReportView
from app.panels.wording import escape
from diagnose.wording.numbers import format_number, in_percent


def show_sizes(view: ReportView) -> None:
    """Put the chart on the page; nothing where no student's size is known."""
    points = size_points(view)
    if not any(point.name != "teacher" for point in points):
        return
    st.header("Is it just too small?")
    sentence = size_sentence(view)
    st.markdown(sentence)
    if len({point.x for point in points if point.name != "teacher"}) > 1:
        _chart(points, sentence)
    else:  # all marks stand above each other
        when_opened("The chart: parameters against accuracy", "sizes-opened", partial(_chart, points, sentence))


def _chart(points: list[charts.Point], sentence: str) -> None:
    figure = charts.scatter_chart(points, "parameters", "zero-shot accuracy", log=True)
    draw(figure, f"Parameters against accuracy. {sentence}", "sizes")
    st.caption(
        "Circle: real images, diamond: synthetic ones; hollow: trained on real images. Whiskers: 95 % interval over seeds and images."
    )


def size_points(view: ReportView) -> list[charts.Point]:
    """Make the marks: the teacher, and each group of students with parameters known, on both kinds of image."""
    points, teacher = [], view.report.teacher
    for domain, estimate in (("real", teacher.zero_shot.real), ("synthetic", teacher.zero_shot.synthetic)):
        if estimate is not None and teacher.params > 0:
            points.append(charts.Point(teacher.params, estimate.value, estimate.low, estimate.high, charts.TEACHER, domain, "teacher"))
    colours = view.colours
    for group in view.groups:
        for domain in ("real", "synthetic"):
            interval = accuracy(group, domain)
            if interval is not None and group.students[0].params > 0:
                hollow = group.trained_on == "real"
                points.append(charts.Point(group.students[0].params, *interval[0], colours[group.key], domain, group.title, hollow))
    return points


def size_sentence(view: ReportView) -> str:
    """Say how far students of one size lie apart on real images, and how many times smaller they are than the teacher."""
    sized = [
        (group.students[0].params, interval[0][0], group.title)
        for group in view.groups
        if group.students[0].params > 0 and (interval := accuracy(group, "real")) is not None
    ]
    if not sized:
        return ""
    sizes = {params for params, _, _ in sized}
    ratio = view.report.teacher.params / min(sizes)
    times = f", {format_number(ratio, 0)} times fewer than the teacher" if ratio >= 1.5 else ""
    best, worst = max(sized, key=lambda item: item[1]), min(sized, key=lambda item: item[1])
    if len(sizes) == 1:
        return (
            f"All students have {min(sizes):,} parameters{times}, and yet they lie between {in_percent(worst[1])} % ({escape(worst[2])}) and "
            f"{in_percent(best[1])} % ({escape(best[2])}) on real images ({len(sized)} kinds of student): size alone does not explain that."
        )
    return (
        f"Students have {min(sizes):,} to {max(sizes):,} parameters{times}; the best on real images, {escape(best[2])} with {in_percent(best[1])} %, has "
        f"{best[0]:,}, the worst, {escape(worst[2])} with {in_percent(worst[1])} %, {worst[0]:,} ({len(sized)} kinds of student)."
    )

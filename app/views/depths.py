"""Where in the network the two kinds of image come apart, and where the classes can be read: the probe `depth`."""

from __future__ import annotations

from collections.abc import Mapping
from statistics import fmean

import streamlit as st

from app import charts
from app.reports import Run, records
from app.views.groups import Group, as_score, group_students, keys_in_order
from app.views.measures import draw
from app.views.notices import failed_probes, missing
from app.views.wording import plain
from diagnose.schema import ProbeRecord, Report

Curve = tuple[list[float], list[float], list[float], list[float]]
"""Depth in [0, 1], mean, low and high end."""

APART, READABLE = "within_class/auc/{}", "refit/to_classes/{}/real"


def show_depths(report: Report, run: Run) -> None:
    """Put the curves over depth on the page."""
    st.header("Where in the network?")
    failed_probes(report, "depth", run)
    held = {name: record for name, record in records(report, "depth").items() if record.status == "done"}
    if not held:
        missing("The separability by depth is not in this report.", run)
        return
    st.markdown(
        "The same question at several depths, from the first stage of the network to its embedding. All networks see the kind of image early, by its "
        "texture. **What counts is whether they give it up towards the end**, as a teacher does."
    )
    lines = depth_lines(report, held, APART)
    words = depth_sentence(report, held)
    st.markdown(words)
    draw(charts.line_chart(lines, "AUC within a class", across="depth (1 = embedding)"), f"Separability by depth. {words}", "depth-auc")
    n = depth_n(held)
    st.caption(
        f"0.5 = cannot tell, 1 = always tells. Dotted: trained on real images. Bands: lowest to highest seed, with one seed its 95 % interval; {n}."
    )
    readable = depth_lines(report, held, READABLE)
    if readable:
        reads = readable_sentence(report, held)
        st.markdown(reads)
        figure = charts.line_chart(readable, "accuracy on real images (%)", percent=True, across="depth (1 = embedding)")
        draw(figure, f"Classes readable by depth. {reads}", "depth-classes")
        st.caption(
            f"Accuracy after the best linear map from here to the class texts, fitted on other real images; dotted: trained on real images; {n}."
        )


def depth_n(held: Mapping[str, ProbeRecord]) -> str:
    """Say how many images are behind the curves."""
    counts = next((record.counts for record in held.values() if record.counts), {})
    return f"n = {counts.get('images/real', 0):,} real and {counts.get('images/synthetic', 0):,} synthetic images"


def curve(held: Mapping[str, ProbeRecord], names: tuple[str, ...], score: str) -> Curve:
    """Average a score over seeds at every depth that all of them have.

    Args:
        held: student -> record.
        names: the seeds.
        score: its name with `{}` for the depth, e.g. `auc/{}`.
    """
    scores = [held[name].scores for name in names if name in held]
    if not scores:
        return [], [], [], []
    stages = [place for place in range(1, 100) if all(score.format(f"at_{place}") in own for own in scores)]
    across, middle, low, high = [], [], [], []
    for place, name in [*((stage / (len(stages) + 1), f"at_{stage}") for stage in stages), (1.0, "at_end")]:
        found = [given for own in scores if (given := as_score(own.get(score.format(name)))) is not None]
        if len(found) == len(scores):
            values = [given.value for given in found]
            across.append(place)
            middle.append(fmean(values))
            low.append(found[0].low if len(found) == 1 else min(values))
            high.append(found[0].high if len(found) == 1 else max(values))
    return across, middle, low, high


def depth_lines(report: Report, held: Mapping[str, ProbeRecord], score: str) -> list[charts.Line]:
    """Make the teacher's curve and one a group of students."""
    colours = charts.colours(keys_in_order(report))
    curves = [("teacher", charts.TEACHER, curve(held, tuple(held)[:1], f"teacher/{score}"), False)]
    curves += [
        (group.title, colours[group.key], curve(held, group.names, score), group.trained_on == "real") for group in group_students(report)
    ]
    return [charts.Line(title, x, y, colour, "", low, high, dotted) for title, colour, (x, y, low, high), dotted in curves if len(x) > 1]


def depth_sentence(report: Report, held: Mapping[str, ProbeRecord]) -> str:
    """Say of teacher and students how far the kinds come apart at most, and what is left at the embedding."""
    lines = []
    for line in depth_lines(report, held, APART):
        most = max(line.y)
        low, high = (ends[-1] if ends else 0.0 for ends in (line.low, line.high))
        lines.append(
            f"- **{plain(line.name)}**: up to {most:.2f}, {line.y[-1]:.2f} ({low:.2f} to {high:.2f}) at the embedding: {most - line.y[-1]:.2f} given up again"
        )
    return "\n".join(lines)


def readable_sentence(report: Report, held: Mapping[str, ProbeRecord]) -> str:
    """Say what can be read of the classes of real images just before the embedding, beside what the student reads, for each group."""
    lines = []
    for group in group_students(report):
        gain = gain_words(held, group)
        if gain:
            lines.append(f"- **{plain(group.title)}**: {gain}")
    return (
        "\n".join(["Would another last layer do? A new projection on the same network changes accuracy on real images by:", "", *lines])
        if lines
        else ""
    )


def gain_words(held: Mapping[str, ProbeRecord], group: Group) -> str:
    """Write what a new projection gains on real images, over seeds; empty where it is not measured."""
    name = "refit_gain/before_projection/real"
    found = [given for own in group.names if own in held and (given := as_score(held[own].scores.get(name))) is not None]
    if not found:
        return ""
    values = [100 * given.value for given in found]
    low, high = (100 * found[0].low, 100 * found[0].high) if len(found) == 1 else (min(values), max(values))
    over = "95 % interval" if len(found) == 1 else f"{len(found)} seeds,"
    return f"{fmean(values):+.1f} points ({over} {low:+.1f} to {high:+.1f})".replace("-", "−")

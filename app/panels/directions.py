"""Whether the answers rest on what tells the kinds of image apart, and how far apart their clouds lie."""

from __future__ import annotations

import streamlit as st

from app import charts
from app.panels.choices import choose
from app.panels.groups import as_score, collect_seeds
from app.panels.measures import (
    Measure,
    available,
    draw,
    group_dots,
    images_behind,
    measure_chart,
    measure_sentence,
    score_reader,
)
from app.panels.notices import missing
from app.panels.report_view import ReportView
from app.panels.wording import escape
from app.run_store.reports import Run
from diagnose.wording.numbers import format_number, in_percent

ERASED = "direction/each_class/accuracy_change"

DISTANCES = (
    Measure(
        "Fréchet",
        "distance/frechet",
        "Fréchet distance",
        "Distance of the two clouds as if each were a Gaussian: of their means and of their shapes.",
    ),
    Measure(
        "CMMD",
        "distance/cmmd_median",
        "CMMD, kernel as wide as the data",
        "A kernel distance that sees any difference, not means and shapes alone.",
    ),
    Measure("Precision", "distance/precision", "precision", "Share of synthetic images that lie among real ones."),
    Measure(
        "Recall",
        "distance/recall",
        "recall",
        "Share of real images that lie among synthetic ones: low where synthetic images cover a part of the real ones only.",
    ),
    Measure("Coverage", "distance/coverage", "coverage", "Share of real images with a synthetic one nearby."),
)


def show_direction(view: ReportView, run: Run) -> None:
    """Put on the page what is lost when the difference between the kinds is erased.

    Args:
        view: the report, with what pages read from it.
        run: the run.
    """
    st.header("Is the difference used?")
    records = view.records("separability")
    words = direction_sentence(view)
    if not words:
        missing("Whether the difference is used is not in this report.", run)
        return
    st.markdown(
        "To tell the kinds apart is not to rely on it. So we **erase** from the embeddings, class by class, the one direction in which synthetic images "
        "differ from real ones, and ask for the class again. Who loses accuracy on synthetic images answered them by something that real images lack."
    )
    st.markdown(words)
    colours, dots = view.colours, []
    for domain in ("real", "synthetic"):
        teacher = view.teacher_score("separability", f"{ERASED}/{domain}")
        if teacher is not None:
            dots.append(charts.Dot("teacher", teacher.value, teacher.low, teacher.high, charts.TEACHER, domain))
    for group in view.groups:
        for domain in ("real", "synthetic"):
            values = collect_seeds(group, score_reader(records, f"{ERASED}/{domain}"))
            if values is not None:
                dots += group_dots(group, values, colours[group.key], domain)
    figure = charts.dot_chart(dots, "change in accuracy, percentage points", percent=True, guide=0.0, guide_label="nothing lost")
    draw(figure, f"Accuracy after erasing the difference. {words}".replace("*", "").replace("\\", ""), "direction")
    st.caption(
        "Accuracy after minus before, on images that had no part in finding the direction. As many random directions show what any erasing costs. It "
        "falls also where synthetic images merely show more of the true class; the page Cues changes the images themselves."
    )


def direction_sentence(view: ReportView) -> str:
    """Say for each group what erasing the difference changes on synthetic and on real images; empty where it is not measured."""
    records = view.records("separability")
    lines = []
    for group in view.groups:
        parts = []
        for domain in ("synthetic", "real"):
            score = f"{ERASED}/{domain}"
            values = collect_seeds(group, score_reader(records, score), images_behind(records, group, score, domain))
            if values is not None:
                chance = next((s.chance for n in group.names if n in records and (s := as_score(records[n].scores.get(score)))), None)
                lot = "" if chance is None else f", {in_percent(chance)} by a random direction"
                parts.append(f"{values.words(percent=True).replace(' %', ' points', 1)}{lot} on {domain} images")
        if parts:
            lines.append(f"- **{escape(group.title)}**: {'; '.join(parts)}")
    return "\n".join(lines)


def show_distances(view: ReportView) -> None:
    """Put the distances between the two clouds on the page; nothing where they are not measured."""
    records = view.records("separability")
    choices = available(DISTANCES, records)
    if not choices:
        return
    st.header("How far apart are the two clouds?")
    labels = [measure.label for measure in choices]
    picked = choose("Distance", labels, "distance", buttons=True)
    measure = choices[labels.index(picked)]
    st.markdown(f"{measure.meaning} {floor_sentence(view, measure)}")
    words = measure_sentence(view, "separability", measure)
    figure = measure_chart(view, "separability", measure)
    draw(figure, f"{measure.label}: {words}", "distances")
    with st.expander("The same in words, with intervals and n"):
        st.markdown(words)
        st.caption("Encoders have scales of their own: compare how many times its floor a distance is, not the raw numbers.")


def floor_sentence(view: ReportView, measure: Measure) -> str:
    """Say what half of the real images measure against the other half, for the teacher and for the group furthest from that.

    Args:
        view: the report, with what pages read from it.
        measure: the measure.
    """
    records = view.records("separability")
    parts = []
    teacher = view.teacher_score("separability", measure.score)
    if teacher is not None and teacher.chance is not None:
        parts.append(f"the teacher {format_number(teacher.value, 3)} against {format_number(teacher.chance, 3)}")
    best: tuple[float, str] | None = None
    for group in view.groups:
        distance = next((s for n in group.names if n in records and (s := as_score(records[n].scores.get(measure.score)))), None)
        if distance is not None and distance.chance is not None:
            apart = abs(distance.value - distance.chance)
            if best is None or apart > best[0]:
                best = (
                    apart,
                    f"**{escape(group.title)}**, furthest from its floor, {format_number(distance.value, 3)} against {format_number(distance.chance, 3)}",
                )
    parts += [best[1]] if best else []
    return f"Real images against other real images give the floor: {'; '.join(parts)}." if parts else ""

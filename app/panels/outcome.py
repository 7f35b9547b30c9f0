"""The outcome both first pages open with: zero-shot accuracy on real and on synthetic images, beside the teacher."""

from __future__ import annotations

import streamlit as st

from app import charts
from app.panels.groups import StudentGroup, collect_seeds, gap_of, zero_shot
from app.panels.measures import LEGEND_SEEDS, draw, estimate_words, group_dots
from app.panels.report_view import ReportView
from app.panels.wording import escape
from diagnose.wording.numbers import format_number

HOW_TO_READ = (
    "Circle: accuracy on real images. Diamond: on synthetic images, made by a generator. The longer the bar between them, the more the student "
    "relies on something that only one kind of image has."
)


def outcome_dots(view: ReportView) -> list[charts.Dot]:
    """Make the marks: the teacher first, then each loss and training domain."""
    dots = []
    for domain, accuracy in (("real", view.report.teacher.zero_shot.real), ("synthetic", view.report.teacher.zero_shot.synthetic)):
        if accuracy is not None:
            dots.append(
                charts.Dot(
                    "teacher",
                    accuracy.value,
                    accuracy.low,
                    accuracy.high,
                    charts.TEACHER,
                    domain,
                    f"{view.report.teacher.name}, {domain} images",
                )
            )
    colours = view.colours
    for group in view.groups:
        for domain in ("real", "synthetic"):
            values = collect_seeds(group, lambda student, domain=domain: zero_shot(student, domain))  # type: ignore[misc]
            if values is not None:
                dots += group_dots(group, values, colours[group.key], domain)
    return dots


def gap_words(group: StudentGroup) -> str | None:
    """Say one group's two accuracies and the distance between them; None where neither is measured."""
    real = collect_seeds(group, lambda student: zero_shot(student, "real"))
    synthetic = collect_seeds(group, lambda student: zero_shot(student, "synthetic"))
    if real is None and synthetic is None:
        return None
    if real is None or synthetic is None:
        known, where = (synthetic, "synthetic") if real is None else (real, "real")
        return f"**{escape(group.title)}**: {known.words(percent=True)} on {where} images; the other kind was not measured."  # type: ignore[union-attr]
    points = 100 * (real.mean - synthetic.mean)
    side = (
        f"{format_number(abs(points), 0)} points {'fewer' if points < 0 else 'more'} than"
        if abs(points) >= 1
        else "the same within a point as"
    )
    return (
        f"**{escape(group.title)}**: {real.words(percent=True)} on real images, {side} on synthetic ones: {synthetic.words(percent=True)}."
    )


def outcome_sentences(view: ReportView) -> list[str]:
    """Say every group's outcome, the one with the largest gap first, then the teacher's."""
    sentences = [words for group in sorted(view.groups, key=gap_of) if (words := gap_words(group))]
    accuracy = view.report.teacher.zero_shot
    if accuracy.real is not None and accuracy.synthetic is not None:
        sentences.append(
            f"**The teacher**: {estimate_words(accuracy.real)} on real images, {estimate_words(accuracy.synthetic)} on synthetic ones."
        )
    return sentences


def show_outcome(view: ReportView, key: str) -> None:
    """Put the outcome on the page: how to read it, the chart, the numbers in words.

    Args:
        view: the report, with what pages read from it.
        key: tells the chart from others on the page.
    """
    dots = outcome_dots(view)
    if not dots:
        st.info("No zero-shot accuracy is stored in this report.", icon=":material/info:")
        return
    st.markdown(HOW_TO_READ)
    figure = charts.dot_chart(
        dots, "zero-shot accuracy", percent=True, guide=1 / max(len(view.report.class_names), 1), guide_label="guessing", bounds=(0, 1)
    )
    sentences = outcome_sentences(view)
    st.markdown(sentences[0])
    draw(figure, "Zero-shot accuracy on real and synthetic images. " + " ".join(sentences).replace("*", "").replace("\\", ""), key)
    with st.expander("All of it in words, with intervals and n"):
        st.markdown("\n".join(f"- {sentence}" for sentence in sentences))
        st.caption(LEGEND_SEEDS)

"""Whether a student is simply fragile: the probe `corruptions`, common disturbances beside the teacher."""

from __future__ import annotations

import streamlit as st

from app import charts
from app.panels.choices import choose
from app.panels.counts import counts_sentence
from app.panels.groups import Over, group_students, keys_in_order, over_seeds
from app.panels.measures import draw, group_dots, images_behind, score_reader
from app.panels.notices import failed_probes, missing
from app.panels.wording import plain
from app.run_store.reports import Run, finished
from diagnose.judge.comparison import Side, common_sign
from diagnose.schema import ProbeRecord, Report

ALL = "mean"

BESIDE_TEACHER: dict[Side, str] = {
    "above": "surely more than its teacher",
    "below": "less than its teacher",
    "unclear": "not surely more than its teacher",
}


def show_fragility(report: Report, run: Run) -> None:
    """Put the excess drop under corruptions on the page."""
    st.header("Is it just fragile?")
    failed_probes(report, "corruptions", run)
    held = finished(report, "corruptions")
    kinds = corruption_kinds(held)
    if not kinds:
        missing("The common corruptions are not in this report.", run)
        return
    st.markdown(
        "Noise, blur, weather and compression, at five strengths each (Hendrycks & Dietterich 2019), disturb any network. What counts is how many more points "
        "a student loses **than its teacher on the same disturbed images**. If that is little, fragility does not explain the gap."
    )
    kind = choose("Corruption", kinds, "corruption", words=kind_words)
    words = fragility_sentence(report, held, kind)
    st.markdown(words)
    colours, dots = charts.colours(keys_in_order(report)), []
    for group in group_students(report):
        for domain in ("real", "synthetic"):
            found = over_seeds(group, score_reader(held, f"excess/{kind}/{domain}"))
            if found is not None:
                dots += group_dots(group, found, colours[group.key], domain)
    figure = charts.dot_chart(
        dots, "points lost beyond the teacher, percentage points", percent=True, guide=0.0, guide_label="as its teacher"
    )
    draw(figure, f"Lost under {kind_words(kind)} beyond the teacher. {words}".replace("*", "").replace("\\", ""), "fragility")
    st.caption(
        f"Right of the line: loses more than its teacher. Who gets little right has little to lose. {counts_sentence(report, 'corruptions')}"
    )


def corruption_kinds(held: dict[str, ProbeRecord]) -> list[str]:
    """List the corruptions of which an excess is stored, all of them together first."""
    found = {
        parts[1]
        for record in held.values()
        for name in record.scores
        if (parts := name.split("/"))[0] == "excess" and len(parts) == 3 and parts[2] in ("real", "synthetic")
    }
    return [ALL, *sorted(found - {ALL})] if ALL in found else sorted(found)


def kind_words(kind: str) -> str:
    """Name a corruption."""
    return "all of them" if kind == ALL else kind.replace("_", " ")


def fragility_sentence(report: Report, held: dict[str, ProbeRecord], kind: str) -> str:
    """Say how many points each group loses beyond its teacher on real images, the most first."""
    found: list[tuple[str, Over]] = []
    for group in group_students(report):
        score = f"excess/{kind}/real"
        over = over_seeds(group, score_reader(held, score), images_behind(held, group, score, "real"))
        if over is not None:
            found.append((group.title, over))
    lines = []
    for title, over in sorted(found, key=lambda item: -item[1].mean):
        sure = BESIDE_TEACHER[common_sign(over.seeds)]
        lines.append(f"- **{plain(title)}**: {over.words(percent=True).replace(' %', ' points', 1)} on real images, {sure}")
    return "\n".join(lines)

"""Whether a student is simply fragile: the probe `corruptions`, common disturbances beside the teacher."""

from __future__ import annotations

import streamlit as st

from app import charts
from app.panels.choices import choose
from app.panels.counts import counts_sentence
from app.panels.groups import SeedValues, collect_seeds
from app.panels.measures import draw, group_dots, images_behind, score_reader
from app.panels.notices import failed_probes, missing
from app.panels.report_view import ReportView
from app.panels.wording import escape
from app.run_store.reports import Run
from diagnose.judge.comparison import Side, common_sign
from diagnose.schema import ProbeRecord

ALL = "mean"

BESIDE_TEACHER: dict[Side, str] = {
    "above": "surely more than its teacher",
    "below": "less than its teacher",
    "unclear": "not surely more than its teacher",
}


def show_fragility(view: ReportView, run: Run) -> None:
    """Put the excess drop under corruptions on the page.

    Args:
        view: the report, with what pages read from it.
        run: the run.
    """
    st.header("Is it just fragile?")
    failed_probes(view, "corruptions", run)
    records = view.finished("corruptions")
    kinds = corruption_kinds(records)
    if not kinds:
        missing("The common corruptions are not in this report.", run)
        return
    st.markdown(
        "Noise, blur, weather and compression, at five strengths each (Hendrycks & Dietterich 2019), disturb any network. What counts is how many more points "
        "a student loses **than its teacher on the same disturbed images**. If that is little, fragility does not explain the gap."
    )
    kind = choose("Corruption", kinds, "corruption", words=kind_words)
    words = fragility_sentence(view, records, kind)
    st.markdown(words)
    colours, dots = view.colours, []
    for group in view.groups:
        for domain in ("real", "synthetic"):
            values = collect_seeds(group, score_reader(records, f"excess/{kind}/{domain}"))
            if values is not None:
                dots += group_dots(group, values, colours[group.key], domain)
    figure = charts.dot_chart(
        dots, "points lost beyond the teacher, percentage points", percent=True, guide=0.0, guide_label="as its teacher"
    )
    draw(figure, f"Lost under {kind_words(kind)} beyond the teacher. {words}".replace("*", "").replace("\\", ""), "fragility")
    st.caption(
        f"Right of the line: loses more than its teacher. Who gets little right has little to lose. {counts_sentence(view, 'corruptions')}"
    )


def corruption_kinds(records: dict[str, ProbeRecord]) -> list[str]:
    """List the corruptions of which an excess is stored, all of them together first."""
    kinds = {
        parts[1]
        for record in records.values()
        for name in record.scores
        if (parts := name.split("/"))[0] == "excess" and len(parts) == 3 and parts[2] in ("real", "synthetic")
    }
    return [ALL, *sorted(kinds - {ALL})] if ALL in kinds else sorted(kinds)


def kind_words(kind: str) -> str:
    """Name a corruption."""
    return "all of them" if kind == ALL else kind.replace("_", " ")


def fragility_sentence(view: ReportView, held: dict[str, ProbeRecord], kind: str) -> str:
    """Say how many points each group loses beyond its teacher on real images, the most first.

    Args:
        view: the report, with what pages read from it.
        held: subject -> its record of the probe.
        kind: name of the corruption, or `mean`.
    """
    by_group: list[tuple[str, SeedValues]] = []
    for group in view.groups:
        score = f"excess/{kind}/real"
        over = collect_seeds(group, score_reader(held, score), images_behind(held, group, score, "real"))
        if over is not None:
            by_group.append((group.title, over))
    lines = []
    for title, over in sorted(by_group, key=lambda item: -item[1].mean):
        sure = BESIDE_TEACHER[common_sign(over.seeds)]
        lines.append(f"- **{escape(title)}**: {over.words(percent=True).replace(' %', ' points', 1)} on real images, {sure}")
    return "\n".join(lines)

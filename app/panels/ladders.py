"""What still tells the kinds of image apart once codec, size, colour and detail are made alike: the probe `ladder`."""

from __future__ import annotations

import itertools
from collections.abc import Mapping

import streamlit as st

from app import charts
from app.panels.depths import depth_n
from app.panels.groups import as_score, over_all
from app.panels.measures import draw
from app.panels.notices import measured_or_notice
from app.panels.report_view import ReportView
from app.panels.wording import escape
from app.run_store.reports import Run
from diagnose.schema import ProbeRecord
from diagnose.wording.numbers import format_number, with_interval

RUNGS = {
    "raw": "as they are",
    "codec": "same codec",
    "resize": "same size",
    "grey": "no colour",
    "low_pass": "no detail",
}
"""Rung of `probes.ladder.probe` -> what is alike from there on; each keeps what the ones before did."""

FALLS = {
    "codec": "how the files were compressed",
    "resize": "the pixel grid and the image's rim",
    "grey": "colour",
    "low_pass": "fine detail",
}
"""Rung -> what a fall there says the kinds were told apart by."""


def show_ladder(view: ReportView, run: Run) -> None:
    """Put the confound ladder on the page.

    Args:
        view: the report, with what pages read from it.
        run: the run.
    """
    st.header("Is it only the file, the size, the colour?")
    records = measured_or_notice(view, "ladder", run, "The confound ladder is not in this report.")
    if not records:
        return
    st.markdown(
        "One thing after another is made alike in **all** images, and the question is asked again. Where a curve falls, that thing told the kinds apart. "
        "Each step keeps the ones before it."
    )
    words = ladder_sentence(view, records)
    st.markdown(words)
    figure = charts.line_chart(ladder_lines(view, records), "AUC", across="made alike in all images", ticks=list(RUNGS.values()))
    draw(figure, f"Separability by step. {words}", "ladder")
    facts = next((auc for record in records.values() if (auc := as_score(record.scores.get("metadata/auc"))) is not None), None)
    files = "" if facts is None else f" By file facts alone, without pixels: {with_interval(facts, digits=2)}."
    st.caption(
        f"0.5 = cannot tell. Dotted: trained on real images. Bands: lowest to highest seed, with one seed its 95 % interval; {depth_n(records)}. *Pixels alone*: no network, about a "
        f"hundred numbers of the picture itself.{files}"
    )


def rung_values(records: Mapping[str, ProbeRecord], names: tuple[str, ...], score: str) -> list[tuple[int, float, float, float]]:
    """Average a score over seeds at every rung: place, mean, low, high; rungs that a seed lacks are left out.

    Args:
        records: subject -> its record of the probe.
        names: the seeds.
        score: its name without the rung.
    """
    values = [(place, over_all(records, names, f"{score}/{rung}")) for place, rung in enumerate(RUNGS)]
    return [(place, over.mean, *over.span) for place, over in values if over is not None]


def ladder_lines(view: ReportView, records: Mapping[str, ProbeRecord]) -> list[charts.Line]:
    """Make the curves: the teacher, each group of students, and the pixels without a network.

    Args:
        view: the report, with what pages read from it.
        records: subject -> its record of the probe.
    """
    colours, first = view.colours, tuple(records)[:1]
    rows = [("teacher", charts.TEACHER, False, rung_values(records, first, "teacher/embedding/auc"))]
    rows += [
        (group.title, colours[group.key], group.trained_on == "real", rung_values(records, group.names, "embedding/auc"))
        for group in view.groups
    ]
    rows += [("pixels alone", charts.NEUTRAL, False, rung_values(records, first, "pixels/auc"))]
    lines = []
    for title, colour, dotted, values in rows:
        if len(values) > 1:
            across, middle, low, high = (list(part) for part in zip(*values, strict=True))
            lines.append(charts.Line(title, across, middle, colour, "", low, high, dotted))
    return lines


def ladder_sentence(view: ReportView, records: Mapping[str, ProbeRecord]) -> str:
    """Say of each group what is left after the last step, and where its curve falls most.

    Args:
        view: the report, with what pages read from it.
        records: subject -> its record of the probe.
    """
    rows = [("the teacher", rung_values(records, tuple(records)[:1], "teacher/embedding/auc"))]
    rows += [(group.title, rung_values(records, group.names, "embedding/auc")) for group in view.groups]
    lines = []
    for title, values in rows:
        if len(values) < 2:
            continue
        falls = {list(RUNGS)[after[0]]: before[1] - after[1] for before, after in itertools.pairwise(values)}
        rung, fall = max(falls.items(), key=lambda item: item[1])
        last = values[-1]
        most = f"falls most by {format_number(fall)} without {FALLS[rung]}" if fall > 0.02 else "hardly falls at any step"
        lines.append(
            f"- **{escape(title)}**: {format_number(values[0][1])} as they are, {format_number(last[1])} ({format_number(last[2])} to {format_number(last[3])}) at the end; {most}"
        )
    return "\n".join(lines)

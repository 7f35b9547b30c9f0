"""Chart one measure of all students beside the teacher, and say in a sentence what it shows here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import streamlit as st

from app import charts
from app.panels.groups import SeedValues, StudentGroup, as_score, collect_seeds
from app.panels.report_view import ReportView
from app.panels.wording import escape
from diagnose.schema import Estimate, ProbeRecord, Student
from diagnose.wording.numbers import format_number, in_percent
from probes.result import Score

CONFIG = {"displayModeBar": False}

LEGEND_SEEDS = (
    "Large marks are means over seeds, whiskers reach from the lowest to the highest seed; small marks are single seeds with "
    "their 95 % interval over images."
)


@dataclass(frozen=True)
class Measure:
    """A measured quantity that a page can show.

    Args:
        label: what the reader picks.
        score: score name; with `domains`, the part before the domain.
        axis: title of the axis.
        meaning: one or two sentences on how to read it.
        domains: whether it is measured on real and on synthetic images apart.
        guide: value that means "nothing to find", or None.
        guide_label: what that value means.
    """

    label: str
    score: str
    axis: str
    meaning: str
    domains: bool = False
    guide: float | None = None
    guide_label: str = ""

    def names(self) -> dict[str, str]:
        """Return domain -> score name; the empty domain where the measure has none."""
        return {domain: f"{self.score}/{domain}" for domain in ("real", "synthetic")} if self.domains else {"": self.score}


def draw(figure: charts.Figure, alt: str, key: str) -> None:
    """Put a chart on the page with its alternative text.

    Args:
        figure: the chart.
        alt: what it shows, for those who cannot see it.
        key: tells the chart from others on the page.
    """
    st.plotly_chart(figure, config=CONFIG, alt=alt, key=key)


def group_dots(group: StudentGroup, values: SeedValues, colour: str, domain: str = "", row: str | None = None) -> list[charts.Dot]:
    """Make the marks of one group: the mean, and each seed where there are several.

    Args:
        group: students that differ in their seed alone.
        values: what its seeds measured.
        colour: what the marks are filled with.
        domain: `real`, `synthetic` or empty.
        row: the row's label; the group's title where None.
    """
    row, low_high = row or group.title, values.span
    hover = f"{group.title}{f', {domain} images' if domain else ''}"
    dots = [charts.Dot(row, values.mean, *low_high, colour, domain, hover)]
    if len(values.seeds) > 1:
        dots += [
            charts.Dot(row, *seed, colour, domain, f"{hover}, seed {index + 1} of {len(values.seeds)}", main=False)
            for index, seed in enumerate(values.seeds)
        ]
    return dots


def score_reader(records: dict[str, ProbeRecord], name: str) -> Callable[[Student], Score | None]:
    """Return a function that reads one score of a student from the report's records.

    Args:
        records: subject -> its record of the probe.
        name: name of the score.
    """
    return lambda student: as_score(records[student.name].scores.get(name)) if student.name in records else None


def available(measures: Sequence[Measure], records: dict[str, ProbeRecord]) -> list[Measure]:
    """Keep the measures of which the report holds at least one score.

    Args:
        measures: in the order of the page.
        records: subject -> its record of the probe.
    """
    names = {name for record in records.values() for name in record.scores}
    return [measure for measure in measures if names & set(measure.names().values())]


def measured(view: ReportView, probe: str, measure: Measure) -> dict[tuple[str, str], SeedValues]:
    """Collect a measure: (group title, domain) -> what its seeds measured; groups without it are left out.

    Args:
        view: the report, with what pages read from it.
        probe: name of the probe.
        measure: the measure.
    """
    records, collected = view.records(probe), {}
    for group in view.groups:
        for domain, name in measure.names().items():
            values = collect_seeds(group, score_reader(records, name), images_behind(records, group, name, domain))
            if values is not None:
                collected[group.title, domain] = values
    return collected


def images_behind(records: dict[str, ProbeRecord], group: StudentGroup, score: str, domain: str) -> int:
    """Count the images behind one of a group's scores, from the counts of its first record; 0 where none is stored.

    Args:
        records: subject -> its record of the probe.
        group: students that differ in their seed alone.
        score: name of the score.
        domain: `real`, `synthetic`, or empty for both.
    """
    counts = next((records[name].counts for name in group.names if name in records), {})
    if not domain:
        return counts.get("images/real", 0) + counts.get("images/synthetic", 0)
    whole = counts.get(f"images/{domain}", 0)
    return whole if score.startswith("cosine/") else counts.get("images/sampled_per_domain", whole)


def measure_chart(view: ReportView, probe: str, measure: Measure) -> charts.Figure:
    """Chart one measure of a probe: the teacher on top, then one row a group.

    Args:
        view: the report, with what pages read from it.
        probe: name of the probe.
        measure: the measure.
    """
    dots = []
    for domain, name in measure.names().items():
        teacher = view.teacher_score(probe, name)
        if teacher is not None:
            dots.append(charts.Dot("teacher", teacher.value, teacher.low, teacher.high, charts.TEACHER, domain))
    collected = measured(view, probe, measure)
    for group in view.groups:
        for domain in measure.names():
            if (group.title, domain) in collected:
                dots += group_dots(group, collected[group.title, domain], view.colours[group.key], domain)
    return charts.dot_chart(dots, measure.axis, guide=measure.guide, guide_label=measure.guide_label)


def measure_sentence(view: ReportView, probe: str, measure: Measure) -> str:
    """Say each group's value of a measure with interval and n, highest first, and the teacher's.

    Args:
        view: the report, with what pages read from it.
        probe: name of the probe.
        measure: the measure.
    """
    collected = measured(view, probe, measure)
    domain_words = {"real": " on real images", "synthetic": " on synthetic images", "": ""}
    parts = []
    for domain, name in measure.names().items():
        ranked = sorted(
            ((values.mean, title, values) for (title, where), values in collected.items() if where == domain), key=lambda item: -item[0]
        )
        parts += [f"**{escape(title)}**{domain_words[domain]}: {values.words(percent=False)}" for _, title, values in ranked]
        teacher = view.teacher_score(probe, name)
        if teacher is not None:
            low, high = format_number(teacher.low), format_number(teacher.high)
            parts.append(f"the teacher{domain_words[domain]}: {format_number(teacher.value)} (95 % interval {low} to {high})")
    return "\n".join(f"- {part}" for part in parts)


def estimate_words(accuracy: Estimate) -> str:
    """Write an accuracy with its interval and n."""
    return f"{in_percent(accuracy.value)} % (95 % interval {in_percent(accuracy.low)} to {in_percent(accuracy.high)}; n = {accuracy.n:,} {accuracy.over})"

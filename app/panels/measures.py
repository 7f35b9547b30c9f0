"""Chart one measure of all students beside the teacher, and say in a sentence what it shows here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import streamlit as st

from app import charts
from app.panels.groups import Group, Over, as_score, keys_in_order, over_seeds
from app.panels.wording import plain
from diagnose.schema import Estimate, ProbeRecord, Report, Student
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
        """Give domain -> score name; the empty domain where the measure has none."""
        return {domain: f"{self.score}/{domain}" for domain in ("real", "synthetic")} if self.domains else {"": self.score}


def colour_of(student: str, report: Report) -> str:
    """Give the colour of a student's loss; that of no student in particular where the report does not know it."""
    key = next((item.loss or item.name for item in report.students if item.name == student), student)
    return charts.colours(keys_in_order(report)).get(key, charts.NEUTRAL)


def draw(figure: charts.Figure, alt: str, key: str) -> None:
    """Put a chart on the page with its alternative text."""
    st.plotly_chart(figure, config=CONFIG, alt=alt, key=key)


def group_dots(group: Group, found: Over, colour: str, domain: str = "", row: str | None = None) -> list[charts.Dot]:
    """Make the marks of one group: the mean, and each seed where there are several."""
    row, low_high = row or group.title, found.span
    hover = f"{group.title}{f', {domain} images' if domain else ''}"
    dots = [charts.Dot(row, found.mean, *low_high, colour, domain, hover)]
    if len(found.seeds) > 1:
        dots += [
            charts.Dot(row, *seed, colour, domain, f"{hover}, seed {index + 1} of {len(found.seeds)}", main=False)
            for index, seed in enumerate(found.seeds)
        ]
    return dots


def score_reader(records: dict[str, ProbeRecord], name: str) -> Callable[[Student], Score | None]:
    """Give a function that reads one score of a student from the report's records."""
    return lambda student: as_score(records[student.name].scores.get(name)) if student.name in records else None


def teacher_score(records: dict[str, ProbeRecord], teacher: str, name: str) -> Score | None:
    """Find the teacher's own value of a score: beside any student's, or in its own record."""
    beside = [record.scores[f"teacher/{name}"] for record in records.values() if f"teacher/{name}" in record.scores]
    own = records[teacher].scores.get(name) if teacher in records else None
    return as_score(beside[0] if beside else own)


def available(measures: Sequence[Measure], records: dict[str, ProbeRecord]) -> list[Measure]:
    """Keep the measures of which the report holds at least one score."""
    held = {name for record in records.values() for name in record.scores}
    return [measure for measure in measures if held & set(measure.names().values())]


def measured(measure: Measure, records: dict[str, ProbeRecord], groups: Sequence[Group]) -> dict[tuple[str, str], Over]:
    """Collect a measure: (group title, domain) -> what its seeds measured; groups without it are left out."""
    made = {}
    for group in groups:
        for domain, name in measure.names().items():
            found = over_seeds(group, score_reader(records, name), images_behind(records, group, name, domain))
            if found is not None:
                made[group.title, domain] = found
    return made


def images_behind(records: dict[str, ProbeRecord], group: Group, score: str, domain: str) -> int:
    """Count the images behind one of a group's scores, from the counts of its first record; 0 where none is stored."""
    counts = next((records[name].counts for name in group.names if name in records), {})
    if not domain:
        return counts.get("images/real", 0) + counts.get("images/synthetic", 0)
    whole = counts.get(f"images/{domain}", 0)
    return whole if score.startswith("cosine/") else counts.get("images/sampled_per_domain", whole)


def measure_chart(
    measure: Measure, records: dict[str, ProbeRecord], groups: Sequence[Group], colours: dict[str, str], teacher: str
) -> charts.Figure:
    """Chart one measure: the teacher on top, then one row a group."""
    dots = []
    for domain, name in measure.names().items():
        own = teacher_score(records, teacher, name)
        if own is not None:
            dots.append(charts.Dot("teacher", own.value, own.low, own.high, charts.TEACHER, domain))
    found = measured(measure, records, groups)
    for group in groups:
        for domain in measure.names():
            if (group.title, domain) in found:
                dots += group_dots(group, found[group.title, domain], colours[group.key], domain)
    return charts.dot_chart(dots, measure.axis, guide=measure.guide, guide_label=measure.guide_label)


def measure_sentence(measure: Measure, records: dict[str, ProbeRecord], groups: Sequence[Group], teacher: str) -> str:
    """Say each group's value with interval and n, highest first, and the teacher's."""
    found = measured(measure, records, groups)
    domain_words = {"real": " on real images", "synthetic": " on synthetic images", "": ""}
    parts = []
    for domain in measure.names():
        ranked = sorted(((over.mean, title, over) for (title, where), over in found.items() if where == domain), key=lambda item: -item[0])
        parts += [f"**{plain(title)}**{domain_words[domain]}: {over.words(percent=False)}" for _, title, over in ranked]
        own = teacher_score(records, teacher, measure.names()[domain])
        if own is not None:
            parts.append(
                f"the teacher{domain_words[domain]}: {format_number(own.value)} (95 % interval {format_number(own.low)} to {format_number(own.high)})"
            )
    return "\n".join(f"- {part}" for part in parts)


def estimate_words(given: Estimate) -> str:
    """Write an accuracy with its interval and n."""
    return f"{in_percent(given.value)} % (95 % interval {in_percent(given.low)} to {in_percent(given.high)}; n = {given.n:,} {given.over})"

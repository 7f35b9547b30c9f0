"""What a page says of the factors of a recipe: kinds of losses, parts of a gap, contrasts of one factor, levels."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from app import charts
from app.panels.groups import StudentGroup, collect_seeds, zero_shot
from app.panels.report_view import ReportView
from app.panels.wording import escape, estimate
from diagnose.judge.properties import ContrastMeaning, judge_contrast
from diagnose.schema import Division, LevelContrast
from diagnose.wording.factor_words import COSTS, FACTORS, level_words, versus
from diagnose.wording.numbers import in_percent
from diagnose.wording.words import plain as spoken
from diagnose.wording.words import upper_first

Kind = tuple[str, bool]
"""What a loss draws the student to (`image` or `text`), and whether it pushes others away."""

KIND_WORDS: dict[Kind, str] = {
    ("image", False): "the teacher's image embedding, nothing pushed away",
    ("image", True): "the teacher's image embedding, others pushed away",
    ("text", True): "the text of the class, others pushed away (CLIP's own loss)",
    ("text", False): "the text of the class, nothing pushed away",
}
"""Neighbours differ in one of the two properties."""

PART_COLOURS = {"text_target": "#D55E00", "negatives": "#0072B2", "synthetic_images": "#009E73", "remainder": charts.TEACHER}
"""Part of a gap -> its colour, the same in every division; parts of several factors are drawn in `charts.NEUTRAL`."""

CONTRAST_WORDS: dict[ContrastMeaning, str] = {
    "fits_synthetic": "better on synthetic images and worse on real ones: it fits the synthetic images",
    "worse_on_both": "worse on both: it trains worse",
    "worse_on_real": "worse on real images alone",
    "better_on_both": "better on both: it trains better",
    "better_on_real": "better on real images",
    "unclear": "no sure change on real images",
}
"""What the judge says of a contrast -> words."""


def kind_of(group: StudentGroup) -> Kind | None:
    """Return the kind of a group's loss, or None where it is not known."""
    target, negatives = group.students[0].target, group.students[0].negatives
    return None if target is None or negatives is None else (target, negatives)


def kind_dots(view: ReportView) -> list[charts.Dot]:
    """Make a row for each kind of loss and a pair of marks for each loss of it that was trained on no real image alone; the teacher first."""
    teacher_accuracy, dots = view.report.teacher.zero_shot, []
    for domain, given in (("real", teacher_accuracy.real), ("synthetic", teacher_accuracy.synthetic)):
        if given is not None:
            dots.append(charts.Dot("teacher", given.value, given.low, given.high, charts.TEACHER, domain))
    colours = view.colours
    groups = [group for group in view.groups if group.trained_on in (None, "synthetic")]
    for kind, words in KIND_WORDS.items():
        of_kind = [group for group in groups if kind_of(group) == kind]
        for group in of_kind:
            for domain in ("real", "synthetic"):
                values = collect_seeds(group, lambda student, domain=domain: zero_shot(student, domain))  # type: ignore[misc]
                if values is not None:
                    hover = f"{group.label}, {domain} images, {len(values.seeds)} seeds"
                    dots.append(charts.Dot(words, values.mean, *values.span, colours[group.key], domain, hover, main=len(of_kind) == 1))
    return dots


def kind_sentences(view: ReportView) -> list[str]:
    """Say what the losses of each kind reach on real images, with n; one line a kind."""
    groups = [group for group in view.groups if group.trained_on in (None, "synthetic")]
    lines = []
    for kind, words in KIND_WORDS.items():
        parts = []
        for group in (group for group in groups if kind_of(group) == kind):
            values = collect_seeds(group, lambda student: zero_shot(student, "real"))
            if values is not None:
                parts.append(f"{escape(group.label)} {values.words(percent=True)}")
        if parts:
            lines.append(f"**Drawn to {words}**: {'; '.join(parts)}")
    return lines


def division_bars(division: Division) -> list[charts.Bar]:
    """Stack the parts of a gap from nothing up to the whole of it."""
    bars, at = [], 0.0
    for part in (division.remainder, *division.parts):
        name = (
            f"what {spoken(division.start)} lacks as well"
            if part.name == "remainder"
            else COSTS.get(part.name, part.name.replace("_", " "))
        )
        points = part.points
        error = max(points.high - points.value, points.value - points.low)
        share = "" if part.share is None else f" ({in_percent(part.share.value, 0)} %)"
        text = f"{_points(points.value)}{share}"
        bars.append(charts.Bar(upper_first(name), at, at + points.value, PART_COLOURS.get(part.name, charts.NEUTRAL), text, error))
        at += points.value
    whole = division.gap
    bars.append(
        charts.Bar(
            "All of it: behind the teacher",
            0.0,
            whole.value,
            "#6B6B6B",
            _points(whole.value),
            max(whole.high - whole.value, whole.value - whole.low),
        )
    )
    return bars


def _points(value: float) -> str:
    return f"{in_percent(value)} points"


def division_words(division: Division) -> str:
    """Write every part of a gap with its interval, share and n."""
    lines = [f"- the whole gap: {estimate(division.gap, 'points')}"]
    for part in (*division.parts, division.remainder):
        name = COSTS.get(part.name, part.name.replace("_", " "))
        share = "" if part.share is None else f"; {estimate(part.share, 'share')} of the gap"
        lines.append(f"- {escape(name)}: {estimate(part.points, 'points')}{share}")
    return "\n".join(lines)


def contrast_dots(items: Sequence[LevelContrast]) -> list[charts.Dot]:
    """Make a row for each contrast: what changes on real and on synthetic images."""
    dots = []
    for item in items:
        row = f"{upper_first(versus(item.factor, item.level, item.against))}, {spoken(item.having)}"
        for domain, given in (("real", item.real), ("synthetic", item.synthetic)):
            dots.append(charts.Dot(row, given.value, given.low, given.high, charts.NEUTRAL, domain, f"{row}, {domain} images"))
    return dots


def reading(item: LevelContrast) -> str:
    """Write what the judge decides on the two intervals of a contrast."""
    return CONTRAST_WORDS[judge_contrast(item.real, item.synthetic)]


def contrast_words(item: LevelContrast) -> str:
    """Write a contrast with its intervals, n and what they mean together."""
    seeds = f"n = {item.real.n:,} {'seeds' if item.real.over != 'images' else 'images, one seed'}"
    return f"- {escape(item.statement)} {seeds}; {reading(item)}."


def factor_label(factor: str) -> str:
    """Name a factor for people."""
    return upper_first(FACTORS.get(factor, factor.replace("_", " ")))


def level_table(view: ReportView) -> pd.DataFrame:
    """Return one row a group of students: its levels and its mean accuracies over seeds; only factors in which groups differ."""
    groups = view.groups
    levels = [group.students[0].levels for group in groups]
    factors = [name for name in FACTORS if len({level.get(name, "") for level in levels}) > 1]
    rows = []
    for group, level in zip(groups, levels, strict=True):
        row = {"students": group.title, "seeds": str(len(group.students))}
        row |= {FACTORS[name]: level_words(name, level[name]) if name in level else "" for name in factors}
        for domain in ("real", "synthetic"):
            values = collect_seeds(group, lambda student, domain=domain: zero_shot(student, domain))  # type: ignore[misc]
            row[f"{domain}, %"] = (
                "" if values is None else f"{in_percent(values.mean)} ({in_percent(values.span[0])} to {in_percent(values.span[1])})"
            )
        rows.append(row)
    return pd.DataFrame(rows)

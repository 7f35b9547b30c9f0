"""Figures of the page as plain numbers: what is drawn where, in per cent of the width, so that one drawing fits every screen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from diagnose.judge.verdict import MARGIN
from diagnose.schema import Estimate, Finding, Report, Student
from diagnose.wording.factor_words import level_words
from diagnose.wording.numbers import format_number
from diagnose.wording.words import number, percent, plain, points
from probes.result import ProbeResult


@dataclass(frozen=True)
class Mark:
    """One value with its interval on a strip; positions in per cent of the width, `dots` are the single students."""

    kind: str
    at: float
    low: float
    high: float
    words: str
    dots: tuple[float, ...] = ()


@dataclass(frozen=True)
class Strip:
    """One row of a figure: a label and its marks, one below the other."""

    label: str
    marks: tuple[Mark, ...]


@dataclass(frozen=True)
class Axis:
    """A horizontal axis: its range, ticks (position in per cent, text), name with unit, and reference lines."""

    low: float
    high: float
    ticks: tuple[tuple[float, str], ...]
    name: str
    references: tuple[tuple[float, str], ...] = ()

    def place(self, value: float) -> float:
        """Return a value's position in per cent, clipped to the axis."""
        return round(100 * min(max((value - self.low) / (self.high - self.low), 0.0), 1.0), 3)


@dataclass(frozen=True)
class DotPlot:
    """Values with intervals in rows."""

    id: str
    title: str
    about: str
    axis: Axis
    strips: tuple[Strip, ...]
    legend: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Line:
    """A line through points (x, y) in per cent, y from the top."""

    kind: str
    points: tuple[tuple[float, float], ...]

    @property
    def path(self) -> str:
        """Return the points as an SVG path."""
        return "M" + " L".join(f"{x:.2f},{y:.2f}" for x, y in self.points)


@dataclass(frozen=True)
class Panel:
    """One small chart of lines over epochs."""

    title: str
    lines: tuple[Line, ...]


@dataclass(frozen=True)
class LineChart:
    """Small charts that share their axes."""

    id: str
    title: str
    about: str
    panels: tuple[Panel, ...]
    y_ticks: tuple[tuple[float, str], ...]
    x_ticks: tuple[tuple[float, str], ...]
    y_name: str
    x_name: str = "epoch"
    legend: tuple[tuple[str, str], ...] = field(default=(("real", "real images"), ("synthetic", "synthetic images")))


def axis(low: float, high: float, step: float, name: str, *, scale: float = 1.0, references: Sequence[tuple[float, str]] = ()) -> Axis:
    """Make an axis with a tick at each step.

    Args:
        low: value at the left end.
        high: value at the right end.
        step: distance between ticks.
        name: what is drawn, with its unit.
        scale: factor between values and the texts of the ticks, 100 for per cent.
        references: (value, text) of vertical lines.
    """
    base = Axis(low, high, (), name)
    count = round((high - low) / step)
    values = [low + step * i for i in range(count + 1)]
    digits = next((d for d in range(3) if all(abs(round(scale * value, d) - scale * value) < 1e-6 for value in values)), 3)
    ticks = tuple((base.place(value), format_number(scale * value, digits)) for value in values)
    return Axis(low, high, ticks, name, tuple((base.place(value), text) for value, text in references))


def around(values: Sequence[Estimate], name: str, *, scale: float = 1.0, references: Sequence[tuple[float, str]] = ()) -> Axis:
    """Make an axis that holds all intervals, the references and zero, with four to eight steps.

    Args:
        values: the numbers that are drawn.
        name: what is drawn, with its unit.
        scale: factor between values and the texts of the ticks.
        references: (value, text) of vertical lines.
    """
    marks = [0.0, *(at for at, _ in references), *(v.low for v in values), *(v.high for v in values)]
    low, high = max(min(marks), -1.5), min(max(marks), 1.5)
    step = next((s for s in (0.01, 0.02, 0.05, 0.1, 0.2, 0.5) if (high - low) / s <= 7), 0.5)
    return axis(step * np.floor(low / step), step * np.ceil(max(high, low + step) / step), step, name, scale=scale, references=references)


def outcome(report: Report) -> DotPlot | None:
    """Draw accuracy on real and on synthetic images of teacher and students."""
    outcomes = [(name, finding) for name, finding in _by_prefix(report, "outcome/") if len(finding.evidence) >= 2]
    chance = 1 / max(len(report.class_names), 1)
    where = axis(0.0, 1.0, 0.2, "zero-shot accuracy [%]", scale=100, references=[(chance, "chance")])
    strips = []
    teacher = report.teacher.zero_shot
    marks = [
        _mark(where, kind, value, percent)
        for kind, value in (("real", teacher.real), ("synthetic", teacher.synthetic))
        if value is not None
    ]
    if marks:
        strips.append(Strip(f"teacher: {report.teacher.name}", tuple(marks)))
    for name, finding in outcomes:
        students = [student for student in report.students if student.name in finding.students]
        marks = [
            _mark(where, kind, finding.evidence[place].estimate, percent, _single(students, kind))
            for place, kind in ((0, "real"), (1, "synthetic"))
        ]
        strips.append(Strip(plain(name), tuple(marks)))
    if not outcomes:
        return None
    return DotPlot(
        "outcome",
        "Accuracy on real and on held-out synthetic images",
        "Large marks are means over the seeds of a loss with 95 % intervals, small dots single students.",
        where,
        tuple(strips),
        (("real", "real images"), ("synthetic", "held-out synthetic images")),
    )


def excess(report: Report) -> DotPlot | None:
    """Draw each loss's gap in excess of the teacher's."""
    outcomes = [(name, finding) for name, finding in _by_prefix(report, "outcome/") if len(finding.evidence) >= 3]
    if not outcomes:
        return None
    values = [finding.evidence[2].estimate for _, finding in outcomes]
    where = around(
        values, "gap synthetic minus real, beyond the teacher's [points]", scale=100, references=[(MARGIN, f"{100 * MARGIN:.0f} points")]
    )
    strips = tuple(Strip(plain(name), (_mark(where, "plain", value, points),)) for (name, _), value in zip(outcomes, values, strict=True))
    about = "Right of the line by its whole interval: the loss falls further on real images than the teacher does."
    return DotPlot("excess", "How much wider than the teacher's the gap is", about, where, strips)


def grid(report: Report) -> DotPlot | None:
    """Draw accuracy on real images after training on synthetic and on real images."""
    controls = next((finding for finding in report.findings if finding.id == "controls"), None)
    pairs = [item for item in (controls.evidence if controls else []) if item.source == "zero_shot/real"]
    if not pairs:
        return None
    where = axis(0.0, 1.0, 0.2, "zero-shot accuracy on real images [%]", scale=100)
    rows: dict[str, list[Mark]] = {}
    for item in pairs:
        loss, _, domain = item.what.partition(" trained on ")
        rows.setdefault(loss, []).append(_mark(where, "real" if domain.startswith("real") else "synthetic", item.estimate, percent))
    strips = tuple(Strip(plain(loss), tuple(sorted(marks, key=lambda mark: mark.kind))) for loss, marks in rows.items())
    legend = (("real", "trained on real images"), ("synthetic", "trained on synthetic images"))
    about = "The same loss, encoder and settings; only the training images differ."
    return DotPlot("grid", "Accuracy on real images, by training images", about, where, strips, legend)


def factors(report: Report) -> DotPlot | None:
    """Draw what each property of the loss costs on real images."""
    if not report.factors:
        return None
    where = around(
        [item.points for item in report.factors], "cost in accuracy on real images [points]", scale=100, references=[(0.0, "none")]
    )
    strips = tuple(Strip(plain(item.name), (_mark(where, "plain", item.points, points),)) for item in report.factors)
    about = "Right of zero the property costs accuracy on real images, left of it the property helps. Paired over seeds and images."
    return DotPlot("factors", "What each property of the loss costs", about, where, strips)


def levels(report: Report) -> DotPlot | None:
    """Draw what each factor changes on real images where it alone was changed."""
    if not report.contrasts:
        return None
    where = around([item.real for item in report.contrasts], "change on real images [points]", scale=100, references=[(0.0, "none")])
    strips = tuple(
        Strip(f"{level_words(item.factor, item.level)}, {plain(item.having)}", (_mark(where, "plain", item.real, points),))
        for item in report.contrasts
        if item.factor not in ("target", "negatives")
    )
    about = "Each row changes one thing against the level that most students have. Right of zero it helps on real images."
    return DotPlot("levels", "What each other factor changes", about, where, strips) if strips else None


def separability(report: Report) -> DotPlot | None:
    """Draw separability of student and teacher."""
    compared = [(name, finding) for name, finding in _by_prefix(report, "separability/") if len(finding.evidence) == 2]
    if not compared:
        return None
    where = axis(0.4, 1.0, 0.1, "AUC, real against synthetic images", references=[(0.5, "chance")])
    strips = []
    for name, finding in compared:
        separation = finding.evidence[0]
        marks = [_mark(where, "plain", separation.estimate, number)]
        if separation.teacher is not None:
            marks.append(_mark(where, "teacher", separation.teacher, number))
        strips.append(Strip(plain(name), tuple(marks)))
    legend = (("plain", "student"), ("teacher", "its teacher"))
    about = "How well a linear probe tells the domains apart, on images it was not fitted to. The teacher separates them too."
    return DotPlot("separability", "Telling real from synthetic by the embedding", about, where, tuple(strips), legend)


def drift(report: Report) -> DotPlot | None:
    """Draw the cosine between student and teacher in both domains."""
    compared = [(name, finding) for name, finding in _by_prefix(report, "drift/") if len(finding.evidence) >= 2]
    if not compared:
        return None
    values = [item.estimate for _, finding in compared for item in finding.evidence[:2]]
    low = -0.2 * np.ceil(max(0.0, -min(value.low for value in values)) / 0.2)
    where = axis(float(low), 1.0, 0.2, "mean cosine to the teacher's embedding of the same image")
    strips = tuple(
        Strip(
            plain(name),
            (_mark(where, "real", finding.evidence[1].estimate, number), _mark(where, "synthetic", finding.evidence[0].estimate, number)),
        )
        for name, finding in compared
    )
    legend = (("real", "real images"), ("synthetic", "held-out synthetic images"))
    return DotPlot("drift", "Agreement with the teacher", "1 is full agreement.", where, strips, legend)


def _by_prefix(report: Report, prefix: str) -> list[tuple[str, Finding]]:
    return [(finding.id.removeprefix(prefix), finding) for finding in report.findings if finding.id.startswith(prefix)]


def _single(students: Sequence[Student], domain: str) -> tuple[float, ...]:
    values = [getattr(student.zero_shot, domain) for student in students]
    return tuple(value.value for value in values if value is not None) if len(values) > 1 else ()


def _mark(where: Axis, kind: str, value: Estimate, words: object, dots: Sequence[float] = ()) -> Mark:
    text = words(value) if callable(words) else ""
    return Mark(
        kind, where.place(value.value), where.place(value.low), where.place(value.high), text, tuple(where.place(dot) for dot in dots)
    )


def curves(report: Report) -> LineChart | None:
    """Draw zero-shot accuracy over the epochs of training, a panel for each loss."""
    series: dict[str, list[tuple[str, list[tuple[float, float]]]]] = {}
    for student in report.students:
        panel = _panel_name(student)
        for kind in ("real", "synthetic"):
            line = [(row["epoch"], row[f"zero_shot_{kind}"]) for row in student.curve if "epoch" in row and f"zero_shot_{kind}" in row]
            if len(line) > 1:
                series.setdefault(panel, []).append((kind, line))
    about = "One line for each seed; dashed: held-out synthetic images."
    return _lines("curves", "Accuracy while training", about, series, (0.0, 1.0), "zero-shot accuracy [%]", 100)


def drift_by_epoch(report: Report, results: Mapping[str, Mapping[str, ProbeResult]]) -> LineChart | None:
    """Draw the agreement with the teacher over training, a panel for each loss.

    Args:
        report: the report.
        results: probe -> student -> result; those of `drift` by epoch are used.
    """
    series: dict[str, list[tuple[str, list[tuple[float, float]]]]] = {}
    lowest = 0.0
    for student in report.students:
        result = results.get("drift", {}).get(student.name)
        for kind in ("real", "synthetic"):
            name = f"cosine/{kind}/by_epoch"
            if result is None or name not in result.arrays or len(result.arrays[name]) < 2:
                continue
            values = result.arrays[name][:, 0]
            lowest = min(lowest, float(values.min()))
            line = list(zip(result.arrays["epochs"].astype(float).tolist(), values.tolist(), strict=True))
            series.setdefault(_panel_name(student), []).append((kind, line))
    low = -0.2 * float(np.ceil(-lowest / 0.2))
    return _lines(
        "drift-epochs", "Agreement with the teacher while training", "One line for each seed.", series, (low, 1.0), "mean cosine", 1
    )


def _panel_name(student: Student) -> str:
    return plain(student.loss or student.name) + (f", on {plain(student.trained_on)}" if student.trained_on else "")


def _lines(
    identity: str,
    title: str,
    about: str,
    series: Mapping[str, Sequence[tuple[str, Sequence[tuple[float, float]]]]],
    span: tuple[float, float],
    y_name: str,
    scale: float,
) -> LineChart | None:
    if not series:
        return None
    epochs = [x for lines in series.values() for _, line in lines for x, _ in line]
    first, last = min(epochs), max(epochs)
    across = Axis(first, max(last, first + 1), (), "epoch")
    up = axis(span[0], span[1], (span[1] - span[0]) / 4, y_name, scale=scale)
    panels = tuple(
        Panel(name, tuple(Line(kind, tuple((across.place(x), 100 - up.place(y)) for x, y in line)) for kind, line in lines))
        for name, lines in series.items()
    )
    y_ticks = tuple((100 - at, text) for at, text in up.ticks)
    x_ticks = tuple((across.place(x), f"{x:.0f}") for x in sorted({first, round((first + last) / 2), last}))
    return LineChart(identity, title, about, panels, y_ticks, x_ticks, y_name)

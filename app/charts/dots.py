"""Rows of marks with whiskers: values with their intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import plotly.graph_objects as go

from app.charts.frame import Properties, built, marker, safe, whiskers
from app.charts.palette import GUIDE, MARKERS, TEACHER
from diagnose.wording.numbers import format_value, with_interval

ROW_PIXELS = 88
LEAST_SPAN = 0.1
"""Least range of an axis, in the number's own unit: 10 points, or 0.1 of AUC or cosine."""


@dataclass(frozen=True)
class Dot:
    """A mark on a row: a value with its interval.

    Args:
        row: the row's label.
        value: where it lies on the axis.
        low: lower end of the interval, at most `value`.
        high: upper end, at least `value`.
        colour: of its loss, or `TEACHER`.
        domain: `real`, `synthetic`, or empty where no domain is meant; decides the marker.
        hover: one line for the pointer, outside strings allowed.
        main: a main mark carries its number in text; the others (single seeds) are small.
    """

    row: str
    value: float
    low: float
    high: float
    colour: str
    domain: str = ""
    hover: str = ""
    main: bool = True


def dot_chart(
    dots: Sequence[Dot],
    axis: str,
    *,
    percent: bool = False,
    guide: float | None = None,
    guide_label: str = "",
    bounds: tuple[float, float] | None = None,
) -> go.Figure:
    """Draw rows of marks with whiskers, the row's label above its line; readable at phone width.

    Args:
        dots: in the order of rows, top first.
        axis: title of the horizontal axis.
        percent: show fractions of one as percent.
        guide: a vertical line, such as chance or zero.
        guide_label: what the line means.
        bounds: range of the axis; from the data where None.
    """
    return _dot_chart(tuple(dots), axis, percent, guide, guide_label, bounds)


@lru_cache(maxsize=128)
def _dot_chart(
    dots: tuple[Dot, ...], axis: str, percent: bool, guide: float | None, guide_label: str, bounds: tuple[float, float] | None
) -> go.Figure:
    """Draw once for all visits, so callers leave it as it is."""
    rows = list(dict.fromkeys(dot.row for dot in dots))
    scale = 100 if percent else 1
    domains = [domain for domain in ("real", "synthetic", "") if any(dot.domain == domain for dot in dots)]
    traces = _bars(dots, rows, scale)
    for kind in dict.fromkeys((dot.main, dot.colour, dot.domain) for dot in sorted(dots, key=lambda dot: dot.main)):
        alike = [dot for dot in dots if (dot.main, dot.colour, dot.domain) == kind]
        traces.append(_marks(alike, [_height(dot, dots, rows, domains) for dot in alike], percent, scale))
    if len(domains) > 1:
        for domain in filter(None, domains):
            marker = {"symbol": MARKERS[domain], "size": 11, "color": TEACHER}
            traces.append({"x": [None], "y": [None], "mode": "markers", "marker": marker, "name": f"{domain} images"})
    shapes: list[Properties] = [
        {
            "type": "line",
            "xref": "x domain",
            "x0": 0,
            "x1": 1,
            "y0": -index,
            "y1": -index,
            "line": {"color": GUIDE, "width": 1},
            "layer": "below",
        }
        for index in range(len(rows))
    ]
    label = {"xref": "paper", "x": 0, "yshift": 38, "showarrow": False, "xanchor": "left", "align": "left", "font": {"size": 13}}
    notes: list[Properties] = [label | {"y": -index, "text": safe(row)} for index, row in enumerate(rows)]
    ends = _range(dots, guide, bounds, scale)
    if guide is not None:
        lines, note = _guide(scale * guide, guide_label, len(rows), sum(ends) / 2)
        shapes, notes = shapes + lines, [*notes, note]
    across = {"title": axis, "fixedrange": True, "range": ends, "zeroline": False}
    across["ticksuffix"] = " %" if percent and "point" not in axis else ""
    up = {"visible": False, "range": [-len(rows) + 0.45, 0.6], "fixedrange": True}
    return built(traces, 92 + ROW_PIXELS * len(rows), shapes=shapes, annotations=notes, xaxis=across, yaxis=up)


def _bars(dots: Sequence[Dot], rows: list[str], scale: float) -> list[Properties]:
    """Join a row's mean on real and on synthetic images."""
    traces: list[Properties] = []
    for index, row in enumerate(rows):
        means = {dot.domain: dot for dot in dots if dot.row == row and dot.main and dot.domain}
        if len(means) == 2:
            ends = [scale * means[domain].value for domain in ("real", "synthetic")]
            line = {"color": means["real"].colour, "width": 3}
            traces.append(
                {"x": ends, "y": [-index] * 2, "mode": "lines", "line": line, "opacity": 0.35, "showlegend": False, "hoverinfo": "skip"}
            )
    return traces


def _guide(x: float, label: str, rows: int, middle: float) -> tuple[list[Properties], Properties]:
    """Make a vertical line in pieces, so that it does not strike through the rows' labels, and the words on its side with more room."""
    line = {"color": TEACHER, "width": 1.5, "dash": "dot"}
    pieces = [{"type": "line", "x0": x, "x1": x, "y0": -index - 0.42, "y1": -index + 0.1, "line": line} for index in range(rows)]
    side = {"xanchor": "left", "xshift": 4} if x <= middle else {"xanchor": "right", "xshift": -4}
    place = {"x": x, "y": -rows + 1, "yshift": -34} | side
    return pieces, place | {"text": safe(label), "showarrow": False, "font": {"size": 11, "color": TEACHER}}


def _range(dots: Sequence[Dot], guide: float | None, bounds: tuple[float, float] | None, scale: float) -> list[float]:
    ends = [end for dot in dots for end in (dot.low, dot.high)] + ([] if guide is None else [guide])
    low, high = bounds if bounds is not None else (min(ends), max(ends))
    short = max(LEAST_SPAN - (high - low), 0.0) / 2  # a difference of nothing must not fill the chart
    low, high = low - short, high + short
    pad = 0.06 * (high - low)
    return [scale * (low - pad), scale * (high + pad)]


def _height(dot: Dot, dots: Sequence[Dot], rows: list[str], domains: list[str]) -> float:
    """Place a mark a little above (real) or below (synthetic) its row's line, and seeds beside each other."""
    base = -float(rows.index(dot.row))
    if len(domains) > 1:
        base += 0.07 if dot.domain == "real" else -0.07
    if dot.main:
        return base
    seeds = [other for other in dots if other.row == dot.row and other.domain == dot.domain and not other.main]
    return base + 0.05 * (seeds.index(dot) - (len(seeds) - 1) / 2)


def _marks(dots: Sequence[Dot], heights: Sequence[float], percent: bool, scale: float) -> Properties:
    """Make one trace of marks that look alike."""
    first = dots[0]
    values, lows, highs = ([scale * getattr(dot, end) for dot in dots] for end in ("value", "low", "high"))
    spans = [with_interval(dot, digits=1 if percent else 2, percent=percent) for dot in dots]
    return {
        "x": values,
        "y": list(heights),
        "mode": "markers+text" if first.main else "markers",
        "marker": marker(first.domain, first.colour, 13 if first.main else 6),
        "opacity": 1.0 if first.main else 0.55,
        "error_x": whiskers(values, lows, highs, first.colour, main=first.main),
        "text": [format_value(dot.value, percent=percent) for dot in dots] if first.main else None,
        "textposition": "bottom center" if first.domain == "synthetic" or (first.colour == TEACHER and not first.domain) else "top center",
        "textfont": {"size": 12},
        "hovertemplate": [f"{safe(dot.hover or dot.row)}: {span}<extra></extra>" for dot, span in zip(dots, spans, strict=True)],
        "showlegend": False,
    }

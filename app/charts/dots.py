"""Rows of marks with whiskers: values with their intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import plotly.graph_objects as go

from app.charts.frame import finish, safe, written
from app.charts.palette import GUIDE, MARKERS, TEACHER

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
    rows = list(dict.fromkeys(dot.row for dot in dots))
    scale = 100 if percent else 1
    figure = go.Figure()
    domains = [domain for domain in ("real", "synthetic", "") if any(dot.domain == domain for dot in dots)]
    for row in rows:
        means = {dot.domain: dot for dot in dots if dot.row == row and dot.main and dot.domain}
        if len(means) == 2:
            ends = [scale * means[domain].value for domain in ("real", "synthetic")]
            line = {"color": means["real"].colour, "width": 3}
            figure.add_scatter(x=ends, y=[-rows.index(row)] * 2, mode="lines", line=line, opacity=0.35, showlegend=False, hoverinfo="skip")
    for dot in sorted(dots, key=lambda dot: dot.main):
        _add_dot(figure, dot, _height(dot, dots, rows, domains), percent, scale)
    if len(domains) > 1:
        for domain in filter(None, domains):
            marker = {"symbol": MARKERS[domain], "size": 11, "color": TEACHER}
            figure.add_scatter(x=[None], y=[None], mode="markers", marker=marker, name=f"{domain} images")
    for index, row in enumerate(rows):
        figure.add_hline(y=-index, line={"color": GUIDE, "width": 1}, layer="below")
        figure.add_annotation(
            x=0, xref="paper", y=-index, yshift=38, text=safe(row), showarrow=False, xanchor="left", align="left", font={"size": 13}
        )
    if guide is not None:
        _add_guide(figure, scale * guide, guide_label, len(rows))
    figure.update_yaxes(visible=False, range=[-len(rows) + 0.45, 0.6], fixedrange=True)
    figure.update_xaxes(
        title=axis,
        fixedrange=True,
        range=_range(dots, guide, bounds, scale),
        ticksuffix=" %" if percent and "point" not in axis else "",
        zeroline=False,
    )
    return finish(figure, 92 + ROW_PIXELS * len(rows))


def _add_guide(figure: go.Figure, x: float, label: str, rows: int) -> None:
    """Draw a vertical line in pieces, so that it does not strike through the rows' labels."""
    line = {"color": TEACHER, "width": 1.5, "dash": "dot"}
    for index in range(rows):
        figure.add_shape(type="line", x0=x, x1=x, y0=-index - 0.42, y1=-index + 0.1, line=line)
    place = {"x": x, "y": -rows + 1, "yshift": -34, "xanchor": "left", "xshift": 4}
    figure.add_annotation(text=safe(label), showarrow=False, font={"size": 11, "color": TEACHER}, **place)


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


def _add_dot(figure: go.Figure, dot: Dot, y: float, percent: bool, scale: float) -> None:
    interval = f"{written(dot.value, percent)} ({written(dot.low, percent)} to {written(dot.high, percent)})"
    figure.add_scatter(
        x=[scale * dot.value],
        y=[y],
        mode="markers+text" if dot.main else "markers",
        marker={"symbol": MARKERS[dot.domain], "size": 13 if dot.main else 6, "color": dot.colour, "line": {"width": 1, "color": "white"}},
        opacity=1.0 if dot.main else 0.55,
        error_x={
            "type": "data",
            "symmetric": False,
            "array": [scale * (dot.high - dot.value)],
            "arrayminus": [scale * (dot.value - dot.low)],
            "color": dot.colour,
            "thickness": 2 if dot.main else 1,
            "width": 4 if dot.main else 2,
        },
        text=[written(dot.value, percent)] if dot.main else None,
        textposition="bottom center" if dot.domain == "synthetic" or (dot.colour == TEACHER and not dot.domain) else "top center",
        textfont={"size": 12},
        hovertemplate=f"{safe(dot.hover or dot.row)}: {interval}<extra></extra>",
        showlegend=False,
    )

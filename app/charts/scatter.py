"""Points in the plane: a quantity of each encoder against another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import plotly.graph_objects as go

from app.charts.frame import Properties, built, marker, safe, whiskers


@dataclass(frozen=True)
class Point:
    """One encoder, or one mean over seeds.

    Args:
        x: where it lies across; positive on a logarithmic axis.
        value: fraction of one.
        low: lower end of the interval.
        high: upper end.
        colour: of its loss, or `TEACHER`.
        domain: decides the marker.
        name: for the legend and the pointer.
        hollow: drawn as a rim, to tell two kinds of one colour apart.
    """

    x: float
    value: float
    low: float
    high: float
    colour: str
    domain: str
    name: str
    hollow: bool = False


def scatter_chart(points: Sequence[Point], across: str, axis: str, *, log: bool = False) -> go.Figure:
    """Draw points with vertical whiskers, values in percent, one legend entry a name.

    Args:
        points: the marks.
        across: title of the horizontal axis.
        axis: title of the vertical axis.
        log: draw the horizontal axis logarithmically.
    """
    traces: list[Properties] = []
    named: set[str] = set()
    for point in points:
        traces.append(
            {
                "x": [point.x],
                "y": [100 * point.value],
                "mode": "markers",
                "name": safe(point.name),
                "legendgroup": point.name,
                "showlegend": point.name not in named,
                "marker": marker(point.domain, point.colour, 13, hollow=point.hollow),
                "error_y": whiskers([100 * point.value], [100 * point.low], [100 * point.high], point.colour),
                "hovertemplate": f"{safe(point.name)}, {safe(point.domain)}: %{{y:.1f}} %, {safe(across)} %{{x:,.0f}}<extra></extra>",
            }
        )
        named.add(point.name)
    horizontal = {"title": across, "type": "log" if log else "linear", "fixedrange": True} | (_around(points) if log else {})
    vertical = {"title": axis, "range": [0, 103], "ticksuffix": " %", "fixedrange": True, "zeroline": False}
    below = {"y": -0.25, "yanchor": "top"}
    return built(traces, 340 + 22 * len(named), xaxis=horizontal, yaxis=vertical, legend=below, margin={"t": 12})


def _around(points: Sequence[Point]) -> dict[str, object]:
    """Set a logarithmic axis with room of a factor of two on both sides, and ticks in whole words."""
    from math import floor, log10

    low, high = min(point.x for point in points) / 2, max(point.x for point in points) * 2
    ticks = [factor * 10**power for power in range(floor(log10(low)), floor(log10(high)) + 1) for factor in (1, 2, 5)]
    ticks = [tick for tick in ticks if low <= tick <= high]
    words = [f"{tick / 1e9:g} B" if tick >= 1e9 else f"{tick / 1e6:g} M" if tick >= 1e6 else f"{tick / 1e3:g} k" for tick in ticks]
    return {"range": [log10(low), log10(high)], "tickvals": ticks, "ticktext": words}

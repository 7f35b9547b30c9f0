"""Bars from one value to another, one under the other: of what a difference is made."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import plotly.graph_objects as go

from app.charts.frame import Properties, built, safe
from app.charts.palette import GUIDE


@dataclass(frozen=True)
class Bar:
    """A bar of a division.

    Args:
        row: the row's label.
        start: where it begins, fraction of one.
        end: where it ends.
        colour: what it is filled with.
        text: what stands beside it; ours, never from outside.
        error: half the width of the interval of its length, 0 for none.
    """

    row: str
    start: float
    end: float
    colour: str
    text: str
    error: float = 0.0


def bar_chart(bars: Sequence[Bar], axis: str, *, suffix: str = "") -> go.Figure:
    """Draw bars in percent (points), each row's label and number above its bar; readable at phone width.

    Args:
        bars: in the order of rows, top first.
        axis: title of the axis.
        suffix: written behind the ticks.
    """
    traces: list[Properties] = []
    links: list[Properties] = []
    labels: list[Properties] = []
    for index, bar in enumerate(bars):
        traces.append(
            {
                "x": [100 * bar.start, 100 * bar.end],
                "y": [-index, -index],
                "mode": "lines",
                "line": {"color": bar.colour, "width": 18},
                "hovertemplate": f"{safe(bar.row)}: {bar.text}<extra></extra>",
                "showlegend": False,
            }
        )
        if bar.error:
            whisker = {"type": "data", "array": [100 * bar.error], "color": "#8A8A8A", "thickness": 2, "width": 5}
            dot = {"mode": "markers", "marker": {"size": 1, "color": bar.colour}, "hoverinfo": "skip", "showlegend": False}
            traces.append(dot | {"x": [100 * bar.end], "y": [-index], "error_x": whisker})
        if index + 1 < len(bars):
            link = {"type": "line", "line": {"color": GUIDE, "width": 1.5, "dash": "dot"}, "layer": "below"}
            links.append(link | {"x0": 100 * bar.end, "x1": 100 * bar.end, "y0": -index - 0.16, "y1": -index - 0.84})
        label = {"x": 0, "xref": "paper", "y": -index + 0.36, "text": f"{safe(bar.row)}: <b>{bar.text}</b>"}
        labels.append(label | {"showarrow": False, "xanchor": "left", "align": "left", "font": {"size": 13}})
    ends = [end for bar in bars for end in (bar.start, bar.end, bar.end - bar.error, bar.end + bar.error)]
    pad = 0.04 * max(max(ends) - min(ends), 0.1)
    across = {"title": axis, "ticksuffix": suffix, "fixedrange": True, "zeroline": False}
    across["range"] = [100 * (min(ends) - pad), 100 * (max(ends) + pad)]
    up = {"visible": False, "range": [-len(bars) + 0.5, 0.6], "fixedrange": True}
    return built(traces, 70 + 62 * len(bars), shapes=links, annotations=labels, xaxis=across, yaxis=up)

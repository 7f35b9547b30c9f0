"""What all charts share: size, margins, legend, and how numbers and outside strings are written."""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping, Sequence

import plotly.graph_objects as go

from app.charts.palette import MARKERS

Figure = go.Figure
Properties = dict[str, object]
"""Properties of a trace, a shape or a note, as plotly names them."""

MARGIN: Properties = {"l": 8, "r": 16, "t": 36, "b": 44}
LEGEND: Properties = {
    "orientation": "h",
    "y": 1.0,
    "yanchor": "bottom",
    "x": 0,
    "xanchor": "left",
    "itemclick": False,
    "itemdoubleclick": False,
}


def safe(text: str) -> str:
    """Escape an outside string for plotly's texts."""
    return html.escape(str(text), quote=False).replace("$", "&#36;")


def built(
    traces: Iterable[Properties],
    height: int,
    *,
    margin: Mapping[str, object] | None = None,
    legend: Mapping[str, object] | None = None,
    **layout: object,
) -> go.Figure:
    """Build a figure from plain values at once, since plotly checks each later addition to a figure anew.

    Args:
        traces: of kind `scatter` where they do not say otherwise.
        height: in pixels.
        margin: what differs from our margins.
        legend: what differs from our legend, in which nobody switches a curve off by accident.
        layout: the rest, as plotly names it.
    """
    whole: Properties = {"height": height, "margin": {**MARGIN, **(margin or {})}, "legend": {**LEGEND, **(legend or {})}}
    whole |= {"hoverlabel": {"namelength": -1}, "dragmode": False} | layout
    return go.Figure([{"type": "scatter"} | dict(trace) for trace in traces], whole)


def marker(domain: str, colour: str, size: float, *, hollow: bool = False) -> Properties:
    """Return the look of a mark: its domain decides the shape, a white rim parts it from what lies under it; a hollow one is a rim alone.

    Args:
        domain: `real`, `synthetic` or empty.
        colour: of the loss.
        size: in pixels.
        hollow: draw the rim alone.
    """
    line = {"width": 2, "color": colour} if hollow else {"width": 1, "color": "white"}
    return {"symbol": MARKERS[domain] + ("-open" if hollow else ""), "size": size, "color": colour, "line": line}


def whiskers(values: Sequence[float], lows: Sequence[float], highs: Sequence[float], colour: str, *, main: bool = True) -> Properties:
    """Return the intervals of marks, in the unit of the axis; thin for what is not a main mark.

    Args:
        values: N values, in the unit of the axis.
        lows: lower ends of their intervals.
        highs: upper ends.
        colour: of the whiskers.
        main: draw them thick.
    """
    return {
        "type": "data",
        "symmetric": False,
        "array": [high - value for value, high in zip(values, highs, strict=True)],
        "arrayminus": [value - low for value, low in zip(values, lows, strict=True)],
        "color": colour,
        "thickness": 2 if main else 1,
        "width": 4 if main else 2,
    }

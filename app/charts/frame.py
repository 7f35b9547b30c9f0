"""What all charts share: size, margins, legend, and how numbers and outside strings are written."""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import plotly.graph_objects as go

from app.charts.palette import MARKERS

Figure = go.Figure


def safe(text: str) -> str:
    """Escape an outside string for plotly's texts."""
    return html.escape(str(text), quote=False).replace("$", "&#36;")


def built(traces: Iterable[Mapping[str, Any]], height: int, **layout: Any) -> go.Figure:
    """Build a figure from plain values at once, since plotly checks each later addition to a figure anew.

    Args:
        traces: of kind `scatter` where they do not say otherwise.
        height: in pixels.
        layout: the rest; `margin` and `legend` change ours in part. Nobody switches a curve off by accident in our legend.
    """
    margin = {"l": 8, "r": 16, "t": 36, "b": 44} | layout.pop("margin", {})
    legend = {"orientation": "h", "y": 1.0, "yanchor": "bottom", "x": 0, "xanchor": "left", "itemclick": False, "itemdoubleclick": False}
    legend |= layout.pop("legend", {})
    whole = {"height": height, "margin": margin, "legend": legend, "hoverlabel": {"namelength": -1}, "dragmode": False} | layout
    return go.Figure([{"type": "scatter"} | dict(trace) for trace in traces], whole)


def marker(domain: str, colour: str, size: float, *, hollow: bool = False) -> dict[str, Any]:
    """Give the look of a mark: its domain decides the shape, a white rim parts it from what lies under it; a hollow one is a rim alone."""
    line = {"width": 2, "color": colour} if hollow else {"width": 1, "color": "white"}
    return {"symbol": MARKERS[domain] + ("-open" if hollow else ""), "size": size, "color": colour, "line": line}


def whiskers(values: Sequence[float], lows: Sequence[float], highs: Sequence[float], colour: str, *, main: bool = True) -> dict[str, Any]:
    """Give the intervals of marks, in the unit of the axis; thin for what is not a main mark."""
    return {
        "type": "data",
        "symmetric": False,
        "array": [high - value for value, high in zip(values, highs, strict=True)],
        "arrayminus": [value - low for value, low in zip(values, lows, strict=True)],
        "color": colour,
        "thickness": 2 if main else 1,
        "width": 4 if main else 2,
    }

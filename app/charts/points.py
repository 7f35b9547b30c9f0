"""Very many points in a plane, drawn by the graphics card; each carries its row, so that a selection names images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go

from app.charts.frame import built, safe
from app.charts.palette import MARKERS

CATEGORIES = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#882255", "#44AA99", "#999933", "#332288")
"""Okabe-Ito, then four of Paul Tol's muted colours: apart for colour-blind readers."""

OTHER = "#8A8A8A"
SEQUENCE = "Cividis"

CHOICES = {"right": "#56B4E9", "wrong": "#D55E00", "not known": OTHER, "real": "#0072B2", "synthetic": "#E69F00"}
"""Names with a colour of their own."""


@dataclass(frozen=True, eq=False)
class Points:
    """Points of one kind.

    Args:
        x: (m,).
        y: (m,).
        rows: (m,) int, what a selection hands back.
        name: for legend and pointer, outside strings allowed.
        domain: decides the marker; empty for squares.
        colour: one colour for all, or (m,) numbers on the scale.
        size: in pixels.
        pointer: `(m,)` numbers shown under the pointer, or None for the numbers on the scale.
    """

    x: np.ndarray
    y: np.ndarray
    rows: np.ndarray
    name: str
    domain: str
    colour: str | np.ndarray
    size: float = 7.0
    pointer: np.ndarray | None = None


def category_colours(names: Sequence[str]) -> dict[str, str]:
    """Assign a colour to each of up to eleven names, grey to the others."""
    plain = iter(CATEGORIES)
    return {name: CHOICES.get(name) or next(plain, OTHER) for name in names}


def point_chart(
    points: Sequence[Points],
    bounds: tuple[tuple[float, float], tuple[float, float]],
    *,
    scale: str = "",
    limits: tuple[float, float] | None = None,
    height: int = 520,
) -> go.Figure:
    """Draw points without axes (places on a map have no unit), lasso ready.

    Args:
        points: kinds of points; those of one name share a legend entry.
        bounds: range of both axes.
        scale: title of the colour scale, empty for none.
        limits: ends of the colour scale.
        height: in pixels.
    """
    traces = []
    named: set[str] = set()
    for kind in points:
        marker: dict[str, object] = {"symbol": MARKERS[kind.domain], "size": kind.size, "opacity": 0.85}
        marker |= {"color": kind.colour} if isinstance(kind.colour, str) else {"color": kind.colour, "coloraxis": "coloraxis"}
        hover = f"{safe(kind.name)}{f', {kind.domain} image' if kind.domain and kind.domain not in kind.name else ''}"
        value = ": %{text:.3~g}" if kind.pointer is not None else "" if isinstance(kind.colour, str) else ": %{marker.color:.3~g}"
        traces.append(
            {
                "type": "scattergl",
                "x": kind.x,
                "y": kind.y,
                "mode": "markers",
                "name": safe(kind.name),
                "legendgroup": kind.name,
                "showlegend": kind.name not in named and isinstance(kind.colour, str),
                "marker": marker,
                "customdata": kind.rows,
                "text": kind.pointer,
                "hovertemplate": f"{hover}{value}<extra></extra>",
            }
        )
        named.add(kind.name)
    (left, right), (low, high) = bounds
    layout: dict[str, object] = {"xaxis": {"visible": False, "range": [left, right]}, "yaxis": {"visible": False, "range": [low, high]}}
    if scale:
        bar = {"orientation": "h", "y": -0.02, "yanchor": "top", "thickness": 12, "title": {"text": safe(scale), "side": "top"}}
        ends = {} if limits is None else {"cmin": limits[0], "cmax": limits[1]}
        layout["coloraxis"] = {"colorscale": SEQUENCE, "colorbar": bar, **ends}
    below, margin = {"y": -0.02, "yanchor": "top"}, {"l": 0, "r": 0, "t": 8, "b": 8}
    return built(traces, height, dragmode="lasso", uirevision="map", margin=margin, legend=below, **layout)

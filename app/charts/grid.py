"""The grid {trained on} x {tested on} of one loss."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import plotly.graph_objects as go

from app.charts.frame import built, safe
from app.charts.palette import TEACHER

PALE = 0.715
"""Up to here black can be read better on plotly's Blues, above it white: the contrast is 4.5 at least on both sides."""


def grid_chart(cells: Mapping[tuple[str, str], tuple[float, str]], trained: Sequence[str]) -> go.Figure:
    """Draw the grid {trained on} x {tested on} of one loss; a darker cell is a higher accuracy.

    Args:
        cells: (trained on, tested on) -> (accuracy in [0, 1], its text); absent cells stay empty.
        trained: rows, top first.
    """
    tested = ("real", "synthetic")
    values = [[cells.get((row, column), (np.nan, ""))[0] for column in tested] for row in trained]
    grid = {
        "type": "heatmap",
        "z": values,
        "x": list(tested),
        "y": [safe(row) for row in trained],
        "zmin": 0,
        "zmax": 1,
        "colorscale": "Blues",
        "showscale": False,
        "xgap": 4,
        "ygap": 4,
        "hoverinfo": "skip",
    }
    notes = []
    for row in trained:
        for column in tested:
            value, text = cells.get((row, column), (0.0, "not measured"))
            shade = ("white" if value > PALE else "black") if (row, column) in cells else TEACHER
            notes.append({"x": column, "y": safe(row), "text": text, "showarrow": False, "font": {"color": shade, "size": 14}})
    across = {"title": "tested on", "side": "top", "fixedrange": True, "showgrid": False}
    up = {"title": "trained on", "autorange": "reversed", "fixedrange": True, "showgrid": False}
    margin = {"l": 8, "r": 8, "t": 64, "b": 8}
    return built([grid], 96 + 78 * len(trained), annotations=notes, xaxis=across, yaxis=up, margin=margin)

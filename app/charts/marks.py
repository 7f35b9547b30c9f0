"""Many compact rows of marks without intervals of their own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import plotly.graph_objects as go

from app.charts.frame import built, marker, safe


@dataclass(frozen=True)
class Mark:
    """A value on a compact row, without an interval of its own (the caption gives the precision).

    Args:
        row: the row's label.
        value: fraction of one.
        colour: of its loss, or `TEACHER`.
        domain: decides the marker.
        name: for the legend and the pointer.
    """

    row: str
    value: float
    colour: str
    domain: str
    name: str


def mark_chart(marks: Sequence[Mark], axis: str) -> go.Figure:
    """Draw many rows compactly, the first on top, one legend entry a name; values in percent.

    Args:
        marks: in the order of rows, top first.
        axis: title of the axis.
    """
    rows = list(dict.fromkeys(mark.row for mark in marks))
    traces = []
    for name in dict.fromkeys(mark.name for mark in marks):
        of_name = [mark for mark in marks if mark.name == name]
        traces.append(
            {
                "x": [100 * mark.value for mark in of_name],
                "y": [-rows.index(mark.row) for mark in of_name],
                "mode": "markers",
                "name": safe(name),
                "marker": marker(of_name[0].domain, of_name[0].colour, 12),
                "customdata": [safe(mark.row) for mark in of_name],
                "hovertemplate": f"%{{customdata}}, {safe(name)}: %{{x:.1f}} %<extra></extra>",
            }
        )
    up = {"tickvals": [-index for index in range(len(rows))], "ticktext": [safe(row[:28]) for row in rows], "fixedrange": True}
    up["range"] = [-len(rows) + 0.4, 0.6]
    across = {"title": axis, "range": [-3, 103], "ticksuffix": " %", "fixedrange": True, "zeroline": False}
    return built(traces, 110 + 30 * len(rows) + 22 * len(traces), xaxis=across, yaxis=up, legend={"y": 1.02})

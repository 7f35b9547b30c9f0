"""Curves over epochs or depth, with bands where intervals are known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import plotly.graph_objects as go

from app.charts.frame import Properties, built, safe
from app.charts.palette import MARKERS


@dataclass(frozen=True)
class Line:
    """A curve, with a band where the interval is known.

    Args:
        name: for the legend and the pointer; curves of one name share an entry.
        x: (E,) epochs.
        y: (E,) values.
        colour: of its loss, or `TEACHER`.
        domain: `real` (drawn through, circles), `synthetic` (dashed, diamonds), or empty.
        low: (E,) lower ends, or None.
        high: (E,) upper ends, or None.
        dotted: drawn in dots, to tell two curves of one colour apart.
    """

    name: str
    x: Sequence[float]
    y: Sequence[float]
    colour: str
    domain: str = ""
    low: Sequence[float] | None = None
    high: Sequence[float] | None = None
    dotted: bool = False


def line_chart(
    lines: Sequence[Line], axis: str, *, percent: bool = False, across: str = "epoch", ticks: Sequence[str] = (), step: float = 0
) -> go.Figure:
    """Draw curves over epochs (or depth, or steps with names), real drawn through with circles, synthetic dashed with diamonds.

    Args:
        lines: the curves.
        axis: title of the vertical axis.
        percent: show fractions of one as percent.
        across: title of the horizontal axis.
        ticks: names of x = 0, 1, ...; numbers where empty.
        step: distance of the ticks; of whole numbers, eight at most, where 0.
    """
    scale = 100 if percent else 1
    traces: list[Properties] = []
    named: set[str] = set()
    for line in lines:
        if line.low is not None and line.high is not None:
            traces.append(
                {
                    "x": [*line.x, *reversed(list(line.x))],
                    "y": [scale * end for end in [*line.high, *reversed(list(line.low))]],
                    "fill": "toself",
                    "fillcolor": line.colour,
                    "opacity": 0.15,
                    "line": {"width": 0},
                    "mode": "lines",
                    "hoverinfo": "skip",
                    "showlegend": False,
                }
            )
        dash = "dot" if line.dotted else "dash" if line.domain == "synthetic" else "solid"
        traces.append(
            {
                "x": list(line.x),
                "y": [scale * value for value in line.y],
                "mode": "lines+markers",
                "name": safe(line.name),
                "legendgroup": line.name,
                "showlegend": line.name not in named,
                "line": {"color": line.colour, "width": 2, "dash": dash},
                "marker": {"symbol": MARKERS[line.domain], "size": 7},
                "hovertemplate": f"{safe(line.name)}, {across} %{{x}}: %{{y:.{1 if percent else 3}f}}<extra></extra>",
            }
        )
        named.add(line.name)
    longest = max((max(line.x, default=0) for line in lines), default=0)
    horizontal = {"title": across, "fixedrange": True, "rangemode": "tozero", "dtick": step or max(1, -(-int(longest) // 8))}
    if ticks:
        horizontal |= {"tickvals": list(range(len(ticks))), "ticktext": [safe(tick) for tick in ticks], "range": [-0.2, len(ticks) - 0.8]}
    vertical, below = {"title": axis, "fixedrange": True}, {"y": -0.25, "yanchor": "top"}
    return built(traces, 320 + 29 * len(named), xaxis=horizontal, yaxis=vertical, legend=below, margin={"t": 12})

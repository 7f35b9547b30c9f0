"""What all charts share: size, margins, legend, and how numbers and outside strings are written."""

from __future__ import annotations

import html

import plotly.graph_objects as go

Figure = go.Figure


def safe(text: str) -> str:
    """Escape an outside string for plotly's texts."""
    return html.escape(str(text), quote=False).replace("$", "&#36;")


def finish(figure: go.Figure, height: int, **layout: object) -> go.Figure:
    """Give a figure its height in pixels, margins and a legend that nobody switches off by accident."""
    figure.update_layout(
        height=height,
        margin={"l": 8, "r": 16, "t": 36, "b": 44},
        legend={
            "orientation": "h",
            "y": 1.0,
            "yanchor": "bottom",
            "x": 0,
            "xanchor": "left",
            "title": None,
            "itemclick": False,
            "itemdoubleclick": False,
        },
        hoverlabel={"namelength": -1},
        dragmode=False,
        **layout,
    )
    return figure


def written(value: float, percent: bool) -> str:
    """Write a number as in the texts: percent with one digit, others with two, a true minus, no minus zero."""
    text = f"{100 * value:.1f}" if percent else f"{value:.2f}"
    return text.removeprefix("-") if not float(text) else text.replace("-", "−")

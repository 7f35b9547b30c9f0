"""A matrix of numbers, one cell a row and column, that can be clicked; colour says sign and size, the text says it too."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import plotly.graph_objects as go

from app.charts.frame import Properties, built, safe
from app.charts.palette import GUIDE, TEACHER

ABOVE, BELOW = (213, 94, 0), (0, 114, 178)
"""Okabe-Ito's vermilion and blue as red, green, blue: numbers above and below nothing."""

PAPER, INK = 247, "#1a1a1a"
"""Grey that colours are mixed with, and the text on it: cells are opaque, so that they read alike on a light and on a dark page."""

DEEPEST = 0.6
"""Share of colour in the strongest cell; the ink keeps a contrast above 4.5 on it."""

ROW, HEAD = 62, 74


@dataclass(frozen=True)
class Cell:
    """One number of a matrix.

    Args:
        row: the row's label.
        column: the column's label.
        value: decides colour and depth.
        text: what stands in the cell; ours, never from outside.
        strong: framed, for what stands out.
        hover: one line for the pointer, outside strings allowed.
    """

    row: str
    column: str
    value: float
    text: str
    strong: bool = False
    hover: str = ""


def matrix_chart(
    cells: Sequence[Cell], rows: Sequence[str], columns: Sequence[str], *, limit: float, chosen: tuple[str, str] | None = None
) -> go.Figure:
    """Draw a matrix with each row's label above its cells; readable at phone width.

    Args:
        cells: at most one a row and column; the others stay empty.
        rows: labels, top first.
        columns: labels, left first.
        limit: size of a value that is drawn deepest, positive.
        chosen: row and column of the cell that is open.

    Returns:
        A figure whose points carry `[row label, column label]` as `customdata`.
    """
    known = [cell for cell in cells if cell.row in rows and cell.column in columns]
    places = [(list(columns).index(cell.column), -list(rows).index(cell.row)) for cell in known]
    boxes: list[Properties] = []
    notes: list[Properties] = []
    for cell, (x, y) in zip(known, places, strict=True):
        opened = chosen == (cell.row, cell.column)
        line = {"color": TEACHER if cell.strong or opened else GUIDE, "width": 3 if opened else 2 if cell.strong else 0.5}
        box = {"type": "rect", "x0": x - 0.47, "x1": x + 0.47, "y0": y - 0.36, "y1": y + 0.14, "layer": "below"}
        boxes.append(box | {"fillcolor": shade(cell.value, limit), "line": line})
    left = {"x": 0, "xref": "paper", "showarrow": False, "xanchor": "left", "align": "left", "font": {"size": 13}}
    notes += [left | {"y": -index + 0.3, "text": safe(row)} for index, row in enumerate(rows)]
    top = {"y": 0.5, "showarrow": False, "yanchor": "bottom", "align": "center", "font": {"size": 11}}
    notes += [top | {"x": index, "text": wrapped(column)} for index, column in enumerate(columns)]
    pressed = {
        "x": [x for x, _ in places],
        "y": [y - 0.11 for _, y in places],
        "mode": "markers+text",
        "marker": {"symbol": "square", "size": 30, "color": TEACHER, "opacity": 0.01},
        "text": [f"<b>{cell.text}</b>" if cell.strong else cell.text for cell in known],
        "textposition": "middle center",
        "textfont": {"size": 12, "color": INK},
        "selected": {"marker": {"opacity": 0.01}, "textfont": {"color": INK}},
        "unselected": {"marker": {"opacity": 0.01}, "textfont": {"color": INK}},
        "customdata": [[cell.row, cell.column] for cell in known],
        "hovertext": [safe(cell.hover or cell.row) for cell in known],
        "hovertemplate": "%{hovertext}<extra></extra>",
        "showlegend": False,
    }
    across = {"visible": False, "range": [-0.5, len(columns) - 0.5], "fixedrange": True}
    up = {"visible": False, "range": [-len(rows) + 0.5, 0.5], "fixedrange": True}
    margin = {"l": 2, "r": 2, "t": HEAD, "b": 2}
    return built([pressed], HEAD + ROW * len(rows), shapes=boxes, annotations=notes, xaxis=across, yaxis=up, margin=margin)


def shade(value: float, limit: float) -> str:
    """Return the colour of a cell: paper for nothing, mixed with vermilion above and blue below.

    Args:
        value: of the cell.
        limit: size of a value that is drawn deepest, above 0.
    """
    depth = DEEPEST * min(abs(value) / limit, 1.0)
    mixed = [round(PAPER + depth * (part - PAPER)) for part in (ABOVE if value >= 0 else BELOW)]
    return f"rgb({mixed[0]},{mixed[1]},{mixed[2]})"


def wrapped(text: str, width: int = 13) -> str:
    """Break an outside string into lines of about `width` letters, escaped, at most four.

    Args:
        text: our own words.
        width: letters a line.
    """
    lines = [""]
    for word in text.split():
        if lines[-1] and len(lines[-1]) + len(word) + 1 > width:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return "<br>".join(safe(line[: width + 4]) for line in lines[:4])

"""The grid {trained on} x {tested on} of one loss."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import plotly.graph_objects as go

from app.charts.frame import finish, safe
from app.charts.palette import TEACHER


def grid_chart(cells: Mapping[tuple[str, str], tuple[float, str]], trained: Sequence[str]) -> go.Figure:
    """Draw the grid {trained on} x {tested on} of one loss; a darker cell is a higher accuracy.

    Args:
        cells: (trained on, tested on) -> (accuracy in [0, 1], its text); absent cells stay empty.
        trained: rows, top first.
    """
    tested = ("real", "synthetic")
    values = [[cells.get((row, column), (np.nan, ""))[0] for column in tested] for row in trained]
    figure = go.Figure(
        go.Heatmap(
            z=values,
            x=list(tested),
            y=[safe(row) for row in trained],
            zmin=0,
            zmax=1,
            colorscale="Blues",
            showscale=False,
            xgap=4,
            ygap=4,
            hoverinfo="skip",
        )
    )
    for row in trained:
        for column in tested:
            value, text = cells.get((row, column), (0.0, "not measured"))
            shade = "white" if value > 0.5 else "#1a1a1a"
            known = (row, column) in cells
            figure.add_annotation(
                x=column, y=safe(row), text=text, showarrow=False, font={"color": shade if known else TEACHER, "size": 14}
            )
    figure.update_xaxes(title="tested on", side="top", fixedrange=True, showgrid=False)
    figure.update_yaxes(title="trained on", autorange="reversed", fixedrange=True, showgrid=False)
    figure = finish(figure, 96 + 78 * len(trained))
    return figure.update_layout(margin={"l": 8, "r": 8, "t": 64, "b": 8})

"""How a score spreads over real and over synthetic images."""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go

from app.charts.frame import finish
from app.charts.palette import TEACHER


def score_histogram(real: np.ndarray, synthetic: np.ndarray, colour: str) -> go.Figure:
    """Draw how a held-out domain score spreads over real and over synthetic images; overlap means: hard to tell apart."""
    edges = np.histogram_bin_edges(np.concatenate([real, synthetic]), bins=40)
    middle = (edges[:-1] + edges[1:]) / 2
    figure = go.Figure()
    for name, values, dash, shade in (("real images", real, "solid", TEACHER), ("synthetic images", synthetic, "dash", colour)):
        share = np.histogram(values, edges)[0] / max(len(values), 1)
        figure.add_scatter(
            x=middle,
            y=100 * share,
            mode="lines",
            line={"shape": "hvh", "color": shade, "width": 2, "dash": dash},
            fill="tozeroy",
            name=name,
        )
    figure.update_xaxes(title="how synthetic the image looks to this student", fixedrange=True)
    figure.update_yaxes(title="share of images (%)", fixedrange=True)
    figure = finish(figure, 320)
    return figure.update_layout(legend={"y": 1.0, "yanchor": "bottom"})

"""How a score spreads over real and over synthetic images."""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go

from app.charts.frame import built
from app.charts.palette import TEACHER


def score_histogram(real: np.ndarray, synthetic: np.ndarray, colour: str, axis: str) -> go.Figure:
    """Draw how a number of each image spreads over real (grey) and over synthetic images (dashed).

    Args:
        real: numbers of the real images.
        synthetic: numbers of the synthetic images.
        colour: of the student.
        axis: what the number is.
    """
    edges = np.histogram_bin_edges(np.concatenate([real, synthetic]), bins=40)
    middle = (edges[:-1] + edges[1:]) / 2
    traces = [
        {
            "x": middle,
            "y": 100 * np.histogram(values, edges)[0] / max(len(values), 1),
            "mode": "lines",
            "line": {"shape": "hvh", "color": shade, "width": 2, "dash": dash},
            "fill": "tozeroy",
            "name": name,
        }
        for name, values, dash, shade in (("real images", real, "solid", TEACHER), ("synthetic images", synthetic, "dash", colour))
    ]
    return built(traces, 320, xaxis={"title": axis, "fixedrange": True}, yaxis={"title": "share of images (%)", "fixedrange": True})

"""Move the points of the map that is already on the page: only their places are sent, and zoom and selection stay as they are.

Streamlit sends a chart as a whole and puts it up anew when anything in it changes. So what changes on a move goes beside it, through a component
without a face, to the plotly that drew the chart.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence

import numpy as np
import streamlit as st

CHART = "map-chart"
"""Key of the chart whose points are moved."""

PATIENCE = 20
"""Seconds in which the chart must stand; then the server is told that it has to draw the chart anew."""

_SCRIPT = """
export default function ({ data, setStateValue }) {
  let gone = false;
  const end = performance.now() + 1000 * data.patience;
  const move = () => {
    if (gone || !data.places.length) return;
    const chart = document.querySelector(`.st-key-${data.chart} .js-plotly-plot`);
    if (window.Plotly && chart && chart.calcdata) {
      window.Plotly.restyle(chart, { x: data.places.map((place) => place.x), y: data.places.map((place) => place.y) });
    } else if (performance.now() < end) setTimeout(move, 50);
    else setStateValue("stuck", true);
  };
  move();
  return () => { gone = true; };
}
"""

_component = st.components.v2.component("synthgap-map-mover", js=_SCRIPT)


def move_points(places: Sequence[tuple[np.ndarray, np.ndarray]]) -> bool:
    """Bring every trace's points to other places.

    Args:
        places: x and y of each trace, in the chart's order; empty leaves the points where the chart has them.

    Returns:
        Whether the browser could do that, as far as it has said; if not, draw the chart anew.
    """
    data = {"chart": CHART, "patience": PATIENCE, "places": [{"x": _packed(x), "y": _packed(y)} for x, y in places]}
    return not _component(key="map-mover", data=data, on_stuck_change=lambda: None).stuck


def _packed(values: np.ndarray) -> dict[str, str]:
    """Write numbers as plotly's typed arrays: their kind, and their little-endian bytes in base64."""
    plain = values.astype(values.dtype.newbyteorder("<"))
    return {"dtype": plain.dtype.str[1:], "bdata": base64.b64encode(plain.tobytes()).decode()}

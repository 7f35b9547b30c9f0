"""Every chart of the app, one module a kind; the only importer of plotly.

One colour a loss (Okabe-Ito), one marker a domain (real: circle, synthetic: diamond), grey for the teacher, on every page.
Outside strings are escaped, since plotly reads a subset of HTML.
"""

from app.charts.bars import Bar, bar_chart
from app.charts.dots import Dot, dot_chart
from app.charts.frame import Figure, safe
from app.charts.grid import grid_chart
from app.charts.histogram import score_histogram
from app.charts.lines import Line, line_chart
from app.charts.marks import Mark, mark_chart
from app.charts.matrix import Cell, matrix_chart
from app.charts.palette import FIXED, GUIDE, MARKERS, NEUTRAL, OKABE_ITO, TEACHER, colours
from app.charts.points import Points, category_colours, point_chart
from app.charts.scatter import Point, scatter_chart

__all__ = [
    "FIXED",
    "GUIDE",
    "MARKERS",
    "NEUTRAL",
    "OKABE_ITO",
    "TEACHER",
    "Bar",
    "Cell",
    "Dot",
    "Figure",
    "Line",
    "Mark",
    "Point",
    "bar_chart",
    "Points",
    "category_colours",
    "colours",
    "dot_chart",
    "grid_chart",
    "line_chart",
    "mark_chart",
    "matrix_chart",
    "point_chart",
    "safe",
    "scatter_chart",
    "score_histogram",
]

"""Draw every chart of the app; the only importer of plotly.

One colour a loss (Okabe-Ito), one marker a domain (real: circle, synthetic: diamond), grey for the teacher, on every page.
Outside strings are escaped, since plotly reads a subset of HTML.
"""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go

Figure = go.Figure

OKABE_ITO = ("#0072B2", "#E69F00", "#CC79A7", "#009E73", "#D55E00", "#F0E442")
NEUTRAL = "#56B4E9"
"""Okabe-Ito's sky blue, kept for numbers that belong to no single student."""

FIXED = {
    "l2": "#009E73",
    "squared_l2": "#009E73",
    "image_text": "#D55E00",
    "image_text_contrastive": "#D55E00",
    "image_image": "#0072B2",
    "image_image_contrastive": "#0072B2",
}
"""Colours of the losses as the registry names them and as our configs do."""
TEACHER = "#8A8A8A"
GUIDE = "rgba(128,128,128,0.45)"
MARKERS = {"real": "circle", "synthetic": "diamond", "": "square"}
FILLS = {"real": 1.0, "synthetic": 0.55}
ROW_PIXELS = 88
LEAST_SPAN = 0.1
"""Least range of an axis, in the number's own unit: 10 points, or 0.1 of AUC or cosine."""


def colours(keys: Sequence[str]) -> dict[str, str]:
    """Give every loss (or student) its colour; known losses keep theirs in every run.

    Args:
        keys: distinct, in the report's order; beyond six, colours repeat.
    """
    made: dict[str, str] = {}
    for key in keys:
        if key in FIXED and FIXED[key] not in made.values():
            made[key] = FIXED[key]
    kept = {colour for name, colour in FIXED.items() if name in keys}
    free = [colour for colour in OKABE_ITO if colour not in kept] or list(OKABE_ITO)
    rest = [key for key in keys if key not in made]
    return made | {key: free[index % len(free)] for index, key in enumerate(rest)}


@dataclass(frozen=True)
class Dot:
    """A mark on a row: a value with its interval.

    Args:
        row: the row's label.
        value: where it lies on the axis.
        low: lower end of the interval, at most `value`.
        high: upper end, at least `value`.
        colour: of its loss, or `TEACHER`.
        domain: `real`, `synthetic`, or empty where no domain is meant; decides the marker.
        hover: one line for the pointer, outside strings allowed.
        main: a main mark carries its number in text; the others (single seeds) are small.
    """

    row: str
    value: float
    low: float
    high: float
    colour: str
    domain: str = ""
    hover: str = ""
    main: bool = True


def safe(text: str) -> str:
    """Escape an outside string for plotly's texts."""
    return html.escape(str(text), quote=False).replace("$", "&#36;")


def _finish(figure: go.Figure, height: int, **layout: object) -> go.Figure:
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


def _written(value: float, percent: bool) -> str:
    text = f"{100 * value:.1f}" if percent else f"{value:.2f}"
    return text.removeprefix("-") if not float(text) else text.replace("-", "−")


def dot_chart(
    dots: Sequence[Dot],
    axis: str,
    *,
    percent: bool = False,
    guide: float | None = None,
    guide_label: str = "",
    bounds: tuple[float, float] | None = None,
) -> go.Figure:
    """Draw rows of marks with whiskers, the row's label above its line; readable at phone width.

    Args:
        dots: in the order of rows, top first.
        axis: title of the horizontal axis.
        percent: show fractions of one as percent.
        guide: a vertical line, such as chance or zero.
        guide_label: what the line means.
        bounds: range of the axis; from the data where None.
    """
    rows = list(dict.fromkeys(dot.row for dot in dots))
    scale = 100 if percent else 1
    figure = go.Figure()
    domains = [domain for domain in ("real", "synthetic", "") if any(dot.domain == domain for dot in dots)]
    for row in rows:
        means = {dot.domain: dot for dot in dots if dot.row == row and dot.main and dot.domain}
        if len(means) == 2:
            ends = [scale * means[domain].value for domain in ("real", "synthetic")]
            line = {"color": means["real"].colour, "width": 3}
            figure.add_scatter(x=ends, y=[-rows.index(row)] * 2, mode="lines", line=line, opacity=0.35, showlegend=False, hoverinfo="skip")
    for dot in sorted(dots, key=lambda dot: dot.main):
        _add_dot(figure, dot, _height(dot, dots, rows, domains), percent, scale)
    if len(domains) > 1:
        for domain in filter(None, domains):
            marker = {"symbol": MARKERS[domain], "size": 11, "color": TEACHER}
            figure.add_scatter(x=[None], y=[None], mode="markers", marker=marker, name=f"{domain} images")
    for index, row in enumerate(rows):
        figure.add_hline(y=-index, line={"color": GUIDE, "width": 1}, layer="below")
        figure.add_annotation(
            x=0, xref="paper", y=-index, yshift=38, text=safe(row), showarrow=False, xanchor="left", align="left", font={"size": 13}
        )
    if guide is not None:
        _add_guide(figure, scale * guide, guide_label, len(rows))
    figure.update_yaxes(visible=False, range=[-len(rows) + 0.45, 0.6], fixedrange=True)
    figure.update_xaxes(
        title=axis,
        fixedrange=True,
        range=_range(dots, guide, bounds, scale),
        ticksuffix=" %" if percent and "point" not in axis else "",
        zeroline=False,
    )
    return _finish(figure, 92 + ROW_PIXELS * len(rows))


def _add_guide(figure: go.Figure, x: float, label: str, rows: int) -> None:
    """Draw a vertical line in pieces, so that it does not strike through the rows' labels."""
    line = {"color": TEACHER, "width": 1.5, "dash": "dot"}
    for index in range(rows):
        figure.add_shape(type="line", x0=x, x1=x, y0=-index - 0.42, y1=-index + 0.1, line=line)
    place = {"x": x, "y": -rows + 1, "yshift": -34, "xanchor": "left", "xshift": 4}
    figure.add_annotation(text=safe(label), showarrow=False, font={"size": 11, "color": TEACHER}, **place)


def _range(dots: Sequence[Dot], guide: float | None, bounds: tuple[float, float] | None, scale: float) -> list[float]:
    ends = [end for dot in dots for end in (dot.low, dot.high)] + ([] if guide is None else [guide])
    low, high = bounds if bounds is not None else (min(ends), max(ends))
    short = max(LEAST_SPAN - (high - low), 0.0) / 2  # a difference of nothing must not fill the chart
    low, high = low - short, high + short
    pad = 0.06 * (high - low)
    return [scale * (low - pad), scale * (high + pad)]


def _height(dot: Dot, dots: Sequence[Dot], rows: list[str], domains: list[str]) -> float:
    """Place a mark a little above (real) or below (synthetic) its row's line, and seeds beside each other."""
    base = -float(rows.index(dot.row))
    if len(domains) > 1:
        base += 0.07 if dot.domain == "real" else -0.07
    if dot.main:
        return base
    seeds = [other for other in dots if other.row == dot.row and other.domain == dot.domain and not other.main]
    return base + 0.05 * (seeds.index(dot) - (len(seeds) - 1) / 2)


def _add_dot(figure: go.Figure, dot: Dot, y: float, percent: bool, scale: float) -> None:
    interval = f"{_written(dot.value, percent)} ({_written(dot.low, percent)} to {_written(dot.high, percent)})"
    figure.add_scatter(
        x=[scale * dot.value],
        y=[y],
        mode="markers+text" if dot.main else "markers",
        marker={"symbol": MARKERS[dot.domain], "size": 13 if dot.main else 6, "color": dot.colour, "line": {"width": 1, "color": "white"}},
        opacity=1.0 if dot.main else 0.55,
        error_x={
            "type": "data",
            "symmetric": False,
            "array": [scale * (dot.high - dot.value)],
            "arrayminus": [scale * (dot.value - dot.low)],
            "color": dot.colour,
            "thickness": 2 if dot.main else 1,
            "width": 4 if dot.main else 2,
        },
        text=[_written(dot.value, percent)] if dot.main else None,
        textposition="bottom center" if dot.domain == "synthetic" or (dot.colour == TEACHER and not dot.domain) else "top center",
        textfont={"size": 12},
        hovertemplate=f"{safe(dot.hover or dot.row)}: {interval}<extra></extra>",
        showlegend=False,
    )


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
    """Draw many rows compactly, the first on top, one legend entry a name; values in percent."""
    rows = list(dict.fromkeys(mark.row for mark in marks))
    figure = go.Figure()
    for name in dict.fromkeys(mark.name for mark in marks):
        own = [mark for mark in marks if mark.name == name]
        figure.add_scatter(
            x=[100 * mark.value for mark in own],
            y=[-rows.index(mark.row) for mark in own],
            mode="markers",
            name=safe(name),
            marker={"symbol": MARKERS[own[0].domain], "size": 12, "color": own[0].colour, "line": {"width": 1, "color": "white"}},
            customdata=[safe(mark.row) for mark in own],
            hovertemplate=f"%{{customdata}}, {safe(name)}: %{{x:.1f}} %<extra></extra>",
        )
    figure.update_yaxes(
        tickvals=[-index for index in range(len(rows))],
        ticktext=[safe(row[:28]) for row in rows],
        range=[-len(rows) + 0.4, 0.6],
        fixedrange=True,
    )
    figure.update_xaxes(title=axis, range=[-3, 103], ticksuffix=" %", fixedrange=True, zeroline=False)
    figure = _finish(figure, 110 + 30 * len(rows) + 22 * len({mark.name for mark in marks}))
    return figure.update_layout(legend={"y": 1.02, "yanchor": "bottom"})


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
    figure = _finish(figure, 96 + 78 * len(trained))
    return figure.update_layout(margin={"l": 8, "r": 8, "t": 64, "b": 8})


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
    """

    name: str
    x: Sequence[float]
    y: Sequence[float]
    colour: str
    domain: str = ""
    low: Sequence[float] | None = None
    high: Sequence[float] | None = None


def line_chart(lines: Sequence[Line], axis: str, *, percent: bool = False, across: str = "epoch") -> go.Figure:
    """Draw curves over epochs, real drawn through with circles, synthetic dashed with diamonds."""
    scale = 100 if percent else 1
    figure = go.Figure()
    named: set[str] = set()
    for line in lines:
        if line.low is not None and line.high is not None:
            band_x = [*line.x, *reversed(list(line.x))]
            band_y = [scale * end for end in [*line.high, *reversed(list(line.low))]]
            figure.add_scatter(
                x=band_x,
                y=band_y,
                fill="toself",
                fillcolor=line.colour,
                opacity=0.15,
                line={"width": 0},
                mode="lines",
                hoverinfo="skip",
                showlegend=False,
            )
        figure.add_scatter(
            x=list(line.x),
            y=[scale * value for value in line.y],
            mode="lines+markers",
            name=safe(line.name),
            legendgroup=line.name,
            showlegend=line.name not in named,
            line={"color": line.colour, "width": 2, "dash": "dash" if line.domain == "synthetic" else "solid"},
            marker={"symbol": MARKERS[line.domain], "size": 7},
            hovertemplate=f"{safe(line.name)}, {across} %{{x}}: %{{y:.{1 if percent else 3}f}}<extra></extra>",
        )
        named.add(line.name)
    longest = max((max(line.x, default=0) for line in lines), default=0)
    figure.update_xaxes(title=across, fixedrange=True, rangemode="tozero", dtick=max(1, -(-int(longest) // 8)))
    figure.update_yaxes(title=axis, fixedrange=True)
    figure = _finish(figure, 320 + 29 * len(named))
    return figure.update_layout(legend={"y": -0.25, "yanchor": "top"}, margin={"t": 12})


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
    figure = _finish(figure, 320)
    return figure.update_layout(legend={"y": 1.0, "yanchor": "bottom"})

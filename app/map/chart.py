"""From a run's map and what is known of its images to a chart: points, or squares where there are too many."""

from __future__ import annotations

import numpy as np

from app import charts
from app.map.data import CELLS, MOST_POINTS, Column, RunMap, cells_of

STEPS = 65_535
AXES = ((0.0, float(STEPS)), (0.0, float(STEPS)))

MOST_NAMES = 11
"""Classes with a colour of their own; the rarer ones share grey."""


def map_figure(data: RunMap, number: int, column: Column, *, most: int = MOST_POINTS) -> tuple[charts.Figure, np.ndarray | None]:
    """Draw one map, coloured by one column.

    Args:
        data: the run's map.
        number: which of its maps.
        column: what colours the points.
        most: images drawn one by one; more are drawn as squares.

    Returns:
        The figure, the same for the same input; and for squares the (n,) square of each image, else None.
    """
    if len(data) > most:
        return _squares(data, number, column)
    size = 8.0 if len(data) <= 2000 else 5.0 if len(data) <= 20_000 else 3.0
    across, up = steps_of(data, number)
    points = []
    if column.is_text:
        names = [name for name, _, _ in _parts(data, column)]
        colours = charts.category_colours([name for name in dict.fromkeys(names) if name != "other"]) | {"other": charts.TEACHER}
        for name, domain, rows in _parts(data, column):
            points.append(charts.Points(across[rows], up[rows], rows, name, domain, colours[name], size))
        return charts.point_chart(points, AXES), None
    values = column.values.astype(np.float32)
    for name, domain, rows in _parts(data, column):
        colour = values[rows] if domain else charts.TEACHER
        points.append(charts.Points(across[rows], up[rows], rows, name, domain, colour, size))
    return charts.point_chart(points, AXES, scale=column.label, limits=_limits(values)), None


def moved_places(data: RunMap, number: int, column: Column) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return the places on another map of the points that `map_figure` draws one by one: x and y of each of its traces, in its order.

    Args:
        data: the run's map.
        number: which of its maps.
        column: what colours the points.
    """
    across, up = steps_of(data, number)
    return [(across[rows], up[rows]) for _, _, rows in _parts(data, column)]


def steps_of(data: RunMap, number: int) -> tuple[np.ndarray, np.ndarray]:
    """Return a map's places in steps over the bounds of all maps: two (n,) uint16, or float32 with NaN where images have no place.

    A place has no unit, and 65,536 steps are more than a hundred a pixel, so half the bytes of float32 lose nothing that can be seen.

    Args:
        data: the run's map.
        number: which of its maps.
    """
    steps_by_axis = []
    known = np.isfinite(data.places[number]).all()
    for axis, (low, high) in enumerate(data.bounds):
        steps = (data.places[number][:, axis] - low) / (high - low) * STEPS
        steps_by_axis.append(np.round(steps).astype(np.uint16) if known else steps.astype(np.float32))
    return steps_by_axis[0], steps_by_axis[1]


def _parts(data: RunMap, column: Column) -> list[tuple[str, str, np.ndarray]]:
    """Split the images into traces: name, domain (empty where a value is not known), and rows (m,) int32; the same for every map."""
    if column.is_text:
        groups = _groups(column)
    else:
        known = np.isfinite(column.values.astype(float))
        groups = {column.label: known} | ({} if known.all() else {"not known": ~known})
    parts = []
    for name, members in groups.items():
        for domain in ("",) if not column.is_text and name == "not known" else ("real", "synthetic"):
            rows = np.flatnonzero(members & ((data.domain == domain) | (not domain))).astype(np.int32)
            if len(rows):
                parts.append((name, domain, rows))
    return parts


def _limits(values: np.ndarray) -> tuple[float, float] | None:
    """Cut a hundredth at both ends, so that one far value does not take all colours."""
    known = values[np.isfinite(values)]
    return (float(np.quantile(known, 0.01)), float(np.quantile(known, 0.99))) if len(known) else None


def _groups(column: Column) -> dict[str, np.ndarray]:
    """Split by name, the commonest eleven in the legend's order, all others together."""
    names, inverse, counts = np.unique(column.values.astype(str), return_inverse=True, return_counts=True)
    common = set(names[np.argsort(-counts, kind="stable")[:MOST_NAMES]].tolist())
    place = {name: row for row, name in enumerate(names.tolist())}
    ordered = [name for name in column.order if name in common] + sorted(common - set(column.order))
    groups = {name: inverse == place[name] for name in ordered}
    rest = ~np.any(list(groups.values()), axis=0)
    return groups | ({"other": rest} if rest.any() else {})


def _squares(data: RunMap, number: int, column: Column) -> tuple[charts.Figure, np.ndarray]:
    """Draw one square for all images at a place: their number, or the mean of a number, or the share of the second of two names."""
    cells = cells_of(data.places[number], data.bounds)
    counts = np.bincount(cells[cells >= 0], minlength=CELLS * CELLS)
    full = np.flatnonzero(counts)
    (left, right), (low, high) = data.bounds
    x = left + (full % CELLS + 0.5) / CELLS * (right - left)
    y = low + (full // CELLS + 0.5) / CELLS * (high - low)
    scale, values = "images (a step is ten times as many)", np.log10(counts[full])
    weights = column.values if not column.is_text else None
    if column.is_text and len(column.order) in (2, 3) and column.order[:2] in (("right", "wrong"), ("real", "synthetic")):
        scale, weights = f"share {column.order[1]}", (column.values == column.order[1]).astype(float)
    elif not column.is_text:
        scale = f"mean: {column.label}"
    if weights is not None:
        known = (cells >= 0) & np.isfinite(weights.astype(float))
        total = np.bincount(cells[known], weights=weights[known].astype(float), minlength=CELLS * CELLS)
        values = total[full] / np.maximum(np.bincount(cells[known], minlength=CELLS * CELLS)[full], 1)
    kind = charts.Points(
        x.astype(np.float32), y.astype(np.float32), full.astype(np.int32), scale, "", values.astype(np.float32), 6.0, counts[full]
    )
    return charts.point_chart([kind], data.bounds, scale=scale), cells

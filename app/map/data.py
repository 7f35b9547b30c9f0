"""A run's map as the dashboard needs it: whose each map is, what is known of every image, and what a selection means."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from app.run_store.reports import Run, load_probe, records
from diagnose.schema import Report
from probes.result import DiagnosticError, ProbeResult, Score

MOST_POINTS = 100_000
"""Images drawn one by one; more are drawn as cells."""

CELLS = 120
"""Cells a side of a map that is drawn as cells."""

KNOWN = {
    ("separability", "domain_score"): "How synthetic it looks",
    ("drift", "cosine"): "Likeness to the teacher (cosine)",
    ("transfer", "margin"): "Sureness of the class (margin)",
}
"""(probe, array) -> name for people; other arrays of one number an image go by their own names."""


@dataclass(frozen=True)
class Whose:
    """Whose eyes a map shows: an encoder, at an epoch or (None) at its end."""

    subject: str
    epoch: int | None


@dataclass(frozen=True, eq=False)
class RunMap:
    """One layout of n images for several encoders, on shared axes.

    Args:
        ids: (n,) text.
        labels: (n,) class index.
        domain: (n,) text.
        whose: one entry a map.
        places: one (n, 2) a map.
        near: one (n, k) a map: rows of the nearest images in that encoder's embedding, nearest first.
        kept: one score a map, or None: share of the nearest in the embedding that are also near on the map.
    """

    ids: np.ndarray
    labels: np.ndarray
    domain: np.ndarray
    whose: tuple[Whose, ...]
    places: tuple[np.ndarray, ...]
    near: tuple[np.ndarray, ...]
    kept: tuple[Score | None, ...]

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def subjects(self) -> list[str]:
        """List the encoders, the teacher first."""
        return list(dict.fromkeys(one.subject for one in self.whose))

    def epochs(self, subject: str) -> list[int | None]:
        """List the epochs of an encoder that have a map, in order, the end (None) last."""
        return sorted((one.epoch for one in self.whose if one.subject == subject), key=lambda epoch: (epoch is None, epoch))

    def number(self, subject: str, epoch: int | None) -> int:
        """Find the map of an encoder at an epoch.

        Args:
            subject: the encoder.
            epoch: the epoch, or None for its end.
        """
        return self.whose.index(Whose(subject, epoch))

    @cached_property
    def bounds(self) -> tuple[tuple[float, float], tuple[float, float]]:
        """Return the range of both axes over all maps, so that what moves is seen to move."""
        lows, highs = (
            np.min([np.nanmin(p, axis=0) for p in self.places], axis=0),
            np.max([np.nanmax(p, axis=0) for p in self.places], axis=0),
        )
        pad = 0.04 * np.maximum(highs - lows, 1e-6)
        return tuple((float(a), float(b)) for a, b in zip(lows - pad, highs + pad, strict=True))  # type: ignore[return-value]


def load_map(run: Run, report: Report) -> RunMap:
    """Read the run's map.

    Args:
        run: the run.
        report: the report of the run.

    Raises:
        FileNotFoundError: when the diagnosis made none, or its arrays are not beside the report.
        DiagnosticError: when it failed, or its arrays do not fit together.
    """
    map_records = records(report, "map")
    if not map_records:
        raise FileNotFoundError("`map` must be in the report, got none; diagnose the run, with all probes or with --probe map.")
    return read_map(load_probe(run, next(iter(map_records.values()))))


def read_map(result: ProbeResult) -> RunMap:
    """Check a stored map and bring it into shape.

    Raises:
        DiagnosticError: when arrays are missing or do not fit together.
    """
    arrays = result.arrays
    try:
        whose = tuple(Whose(str(one["subject"]), None if one["epoch"] is None else int(one["epoch"])) for one in result.params["maps"])
        ids = arrays["ids"].astype(str)
        places = tuple(np.asarray(arrays[f"map/{number}"], dtype=np.float32) for number in range(len(whose)))
        near = tuple(np.asarray(arrays[f"neighbours/{number}"]).astype(np.int64) for number in range(len(whose)))
        labels, domain = arrays["labels"].astype(np.int64), arrays["domain"].astype(str)
    except (KeyError, TypeError, ValueError) as error:
        raise DiagnosticError(f"`map` must hold places and neighbours of every encoder, got {error!r}; diagnose the run again.") from error
    count = len(ids)
    if not pd.Index(ids).is_unique:
        raise DiagnosticError("`map` must hold each image once, got an id twice; diagnose the run again.")
    fits = all(p.shape == (count, 2) for p in places) and all(n.ndim == 2 and len(n) == count for n in near)
    inside = all(n.size == 0 or (n.min() >= 0 and n.max() < count) for n in near)
    if not whose or count == 0 or not fits or not inside or labels.shape != (count,) or domain.shape != (count,):
        raise DiagnosticError(f"`map` must hold one place an image, got arrays that do not fit its {count} images; diagnose the run again.")
    if not all(np.isfinite(p).any() for p in places):
        raise DiagnosticError("`map` must hold finite places, got none in one of its maps; diagnose the run again.")
    names = [one.subject if one.epoch is None else f"{one.subject} epoch {one.epoch}" for one in whose]
    return RunMap(ids, labels, domain, whose, places, near, tuple(result.scores.get(f"kept/{name}") for name in names))


@dataclass(frozen=True, eq=False)
class Column:
    """What colours the points.

    Args:
        label: for the reader.
        values: (n,) numbers with NaN where nothing is known, or (n,) text.
        order: the texts in the order of the legend; empty for numbers.
    """

    label: str
    values: np.ndarray
    order: tuple[str, ...] = ()

    @property
    def is_text(self) -> bool:
        """Whether the values are names and not numbers."""
        return self.values.dtype.kind in "UO"


def class_names(labels: np.ndarray, names: Sequence[str]) -> np.ndarray:
    """Name each label; one without a name keeps its number.

    Args:
        labels: (n,) class index.
        names: C names.
    """
    return np.array([names[label] if 0 <= label < len(names) else f"class {label}" for label in labels.tolist()], dtype=object)


def columns(run: Run, report: Report, data: RunMap, subject: str) -> dict[str, Column]:
    """Collect all that is known of each image on the map: class, domain, error and every score an image of one encoder.

    What is not stored is left out.

    Args:
        run: the run.
        report: the report of the run.
        data: the run's map.
        subject: the encoder.
    """
    classes = class_names(data.labels, report.class_names)
    order = tuple(name for name in report.class_names if name in set(classes.tolist()))
    columns_by_name = {"Class": Column("Class", classes, order or tuple(sorted(set(classes.tolist()))))}
    columns_by_name["Real or synthetic"] = Column("Real or synthetic", data.domain.astype(object), ("real", "synthetic"))
    teacher = subject == report.teacher.name
    for record in report.probes:
        if record.status != "done" or record.probe == "map" or (record.subject != subject and not (teacher and record.probe == "transfer")):
            continue
        try:
            arrays = load_probe(run, record).arrays
        except (FileNotFoundError, DiagnosticError):
            continue
        columns_by_name |= _of_probe(record.probe, arrays, data, report.class_names, "teacher/" if teacher else "")
        if teacher:
            break  # every student's result repeats the teacher's own
    return columns_by_name


def _of_probe(probe: str, arrays: Mapping[str, np.ndarray], data: RunMap, names: Sequence[str], prefix: str) -> dict[str, Column]:
    if "ids" not in arrays or arrays["ids"].ndim != 1:
        return {}
    ids = pd.Index(arrays["ids"].astype(str))
    if not ids.is_unique:
        return {}
    rows = ids.get_indexer(data.ids)
    columns_by_name: dict[str, Column] = {}
    predictions = arrays.get(f"{prefix}prediction")
    if probe == "transfer" and predictions is not None and predictions.shape == (len(ids),):
        guess = np.where(rows >= 0, predictions[rows], -1)
        words = np.where(guess < 0, "not known", np.where(guess == data.labels, "right", "wrong")).astype(object)
        columns_by_name["Right or wrong"] = Column("Right or wrong", words, ("right", "wrong", "not known"))
    for name, values in arrays.items():
        plain = name.removeprefix(prefix)
        if values.dtype.kind != "f" or values.shape != (len(ids),) or not name.startswith(prefix) or "/" in plain:
            continue
        label = KNOWN.get((probe, plain), f"{probe}: {plain.replace('_', ' ')}")
        known = np.where(rows >= 0, values[rows].astype(float), np.nan)
        if np.isfinite(known).any():
            columns_by_name[label] = Column(label, known)
    return columns_by_name


def cells_of(places: np.ndarray, bounds: tuple[tuple[float, float], tuple[float, float]], *, side: int = CELLS) -> np.ndarray:
    """Return the cell of each image on a grid over the map, (n,) int64 in [0, side * side); -1 for one without a place.

    Args:
        places: (n, 2), NaN for an image without a place.
        bounds: range of both axes.
        side: cells along one side.
    """
    steps = [(places[:, axis] - low) / max(high - low, 1e-12) * side for axis, (low, high) in enumerate(bounds)]
    known = np.isfinite(places).all(axis=1)
    column, row = (np.clip(np.where(known, step, 0), 0, side - 1).astype(np.int64) for step in steps)
    return np.where(known, row * side + column, -1)


def rows_of(event: Any, count: int) -> list[int]:
    """Read which rows a chart's selection names, in order and once each; anything else in it is passed over.

    Args:
        event: what Streamlit hands over: `{"selection": {"points": [{"customdata": row or [row]}, ...]}}`.
        count: rows there are.
    """
    try:
        points = event["selection"]["points"]
    except (KeyError, TypeError):
        return []
    rows: dict[int, None] = {}
    for point in points if isinstance(points, (list, tuple)) else ():
        custom = point.get("customdata") if isinstance(point, Mapping) else None
        custom = custom[0] if isinstance(custom, (list, tuple)) and custom else custom
        if isinstance(custom, (int, float)) and not isinstance(custom, bool) and float(custom).is_integer() and 0 <= custom < count:
            rows[int(custom)] = None
    return list(rows)

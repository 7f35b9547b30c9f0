"""A bounded sample of images for readers of the report, the telling ones first."""

from __future__ import annotations

import io
import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from diagnose.subjects import Images
from probes.result import ProbeResult

LIMIT = 400
"""Most rows of `thumbnails.parquet`, both domains together."""

SIDE = 96
"""Longest side of a thumbnail in pixels."""


@dataclass(frozen=True)
class Row:
    """One image of the sample, and what each student took it for.

    Args:
        id: the image's id.
        image: PNG bytes.
        domain: "real" or "synthetic".
        label: class index.
        class_name: its name.
        predictions: encoder -> predicted class name; the teacher's among them.
        right: how many of the students are right.
    """

    id: str
    image: bytes
    domain: str
    label: int
    class_name: str
    predictions: Mapping[str, str] = field(default_factory=dict)
    right: int = 0


def choose(given: Sequence[Images], transfers: Mapping[str, ProbeResult], *, limit: int = LIMIT, seed: int = 0) -> list[Row]:
    """Choose images on which students disagree first, then others by chance, evenly over domains.

    Args:
        given: images of each domain.
        transfers: student -> result of `transfer`; may be empty.
        limit: most rows in all.
        seed: seed of the choice among equals.
    """
    random = np.random.default_rng(seed)
    rows: list[Row] = []
    for images in given:
        predicted = {name: _predictions(result, images, "prediction") for name, result in transfers.items()}
        if transfers:
            predicted["teacher"] = _predictions(next(iter(transfers.values())), images, "teacher/prediction")
        students = [predicted[name] for name in transfers]
        right = np.sum([guess == images.labels for guess in students], axis=0) if students else np.zeros(len(images), dtype=int)
        split = np.minimum(right, len(students) - right)
        order = np.lexsort((random.random(len(images)), -split))[: limit // max(len(given), 1)]
        rows += [_row(images, int(i), predicted, int(right[i])) for i in order]
    return rows


def _predictions(result: ProbeResult, images: Images, array: str) -> np.ndarray:
    if array not in result.arrays:
        return np.full(len(images), -1)
    return np.asarray(result.arrays[array][result.arrays["domain"] == images.domain])


def _row(images: Images, index: int, predicted: Mapping[str, np.ndarray], right: int) -> Row:
    names = images.class_names
    guesses = {name: names[int(guess[index])] for name, guess in predicted.items() if 0 <= guess[index] < len(names)}
    label = int(images.labels[index])
    return Row(str(images.ids[index]), _png(images.pixels[index]), images.domain, label, names[label], guesses, right)


def _png(pixels: np.ndarray) -> bytes:
    from PIL import Image

    image = Image.fromarray(np.ascontiguousarray(np.asarray(pixels).transpose(1, 2, 0)))
    if max(image.size) > SIDE:
        image.thumbnail((SIDE, SIDE))
    file = io.BytesIO()
    image.save(file, format="PNG", optimize=True)
    return file.getvalue()


def write(rows: Sequence[Row], path: Path | str) -> Path:
    """Write `thumbnails.parquet` under a temporary name and then rename it."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    table = pa.table(
        {
            "id": pa.array([row.id for row in rows], pa.string()),
            "image": pa.array([row.image for row in rows], pa.binary()),
            "domain": pa.array([row.domain for row in rows], pa.string()),
            "label": pa.array([row.label for row in rows], pa.int64()),
            "class_name": pa.array([row.class_name for row in rows], pa.string()),
        }
    )
    handle, partial = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    os.close(handle)
    try:
        pq.write_table(table, partial)
        Path(partial).chmod(0o644)
        return Path(partial).replace(path)
    finally:
        Path(partial).unlink(missing_ok=True)

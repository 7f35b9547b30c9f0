"""A bounded sample of images for readers of the report; images on which students disagree come first."""

from __future__ import annotations

import io
import itertools
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from diagnose.inputs.subjects import Images
from diagnose.stored_images.parquet import write_table
from probes.result import ProbeResult

LIMIT = 400
"""Most rows of `thumbnails.parquet`, both domains together."""

POINTED = 1400
"""Most rows that are added because a probe names their ids (see `pointed`)."""

FEW = 8
"""Images kept of each list that a probe names."""

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


def choose(image_sets: Sequence[Images], transfers: Mapping[str, ProbeResult], *, limit: int = LIMIT, seed: int = 0) -> list[Row]:
    """Choose images on which students disagree first, then others at random, as many of each domain.

    Args:
        image_sets: images of each domain.
        transfers: student -> result of `transfer`; may be empty.
        limit: most rows in all.
        seed: seed of the choice among equals.
    """
    random = np.random.default_rng(seed)
    rows: list[Row] = []
    for images in image_sets:
        predicted = {name: _predictions(result, images, "prediction") for name, result in transfers.items()}
        if transfers:
            predicted["teacher"] = _predictions(next(iter(transfers.values())), images, "teacher/prediction")
        students = [predicted[name] for name in transfers]
        right = np.sum([guess == images.labels for guess in students], axis=0) if students else np.zeros(len(images), dtype=int)
        split = np.minimum(right, len(students) - right)
        order = np.lexsort((random.random(len(images)), -split))[: limit // max(len(image_sets), 1)]
        rows += [_row(images, int(i), predicted, int(right[i])) for i in order]
    return rows


def pointed(
    image_sets: Sequence[Images], results: Mapping[str, Mapping[str, ProbeResult]], known: Collection[str], *, limit: int = POINTED
) -> list[Row]:
    """Choose the images that probes name: tops of components and slices, extremes of the domain score, confused classes.

    Args:
        image_sets: images of each domain.
        results: probe -> student -> result.
        known: ids that are in the sample already.
        limit: most rows; each list of ids gives its first ones first.
    """
    lists = [ids for probe, of in LISTS.items() for result in results.get(probe, {}).values() for ids in of(result)]
    turns = itertools.chain.from_iterable(itertools.zip_longest(*lists))
    wanted = dict.fromkeys(str(name) for name in turns if name is not None and str(name) not in known)
    place = {name: (images, row) for images in image_sets for row, name in enumerate(images.ids.tolist())}
    return [_row(*place[name], {}, 0) for name in itertools.islice((name for name in wanted if name in place), limit)]


def _tops(result: ProbeResult) -> list[np.ndarray]:
    return [ids for name in ("component/top_images", "slice/top_images") for ids in result.arrays.get(name, np.zeros((0, 0), dtype=str))]


def _extremes(result: ProbeResult) -> list[np.ndarray]:
    """List ids at both ends of the domain score, synthetic and real apart."""
    if not {"domain_score", "ids", "domain"} <= set(result.arrays):
        return []
    score, ids, domain = (result.arrays[name] for name in ("domain_score", "ids", "domain"))
    order = np.argsort(score, kind="stable")
    ends = ((order[::-1], "synthetic"), (order[::-1], "real"), (order, "synthetic"))
    return [ids[ranked[domain[ranked] == where][:FEW]] for ranked, where in ends]


def _drifted(result: ProbeResult) -> list[np.ndarray]:
    """List ids of the images that the student sees least like its teacher, and of the real ones it sees most like it."""
    if not {"cosine", "ids", "domain"} <= set(result.arrays):
        return []
    order, ids, domain = np.argsort(result.arrays["cosine"], kind="stable"), result.arrays["ids"], result.arrays["domain"]
    ends = ((order, "real"), (order[::-1], "real"), (order, "synthetic"))
    return [ids[ranked[domain[ranked] == where][:FEW]] for ranked, where in ends]


def _confused(result: ProbeResult) -> list[np.ndarray]:
    """List ids of real images of each class that the student takes for the class it most often takes them for."""
    if not {"prediction", "labels", "ids", "domain"} <= set(result.arrays):
        return []
    predictions, labels, ids, domain = (result.arrays[name] for name in ("prediction", "labels", "ids", "domain"))
    lists = []
    for label in np.unique(labels):
        wrong = np.flatnonzero((labels == label) & (domain == "real") & (predictions != label) & (predictions >= 0))
        if len(wrong):
            lists.append(ids[wrong[predictions[wrong] == np.bincount(predictions[wrong]).argmax()][:FEW]])
    return lists


def _explained(result: ProbeResult) -> list[np.ndarray]:
    return [result.arrays["gallery/ids"]] if "gallery/ids" in result.arrays else []


def _mapped(result: ProbeResult) -> list[np.ndarray]:
    return [result.arrays["ids"]] if "ids" in result.arrays else []


LISTS = {"attribution": _explained, "map": _mapped, "discovery": _tops, "separability": _extremes, "drift": _drifted, "transfer": _confused}
"""Probe -> lists of ids that its result names."""


def _predictions(result: ProbeResult, images: Images, array: str) -> np.ndarray:
    if array not in result.arrays:
        return np.full(len(images), -1)
    return np.asarray(result.arrays[array][result.arrays["domain"] == images.domain])


def _row(images: Images, index: int, predicted: Mapping[str, np.ndarray], right: int) -> Row:
    names = images.class_names
    guesses = {name: names[int(guess[index])] for name, guess in predicted.items() if 0 <= guess[index] < len(names)}
    label = int(images.labels[index])
    return Row(str(images.ids[index]), png(images.pixels[index]), images.domain, label, names[label], guesses, right)


def png(pixels: np.ndarray) -> bytes:
    """Encode an image (3, H, W) uint8 as PNG, at most `SIDE` pixels a side."""
    from PIL import Image

    image = Image.fromarray(np.ascontiguousarray(np.asarray(pixels).transpose(1, 2, 0)))
    if max(image.size) > SIDE:
        image.thumbnail((SIDE, SIDE))
    file = io.BytesIO()
    image.save(file, format="PNG", optimize=True)
    return file.getvalue()


def write(rows: Sequence[Row], path: Path | str) -> Path:
    """Write `thumbnails.parquet` under a temporary name and then rename it."""
    return write_table(
        {column: [getattr(row, column) for row in rows] for column in ("id", "image", "domain", "label", "class_name")}, path
    )

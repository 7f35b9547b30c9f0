"""The map of a run: which encoders and epochs are laid out together, over which images, and what is kept of it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from diagnose.inputs.subjects import Subject
from probes.attribution.sample import draw
from probes.embeddings import DOMAINS, EmbeddingTable
from probes.maps import aligned_maps
from probes.result import ProbeResult

MAP = "map"
"""Name by which a diagnosis is asked for its map. It is one result of the whole run and not one a student, so no probe of the registry."""

EACH = 250
"""Images of each domain on the map."""

MOST_MAPS = 16
"""Encoders laid out together at most: each epoch has to be embedded."""

HOW = "from the teacher, turned to a square"
"""How maps are made; changes when they would come out otherwise."""


@dataclass(frozen=True)
class Stop:
    """One encoder of the sequence of maps: a student, or one of its epochs.

    Args:
        subject: the student.
        epoch: the epoch of its training, or None for the finished student.
    """

    subject: Subject
    epoch: int | None = None

    @property
    def name(self) -> str:
        """Return the encoder's name with its epoch."""
        return self.subject.name if self.epoch is None else f"{self.subject.name} epoch {self.epoch}"


def choose_students(subjects: Sequence[Subject], *, most: int = MOST_MAPS - 1) -> list[Subject]:
    """Return the first seed of every loss on every training set, in order; a student without a loss is a group of its own.

    Args:
        subjects: all students.
        most: students returned at most.
    """
    first = {(s.loss, s.trained_on) if s.loss is not None else (s.name,): s for s in reversed(subjects)}
    return [s for s in subjects if any(s is kept for kept in first.values())][:most]


def stops(students: Sequence[Subject], *, most: int = MOST_MAPS - 1) -> list[Stop]:
    """Return the encoders of the sequence of maps: each student, preceded by epochs spread evenly over its training.

    Epochs of students that were trained on real images alone are left out.

    Args:
        students: from `choose_students`.
        most: encoders returned at most.
    """
    way: list[Stop] = []
    followed = [s for s in students if len(s.checkpoints) > 1 and s.trained_on != "real"]
    share = (most - len(students)) // max(len(followed), 1)
    for subject in students:
        if subject in followed:
            way += [Stop(subject, epoch) for epoch in _spread(sorted(subject.checkpoints)[:-1], share)]
        way.append(Stop(subject))
    return way


def _spread(epochs: Sequence[int], count: int) -> list[int]:
    if len(epochs) <= count:
        return list(epochs)
    return [epochs[place] for place in np.unique(np.linspace(0, len(epochs) - 1, count).round().astype(int))] if count > 0 else []


def choose_rows(table: EmbeddingTable, first: np.ndarray, *, each: int = EACH, seed: int) -> np.ndarray:
    """Choose pairs of a real and a synthetic image of one class, those that attribution explains before others.

    Args:
        table: any encoder's table of the images to choose from.
        first: ids to be taken first, real and synthetic in turn.
        each: images of each domain.
        seed: seed of the draw.

    Returns:
        Sorted rows (2 m,), m at most `each`.
    """
    if len(set(table.domain.tolist())) < len(DOMAINS):
        return np.arange(len(table))
    place = {name: row for row, name in enumerate(table.ids.tolist())}
    known = [(place.get(str(a)), place.get(str(b))) for a, b in zip(first[::2], first[1::2], strict=False)]
    drawn = draw(table.labels, table.domain, limit=each + len(known), seed=seed)
    rows: list[int] = []
    for a, b in [*known, *zip(drawn[::2].tolist(), drawn[1::2].tolist(), strict=True)]:
        if a is not None and b is not None and a not in rows and b not in rows and len(rows) < 2 * each:
            rows += [a, b]
    return np.sort(np.array(rows, dtype=np.int64))


def lay_out(teacher: EmbeddingTable, tables: Sequence[tuple[Stop, EmbeddingTable]], rows: np.ndarray, *, seed: int) -> ProbeResult:
    """Compute the UMAP layout of teacher, students and epochs on shared axes.

    Args:
        teacher: the teacher's table.
        tables: each stop's table of the same images, in the order of `stops`.
        rows: rows of the tables to lay out.
        seed: seed of the layout.

    Returns:
        The result of `aligned_maps`, of probe `map`; `params["maps"]` says of each map whose it is: `subject`, and `epoch` or null.

    Raises:
        ValueError: for fewer than 30 images of a domain, no student, or tables that cannot be compared.
    """
    selected = {teacher.name: teacher.select(rows)} | {stop.name: table.select(rows) for stop, table in tables}
    whose = [{"subject": teacher.name, "epoch": None}, *({"subject": stop.subject.name, "epoch": stop.epoch} for stop, _ in tables)]
    if len(selected) != len(whose):
        raise ValueError("`name` of students and epochs must differ, got one twice; rename the students.")
    maps = aligned_maps(selected, seed=seed, max_images=max(len(rows), 60), neighbours=min(15, max(len(rows) // 4, 2)))
    return replace(maps, probe=MAP, subject=teacher.name, reference=None, params={**maps.params, "maps": whose})


def map_key(parts: Sequence[object], ids: np.ndarray, first: np.ndarray) -> str:
    """Compute a hash of what a map depends on: the encoders' keys and epochs, the images, and the settings.

    Args:
        parts: keys and epochs of the encoders.
        ids: ids of the images to choose from.
        first: ids that are taken first.
    """
    digest = hashlib.sha256(json.dumps([MAP, EACH, MOST_MAPS, HOW, *parts]).encode())
    for name in (*ids.tolist(), "", *first.tolist()):
        digest.update(str(name).encode() + b"\0")
    return digest.hexdigest()[:32]

"""The words that discovery has for what is synthetic, and whether the student uses what they name."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from probes.compute.memoize import content, remembered
from probes.discovery.concept_directions import Words, directions, learn_words
from probes.discovery.concept_shift import LEAST_EFFECT, centred, own_words, word_shift
from probes.discovery.vocabulary import FAMILY_OF_KIND
from probes.probe_input import EmbedText, ProbeInput
from probes.result import Score
from probes.stats import paired
from probes.stats.intervals import as_score

LEAST_PRESENT = 20
"""Real images of other classes with and without what a word names, below which its use is not measured."""

NAMED_CLASSES = 20
"""Classes whose captions are tried with every known word, those with the widest gap first."""


@dataclass(frozen=True, eq=False)
class Seen:
    """The images of a discovery, restricted to classes with enough of them.

    Args:
        ids: (M,) ids.
        labels: (M,) place of each image's class in `classes`.
        domain: (M,) `real` or `synthetic`.
        student: (M, D) unit rows.
        teacher: (M, D) unit rows, or None.
        weights: (D, C) unit columns, all classes, of the student's text space.
        classes: column in `weights` of each class here.
        class_names: their names.
        teacher_weights: (D', C) unit columns of the teacher's text space; None where the student's are the same.
    """

    ids: np.ndarray
    labels: np.ndarray
    domain: np.ndarray
    student: np.ndarray
    teacher: np.ndarray | None
    weights: np.ndarray
    classes: np.ndarray
    class_names: tuple[str, ...]
    teacher_weights: np.ndarray | None = None

    @property
    def synthetic(self) -> np.ndarray:
        """(M,) bool."""
        return self.domain == "synthetic"

    def predicted(self, embeddings: np.ndarray) -> np.ndarray:
        """Return the class that the student names for each image, as a column of `weights`."""
        return (embeddings @ self.weights).argmax(axis=1)

    def predicted_by_teacher(self, embeddings: np.ndarray) -> np.ndarray:
        """Return the class that the teacher names for each image, as a column of `weights`."""
        return (embeddings @ (self.weights if self.teacher_weights is None else self.teacher_weights)).argmax(axis=1)

    @property
    def truth(self) -> np.ndarray:
        """(M,) the right column of `weights`."""
        return self.classes[self.labels]


def read_images(student: ProbeInput, teacher: ProbeInput | None, rows: np.ndarray, weights: np.ndarray, *, least: int) -> Seen:
    """Take the embeddings of some rows, leaving out classes with fewer than `least` images in either domain.

    Raises:
        ValueError: when no two classes are left.
    """
    table, own = student.table, student.table.text_space
    labels, domain = table.labels[rows], table.domain[rows]
    count = np.array([np.bincount(labels[domain == name], minlength=weights.shape[1]) for name in ("real", "synthetic")]).min(axis=0)
    classes = np.flatnonzero(count >= least)
    if len(classes) < 2:
        raise ValueError(
            f"`student` must hold {least} images in each domain of at least 2 classes, got {len(classes)} such classes; raise `limit` or add images."
        )
    kept = rows[np.isin(labels, classes)]
    names = student.class_names if len(student.class_names) == weights.shape[1] else tuple(map(str, range(weights.shape[1])))
    return Seen(
        table.ids[kept],
        np.searchsorted(classes, table.labels[kept]),
        table.domain[kept],
        table.unit(kept),
        None if teacher is None else teacher.table.unit(kept),
        weights if own is None else own.class_weights,
        classes,
        tuple(names[place] for place in classes),
        None if own is None else weights,
    )


@dataclass(frozen=True, eq=False)
class Vocabulary:
    """The known words and how well they fit every image.

    Args:
        about: one sentence on what the tower knows, or why there are no words.
        words: known words, V of them.
        kinds: kind of each.
        gain: (M, V) cosine of the image to its class's caption with the word minus without it, by the teacher; NaN rows where not tried.
        unit: what the right class name adds to the cosine on real images, as a mean.
        counts: numbers of words.
    """

    about: str
    words: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()
    gain: np.ndarray = field(default_factory=lambda: np.zeros((0, 0)))
    unit: float = 1.0
    counts: Mapping[str, int] = field(default_factory=lambda: {"words": 0, "words/known": 0})

    @classmethod
    def of(
        cls, student: ProbeInput, teacher: ProbeInput | None, seen: Seen, vocabulary: Mapping[str, Sequence[str]], *, seed: int
    ) -> Vocabulary:
        """Ask the teacher's text tower which words it knows, and its image tower how well they fit."""
        embed_text = (teacher.embed_text if teacher is not None else None) or student.embed_text
        if embed_text is None or teacher is None or seen.teacher is None:
            return cls("no text tower: no words")
        every = [*student.class_names]
        said = embed_text([*every, "a photo"])
        if said.shape[1] != seen.teacher.shape[1]:
            return cls("the text tower has another dimension than the images: no words")
        key = content("words", said, tuple(every), repr(vocabulary), seed)
        words: Words = remembered(key, lambda: learn_words(embed_text, vocabulary, every, seed=seed))
        places = np.flatnonzero(words.known)
        counts = {"words": len(words.words), "words/known": len(places)}
        limit = f"agreement above {words.bar:.2f}"
        if not len(places):
            return cls(f"the text tower knows none of {len(words.words)} words ({limit}): no names", counts=counts)
        pairs = [(words.words[place], words.kinds[place]) for place in places]
        gain = _gain(embed_text, pairs, seen, seen.teacher)
        own = seen.teacher @ (seen.weights if seen.teacher_weights is None else seen.teacher_weights)
        right = own[np.arange(len(own)), seen.truth]
        rest = (own.sum(axis=1) - right) / (own.shape[1] - 1)
        unit = float((right - rest)[~seen.synthetic].mean())
        if unit <= 0:
            return cls("the teacher does not prefer the right class on real images: no names", counts=counts)
        about = f"the text tower knows {len(pairs)} of {len(words.words)} words ({limit})"
        return cls(about, tuple(word for word, _ in pairs), tuple(kind for _, kind in pairs), gain, unit, counts)

    @property
    def tried(self) -> np.ndarray:
        """(M,) bool: images of classes whose captions were tried."""
        return np.isfinite(self.gain).all(axis=1)


def _gain(embed_text: EmbedText, pairs: Sequence[tuple[str, str]], seen: Seen, teacher: np.ndarray) -> np.ndarray:
    """Give the cosine to the caption with the word minus without it, for images of the classes with the widest gap; NaN for others."""
    right = seen.predicted(seen.student) == seen.truth
    gap = [
        right[(seen.labels == label) & seen.synthetic].mean() - right[(seen.labels == label) & ~seen.synthetic].mean()
        for label in range(len(seen.classes))
    ]
    tried = np.argsort(-np.array(gap), kind="stable")[:NAMED_CLASSES]
    gain = np.full((len(seen.ids), len(pairs)), np.nan)
    for label in tried:
        added = directions(embed_text, pairs, [seen.class_names[label]])[:, 0].mean(axis=1)  # (V, D)
        rows = seen.labels == label
        gain[rows] = teacher[rows] @ added.T
    return gain


@dataclass(frozen=True, eq=False)
class Found:
    """A part of the result: scores, arrays, and what it says in words."""

    scores: dict[str, Score]
    arrays: dict[str, np.ndarray]
    said: list[dict[str, Any]]


def plain(name: str) -> str:
    """Make a part of a score's name of a class name or a word."""
    return re.sub(r"[^a-z0-9.-]+", "_", name.lower()).strip("_") or "_"


def found_names(seen: Seen, known: Vocabulary, *, permutations: int, seed: int) -> Found:
    """Name what fits synthetic images better, in every class or in one, and measure whether the student uses it."""
    scores: dict[str, Score] = {}
    said: list[dict[str, Any]] = []
    uses: dict[str, tuple[dict[str, Any], Score, float]] = {}
    if known.words:
        rows = np.flatnonzero(known.tried)
        tried, labels = np.unique(seen.labels[rows], return_inverse=True)
        shift = word_shift(known.gain[rows], labels, seen.synthetic[rows], unit=known.unit, permutations=permutations, seed=seed)
        real = ~seen.synthetic[rows]
        alike = np.cov(centred(known.gain[rows][real], labels[real]) / known.unit, rowvar=False).reshape(len(known.words), -1)
        for place in _worth(shift.everywhere, shift.everywhere_p, shift.fits.mean(axis=0), alike):
            value, error, p = shift.everywhere[place], shift.everywhere_error[place], shift.everywhere_p[place]
            scores |= _scored(f"word/{plain(known.words[place])}", value, error, p)
            said.append(_name(known, place, "everywhere", "", value, p))
        for row, label in enumerate(tried):
            for place in _worth(shift.tied[row], shift.tied_p[row], shift.fits[row], alike):
                value, error, p = shift.tied[row, place], shift.tied_error[row, place], shift.tied_p[row, place]
                stem = f"{plain(seen.class_names[label])}/{plain(known.words[place])}"
                scores |= _scored(f"tied/{stem}", value, error, p)
                said.append(_name(known, place, "tied", seen.class_names[label], value, p))
                use = _used(seen, known, place, int(label))
                if use is not None:
                    uses[f"used/{stem}"] = (said[-1], *use)
    scores |= _all_used(uses)
    said.sort(key=lambda entry: -entry["score"])
    arrays = {
        "name/word": np.array([entry["word"] for entry in said], dtype=str),
        "name/class": np.array([entry["class"] for entry in said], dtype=str),
        "name/score": np.array([entry["score"] for entry in said], dtype=np.float64),
        "name/p": np.array([entry["p"] for entry in said], dtype=np.float64),
    }
    return Found(scores, arrays, said)


def _all_used(uses: Mapping[str, tuple[dict[str, Any], Score, float]]) -> dict[str, Score]:
    """Correct the p-values of use over all names, and write value and p beside each name."""
    scores: dict[str, Score] = {}
    adjusted = paired.holm(np.array([p for _, _, p in uses.values()]))
    for (name, (entry, score, _)), p in zip(uses.items(), adjusted, strict=True):
        scores |= {name: score, f"adjusted_p/{name}": Score(float(p), float(p), float(p))}
        entry |= {"used": round(score.value, 4), "used_p": round(float(p), 6)}
    return scores


def _worth(effects: np.ndarray, p_values: np.ndarray, fits: np.ndarray, alike: np.ndarray) -> list[int]:
    """List the words whose effect is certain, large enough and their own, and that fit synthetic images better than no word."""
    able = np.flatnonzero((p_values < 0.05) & (effects >= LEAST_EFFECT) & (fits > 0))
    return [int(able[place]) for place in own_words(effects[able], alike[np.ix_(able, able)])]


def _name(known: Vocabulary, place: int, how: str, class_name: str, score: float, p: float) -> dict[str, Any]:
    kind = known.kinds[place]
    entry = {"word": known.words[place], "kind": kind, "how": how, "class": class_name, "score": round(float(score), 4), "p": float(p)}
    return entry | ({"family": FAMILY_OF_KIND[kind]} if kind in FAMILY_OF_KIND else {})


def _scored(stem: str, value: float, error: float, p: float) -> dict[str, Score]:
    return {stem: as_score(value, paired.around((value, error)), chance=0.0), f"adjusted_p/{stem}": Score(float(p), float(p), float(p))}


def _used(seen: Seen, known: Vocabulary, place: int, label: int) -> tuple[Score, float] | None:
    """Say how much more often the student calls real images of *other* classes by this class when they show what the word names.

    Shows: the caption fits better with the word. The teacher's own share is subtracted image by image.

    Returns:
        The score and the p of its being at most 0, or None with fewer than `LEAST_PRESENT` images that show it, or that do not.
    """
    others = known.tried & ~seen.synthetic & (seen.labels != label)
    shows = known.gain[:, place] > 0
    with_it, without = np.flatnonzero(others & shows), np.flatnonzero(others & ~shows)
    if min(len(with_it), len(without)) < LEAST_PRESENT or seen.teacher is None:
        return None
    wanted = seen.classes[label]
    said = [(named == wanted).astype(float) for named in (seen.predicted(seen.student), seen.predicted_by_teacher(seen.teacher))]
    values = said[0] - said[1]
    interval, p = paired.smaller_of(paired.difference(values[with_it], values[without]))
    value = values[with_it].mean() - values[without].mean()
    return as_score(value, interval, chance=0.0, direction="lower", bounds=(-2.0, 2.0)), p

"""Words that fit synthetic images better, and whether the student uses what they name."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from probes.compute.memoize import content, remembered
from probes.discovery.concept_directions import Words, directions, learn_words
from probes.discovery.concept_shift import LEAST_EFFECT, centred, select_words, word_shift
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
class DiscoveryImages:
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


def read_images(student: ProbeInput, teacher: ProbeInput | None, rows: np.ndarray, weights: np.ndarray, *, least: int) -> DiscoveryImages:
    """Take the embeddings of some rows, leaving out classes with fewer than `least` images in either domain.

    Raises:
        ValueError: when no two classes are left.
    """
    table, space = student.table, student.table.text_space
    labels, domain = table.labels[rows], table.domain[rows]
    count = np.array([np.bincount(labels[domain == name], minlength=weights.shape[1]) for name in ("real", "synthetic")]).min(axis=0)
    classes = np.flatnonzero(count >= least)
    if len(classes) < 2:
        raise ValueError(
            f"`student` must hold {least} images in each domain of at least 2 classes, got {len(classes)} such classes; raise `limit` or add images."
        )
    kept = rows[np.isin(labels, classes)]
    names = student.class_names if len(student.class_names) == weights.shape[1] else tuple(map(str, range(weights.shape[1])))
    return DiscoveryImages(
        table.ids[kept],
        np.searchsorted(classes, table.labels[kept]),
        table.domain[kept],
        table.unit(kept),
        None if teacher is None else teacher.table.unit(kept),
        weights if space is None else space.class_weights,
        classes,
        tuple(names[place] for place in classes),
        None if space is None else weights,
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
        cls, student: ProbeInput, teacher: ProbeInput | None, images: DiscoveryImages, vocabulary: Mapping[str, Sequence[str]], *, seed: int
    ) -> Vocabulary:
        """Measure which words the teacher's text tower knows, and how well they fit the images.

        Args:
            student: for the class names.
            teacher: with a text tower, or None.
            images: the images.
            vocabulary: kind -> words.
            seed: seed of the made-up words.
        """
        embed_text = (teacher.embed_text if teacher is not None else None) or student.embed_text
        if embed_text is None or teacher is None or images.teacher is None:
            return cls("no text tower: no words")
        every = [*student.class_names]
        text_embeddings = embed_text([*every, "a photo"])
        if text_embeddings.shape[1] != images.teacher.shape[1]:
            return cls("the text tower has another dimension than the images: no words")
        key = content("words", text_embeddings, tuple(every), repr(vocabulary), seed)
        words: Words = remembered(key, lambda: learn_words(embed_text, vocabulary, every, seed=seed))
        places = np.flatnonzero(words.known)
        counts = {"words": len(words.words), "words/known": len(places)}
        limit = f"agreement above {words.bar:.2f}"
        if not len(places):
            return cls(f"the text tower knows none of {len(words.words)} words ({limit}): no names", counts=counts)
        pairs = [(words.words[place], words.kinds[place]) for place in places]
        gain = _gain(embed_text, pairs, images, images.teacher)
        cosines = images.teacher @ (images.weights if images.teacher_weights is None else images.teacher_weights)
        right = cosines[np.arange(len(cosines)), images.truth]
        rest = (cosines.sum(axis=1) - right) / (cosines.shape[1] - 1)
        unit = float((right - rest)[~images.synthetic].mean())
        if unit <= 0:
            return cls("the teacher does not prefer the right class on real images: no names", counts=counts)
        about = f"the text tower knows {len(pairs)} of {len(words.words)} words ({limit})"
        return cls(about, tuple(word for word, _ in pairs), tuple(kind for _, kind in pairs), gain, unit, counts)

    @property
    def tried(self) -> np.ndarray:
        """(M,) bool: images of classes whose captions were tried."""
        return np.isfinite(self.gain).all(axis=1)


def _gain(embed_text: EmbedText, pairs: Sequence[tuple[str, str]], images: DiscoveryImages, teacher: np.ndarray) -> np.ndarray:
    """Compute the cosine to the caption with the word minus without it, for images of the classes with the widest gap; NaN for others."""
    right = images.predicted(images.student) == images.truth
    gap = [
        right[(images.labels == label) & images.synthetic].mean() - right[(images.labels == label) & ~images.synthetic].mean()
        for label in range(len(images.classes))
    ]
    tried = np.argsort(-np.array(gap), kind="stable")[:NAMED_CLASSES]
    gain = np.full((len(images.ids), len(pairs)), np.nan)
    for label in tried:
        added = directions(embed_text, pairs, [images.class_names[label]])[:, 0].mean(axis=1)  # (V, D)
        rows = images.labels == label
        gain[rows] = teacher[rows] @ added.T
    return gain


@dataclass(frozen=True, eq=False)
class DiscoveryScores:
    """A part of the result: scores, arrays, and a description of each entry in JSON types."""

    scores: dict[str, Score]
    arrays: dict[str, np.ndarray]
    descriptions: list[dict[str, Any]]


def plain(name: str) -> str:
    """Turn a class name or a word into a part of a score's name."""
    return re.sub(r"[^a-z0-9.-]+", "_", name.lower()).strip("_") or "_"


def name_scores(images: DiscoveryImages, known_words: Vocabulary, *, permutations: int, seed: int) -> DiscoveryScores:
    """Name the words that fit synthetic images better, in every class or in one, and measure whether the student uses them.

    Args:
        images: the images.
        known_words: the known words and how well they fit.
        permutations: shuffles behind each p-value.
        seed: seed of the shuffles.
    """
    scores: dict[str, Score] = {}
    descriptions: list[dict[str, Any]] = []
    uses: dict[str, tuple[dict[str, Any], Score, float]] = {}
    if known_words.words:
        rows = np.flatnonzero(known_words.tried)
        tried, labels = np.unique(images.labels[rows], return_inverse=True)
        shift = word_shift(
            known_words.gain[rows], labels, images.synthetic[rows], unit=known_words.unit, permutations=permutations, seed=seed
        )
        real = ~images.synthetic[rows]
        alike = np.cov(centred(known_words.gain[rows][real], labels[real]) / known_words.unit, rowvar=False).reshape(
            len(known_words.words), -1
        )
        for place in _worth(shift.everywhere, shift.everywhere_p, shift.fits.mean(axis=0), alike):
            value, error, p = shift.everywhere[place], shift.everywhere_error[place], shift.everywhere_p[place]
            scores |= _scored(f"word/{plain(known_words.words[place])}", value, error, p)
            descriptions.append(_name(known_words, place, "everywhere", "", value, p))
        for row, label in enumerate(tried):
            for place in _worth(shift.tied[row], shift.tied_p[row], shift.fits[row], alike):
                value, error, p = shift.tied[row, place], shift.tied_error[row, place], shift.tied_p[row, place]
                stem = f"{plain(images.class_names[label])}/{plain(known_words.words[place])}"
                scores |= _scored(f"tied/{stem}", value, error, p)
                descriptions.append(_name(known_words, place, "tied", images.class_names[label], value, p))
                use = _used(images, known_words, place, int(label))
                if use is not None:
                    uses[f"used/{stem}"] = (descriptions[-1], *use)
    scores |= _all_used(uses)
    descriptions.sort(key=lambda entry: -entry["score"])
    arrays = {
        "name/word": np.array([entry["word"] for entry in descriptions], dtype=str),
        "name/class": np.array([entry["class"] for entry in descriptions], dtype=str),
        "name/score": np.array([entry["score"] for entry in descriptions], dtype=np.float64),
        "name/p": np.array([entry["p"] for entry in descriptions], dtype=np.float64),
    }
    return DiscoveryScores(scores, arrays, descriptions)


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
    return [int(able[place]) for place in select_words(effects[able], alike[np.ix_(able, able)])]


def _name(known_words: Vocabulary, place: int, how: str, class_name: str, score: float, p: float) -> dict[str, Any]:
    kind = known_words.kinds[place]
    entry = {
        "word": known_words.words[place],
        "kind": kind,
        "how": how,
        "class": class_name,
        "score": round(float(score), 4),
        "p": float(p),
    }
    return entry | ({"family": FAMILY_OF_KIND[kind]} if kind in FAMILY_OF_KIND else {})


def _scored(stem: str, value: float, error: float, p: float) -> dict[str, Score]:
    return {stem: as_score(value, paired.around((value, error)), chance=0.0), f"adjusted_p/{stem}": Score(float(p), float(p), float(p))}


def _used(images: DiscoveryImages, known_words: Vocabulary, place: int, label: int) -> tuple[Score, float] | None:
    """Measure how much more often the student calls real images of *other* classes by this class when they show what the word names.

    Shows: the caption fits better with the word. The teacher's own share is subtracted image by image.

    Returns:
        The score and the p of its being at most 0, or None with fewer than `LEAST_PRESENT` images that show it, or that do not.
    """
    others = known_words.tried & ~images.synthetic & (images.labels != label)
    shows = known_words.gain[:, place] > 0
    with_it, without = np.flatnonzero(others & shows), np.flatnonzero(others & ~shows)
    if min(len(with_it), len(without)) < LEAST_PRESENT or images.teacher is None:
        return None
    wanted = images.classes[label]
    predictions = (images.predicted(images.student), images.predicted_by_teacher(images.teacher))
    names_class = [(predicted == wanted).astype(float) for predicted in predictions]
    values = names_class[0] - names_class[1]
    interval, p = paired.smaller_of(paired.difference(values[with_it], values[without]))
    value = values[with_it].mean() - values[without].mean()
    return as_score(value, interval, chance=0.0, direction="lower", bounds=(-2.0, 2.0)), p

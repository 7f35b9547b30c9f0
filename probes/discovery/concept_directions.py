"""Directions of words in a text tower, and whether they agree beside different classes more than those of words that do not exist."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from probes.discovery.vocabulary import CONTEXTS, PLAIN
from probes.probe_input import EmbedText

DECOYS = 100
"""Words that do not exist; what a tower makes of them is what it makes of any word it has not learnt."""

BEATEN = 0.95
"""Share of the made-up words that a known word has to beat; a few of them hold a real word by chance and beat nearly everything."""

LEAST_SHARED = 0.3
"""A word whose directions beside different classes agree less than this, as a mean cosine, has no meaning of its own there."""

CONTEXT_CLASSES = 8
"""Classes beside which words are tried; more say little more and cost as much each."""


@dataclass(frozen=True, eq=False)
class Words:
    """The words of a vocabulary and how one text tower takes them.

    Args:
        words: V words.
        kinds: (V,) kind of each.
        agreement: (V,) mean cosine between the word's directions beside different classes and in different captions, in [-1, 1].
        decoy_agreement: (P,) the same of words that do not exist.
        bar: what `agreement` has to reach: that of all but one in twenty decoys, and at least `LEAST_SHARED`.
        known: (V,) bool: `agreement` above the bar.
    """

    words: tuple[str, ...]
    kinds: tuple[str, ...]
    agreement: np.ndarray
    decoy_agreement: np.ndarray
    bar: float
    known: np.ndarray


def learn_words(embed_text: EmbedText, vocabulary: Mapping[str, Sequence[str]], class_names: Sequence[str], *, seed: int = 0) -> Words:
    """Measure which words a text tower knows.

    A word's direction beside a class is the embedding of "a photo of a red dog" minus that of "a photo of a dog". A word that was learnt
    turns every caption the same way; of one that was not, the tower makes something else each time. `DECOYS` made-up words, put into the same captions,
    give the agreement by chance.

    Args:
        embed_text: M texts -> unit rows (M, D).
        vocabulary: kind -> words; words that are class names, or hold one, are left out.
        class_names: C names, at least 2.
        seed: seed of the made-up words and of the classes they are tried beside.

    Source: ours; decoys after Elias & Gygi (2007).
    """
    taken = {part for name in class_names for part in name.lower().split()}
    pairs = [(word, kind) for kind, words in vocabulary.items() for word in words if not taken & set(word.lower().split())]
    rng = np.random.default_rng(seed)
    made_up = _made_up(DECOYS, avoid={word for word, _ in pairs}, rng=rng)
    kinds = list(vocabulary)
    beside = [class_names[place] for place in sorted(rng.permutation(len(class_names))[:CONTEXT_CLASSES])]
    decoys = [(word, kinds[place % len(kinds)]) for place, word in enumerate(made_up)]
    agreement = _agreement(embed_text, pairs + decoys, beside)
    word_agreement, decoy = agreement[: len(pairs)], agreement[len(pairs) :]
    bar = max(float(np.quantile(decoy, BEATEN)), LEAST_SHARED)
    return Words(tuple(word for word, _ in pairs), tuple(kind for _, kind in pairs), word_agreement, decoy, bar, word_agreement > bar)


def captions(word: str, kind: str, name: str) -> list[str]:
    """Write the captions of a word beside a class name, one for each of the `PLAIN` captions.

    Args:
        word: the word.
        kind: its kind, which decides where it stands.
        name: the class name.
    """
    return [context.format(word=word, name=name) for context in CONTEXTS.get(kind, CONTEXTS["attribute"])]


def directions(embed_text: EmbedText, pairs: Sequence[tuple[str, str]], names: Sequence[str]) -> np.ndarray:
    """Return what each word adds to the captions of each class, (V, C, 2, D): with the word minus without it."""
    plain = embed_text([caption.format(name=name) for name in names for caption in PLAIN])
    texts = [text for word, kind in pairs for name in names for text in captions(word, kind, name)]
    rows = embed_text(texts).reshape(len(pairs), len(names), len(PLAIN), -1)
    return rows - plain.reshape(len(names), len(PLAIN), -1)


def _agreement(embed_text: EmbedText, pairs: Sequence[tuple[str, str]], names: Sequence[str]) -> np.ndarray:
    """Compute the mean cosine between all pairs of a word's directions, (V,)."""
    added = directions(embed_text, pairs, names)
    flat = added.reshape(len(pairs), -1, added.shape[-1])
    flat = flat / np.maximum(np.linalg.norm(flat, axis=-1, keepdims=True), 1e-9)
    count = flat.shape[1]
    return ((flat.sum(axis=1) ** 2).sum(axis=-1) - (flat**2).sum(axis=(1, 2))) / (count * (count - 1))


def _made_up(count: int, *, avoid: set[str], rng: np.random.Generator) -> list[str]:
    consonants, vowels, endings = (list(letters) for letters in ("bdfgklmnprstvz", "aeiou", "xkntrs"))
    words: dict[str, None] = {}
    while len(words) < count:
        syllables = "".join(str(rng.choice(consonants)) + str(rng.choice(vowels)) for _ in range(rng.integers(2, 4)))
        word = syllables + str(rng.choice(endings))
        if word not in avoid:
            words[word] = None
    return list(words)

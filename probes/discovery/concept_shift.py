"""Shift of the fit of words from real to synthetic images, in all classes or in one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

LEAST_EFFECT = 0.1
"""A word that changes how well a caption fits by less than a tenth of what the class name itself changes names nothing worth telling."""


@dataclass(frozen=True, eq=False)
class Shift:
    """How much better words fit synthetic than real images.

    Args:
        everywhere: (V,) mean over classes of the shift, in units of what the right class name adds.
        everywhere_error: (V,) its standard error.
        everywhere_p: (V,) p corrected over all words and classes, both kinds of statement together.
        tied: (C, V) shift in a class minus the mean shift in the other classes.
        tied_error: (C, V).
        tied_p: (C, V), corrected likewise.
        fits: (C, V) mean gain on synthetic images of the class, in the same units; above 0: the caption is better with the word.
    """

    everywhere: np.ndarray
    everywhere_error: np.ndarray
    everywhere_p: np.ndarray
    tied: np.ndarray
    tied_error: np.ndarray
    tied_p: np.ndarray
    fits: np.ndarray


def word_shift(gain: np.ndarray, labels: np.ndarray, synthetic: np.ndarray, *, unit: float, permutations: int, seed: int) -> Shift:
    """Compare the fit of words between domains within every class, and test it by shuffling domains within classes.

    Two things can be cues. A word may fit synthetic images of *every* class better: a shift of the domain. Or it may fit those of *one* class
    better, and for the others another word: an association of class and attribute, which leaves the means of the domains alone
    (red ink in one class, blue in another). The first is the mean over classes of the shift, the second its deviation in a class.

    The p-values hold for all words and classes at once: each statistic, divided by its standard error, is compared with the largest of all
    statistics of both kinds in every shuffle.

    Args:
        gain: (N, V) how much better the caption of the image's class fits with the word than without.
        labels: (N,) class of each image, 0 … C - 1, each in both domains.
        synthetic: (N,) bool.
        unit: what the class name itself adds.
        permutations: B shuffles.
        seed: seed of the shuffles.

    Source: ours; single-step maximum, Westfall & Young (1993).
    """
    rng = np.random.default_rng(seed)
    classes = int(labels.max()) + 1
    shift = np.empty((permutations + 1, classes, gain.shape[1]))
    error = np.empty((classes, gain.shape[1]))
    fits = np.empty_like(error)
    for label in range(classes):
        rows = np.flatnonzero(labels == label)
        is_synthetic = synthetic[rows]
        n, m = int(is_synthetic.sum()), int((~is_synthetic).sum())
        arranged = np.concatenate([is_synthetic[None], rng.permuted(np.repeat(is_synthetic[None], permutations, axis=0), axis=1)])
        weights = np.where(arranged, 1 / n, -1 / m)
        values = gain[rows] / unit
        shift[:, label] = weights @ values
        error[label] = np.maximum(np.sqrt(values.var(axis=0) * (1 / n + 1 / m)), 1e-9)
        fits[label] = values[is_synthetic].mean(axis=0)
    everywhere = shift.mean(axis=1)  # (1 + B, V)
    everywhere_error = np.sqrt((error**2).sum(axis=0)) / classes
    others = max(classes - 1, 1)
    tied = (shift - everywhere[:, None]) * classes / others
    tied_error = np.sqrt(error**2 + ((error**2).sum(axis=0) - error**2) / others**2)
    if classes == 1:
        tied = np.zeros_like(tied)
    largest = np.maximum((everywhere / everywhere_error).max(axis=1), (tied / tied_error).max(axis=(1, 2)))
    corrected = lambda statistic: (1 + (largest[1:] >= statistic[..., None]).sum(axis=-1)) / (1 + permutations)  # noqa: E731
    return Shift(
        everywhere[0],
        everywhere_error,
        corrected(everywhere[0] / everywhere_error),
        tied[0],
        tied_error,
        corrected(tied[0] / tied_error),
        fits,
    )


def select_words(effects: np.ndarray, alike: np.ndarray) -> list[int]:
    """Select, largest effect first, the words whose effect is not explained by those before them.

    "Green" fits images of leaves better whether or not anything else is green. How far one word's fit goes along with another's is seen on
    real images, where what is tied in synthetic ones is not; that part of its effect is subtracted, and a word stays when more than half
    of its effect, and at least `LEAST_EFFECT`, is left.

    Args:
        effects: (K,) effects of candidates.
        alike: (K, K) covariance of their fits over real images, within classes.

    Returns:
        Places of the words that stay, largest effect first.

    Source: ours; forward selection of partial associations.
    """
    kept: list[int] = []
    for place in np.argsort(-effects, kind="stable").tolist():
        rest = effects[place]
        if kept:
            before = alike[np.ix_(kept, kept)] + 1e-9 * np.eye(len(kept))
            rest = rest - np.linalg.solve(before, alike[kept, place]) @ effects[kept]
        if rest >= LEAST_EFFECT and rest > 0.5 * effects[place]:
            kept.append(place)
    return kept


def best_word(activation: np.ndarray, gain: np.ndarray, strata: np.ndarray, *, permutations: int, seed: int) -> tuple[int, float, float]:
    """Find the word whose fit goes along with a number of each image, within strata.

    Args:
        activation: (N,) such as a component, or membership of a slice.
        gain: (N, V).
        strata: (N,) images of different strata are neither compared nor exchanged.
        permutations: B shuffles of the images within strata.
        seed: seed of the shuffles.

    Returns:
        Column of the word of the largest correlation, that correlation, and its p corrected over the V words.
    """
    rng = np.random.default_rng(seed)
    ours, words = _within(activation[:, None], strata), _within(gain, strata)
    correlation = (ours.T @ words)[0]
    largest = np.full(permutations, -np.inf)
    order = np.arange(len(activation))
    members = [np.flatnonzero(strata == stratum) for stratum in np.unique(strata)]
    for draw in range(permutations):
        for rows in members:
            order[rows] = rng.permutation(rows)
        largest[draw] = (ours[order].T @ words).max()
    place = int(correlation.argmax())
    return place, float(correlation[place]), float((1 + (largest >= correlation[place]).sum()) / (1 + permutations))


def centred(values: np.ndarray, strata: np.ndarray) -> np.ndarray:
    """Remove the mean of each stratum from every column of (N, V)."""
    number = np.unique(strata, return_inverse=True)[1]
    means = np.stack([np.bincount(number, column) for column in values.T], axis=1) / np.bincount(number)[:, None]
    return values - means[number]


def _within(values: np.ndarray, strata: np.ndarray) -> np.ndarray:
    """Remove the mean of each stratum and scale columns to length one."""
    rest = centred(values, strata)
    return rest / np.maximum(np.linalg.norm(rest, axis=0), 1e-9)

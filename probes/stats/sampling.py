"""Samples of images for image probes, and the partner from which each image takes a cue."""

from __future__ import annotations

import numpy as np

from probes.embeddings import DOMAINS


def sample_rows(labels: np.ndarray, domain: np.ndarray, *, limit: int, seed: int) -> np.ndarray:
    """Choose up to `limit` images of each domain, spread over the classes as evenly as the classes allow.

    Where a domain has more classes than `limit`, the same `limit` classes are drawn in both.

    Args:
        labels: (N,) class of each image.
        domain: (N,) `real` or `synthetic`.
        limit: images of each domain, at least 1.
        seed: seed of the choice.

    Returns:
        Rows in rising order, int64.
    """
    rng = np.random.default_rng(seed)
    classes = rng.permutation(np.unique(labels))[:limit]
    chosen = []
    for name in DOMAINS:
        shuffled = [rng.permutation(np.flatnonzero((domain == name) & (labels == label))) for label in classes]
        turn = np.concatenate([np.arange(len(rows)) for rows in shuffled])  # first images of all classes come first
        chosen.append(np.concatenate(shuffled)[np.argsort(turn, kind="stable")[:limit]])
    return np.sort(np.concatenate(chosen))


def partners(labels: np.ndarray, domain: np.ndarray, *, same_class: bool, same_domain: bool, seed: int) -> np.ndarray:
    """Assign to each image another image to take a cue from.

    For another class, each of the other classes is equally likely, whatever the image: so an encoder that the cue does not move names
    the partner's class no more often than any other wrong one.

    Args:
        labels: (M,) class of each image.
        domain: (M,) `real` or `synthetic`.
        same_class: take the partner from the image's own class, or from another one.
        same_domain: take it from the image's own domain, or from the other one.
        seed: seed of the draws.

    Returns:
        (M,) row of each image's partner, int64; -1 where there is none. Within its own class and domain no image is its own partner.
    """
    rng = np.random.default_rng(seed)
    partner = np.full(len(labels), -1)
    for name in DOMAINS:
        here = np.flatnonzero(domain == name)
        there = np.flatnonzero((domain == name) == same_domain)
        pool = {label: rng.permutation(there[labels[there] == label]) for label in np.unique(labels[there])}
        wanted = labels[here].copy()
        if not same_class:
            wanted = np.array([_other(int(label), sorted(pool), rng) for label in wanted], dtype=np.int64)
        for label, rows in pool.items():
            takers = here[wanted == label]
            partner[takers] = _deal(takers, rows, apart=same_class and same_domain)
    return partner


def _other(label: int, classes: list[int], rng: np.random.Generator) -> int:
    candidates = [candidate for candidate in classes if candidate != label]
    return int(rng.choice(candidates)) if candidates else -1


def _deal(takers: np.ndarray, rows: np.ndarray, *, apart: bool) -> np.ndarray:
    """Deal `rows` in turn to the takers; with `apart` both are the same images and each gets the next one in the drawn order."""
    if not apart:
        return np.resize(rows, len(takers))
    if len(rows) < 2:
        return np.full(len(takers), -1)
    following = dict(zip(rows.tolist(), np.roll(rows, -1).tolist(), strict=True))
    return np.array([following[taker] for taker in takers.tolist()], dtype=np.int64)

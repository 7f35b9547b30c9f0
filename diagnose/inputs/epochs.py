"""Which images the encoder of every epoch is asked about: few enough for twenty epochs of many students."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from diagnose.inputs.subjects import Images
from probes.attribution.sample import draw

EPOCH_IMAGES = 1000
"""Images of each domain, spread evenly: enough for means."""

EXPLAINED = 64
"""Images of each domain that the attribution probe draws; they are always among the few, so that a point on the map has its maps."""


def few_images(domains: Sequence[Images], *, seed: int) -> tuple[Images, ...]:
    """Take an even spread of the images of each domain, and those that attribution explains.

    Args:
        domains: images of each domain.
        seed: seed of the diagnosis.

    Returns:
        The same domains with at most `EPOCH_IMAGES` + `EXPLAINED` images each.
    """
    explained = explained_rows(domains, seed=seed)
    chosen, first = [], 0
    for images in domains:
        even = np.linspace(0, len(images) - 1, min(len(images), EPOCH_IMAGES)).astype(int)
        inside = explained[(explained >= first) & (explained < first + len(images))] - first
        chosen.append(images.select(np.unique(np.concatenate([even, inside]))))
        first += len(images)
    return tuple(chosen)


def explained_rows(domains: Sequence[Images], *, seed: int) -> np.ndarray:
    """Return the rows that attribution draws, real and synthetic in turn, (n,) int64; none where a domain is missing."""
    labels = np.concatenate([images.labels for images in domains])
    domain = np.concatenate([np.full(len(images), images.domain) for images in domains])
    if len({images.domain for images in domains}) < 2:
        return np.zeros(0, dtype=np.int64)
    return draw(labels, domain, limit=EXPLAINED, seed=seed).astype(np.int64)

"""Hold both domains to the same share of each class: otherwise a student's weak class alone makes a gap between them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from diagnose.subjects import Images

TOLERATED = 0.02
"""Share of the images that would have to be of another class (total variation distance): a gap it makes is at most as large, and mostly far smaller."""


def same_mix(given: Sequence[Images], *, seed: int = 0) -> tuple[tuple[Images, ...], dict[str, int]]:
    """Leave out images, drawn by seed, so that both domains have the same share of each class, as many as that allows.

    With shares r_c and s_c of class c in the two domains, both get the mix in proportion to min(r_c, s_c). Domains that differ by at most
    `TOLERATED`, and those in which a class has no image at all in one of them, stay as they are.

    Args:
        given: the images of each domain.
        seed: seed of the choice.

    Returns:
        The images; and domain -> how many were left out, of those that lost any.
    """
    if len(given) != 2:
        return tuple(given), {}
    classes = len(given[0].class_names)
    counts = np.array([np.bincount(images.labels, minlength=classes) for images in given])  # (2, C)
    shares = counts / counts.sum(axis=1, keepdims=True)
    seen = counts.any(axis=0)
    if np.abs(shares[0] - shares[1]).sum() / 2 <= TOLERATED or not (counts[:, seen] > 0).all():
        return tuple(given), {}
    mix = shares.min(axis=0) / shares.min(axis=0).sum()
    kept: list[Images] = []
    left: dict[str, int] = {}
    for images, count in zip(given, counts, strict=True):
        wanted = np.floor(mix * np.min(count[seen] / mix[seen]) + 1e-9).astype(int)
        rng = np.random.default_rng(seed)
        rows = [rng.permutation(np.flatnonzero(images.labels == label))[: max(1, wanted[label])] for label in np.flatnonzero(seen)]
        kept.append(_select(images, np.sort(np.concatenate(rows))))
        if len(kept[-1]) < len(images):
            left[images.domain] = len(images) - len(kept[-1])
    return tuple(kept), left


def sentence(left: Mapping[str, int]) -> str:
    """Say for the report what was left out; nothing where nothing was."""
    if not left:
        return ""
    words = " and ".join(f"{count:,} {domain} images" for domain, count in left.items())
    return f"The classes had other shares in the two domains; {words} were left out, so that both are judged on the same mix of classes."


def _select(images: Images, rows: np.ndarray) -> Images:
    if len(rows) == len(images):
        return images
    return replace(
        images,
        ids=images.ids[rows],
        labels=images.labels[rows],
        pixels=images.pixels[rows],
        metadata={name: fact[rows] for name, fact in images.metadata.items()},
        fingerprint="",
    )

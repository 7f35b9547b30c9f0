"""Open images by the name that a command gives: any source of `load_split`, or a part of the embedded pack."""

from __future__ import annotations

import numpy as np

from distill.data.split import Split, load_split


def open_images(spec: str, *, domain: str = "real") -> Split:
    """Load `pocket:PART` or any source of `load_split`.

    Args:
        spec: the source.
        domain: of images that do not name theirs.

    Raises:
        FileNotFoundError, ValueError: for a source that cannot be read.
    """
    if spec.startswith("pocket:"):
        from distill.packs import pocket

        return pocket.pocket_split(spec.removeprefix("pocket:"))
    return load_split(spec, domain=domain)


def first_per_class(split: Split, count: int) -> Split:
    """Keep the first images of each class, in the split's order.

    Args:
        split: labelled images.
        count: of each class, at least 1; a class that has fewer keeps all.

    Raises:
        ValueError: for a count below 1.
    """
    if count < 1:
        raise ValueError(f"`count` must be at least 1 image of each class, got {count}; give more.")
    labels = split.labels
    return split.select(np.sort(np.concatenate([np.flatnonzero(labels == label)[:count] for label in np.unique(labels)])))

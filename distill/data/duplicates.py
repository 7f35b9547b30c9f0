"""Images that stand in both domains: a few are left out and counted, many are refused, since then the two sources are not two."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping

import numpy as np

from distill.data.split import Split

logger = logging.getLogger(__name__)

MOST = 0.1
"""Share of the smaller domain that may be left out because the other domain has the same images."""

STRIDE = 4
"""Every fourth row and column is compared first; images that are equal there are compared whole."""

MOST_FILES = 200_000
"""Files read to compare their bytes; of larger sources only the images that are used are compared."""

ROWS = 1024
"""Images compared at once."""


def pixel_digests(pixels: np.ndarray, rows: np.ndarray | None = None) -> np.ndarray:
    """Hash the pixels of images.

    Args:
        pixels: (N, 3, H, W), uint8.
        rows: positions of the images wanted, or None for all.

    Returns:
        Hashes (len(rows),), bytes of length 32.
    """
    wanted = range(len(pixels)) if rows is None else rows.tolist()
    return np.array([hashlib.blake2b(pixels[row].tobytes(), digest_size=16).hexdigest() for row in wanted], dtype="S32")


def _sketches(pixels: np.ndarray) -> np.ndarray:
    """Hash every fourth row and column: equal for equal images, and read in a fraction of the time."""
    parts = [pixels[start : start + ROWS, :, ::STRIDE, ::STRIDE] for start in range(0, len(pixels), ROWS)]
    return np.concatenate([pixel_digests(np.ascontiguousarray(part)) for part in parts])


def shared_rows(first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Find images whose pixels are the same in two arrays.

    Args:
        first: (N, 3, H, W), uint8.
        second: (M, 3, H, W), uint8.

    Returns:
        Positions in `first` and in `second` of the images that the other array has too, increasing.
    """
    if first.shape[1:] != second.shape[1:]:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    sketches = _sketches(first), _sketches(second)
    candidates = [np.flatnonzero(np.isin(one, other)) for one, other in (sketches, sketches[::-1])]
    whole = [pixel_digests(pixels, rows) for pixels, rows in zip((first, second), candidates, strict=True)]
    return candidates[0][np.isin(whole[0], whole[1])], candidates[1][np.isin(whole[1], whole[0])]


def without_shared_images(real: Split, synthetic: Split, size: int | None) -> tuple[Split, Split]:
    """Leave out the images that both domains have, decided by their decoded pixels, and log how many they are.

    Args:
        real: real images.
        synthetic: synthetic images.
        size: side to which images are resized before they are compared; None for their own.

    Returns:
        The splits without the shared images; the very same where none is shared.

    Raises:
        ValueError: when more than `MOST` of the images of the smaller domain are shared, with their count and one pair of names.
    """
    rows = shared_rows(real.pixels(size), synthetic.pixels(size))
    for split in (real, synthetic):
        _warn_of_contradictions(split, split.pixels(size))
    if not len(rows[0]):
        return real, synthetic
    refuse_shared(real, synthetic, rows)
    logger.warning(
        "left out: %d real and %d synthetic images whose pixels are the same in both domains, such as %s and %s.",
        len(rows[0]),
        len(rows[1]),
        real.ids[rows[0][0]],
        synthetic.ids[rows[1][0]],
    )
    return tuple(split.select(np.setdiff1d(np.arange(len(split)), shared)) for split, shared in zip((real, synthetic), rows, strict=True))  # type: ignore[return-value]


def _warn_of_contradictions(split: Split, pixels: np.ndarray) -> None:
    """Log how many images of one domain stand in several classes: at most one of their labels is right."""
    sketches = _sketches(pixels)
    _, first, counts = np.unique(sketches, return_inverse=True, return_counts=True)
    candidates = np.flatnonzero(counts[first] > 1)
    groups: dict[bytes, list[int]] = {}
    for row, digest in zip(candidates.tolist(), pixel_digests(pixels, candidates).tolist(), strict=True):
        groups.setdefault(digest, []).append(row)
    labels = split.labels
    contradictory = [rows for rows in groups.values() if len(set(labels[rows].tolist())) > 1]
    if contradictory:
        logger.warning(
            "%d images of `%s` stand in several classes with the same pixels, such as %s; at most one of their classes is right.",
            sum(map(len, contradictory)),
            split.name,
            " and ".join(split.ids[contradictory[0][:2]]),
        )


def refuse_shared_files(real: Split, synthetic: Split) -> None:
    """Refuse sources of which too many files have the same bytes, before anything is decoded: for a check of more images than are used.

    Args:
        real: real images.
        synthetic: synthetic images.

    Raises:
        ValueError: as `without_shared_images`.
    """
    if len(real) + len(synthetic) > MOST_FILES:
        return
    first, second = _file_digests(real), _file_digests(synthetic)
    rows = np.flatnonzero(np.isin(first, second)), np.flatnonzero(np.isin(second, first))
    if len(rows[0]):
        refuse_shared(real, synthetic, rows)


def _file_digests(split: Split) -> np.ndarray:
    return np.array([row.tobytes().hex() for row in split.digests], dtype="S32")


def warn_of_leaks(train: Mapping[str, Split], test: Mapping[str, Split]) -> None:
    """Log how many held-out images are among the training images, byte for byte: accuracy on them is no accuracy on new images.

    Args:
        train: name of a training set -> its images.
        test: name of held-out images -> these.
    """
    digests = {name: _file_digests(split) for name, split in train.items()}
    for name, split in test.items():
        held_out = _file_digests(split)
        for trained_on, others in digests.items():
            if count := int(np.isin(held_out, others).sum()):
                logger.warning(
                    "%d of %d held-out images of %s are among the training images of %s: a student may know them by heart.",
                    count,
                    len(split),
                    name,
                    trained_on,
                )


def refuse_shared(real: Split, synthetic: Split, rows: tuple[np.ndarray, np.ndarray]) -> None:
    """Refuse sources of which too many images are the same.

    Args:
        real: real images.
        synthetic: synthetic images.
        rows: positions of the shared ones in each, not empty.

    Raises:
        ValueError: when more than `MOST` of either domain are shared.
    """
    shares = [len(shared) / len(split) for shared, split in zip(rows, (real, synthetic), strict=True)]
    if max(shares) <= MOST:
        return
    names = [str(split.ids[shared[0]]) for split, shared in zip((real, synthetic), rows, strict=True)]
    raise ValueError(
        f"real and synthetic images must be different images, got {len(rows[0])} of {len(real)} in `{real.name}` and {len(rows[1])} of "
        f"{len(synthetic)} in `{synthetic.name}` with the same pixels, such as {names[0]} and {names[1]}; was one folder given twice? Give held-out "
        "images of each domain, or name what tells the domain (`--domain-column`, `--layout`)."
    )

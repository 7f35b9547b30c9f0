"""Statistics with one block of images left out at a time, for the jackknife."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from probes.stats.intervals import Interval, jackknife

BLOCKS = 30
"""Enough for Student's quantile to be near the normal one (2.05 against 1.96), few enough to be cheap."""


@dataclass(frozen=True)
class BlockEstimate:
    """A statistic on all images and without each block.

    Args:
        value: on all images.
        left_out: (G,) without block g.
    """

    value: float
    left_out: np.ndarray

    @property
    def interval(self) -> Interval:
        """95 % interval by the block jackknife."""
        return jackknife(self.value, self.left_out)


def deal_blocks(n: int, *, seed: int) -> np.ndarray:
    """Deal n images to min(30, n) blocks of nearly equal size, (n,) int64."""
    return np.random.default_rng(seed).permutation(n) % min(BLOCKS, n)


def block_sums(values: np.ndarray, blocks: np.ndarray) -> np.ndarray:
    """Sum rows by block, (G, ...).

    Args:
        values: (n, ...).
        blocks: (n,) block of each row.
    """
    if values.ndim == 1:
        return np.bincount(blocks, values)
    member = (np.arange(int(blocks.max()) + 1)[:, None] == blocks).astype(np.float64)  # (G, n): a product is ten times as fast as adding at
    return (member @ values.reshape(len(values), -1)).reshape(len(member), *values.shape[1:])


def without(sums: np.ndarray) -> np.ndarray:
    """Compute the total without each block, and the whole total as last entry, (G + 1, ...).

    Args:
        sums: (G, ...) by block.
    """
    total = sums.sum(axis=0)
    return np.concatenate([total[None] - sums, total[None]])


def each_without(parts: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """Return what `without` gives one after another, for sums too large to hold G + 1 of them twice.

    Args:
        parts: sums by block, each of one shape.
    """
    sums = list(parts)
    whole = np.sum(sums, axis=0)
    for part in sums:
        yield whole - part
    yield whole

"""Statistics with one block of images left out at a time, for the jackknife."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from probes.intervals import Interval, jackknife

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
    sums = np.zeros((int(blocks.max()) + 1, *values.shape[1:]), dtype=np.float64)
    np.add.at(sums, blocks, values)
    return sums


def without(sums: np.ndarray) -> np.ndarray:
    """Give the total without each block, and the whole total as last entry, (G + 1, ...).

    Args:
        sums: (G, ...) by block.
    """
    total = sums.sum(axis=0)
    return np.concatenate([total[None] - sums, total[None]])

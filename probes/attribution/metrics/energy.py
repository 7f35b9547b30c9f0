"""Share of the energy of maps at the border, in the centre, and inside a mask."""

from __future__ import annotations

import numpy as np


def border_region(height: int, width: int) -> np.ndarray:
    """Mark the pixels nearer to an edge than an eighth of the side, (H, W) bool."""
    return ~_inner(height, width, 8)


def centre_region(height: int, width: int) -> np.ndarray:
    """Mark the middle half of both sides, (H, W) bool."""
    return _inner(height, width, 4)


def _inner(height: int, width: int, part: int) -> np.ndarray:
    down, across = max(1, round(height / part)), max(1, round(width / part))
    region = np.zeros((height, width), dtype=bool)
    region[down : height - down, across : width - across] = True
    return region


def energy_share(maps: np.ndarray, region: np.ndarray) -> np.ndarray:
    """Compute the share of each map's absolute values that lies in a region.

    Args:
        maps: (n, H, W), signed.
        region: (H, W) or (n, H, W) bool.

    Returns:
        (n,) in [0, 1], chance the region's share of the area; NaN for a map of zeros.
    """
    size = np.abs(maps.astype(np.float64))
    total = size.sum(axis=(1, 2))
    return np.divide((size * region).sum(axis=(1, 2)), total, out=np.full(len(maps), np.nan), where=total > 0)

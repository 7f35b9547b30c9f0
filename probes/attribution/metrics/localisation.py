"""Localisation of a known place by maps: the pointing game, and the overlap with a mask of the same area."""

from __future__ import annotations

import numpy as np


def pointing_game(maps: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """Test for each image whether the largest value of its map lies in its mask, (n,) bool; chance is the mask's share of the area.

    Args:
        maps: (n, H, W), signed; of equal largest values the first counts.
        masks: (n, H, W) bool.

    Source: Zhang et al. (2016), section 4.1, without their margin of 15 pixels.
    """
    flat = maps.reshape(len(maps), -1)
    return masks.reshape(len(masks), -1)[np.arange(len(maps)), flat.argmax(axis=1)]


def overlap(maps: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """Compute the IoU of each mask with the equally many pixels of largest map values, (n,) in [0, 1]; NaN for an empty mask.

    For a share a of the area, a random map has about a / (2 - a).

    Args:
        maps: (n, H, W), signed.
        masks: (n, H, W) bool.
    """
    flat, inside = maps.reshape(len(maps), -1), masks.reshape(len(masks), -1).astype(bool)
    iou = np.full(len(maps), np.nan)
    for row, (values, mask) in enumerate(zip(flat, inside, strict=True)):
        if mask.any():
            top = np.argsort(-values, kind="stable")[: int(mask.sum())]
            common = int(mask[top].sum())
            iou[row] = common / (2 * int(mask.sum()) - common)
    return iou

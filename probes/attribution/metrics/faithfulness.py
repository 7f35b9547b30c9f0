"""Faithfulness of maps: deletion and insertion curves, beside those of the same map in the wrong place."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor

    from probes.attribution.methods.differentiable import AttributionTarget

CELLS = 8
"""Cells a side that are removed as a whole: single pixels would make salt and pepper, which any network falls for."""
FRACTIONS = (0.1, 0.25, 0.5, 0.75, 0.9)
"""Symmetric about one half, so that an order without meaning gives the same area for deletion and for insertion."""


@dataclass(frozen=True)
class Curves:
    """f as cells are removed from the image, and as they are put into the baseline image, most important first.

    Args:
        deletion: (n, K + 2) at the fractions 0, `FRACTIONS`, 1 removed.
        insertion: (n, K + 2) at the fractions 0, `FRACTIONS`, 1 put in.
    """

    deletion: np.ndarray
    insertion: np.ndarray

    @property
    def areas(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean of f - f(baseline) over the share removed, and over the share put in, (n,) each."""
        at = (0.0, *FRACTIONS, 1.0)
        baseline = self.deletion[:, -1]
        return np.trapezoid(self.deletion, at, axis=1) - baseline, np.trapezoid(self.insertion, at, axis=1) - baseline

    @property
    def faithfulness(self) -> np.ndarray:
        """Insertion area minus deletion area, (n,); zero on average for an order without meaning."""
        deleted, inserted = self.areas
        return inserted - deleted


def into_cells(maps: np.ndarray, cells: int = CELLS) -> np.ndarray:
    """Average maps (n, H, W) over at most `cells` x `cells` cells of nearly equal size, (n, h, w)."""
    return np.einsum("ay,nyx,bx->nab", _membership(maps.shape[1], cells), maps.astype(np.float64), _membership(maps.shape[2], cells))


def _membership(length: int, cells: int) -> np.ndarray:
    member = np.zeros((min(cells, length), length))
    member[_cell_of(length, cells), np.arange(length)] = 1
    return member / member.sum(axis=1, keepdims=True)


def _cell_of(length: int, cells: int) -> np.ndarray:
    return np.arange(length) * min(cells, length) // length


def misplaced(cells: np.ndarray, *, seed: int) -> np.ndarray:
    """Shift every map (n, h, w) by a random step around its edges and mirror it at random: the random map.

    It has the values and the smoothness of the real one and only its place is random. White noise would be easier to beat for
    coarse maps and harder for fine ones.
    """
    rng = np.random.default_rng(seed)
    out = np.empty_like(cells)
    for row, cell in enumerate(cells):
        step = int(rng.integers(1, cell.size)) if cell.size > 1 else 0
        mirrored = cell[:: rng.choice([-1, 1]), :: rng.choice([-1, 1])]
        out[row] = np.roll(mirrored, divmod(step, cell.shape[1]), axis=(0, 1))
    return out


def curves(encoder: AttributionTarget, images: Tensor, direction: Tensor, cells: np.ndarray, *, seed: int) -> Curves:
    """Remove and put in the cells of each image in the order of its map, largest first; ties in random order.

    Args:
        encoder: the encoder and the baseline colour.
        images: (n, 3, H, W).
        direction: (n, D).
        cells: (n, h, w) maps averaged over cells.
        seed: seed of the ties.

    Source: Petsiuk, Das & Saenko (2018), section 4.2, with cells for pixels.
    """
    import torch

    rng = np.random.default_rng(seed)
    flat = cells.reshape(len(cells), -1)
    shuffle = np.argsort(rng.random(flat.shape), axis=1)
    order = np.take_along_axis(shuffle, np.argsort(-np.take_along_axis(flat, shuffle, axis=1), axis=1, kind="stable"), axis=1)
    rank = np.argsort(order, axis=1).reshape(cells.shape)
    down = _cell_of(images.shape[-2], cells.shape[1])
    across = _cell_of(images.shape[-1], cells.shape[2])
    full, baseline = ((encoder.embed(x) * direction).sum(dim=1).numpy() for x in (images, encoder.baseline.expand_as(images).contiguous()))
    deletion, insertion = [full], [baseline]
    for fraction in FRACTIONS:
        first = rank < max(1, round(fraction * flat.shape[1]))
        mask = torch.from_numpy(first[:, down][:, :, across])[:, None]
        deletion.append((encoder.embed(torch.where(mask, encoder.baseline, images)) * direction).sum(dim=1).numpy())
        insertion.append((encoder.embed(torch.where(mask, images, encoder.baseline)) * direction).sum(dim=1).numpy())
    return Curves(np.stack([*deletion, baseline], axis=1), np.stack([*insertion, full], axis=1))

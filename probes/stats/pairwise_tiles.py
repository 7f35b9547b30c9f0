"""All pairs of two sets of rows in square tiles: sums of a kernel and nearest neighbours, without an n x m matrix in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from probes.compute.threads import ONE_THREAD, cores

TILE = 1024
"""Rows of a tile: 4 MiB of float32, which stays in the cache between the product and what is made of it."""

_STRETCH = 64
"""Columns whose least value stands for them while the k least of a row are looked for."""


def over_tiles(x: np.ndarray, y: np.ndarray | None, work: Callable[[slice, slice, np.ndarray], Any]) -> Iterator[tuple[slice, slice, Any]]:
    """Yield `work(rows, columns, dots)` of every tile of x y^T, or of the tiles on and above the diagonal of x x^T where y is None.

    Tiles are worked on in threads, one a core; each takes one core, so that the caller decides on the threads of BLAS.

    Args:
        x: (n, D).
        y: (m, D), or None for pairs within x.
        work: makes something small of a tile (a, b) of dot products; it may change the tile.

    Yields:
        Rows, columns and what `work` gave, in a fixed order.
    """
    second = x if y is None else y
    places = [
        (slice(i, min(i + TILE, len(x))), slice(j, min(j + TILE, len(second))))
        for i in range(0, len(x), TILE)
        for j in range(i if y is None else 0, len(second), TILE)
    ]

    def one(place: tuple[slice, slice]) -> Any:
        return work(*place, x[place[0]] @ second[place[1]].T)

    if len(places) < 4:
        yield from ((*place, one(place)) for place in places)
        return
    with ONE_THREAD, ThreadPoolExecutor(cores()) as pool:
        for place, value in zip(places, pool.map(one, places), strict=True):
            yield (*place, value)


def squares(dots: np.ndarray, row_squares: np.ndarray, column_squares: np.ndarray) -> np.ndarray:
    """Turn a tile of dot products into squared distances, in place; not below 0.

    Args:
        dots: (a, b).
        row_squares: (a,) squared lengths of the rows.
        column_squares: (b,) squared lengths of the columns.
    """
    dots *= -2
    dots += row_squares[:, None]
    dots += column_squares
    return np.maximum(dots, 0, out=dots)


def least(values: np.ndarray, k: int) -> np.ndarray:
    """Return the k least of each row, in no order, (a, k); padded with infinity where a row is shorter.

    The k least lie in the k stretches whose least values are least, so that one pass spares sorting the rest.
    """
    if values.shape[1] <= k:
        return np.pad(values, ((0, 0), (0, k - values.shape[1])), constant_values=np.inf)
    whole = values.shape[1] // _STRETCH * _STRETCH
    if whole // _STRETCH <= 2 * k:
        return np.partition(values, k - 1, axis=1)[:, :k]
    parts = values[:, :whole].reshape(len(values), -1, _STRETCH)
    chosen = np.argpartition(parts.min(axis=2), k - 1, axis=1)[:, :k]
    kept = np.take_along_axis(parts, chosen[:, :, None], axis=1).reshape(len(values), -1)
    return np.partition(np.concatenate([kept, values[:, whole:]], axis=1), k - 1, axis=1)[:, :k]


def neighbour_distances_and_cubes(x: np.ndarray, squared_lengths: np.ndarray, k: int) -> tuple[np.ndarray, float]:
    """Compute each row's squared distance to its k-th nearest other row, (n,), and the sum over pairs of different rows of (x_i . x_j)^3.

    Args:
        x: (n, D), n above k.
        squared_lengths: (n,) squared lengths.
        k: at least 1.
    """

    def work(rows: slice, columns: slice, dots: np.ndarray) -> tuple[np.ndarray, np.ndarray | None, float]:
        alone = rows == columns
        if alone:
            np.fill_diagonal(dots, 0)
        cube = cube_sum(dots)
        square = squares(dots, squared_lengths[rows], squared_lengths[columns])
        if alone:
            np.fill_diagonal(square, np.inf)
            return least(square, k), None, cube
        return least(square, k), least(np.ascontiguousarray(square.T), k), 2 * cube

    near = np.full((len(x), k), np.inf, dtype=squared_lengths.dtype)
    total = 0.0
    for rows, columns, (first, second, cube) in over_tiles(x, None, work):
        total += cube
        for place, smallest in ((rows, first), (columns, second)):
            if smallest is not None:
                near[place] = np.partition(np.concatenate([near[place], smallest], axis=1), k - 1, axis=1)[:, :k]
    return near.max(axis=1), total


def cube_sum(dots: np.ndarray) -> float:
    """Sum the cubes of a tile; BLAS adds up in blocks, so float32 loses no more than its own rounding."""
    flat = dots.reshape(-1)
    return float(np.dot(flat * flat, flat))

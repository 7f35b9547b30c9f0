"""Divide N images among processes: every image once, shares that differ by at most one image, without anybody having to ask."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping


def place_in_launch(environment: Mapping[str, str] | None = None) -> tuple[int, int]:
    """Give the number of this process and of all of them, from what `torchrun` and `accelerate launch` set; (0, 1) without a launcher.

    Raises:
        ValueError: for numbers that cannot be.
    """
    given = os.environ if environment is None else environment
    words = given.get("RANK", "0"), given.get("WORLD_SIZE", "1")
    try:
        rank, world = (int(word) for word in words)
    except ValueError:
        rank, world = -1, 0
    if not 0 <= rank < world:
        raise ValueError(
            f"`RANK` must be a number below `WORLD_SIZE`, got {words[0]!r} and {words[1]!r}; start with torchrun or unset both."
        )
    return rank, world


def shard_of(total: int, rank: int, world: int) -> range:
    """Give the rows of one process, [total rank / world, total (rank + 1) / world) in whole numbers.

    Args:
        total: number of images N.
        rank: from 0.
        world: number of processes, above `rank`.
    """
    return range(total * rank // world, total * (rank + 1) // world)


def pieces(rows: range, size: int) -> Iterator[range]:
    """Cut rows at the multiples of `size`, so that pieces of any two shares meet and never overlap.

    Example:
        >>> list(pieces(range(3, 9), 4))
        [range(3, 4), range(4, 8), range(8, 9)]
    """
    start = rows.start
    while start < rows.stop:
        stop = min((start // size + 1) * size, rows.stop)
        yield range(start, stop)
        start = stop


def whole_batches(rows: range, batch: int, total: int) -> Iterator[range]:
    """Give the batches that cover some rows, each as one process alone would run it.

    The last bits of an embedding depend on how many images are in its batch; a batch that a share cuts through is run whole by
    both neighbours, and each keeps its own rows.

    Args:
        rows: rows wanted.
        batch: images of a batch, counted from row 0.
        total: number of images N, where the last batch ends.
    """
    for start in range(rows.start // batch * batch, rows.stop, batch):
        yield range(start, min(start + batch, total))

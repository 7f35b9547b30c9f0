"""Shard N images over processes: each image once, shards that differ by at most one image, computed without communication."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping


def rank_and_world_size(environment: Mapping[str, str] | None = None) -> tuple[int, int]:
    """Read rank and world size from what `torchrun` and `accelerate launch` set.

    Args:
        environment: variables to read; those of this process by default.

    Returns:
        Rank and world size; (0, 1) without a launcher.

    Raises:
        ValueError: when `RANK` is no number from 0 to `WORLD_SIZE` - 1.
    """
    variables = os.environ if environment is None else environment
    values = variables.get("RANK", "0"), variables.get("WORLD_SIZE", "1")
    try:
        rank, world = (int(value) for value in values)
    except ValueError:
        rank, world = -1, 0
    if not 0 <= rank < world:
        raise ValueError(
            f"`RANK` must be a number below `WORLD_SIZE`, got {values[0]!r} and {values[1]!r}; start with torchrun or unset both."
        )
    return rank, world


def shard_of(total: int, rank: int, world: int) -> range:
    """Return the rows of one process, [total rank / world, total (rank + 1) / world) in whole numbers.

    Args:
        total: number of images N.
        rank: from 0.
        world: number of processes, above `rank`.
    """
    return range(total * rank // world, total * (rank + 1) // world)


def chunks(rows: range, size: int) -> Iterator[range]:
    """Cut rows at the multiples of `size`, so that chunks of any two shards meet and never overlap.

    Args:
        rows: of one shard.
        size: largest length of a chunk, at least 1.

    Example:
        >>> list(chunks(range(3, 9), 4))
        [range(3, 4), range(4, 8), range(8, 9)]
    """
    start = rows.start
    while start < rows.stop:
        stop = min((start // size + 1) * size, rows.stop)
        yield range(start, stop)
        start = stop


def whole_batches(rows: range, batch: int, total: int) -> Iterator[range]:
    """List the batches that cover some rows, each as one process alone would run it.

    The last bits of an embedding depend on how many images are in its batch. A batch that a shard boundary cuts is therefore run whole by
    both processes, and each keeps its own rows.

    Args:
        rows: rows wanted.
        batch: images of a batch, counted from row 0.
        total: number of images N, where the last batch ends.
    """
    for start in range(rows.start // batch * batch, rows.stop, batch):
        yield range(start, min(start + batch, total))

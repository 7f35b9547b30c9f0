"""Images decoded in threads ahead of whoever looks at them, in bounded memory; nothing is kept."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import closing

import numpy as np

from distill.data.decode import BadImageError, ImageFacts, decode_with_facts, fact_columns, fit
from distill.data.pixel_cache import quiet, refuse, scan
from distill.data.split import Split

AHEAD = 32
"""Images a decoding thread takes at once: few, so that the first batch does not wait long."""


def prefetched(split: Split, size: int, batches: Iterable[range]) -> Iterator[tuple[range, np.ndarray, dict[str, np.ndarray]]]:
    """Decode batches of rows one after another while the one before is worked on.

    Args:
        split: the images.
        size: side of the square every image is resized and cropped to, as `Split.pixels`.
        batches: rows of each batch, ascending and adjoining.

    Yields:
        The rows; their pixels (B, 3, S, S) uint8, in memory by rows, columns and then colours; and their file facts, name -> (B,), as `Split.metadata`.

    Raises:
        ValueError: naming the images of a batch that cannot be used.
    """
    wanted = list(batches)
    if not wanted:
        return
    first, last = wanted[0].start, wanted[-1].stop
    rows = split.rows if (first, last) == (0, len(split)) else split.rows.select(range(first, last))

    def work(data: bytes) -> tuple[np.ndarray, ImageFacts]:
        image, image_facts = decode_with_facts(data)
        return np.asarray(fit(image, size)), image_facts

    decoded: list[tuple[np.ndarray, ImageFacts] | BadImageError] = []
    with closing(scan(rows, work, chunk=AHEAD)) as scanned, quiet():
        for batch in wanted:
            while len(decoded) < len(batch):
                decoded += next(scanned)
            batch_images, decoded = decoded[: len(batch)], decoded[len(batch) :]
            bad = [(batch.start + place, item) for place, item in enumerate(batch_images) if isinstance(item, BadImageError)]
            refuse(split.rows, bad, split.name)
            good = [item for item in batch_images if not isinstance(item, BadImageError)]
            pixels = np.stack([each for each, _ in good]).transpose(0, 3, 1, 2)  # stays as decoded, which is how encoders want it laid out
            yield batch, pixels, fact_columns([fact for _, fact in good])

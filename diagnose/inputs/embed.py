"""Embed the images of both domains with one encoder, as one table."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from diagnose.inputs.subjects import Encode, Images
from probes.embeddings import EmbeddingTable, embed


def table_of(
    encode: Encode, name: str, given: Sequence[Images], *, batch_size: int = 500, progress: Callable[[int, int], None] | None = None
) -> EmbeddingTable:
    """Embed images, domain after domain.

    Args:
        encode: the encoder.
        name: its name.
        given: images of each domain, with ids that differ (see `distinct`).
        batch_size: images in one forward pass.
        progress: called with (done, total).
    """
    return embed(
        encode,
        _batches(given, batch_size),
        ids=ids_of(given).tolist(),
        labels=np.concatenate([images.labels for images in given]).tolist(),
        domain=np.concatenate([np.full(len(images), images.domain) for images in given]).tolist(),
        name=name,
        metadata=_metadata(given),
        progress=progress,
    )


def distinct(given: Sequence[Images]) -> tuple[Images, ...]:
    """Put the domain in front of all ids where one occurs in both domains."""
    joined = ids_of(given) if given else np.array([])
    if len(np.unique(joined)) == len(joined):
        return tuple(given)
    return tuple(replace(images, ids=np.char.add(f"{images.domain}/", images.ids)) for images in given)


def ids_of(given: Sequence[Images]) -> np.ndarray:
    """List the ids of all images, domain after domain."""
    return np.concatenate([images.ids for images in given])


def _batches(given: Sequence[Images], batch_size: int) -> Iterator[Any]:
    import torch

    for images in given:
        for start in range(0, len(images), batch_size):
            yield torch.from_numpy(np.array(images.pixels[start : start + batch_size]))


def _metadata(given: Sequence[Images]) -> dict[str, np.ndarray]:
    shared = set(given[0].metadata).intersection(*(images.metadata for images in given))
    return {name: np.concatenate([images.metadata[name] for images in given]) for name in sorted(shared)}

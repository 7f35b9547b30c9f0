"""Embed the images of both domains with one encoder, as one table."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from diagnose.inputs.subjects import Encode, Images
from probes.embeddings import EmbeddingTable, embed


def table_of(
    encode: Encode, name: str, domains: Sequence[Images], *, batch_size: int = 500, progress: Callable[[int, int], None] | None = None
) -> EmbeddingTable:
    """Embed images, domain after domain.

    Args:
        encode: the encoder.
        name: its name.
        domains: images of each domain, with ids that differ (see `distinct`).
        batch_size: images in one forward pass.
        progress: called with (done, total).
    """
    return embed(
        encode,
        _batches(domains, batch_size),
        ids=ids_of(domains).tolist(),
        labels=np.concatenate([images.labels for images in domains]).tolist(),
        domain=np.concatenate([np.full(len(images), images.domain) for images in domains]).tolist(),
        name=name,
        metadata=_metadata(domains),
        progress=progress,
    )


def distinct(domains: Sequence[Images]) -> tuple[Images, ...]:
    """Put the domain in front of all ids where one occurs in both domains."""
    joined = ids_of(domains) if domains else np.array([])
    if len(np.unique(joined)) == len(joined):
        return tuple(domains)
    return tuple(replace(images, ids=np.char.add(f"{images.domain}/", images.ids)) for images in domains)


def ids_of(domains: Sequence[Images]) -> np.ndarray:
    """List the ids of all images, domain after domain."""
    return np.concatenate([images.ids for images in domains])


def _batches(domains: Sequence[Images], batch_size: int) -> Iterator[Any]:
    import torch

    for images in domains:
        for start in range(0, len(images), batch_size):
            yield torch.from_numpy(np.array(images.pixels[start : start + batch_size]))


def _metadata(domains: Sequence[Images]) -> dict[str, np.ndarray]:
    shared = set(domains[0].metadata).intersection(*(images.metadata for images in domains))
    return {name: np.concatenate([images.metadata[name] for images in domains]) for name in sorted(shared)}

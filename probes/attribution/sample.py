"""The images that are attributed: equally many of each domain, with the same proportions of classes in both."""

from __future__ import annotations

import numpy as np

from probes.embeddings import DOMAINS


def draw(labels: np.ndarray, domain: np.ndarray, *, limit: int, seed: int) -> np.ndarray:
    """Draw up to `limit` images of each domain, class after class in turn, so that a prefix is as balanced as the whole.

    Args:
        labels: (N,).
        domain: (N,).
        limit: images of each domain.
        seed: seed of the draw.

    Returns:
        (n,) rows, real and synthetic in turn: the first 2 k rows hold k of each domain, of the same classes.
    """
    rng = np.random.default_rng(seed)
    classes = rng.permutation(np.unique(labels))
    queues = {(c, side): rng.permutation(np.flatnonzero((labels == c) & (domain == side))) for c in classes for side in DOMAINS}
    rounds = max(min(len(queues[c, side]) for side in DOMAINS) for c in classes)
    rows: list[int] = []
    for turn in range(rounds):
        for c in classes:
            if all(len(queues[c, side]) > turn for side in DOMAINS):
                rows += [int(queues[c, side][turn]) for side in DOMAINS]
            if len(rows) >= 2 * limit:
                return np.array(rows)
    return np.array(rows)

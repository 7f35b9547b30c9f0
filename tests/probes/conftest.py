"""Tables of Gaussian embeddings, made by hand."""

from __future__ import annotations

import numpy as np
import pytest

from probes.embeddings import EmbeddingTable


def _table(
    embeddings: np.ndarray,
    labels: np.ndarray,
    synthetic: np.ndarray,
    name: str = "student",
    *,
    normalize: bool = True,
    **metadata: np.ndarray,
) -> EmbeddingTable:
    ids = np.array([f"image-{row:05d}" for row in range(len(labels))])
    return EmbeddingTable(ids, embeddings, labels, np.where(synthetic, "synthetic", "real"), name, metadata, normalize=normalize)


@pytest.fixture
def make_table():
    """Build a table from arrays: embeddings (N, D), labels (N,), synthetic (N,) bool."""
    return _table


@pytest.fixture
def make_pair():
    """Build a student and a teacher over the same images: class clusters, and a shift of the synthetic images of chosen length."""

    def build(n: int = 200, *, classes: int = 4, dimension: int = 12, shift: float = 0.0, teacher_shift: float = 0.0, seed: int = 0):
        rng = np.random.default_rng(seed)
        labels = np.arange(n) % classes
        synthetic = (np.arange(n) // classes) % 2 == 1
        weights = np.linalg.qr(rng.normal(size=(dimension, classes)))[0]
        content = 6 * weights.T[labels] + rng.normal(size=(n, dimension))
        away = np.zeros(dimension)
        away[-1] = 1.0
        teacher = _table(content + teacher_shift * synthetic[:, None] * away, labels, synthetic, "teacher")
        noisy = content + 0.5 * rng.normal(size=(n, dimension)) + shift * synthetic[:, None] * away
        return _table(noisy, labels, synthetic), teacher, weights

    return build

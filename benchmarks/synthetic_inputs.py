"""Made-up embeddings and photographs for the benchmarks; nothing is downloaded."""

from __future__ import annotations

from pathlib import Path

import numpy as np

CLASSES = 10


def embeddings(n: int, dimension: int = 512, *, encoder: int = 0, shift: float = 0.1) -> np.ndarray:
    """Make (n, D) unit rows of 10 classes, every other row of each class synthetic: classes, 64 shared factors, noise of the encoder, a shift."""
    shared = np.random.default_rng(1)
    centres = shared.normal(size=(CLASSES, dimension)).astype(np.float32)
    mixing = shared.normal(size=(64, dimension)).astype(np.float32) / 8
    away = shared.normal(size=dimension).astype(np.float32)
    factors, noise = np.random.default_rng(2), np.random.default_rng([3, encoder])
    x = np.empty((n, dimension), np.float32)
    for start in range(0, n, 50_000):
        stop = min(start + 50_000, n)
        part = factors.normal(size=(stop - start, 64)).astype(np.float32) @ mixing
        part += noise.standard_normal((stop - start, dimension), dtype=np.float32)
        part += centres[labels(n)[start:stop]] / 2
        part[synthetic(n)[start:stop]] += shift * away
        x[start:stop] = part / np.linalg.norm(part, axis=1, keepdims=True)
    return x


def curved(n: int, dimension: int = 512, *, encoder: int = 0, factors: int = 8) -> np.ndarray:
    """Make (n, D) unit rows on a curved sheet of few dimensions, as trained encoders do, with 10 classes; encoders bend the same factors otherwise."""
    shared, bending = np.random.default_rng(4), np.random.default_rng([5, encoder])
    z = shared.normal(size=(n, factors)) + 2 * shared.normal(size=(CLASSES, factors))[labels(n)]
    bends = bending.normal(size=(factors, dimension)) / 2
    x = np.sin(z @ bends + bending.uniform(0, 2 * np.pi, dimension)) + 0.1 * bending.normal(size=(n, dimension))
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)


def labels(n: int) -> np.ndarray:
    """Return the class of each row, (n,)."""
    return np.arange(n) % CLASSES


def synthetic(n: int) -> np.ndarray:
    """Tell which rows are synthetic, (n,) bool."""
    return np.arange(n) // CLASSES % 2 == 1


def class_weights(dimension: int = 512) -> np.ndarray:
    """Make class texts (D, 10): the class centres, so that zero-shot answers are often right."""
    return np.random.default_rng(1).normal(size=(CLASSES, dimension)).astype(np.float32).T


def table(n: int, name: str, *, encoder: int = 0, dimension: int = 512) -> object:
    """Make an `EmbeddingTable` of n rows."""
    from probes.embeddings import EmbeddingTable

    ids = np.char.add("image-", np.char.zfill(np.arange(n).astype(str), 8))
    domain = np.where(synthetic(n), "synthetic", "real")
    return EmbeddingTable(ids, embeddings(n, dimension, encoder=encoder), labels(n), domain, name)


def photographs(folder: Path, n: int, *, width: int = 320, height: int = 256) -> Path:
    """Write n JPEGs of smooth random scenes with grain under folder/real/<class>/, quality 90; give the folder."""
    from PIL import Image

    rng = np.random.default_rng(0)
    for number in range(n):
        path = folder / "real" / f"class-{number % 4}" / f"{number:05d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        coarse = Image.fromarray(rng.integers(0, 256, (8, 10, 3), dtype=np.uint8)).resize((width, height), Image.Resampling.BICUBIC)
        grain = rng.normal(0, 12, (height, width, 3))
        Image.fromarray(np.clip(np.asarray(coarse) + grain, 0, 255).astype(np.uint8)).save(path, quality=90)
    return folder

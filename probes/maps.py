"""Maps: teacher, students and checkpoints laid out in the plane on shared axes, with the neighbours of the space itself beside them."""

from __future__ import annotations

import warnings
from collections.abc import Mapping

import numpy as np

from probes.blocks import BlockEstimate, deal_blocks
from probes.embeddings import EmbeddingTable
from probes.folds import sample_domain
from probes.inputs import check_tables, versions
from probes.intervals import as_score
from probes.result import ProbeResult, Score

FEWEST = 30
"""Images of each domain below which a map has no neighbourhoods to keep."""

MOST = 2000
"""Images on a map at most, both domains: more are not seen apart, and the layout's time grows with them."""

ROWS = 1024
"""Rows whose distances to all others are held at once."""


def aligned_maps(
    tables: Mapping[str, EmbeddingTable], *, seed: int = 0, max_images: int = 800, neighbours: int = 15, epochs: int | None = None
) -> ProbeResult:
    """Lay out the same images as several encoders see them, so that an image stays near its place from map to map.

    Axes are shared: what moves between two maps has moved between the encoders. Give them in the order in which they resemble each other
    (teacher, then the epochs of a student), since only maps that follow one another are tied. Distances in a map are not distances; the nearest
    neighbours in the embedding itself are kept for every image, and the share of them that the map shows is its score.

    Args:
        tables: name -> embeddings of the same images in the same order, at least two; the first one is the reference.
        seed: seed of the sample and the layout.
        max_images: images on each map, both domains together, at most 2000.
        neighbours: k of the layout and of the stored neighbours.
        epochs: rounds of the layout, or None for the library's own number.

    Returns:
        Scores `kept/<name>`: share of an image's k nearest neighbours in the embedding that are among its k nearest on the map, in [0, 1], chance
        k / (n - 1). Arrays over the n images of the maps: `ids`, `labels`, `domain`, `rows`, and for map m `map/<m> (n, 2)` and
        `neighbours/<m> (n, k)`, places within the n images, nearest first; `names` says which encoder m is.

    Raises:
        ValueError: for fewer than two tables, tables of other images, or settings out of range.
    """
    if len(tables) < 2:
        raise ValueError(f"`tables` must hold at least 2 encoders to align, got {len(tables)}; add the teacher or another checkpoint.")
    if not FEWEST * 2 <= max_images <= MOST:
        raise ValueError(f"`max_images` must be from {FEWEST * 2} to {MOST}, got {max_images}; choose between these.")
    first = next(iter(tables.values()))
    for table in list(tables.values())[1:]:
        check_tables(table, first, None, at_least=FEWEST)
    rows = np.sort(np.concatenate(list(sample_domain(first.domain, max_images=max_images, seed=seed).values())))
    if not 2 <= neighbours < len(rows) // 2:
        raise ValueError(f"`neighbours` must be from 2 to below half of the {len(rows)} images, got {neighbours}; lower it.")
    spaces = {name: table.unit(rows) for name, table in tables.items()}
    maps = _layout(list(spaces.values()), seed=seed, neighbours=neighbours, epochs=epochs)
    blocks = deal_blocks(len(rows), seed=seed)
    scores: dict[str, Score] = {}
    arrays: dict[str, np.ndarray] = {
        "names": np.array(list(tables), dtype=str),
        "rows": rows,
        "ids": first.ids[rows],
        "labels": first.labels[rows],
        "domain": first.domain[rows],
    }
    for number, (name, space) in enumerate(spaces.items()):
        near, shown = nearest(space, neighbours), nearest(maps[number], neighbours)
        kept = _kept(near, shown, blocks)
        scores[f"kept/{name}"] = as_score(
            kept.value, kept.interval, chance=neighbours / (len(rows) - 1), direction="neutral", bounds=(0.0, 1.0)
        )
        arrays[f"map/{number}"], arrays[f"neighbours/{number}"] = maps[number], near
    return ProbeResult(
        probe="maps",
        subject=list(tables)[-1],
        reference=next(iter(tables)),
        scores=scores,
        arrays=arrays,
        counts={"images": len(rows), "maps": len(maps), "neighbours": neighbours},
        params={
            "max_images": max_images,
            "neighbours": neighbours,
            "epochs": epochs,
            "metric": "euclidean between unit rows: the neighbours of the cosine",
        },
        seed=seed,
        versions=versions(),
    )


def _layout(spaces: list[np.ndarray], *, seed: int, neighbours: int, epochs: int | None) -> list[np.ndarray]:
    """Run AlignedUMAP over encoders that embed the same images row by row, [(n, 2) float32]."""
    import umap

    same = {row: row for row in range(len(spaces[0]))}
    named = {} if epochs is None else {"n_epochs": epochs}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of one thread for the sake of the seed, and of numba's own business
        model = umap.AlignedUMAP(n_neighbors=neighbours, metric="euclidean", random_state=seed, **named)
        model.fit(spaces, relations=[same] * (len(spaces) - 1))
    return [np.asarray(part, dtype=np.float32) for part in model.embeddings_]


def nearest(points: np.ndarray, neighbours: int) -> np.ndarray:
    """Give each row's nearest other rows by Euclidean distance, nearest first, (n, k) int64; exact, in memory that grows with n.

    Args:
        points: shape (n, D).
        neighbours: k, below n.
    """
    points = np.asarray(points, dtype=np.float64)
    own = np.einsum("nd,nd->n", points, points)
    found = np.empty((len(points), neighbours), dtype=np.int64)
    for start in range(0, len(points), ROWS):
        square = own[start : start + ROWS, None] + own - 2 * (points[start : start + ROWS] @ points.T)
        np.fill_diagonal(square[:, start:], np.inf)
        near = np.argpartition(square, neighbours - 1, axis=1)[:, :neighbours]
        order = np.lexsort((near, np.take_along_axis(square, near, axis=1)))
        found[start : start + ROWS] = np.take_along_axis(near, order, axis=1)
    return found


def kept_shares(near: np.ndarray, shown: np.ndarray) -> np.ndarray:
    """Give each row's share of neighbours `near` that are in `shown`, both (n, k): (n,) in [0, 1]."""
    return np.array([len(np.intersect1d(one, other)) for one, other in zip(near, shown, strict=True)]) / near.shape[1]


def _kept(near: np.ndarray, shown: np.ndarray, blocks: np.ndarray) -> BlockEstimate:
    """Give the mean share of `near` that is in `shown`, with and without each block of images."""
    share = kept_shares(near, shown)
    return BlockEstimate(float(share.mean()), np.array([share[blocks != block].mean() for block in range(int(blocks.max()) + 1)]))

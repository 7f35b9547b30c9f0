"""Maps: teacher, students and checkpoints laid out in the plane on shared axes, with the neighbours of the space itself beside them."""

from __future__ import annotations

import warnings
from collections.abc import Mapping

import numpy as np

from probes.embeddings import EmbeddingTable
from probes.inputs import check_tables, versions
from probes.result import ProbeResult, Score
from probes.stats.folds import sample_domain
from probes.stats.intervals import as_score
from probes.stats.jackknife import BlockEstimate, deal_blocks

FEWEST = 30
"""Images of each domain below which a map has no neighbourhoods to keep."""

MOST = 50_000
"""Images on a map at most, both domains: the layout's time grows with them, to half a minute for the first map."""

EXACT = 4096
"""Images up to which neighbours are found exactly, by all distances; umap-learn itself has the same bound."""

ROUNDS, RATE, NEGATIVES = 50, 0.12, 6
"""Rounds of a map that starts from another, their rate in the units of the first map, and the images that each image is pushed from in a step. On 500
and 10,000 photographs as pixels see them (colour, grey, coarse) this keeps 99 to 104 % of the neighbours that a map of its own keeps, in a tenth of
the rounds; a twin of the first map stays within 7 and 4 % of its extent."""

BOX = 10.0
"""Side of the square to which UMAP scales the places that it starts from."""

SPREAD, MIN_DIST = 1.0, 0.1
"""UMAP's own `spread` and `min_dist`."""

ROWS = 1024
"""Rows whose distances to all others are held at once."""


def aligned_maps(
    tables: Mapping[str, EmbeddingTable], *, seed: int = 0, max_images: int = 800, neighbours: int = 15, epochs: int | None = None
) -> ProbeResult:
    """Lay out the same images as several encoders see them, so that an image stays near its place from map to map.

    The first encoder's map is UMAP as it is; each other one starts from the first one's places and is moved a little by its own neighbours, so that
    axes are shared and what moves between two maps has moved between the encoders. Distances in a map are not distances; the nearest
    neighbours in the embedding itself are kept for every image, and the share of them that the map shows is its score. They are found once a table,
    for the layout, the list and the score: exactly up to 4,096 images, beyond that approximately (on natural images 97 % of them are found).

    Args:
        tables: name -> embeddings of the same images in the same order, at least two; the first one is the reference.
        seed: seed of the sample, the search and the layout; the same bits at the same number of threads.
        max_images: images on each map, both domains together, at most 50,000.
        neighbours: k of the layout and of the stored neighbours.
        epochs: rounds of the first map's layout, or None for the library's own number.

    Returns:
        Scores `kept/<name>`: share of an image's k nearest neighbours in the embedding that are among its k nearest on the map, in [0, 1], chance
        k / (n - 1). Arrays over the n images of the maps: `ids`, `labels`, `domain`, `rows`, and for map m `map/<m> (n, 2)` and
        `neighbours/<m> (n, k)`, places within the n images, nearest first; `names` says which encoder m is.

    Raises:
        ValueError: for fewer than two tables, tables of other images, or settings out of range.

    Source: McInnes, Healy, Melville (2018), UMAP, section 3; starting from another map is ours.
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
    blocks = deal_blocks(len(rows), seed=seed)
    scores: dict[str, Score] = {}
    arrays: dict[str, np.ndarray] = {
        "names": np.array(list(tables), dtype=str),
        "rows": rows,
        "ids": first.ids[rows],
        "labels": first.labels[rows],
        "domain": first.domain[rows],
    }
    start = None
    for number, (name, table) in enumerate(tables.items()):
        space = table.unit(rows)
        near, away = neighbours_of(space, neighbours, seed=seed)
        places = lay_out(space, near, away, seed=seed, start=start, epochs=epochs)
        start = places if start is None else start
        kept = _kept(near, nearest_on_map(places, neighbours), blocks)
        scores[f"kept/{name}"] = as_score(
            kept.value, kept.interval, chance=neighbours / (len(rows) - 1), direction="neutral", bounds=(0.0, 1.0)
        )
        arrays[f"map/{number}"], arrays[f"neighbours/{number}"] = places, near
    return ProbeResult(
        probe="maps",
        subject=list(tables)[-1],
        reference=next(iter(tables)),
        scores=scores,
        arrays=arrays,
        counts={"images": len(rows), "maps": len(tables), "neighbours": neighbours},
        params={
            "max_images": max_images,
            "neighbours": neighbours,
            "epochs": epochs,
            "rounds_of_the_others": ROUNDS,
            "metric": "euclidean between unit rows: the neighbours of the cosine",
        },
        seed=seed,
        versions=versions(),
    )


def neighbours_of(space: np.ndarray, neighbours: int, *, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Find each row's nearest other rows by Euclidean distance, nearest first: (n, k) int64, and how far they are, (n, k) float32.

    Args:
        space: (n, D); up to `EXACT` rows the answer is exact, beyond that it is that of a search.
        neighbours: k, below n.
        seed: seed of the search.
    """
    if len(space) > EXACT:
        from pynndescent import NNDescent

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # numba's own business
            search = NNDescent(space, metric="euclidean", n_neighbors=neighbours + 1, max_candidates=60, random_state=seed, n_jobs=-1)
            near, away = search.neighbor_graph
        if near.min() >= 0:  # else it ran out of rows that it could tell apart
            other, shape = _others(near), (len(space), neighbours)
            return near[other].reshape(shape).astype(np.int64), away[other].reshape(shape).astype(np.float32)
    near = nearest(space, neighbours)
    return near, _distances(space, near)


def _distances(space: np.ndarray, near: np.ndarray) -> np.ndarray:
    return np.stack([np.linalg.norm(space[near[:, k]] - space, axis=1) for k in range(near.shape[1])], axis=1).astype(np.float32)


def lay_out(
    space: np.ndarray, near: np.ndarray, away: np.ndarray, *, seed: int, start: np.ndarray | None = None, epochs: int | None = None
) -> np.ndarray:
    """Run UMAP on neighbours that are known already, (n, 2) float32.

    Args:
        space: (n, D).
        near: neighbours of each row, (n, k), nearest first, without the row itself.
        away: their distances, (n, k).
        seed: seed of the layout.
        start: places (n, 2) to start from, not all the same; the layout then runs `ROUNDS` rounds at `RATE`. None for UMAP's own start.
        epochs: rounds from UMAP's own start, or None for the library's own number.

    Raises:
        ValueError: for a `start` of one place.

    UMAP stretches every `init` to a square of side 10. `start` is turned until its bounding box is a square, so that this only scales it;
    `spread`, `min_dist` and the rate are scaled with it, and the scaling and the turn are undone in the result. What remains of the scaling is
    the bound of 4 on one step's gradient, which the library keeps in its own units; it weakens the push between near images.
    """
    import umap

    itself = np.c_[np.arange(len(space)), near], np.c_[np.zeros(len(space)), away].astype(np.float32)
    settings = {"n_neighbors": near.shape[1] + 1, "random_state": seed, "precomputed_knn": (*itself, None)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of one thread for the sake of the seed, and of neighbours without their search
        if start is None:
            return np.asarray(umap.UMAP(**settings, n_epochs=epochs).fit_transform(space), dtype=np.float32)
        if not np.ptp(start, axis=0).any():
            raise ValueError("`start` must hold at least two different places, got one; leave it out.")
        turn = _turn_to_square(start)
        init = np.asarray(start @ turn, dtype=np.float32)
        corner, extent = init.min(axis=0), np.ptp(init, axis=0)
        scale = BOX / float(extent.mean())
        curve = {"spread": SPREAD * scale, "min_dist": MIN_DIST * scale}
        model = umap.UMAP(**settings, **curve, n_epochs=ROUNDS, init=init, learning_rate=RATE * scale**2, negative_sample_rate=NEGATIVES)
        moved = model.fit_transform(space)
    return np.asarray((moved * (extent / BOX) + corner) @ turn.T, dtype=np.float32)


def _turn_to_square(places: np.ndarray) -> np.ndarray:
    """Return the rotation (2, 2) after which `places @ rotation` is as wide as high; a quarter turn swaps both, so there is one in between."""
    from scipy.optimize import brentq

    def rotation(angle: float) -> np.ndarray:
        return np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])

    def excess(angle: float) -> float:
        width, height = np.ptp(places @ rotation(angle), axis=0)
        return float(width - height)

    return rotation(brentq(excess, 0, np.pi / 2))


def nearest_on_map(places: np.ndarray, neighbours: int) -> np.ndarray:
    """Find the nearest other places of each place in the plane; ties are in no fixed order.

    Args:
        places: (n, 2).
        neighbours: k, below n.

    Returns:
        Rows of `places`, (n, k).
    """
    from scipy.spatial import KDTree

    indices = KDTree(places).query(places, k=neighbours + 1)[1]
    return indices[_others(indices)].reshape(len(places), neighbours)


def _others(indices: np.ndarray) -> np.ndarray:
    """Mark all but one of each row's neighbours: not the row itself, or where it did not find itself among its twins not the last, (n, k + 1) bool."""
    other = indices != np.arange(len(indices))[:, None]
    other[other.all(axis=1), -1] = False
    return other


def nearest(points: np.ndarray, neighbours: int) -> np.ndarray:
    """Find each row's nearest other rows by Euclidean distance, nearest first, (n, k) int64; exact, in memory that grows with n.

    Args:
        points: shape (n, D).
        neighbours: k, below n.
    """
    points = np.asarray(points, dtype=np.float64)
    squared_lengths = np.einsum("nd,nd->n", points, points)
    indices = np.empty((len(points), neighbours), dtype=np.int64)
    for start in range(0, len(points), ROWS):
        square = squared_lengths[start : start + ROWS, None] + squared_lengths - 2 * (points[start : start + ROWS] @ points.T)
        np.fill_diagonal(square[:, start:], np.inf)
        near = np.argpartition(square, neighbours - 1, axis=1)[:, :neighbours]
        order = np.lexsort((near, np.take_along_axis(square, near, axis=1)))
        indices[start : start + ROWS] = np.take_along_axis(near, order, axis=1)
    return indices


def kept_shares(near: np.ndarray, near_on_map: np.ndarray) -> np.ndarray:
    """Compute the share of each row's neighbours that a map keeps.

    Args:
        near: neighbours in the embedding, (n, k) int.
        near_on_map: neighbours on the map, (n, k) int.

    Returns:
        (n,) in [0, 1].
    """
    return (near[:, :, None] == near_on_map[:, None, :]).any(axis=2).mean(axis=1)


def _kept(near: np.ndarray, near_on_map: np.ndarray, blocks: np.ndarray) -> BlockEstimate:
    """Compute the mean share of `near` that is in `near_on_map`, with and without each block of images."""
    share = kept_shares(near, near_on_map)
    return BlockEstimate(float(share.mean()), np.array([share[blocks != block].mean() for block in range(int(blocks.max()) + 1)]))

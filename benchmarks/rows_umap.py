"""Maps of one teacher and four students: neighbours found once a table and used by map, list and score, against umap-learn alone."""

from __future__ import annotations

import warnings

import made
import numpy as np
from pairs import Row, in_turn

K = 15

SMALL, LARGE = 4_000, 10_000
"""Rows of a table: fewer than umap-learn's own limit for exact neighbours, and more."""


def rows(effort: int) -> list[Row]:
    return [_row(n, rounds=(1, 1, 2)[effort] if n < LARGE else 1) for n in ((500,), (1_000,), (SMALL, LARGE))[effort]]


def _row(n: int, *, rounds: int) -> Row:
    import umap

    from probes.maps import kept_shares, nearest

    tables = [made.embeddings(n, encoder=number) for number in range(5)]
    _umap(umap).fit_transform(tables[0])  # numba compiles at the first call of a kind

    def ours() -> list[np.ndarray]:
        found = []
        for x in tables:
            near = nearest(x, K - 1)
            away = 1 - np.einsum("nd,nkd->nk", x, x[near])
            graph = np.c_[np.arange(n), near], np.maximum(np.c_[np.zeros(n), away], 0).astype(np.float32)
            found.append(_umap(umap, precomputed_knn=(*graph, None)).fit_transform(x))
        return found

    def theirs() -> list[np.ndarray]:
        found = []
        for x in tables:
            found.append(_umap(umap).fit_transform(x))
            nearest(x, K - 1)  # the list of neighbours beside the map has to be made as well
        return found

    first, second = in_turn(ours, theirs, rounds=rounds)
    pairs = [list(zip(tables, runs[-1].result, strict=True)) for runs in (first, second)]
    kept = [np.mean([kept_shares(nearest(x, K), nearest(y, K)) for x, y in each]) for each in pairs]
    return Row(
        work=f"map and neighbours of a teacher and four students, {n:,} x 512 each",
        against="umap-learn as people call it, with a seed, and the neighbours by themselves",
        ours=first,
        theirs=second,
        goal=">= 2",
        least=2.0,
        limit="the layout's sequential updates",
        note=f"share of the 15 nearest that are among the 15 nearest of the map: {kept[0]:.3f} of ours, {kept[1]:.3f} of theirs; "
        + (
            "up to 4,095 rows umap-learn sorts the whole matrix of distances"
            if n < LARGE
            else "umap-learn searches neighbours approximately"
        ),
    )


def _umap(umap: object, **more: object) -> object:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return umap.UMAP(n_neighbors=K, metric="cosine", random_state=0, **more)

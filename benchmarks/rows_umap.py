"""Maps of one teacher and four students: neighbours found once a table and used by map, list and score, against umap-learn alone."""

from __future__ import annotations

import warnings

import made
import numpy as np
from pairs import Row, in_turn

K = 15


def rows(effort: int) -> list[Row]:
    import umap

    from probes.maps import nearest

    n = (500, 1_000, 4_000)[effort]
    tables = [made.embeddings(n, encoder=number) for number in range(5)]

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

    first, second = in_turn(ours, theirs, rounds=(1, 1, 2)[effort])
    return [
        Row(
            work=f"map and neighbours of a teacher and four students, {n:,} x 512 each",
            against="umap-learn as people call it, and the neighbours by themselves",
            ours=first,
            theirs=second,
            goal=">= 2",
            least=2.0,
            limit="the layout's sequential updates",
            note=f"{n:,} of 50,000 rows: the layout of 50,000 takes minutes a map; `probes.maps` itself shows 2,000 images at most",
        )
    ]


def _umap(umap: object, **more: object) -> object:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return umap.UMAP(n_neighbors=K, metric="cosine", random_state=0, **more)

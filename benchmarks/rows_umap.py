"""Maps of one teacher and four students on shared axes: neighbours found once a table, four maps started from the first; against umap-learn alone."""

from __future__ import annotations

import warnings

import numpy as np
import synthetic_inputs
from pairs import Row, in_turn, once

K = 15


def rows(effort: int) -> list[Row]:
    import umap

    from probes.maps import kept_shares, lay_out, nearest_on_map, neighbours_of

    n = (1_000, 10_000, 50_000)[effort]
    tables = [synthetic_inputs.curved(n, encoder=number) for number in range(5)]
    warm = [table[:5_000] for table in tables[:2]]  # numba compiles at the first call of a kind

    def ours(tables: list[np.ndarray]) -> list[np.ndarray]:
        layouts: list[np.ndarray] = []
        for x in tables:
            near, away = neighbours_of(x, K - 1, seed=0)
            layouts.append(lay_out(x, near, away, seed=0, start=layouts[0] if layouts else None))
        return layouts

    def theirs(tables: list[np.ndarray], seed: int | None = 0) -> list[np.ndarray]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return [umap.UMAP(n_neighbors=K, metric="cosine", random_state=seed).fit_transform(x) for x in tables]

    ours(warm), theirs(warm), theirs(warm, None)
    first, second = in_turn(lambda: ours(tables), lambda: theirs(tables), rounds=1, warm=False)
    loose = once(lambda: theirs(tables[:1], None)).clock * len(tables)
    near = [neighbours_of(x, K - 1, seed=0)[0] for x in tables]
    maps = [runs[-1].result for runs in (first, second)]
    shares = [np.mean([kept_shares(a, nearest_on_map(b, K - 1)) for a, b in zip(near, each, strict=True)]) for each in maps]
    tied = [np.mean([abs(np.corrcoef(each[0][:, k], b[:, k])[0, 1]) for b in each[1:] for k in (0, 1)]) for each in maps]
    note = (
        f"share of the {K - 1} nearest that are among the {K - 1} nearest of the map: {shares[0]:.3f} of ours, {shares[1]:.3f} of theirs; axes of the "
        f"students' maps correlate with the teacher's by {tied[0]:.2f}, of theirs by {tied[1]:.2f}; without a seed, on all cores and never twice "
        f"the same, theirs take {loose:.3g} s (five times the first one)"
    )
    return [
        Row(
            work=f"maps of a teacher and four students, {n:,} x 512 each",
            against="umap-learn as people call it, with a seed",
            ours=first,
            theirs=second,
            goal=">= 2",
            least=2.0,
            limit="the layout's sequential updates",
            note=note,
        )
    ]

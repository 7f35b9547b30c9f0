"""Maps of one teacher and four students on shared axes; against umap-learn as people call it, with the same start and rounds, and AlignedUMAP."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np
import synthetic_inputs
from pairs import Row, Run, in_turn, once

K = 15
SIZES = (1_000, 10_000, 50_000)
ALIGNED_SIZES = (500, 2_000, 10_000)
"""Images by effort; AlignedUMAP takes minutes at 10,000."""

Layout = Callable[[list[np.ndarray]], list[np.ndarray]]


def ours(tables: list[np.ndarray]) -> list[np.ndarray]:
    """Find neighbours once a table, lay out the first and start the others from it."""
    from probes.maps import lay_out, neighbours_of

    layouts: list[np.ndarray] = []
    for x in tables:
        near, away = neighbours_of(x, K - 1, seed=0)
        layouts.append(lay_out(x, near, away, seed=0, start=layouts[0] if layouts else None))
    return layouts


def apart(tables: list[np.ndarray], seed: int | None = 0) -> list[np.ndarray]:
    """Lay out every table by itself, with the library's own rounds."""
    import umap

    return _quietly(lambda: [umap.UMAP(n_neighbors=K, metric="cosine", random_state=seed).fit_transform(x) for x in tables])


def same_rounds(tables: list[np.ndarray]) -> list[np.ndarray]:
    """Start the library from its own first map, for as many rounds, steps of pushing and at the same rate as ours."""
    import umap

    from probes.maps import NEGATIVES, RATE, ROUNDS

    settings = {"n_neighbors": K, "metric": "cosine", "random_state": 0}
    moves = {"n_epochs": ROUNDS, "learning_rate": RATE, "negative_sample_rate": NEGATIVES}

    def run() -> list[np.ndarray]:
        first = umap.UMAP(**settings).fit_transform(tables[0])
        return [first, *(umap.UMAP(**settings, **moves, init=first).fit_transform(x) for x in tables[1:])]

    return _quietly(run)


def aligned(tables: list[np.ndarray]) -> list[np.ndarray]:
    """Lay out all tables together by AlignedUMAP with its own settings."""
    import umap

    relations = [{row: row for row in range(len(tables[0]))}] * (len(tables) - 1)
    model = umap.AlignedUMAP(n_neighbors=K, metric="cosine", random_state=0)
    return _quietly(lambda: [np.asarray(layout) for layout in model.fit(tables, relations=relations).embeddings_])


def _quietly(work: Callable[[], list[np.ndarray]]) -> list[np.ndarray]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return work()


def rows(effort: int) -> list[Row]:
    n, few = SIZES[effort], ALIGNED_SIZES[effort]
    tables = [synthetic_inputs.curved(n, encoder=number) for number in range(5)]
    warm = [table[:5_000] for table in tables[:2]]  # numba compiles at the first call of a kind
    for layout in (ours, apart, same_rounds):
        layout(warm)
    apart(warm, None)
    aligned([table[:200] for table in tables[:2]])
    loose = once(lambda: apart(tables[:1], None)).clock * len(tables)
    loose_note = f"; without a seed, on all cores and never twice the same, theirs take {loose:.3g} s (five times the first one)"
    return [
        _row(tables, apart, "umap-learn as people call it, with a seed", ">= 2", 2.0, loose_note),
        _row(tables, same_rounds, "umap-learn, its first map as `init` of the others, same rounds, with a seed"),
        _row([table[:few] for table in tables], aligned, "AlignedUMAP with a seed"),
    ]


def _row(tables: list[np.ndarray], layout: Layout, against: str, goal: str = "", least: float | None = None, more: str = "") -> Row:
    first, second = in_turn(lambda: ours(tables), lambda: layout(tables), rounds=1, warm=False)
    return Row(
        work=f"maps of a teacher and four students, {len(tables[0]):,} x 512 each",
        against=against,
        ours=first,
        theirs=second,
        goal=goal,
        least=least,
        limit="the layout's sequential updates",
        note=_quality(tables, first[-1], second[-1]) + more,
    )


def _quality(tables: list[np.ndarray], first: Run, second: Run) -> str:
    from probes.maps import kept_shares, nearest_on_map, neighbours_of

    near = [neighbours_of(x, K - 1, seed=0)[0] for x in tables]
    maps = [first.result, second.result]
    shares = [np.mean([kept_shares(a, nearest_on_map(b, K - 1)) for a, b in zip(near, each, strict=True)]) for each in maps]
    tied = [np.mean([abs(np.corrcoef(each[0][:, k], b[:, k])[0, 1]) for b in each[1:] for k in (0, 1)]) for each in maps]
    return (
        f"share of the {K - 1} nearest that are among the {K - 1} nearest of the map: {shares[0]:.3f} of ours, {shares[1]:.3f} of theirs; axes of the "
        f"students' maps correlate with the teacher's by {tied[0]:.2f}, of theirs by {tied[1]:.2f}"
    )

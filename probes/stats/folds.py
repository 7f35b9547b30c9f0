"""Balanced samples and folds of images, the same for student and teacher."""

from __future__ import annotations

import numpy as np


def stratified_folds(strata: np.ndarray, *, folds: int, seed: int, groups: np.ndarray | None = None) -> np.ndarray:
    """Deal N images to folds so that every stratum is spread evenly, (N,) int64 in [0, folds).

    Args:
        strata: (N,) stratum of each image.
        folds: number of folds.
        seed: seed of the dealing.
        groups: (N,) images of one group stay in one fold (then strata are spread as evenly as the groups allow), or None.

    Raises:
        ValueError: for fewer groups than folds.
    """
    fold = np.empty(len(strata), dtype=np.int64)
    if groups is None:
        rng = np.random.default_rng(seed)
        for stratum in np.unique(strata):
            rows = np.flatnonzero(strata == stratum)
            fold[rng.permutation(rows)] = (np.arange(len(rows)) + rng.integers(folds)) % folds
        return fold
    from sklearn.model_selection import StratifiedGroupKFold

    count = len(np.unique(groups))
    if count < folds:
        raise ValueError(f"`groups` must name at least as many groups as `folds` = {folds}, got {count}; use fewer folds.")
    splitter = StratifiedGroupKFold(n_splits=folds, shuffle=True, random_state=seed)
    for number, (_, held_out) in enumerate(splitter.split(np.zeros(len(strata)), strata, groups)):
        fold[held_out] = number
    return fold


def balanced_sample(labels: np.ndarray, synthetic: np.ndarray, *, max_images: int, seed: int) -> np.ndarray:
    """Choose as many real as synthetic images of every class, sorted row numbers (M,), M <= about `max_images`.

    With equal counts in every class the class says nothing about the domain, so that class imbalance cannot separate.

    Args:
        labels: (N,) class indices.
        synthetic: (N,) bool.
        max_images: classes are cut in proportion to keep to this total.
        seed: seed of the draw.
    """
    rng = np.random.default_rng(seed)
    classes = np.unique(labels)
    pools = [[np.flatnonzero((labels == c) & (synthetic == d)) for d in (False, True)] for c in classes]
    pairs = np.array([min(len(real), len(made)) for real, made in pools])
    total = 2 * pairs.sum()
    take = pairs if total <= max_images else np.maximum(1, pairs * max_images // total)
    chosen = [rng.choice(rows, count, replace=False) for pair, count in zip(pools, take, strict=True) for rows in pair]
    return np.sort(np.concatenate(chosen))


def sample_domain(domain: np.ndarray, *, max_images: int, seed: int) -> dict[str, np.ndarray]:
    """Choose equally many images of each domain, domain -> sorted row numbers (M,), M <= `max_images` / 2.

    Measures that depend on the number of images (neighbours, ranks) can then be compared between the domains.

    Args:
        domain: (N,) `real` or `synthetic`.
        max_images: both domains together.
        seed: seed of the draw.
    """
    rng = np.random.default_rng(seed)
    rows = {name: np.flatnonzero(domain == name) for name in ("real", "synthetic")}
    count = min(max_images // 2, *map(len, rows.values()))
    return {name: np.sort(rng.choice(chosen, count, replace=False)) for name, chosen in rows.items()}

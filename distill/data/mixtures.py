"""Training sets of a matched size: so many images of each class, and mixtures in which a share of them is real."""

from __future__ import annotations

import numpy as np

from distill.data.split import Split


def apportion(weights: np.ndarray, total: int) -> np.ndarray:
    """Divide a whole number in proportion to weights, by largest remainders; the first of equal remainders wins.

    Args:
        weights: at least 0 and not all 0, shape (C,).
        total: at least 0.

    Returns:
        Whole numbers of sum `total`, shape (C,), each less than 1 away from its exact part.
    """
    exact = total * weights / weights.sum()
    parts = np.floor(exact).astype(np.int64)
    left = np.argsort(parts - exact, kind="stable")[: total - int(parts.sum())]
    parts[left] += 1
    return parts


def stratified(labels: np.ndarray, counts: np.ndarray, *, seed: int = 0) -> np.ndarray:
    """Choose so many images of each class, by seed; of one class a smaller choice is part of every larger one.

    Args:
        labels: classes of N images, shape (N,), in 0..C-1.
        counts: images wanted of each class, shape (C,).
        seed: of the order in which images of a class are taken.

    Returns:
        Positions, increasing, shape (sum of counts,).

    Raises:
        ValueError: for a class with fewer images than wanted.
    """
    order = np.random.default_rng(seed).permutation(len(labels))
    chosen = []
    for label, count in enumerate(counts):
        rows_of_class = order[labels[order] == label]
        if len(rows_of_class) < count:
            raise ValueError(f"`counts` of class {label} must be at most its {len(rows_of_class)} images, got {count}; ask for fewer.")
        chosen.append(rows_of_class[:count])
    return np.sort(np.concatenate(chosen))


def limited(split: Split, total: int | None, *, seed: int = 0, what: str = "data.limit") -> Split:
    """Keep so many images of a split, each class in proportion, drawn by seed; all of them where there are no more.

    `what` is the name of `total` where the user wrote it.

    Raises:
        ValueError: when there is not one image for each class.
    """
    if total is None or total >= len(split):
        return split
    sizes = np.bincount(split.labels, minlength=len(split.class_names))
    counts = apportion(sizes, total)
    if (counts[sizes > 0] == 0).any():
        raise ValueError(f"`{what}` must leave an image of every class of `{split.name}`, got {total}; raise it.")
    return split.select(stratified(split.labels, counts, seed=seed))


def mix(synthetic: Split, real: Split, share: float, *, total: int, name: str = "mixture", seed: int = 0) -> Split:
    """Put a share of real images in the place of synthetic ones; size and classes stay those of `limited(synthetic, total)`.

    The synthetic images are among those of `limited(synthetic, total)` and the real images, where the classes of both splits are
    equally frequent, among those of `limited(real, total)`. A mixture with a larger share has the real images of one with a smaller.

    Args:
        synthetic: at least `total` images.
        real: with the same classes.
        share: of real images, in [0, 1]; the count of real images is rounded to a whole number.
        total: images of the mixture.
        name: what messages call it.
        seed: of the draw.

    Returns:
        The synthetic images first, then the real ones.

    Raises:
        ValueError: for a share out of range, or too few images of a class.
    """
    if not 0.0 <= share <= 1.0:
        raise ValueError(f"`share` of `{name}` must be in [0, 1], got {share}; give the share of real images.")
    real = real.with_class_order(synthetic.class_names)
    available = {"synthetic": np.bincount(synthetic.labels, minlength=len(synthetic.class_names))}
    available["real"] = np.bincount(real.labels, minlength=len(synthetic.class_names))
    wanted = apportion(available["synthetic"], total)
    counts = {"real": apportion(wanted, round(share * total))}
    counts["synthetic"] = wanted - counts["real"]
    for domain, need in counts.items():
        if (short := np.flatnonzero(need > available[domain])).size:
            c = int(short[0])
            raise ValueError(
                f"`{name}` must have {need[c]} {domain} images of {synthetic.class_names[c]}, got {available[domain][c]}; lower `data.limit`."
            )
    parts = {
        domain: split.select(stratified(split.labels, counts[domain], seed=seed))
        for domain, split in (("synthetic", synthetic), ("real", real))
        if counts[domain].sum()
    }
    first, *rest = parts.values()
    return first.concat(*rest, name=name)

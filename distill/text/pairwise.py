"""All-pairs designs: few combinations of options in which every two options of two factors meet at least once."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

CANDIDATES = 20
"""Rows tried for each row kept; 50 (as AETG has) saves no more than a row or two of 260."""


def all_pairs(sizes: Sequence[int], *, seed: int = 0) -> list[tuple[int, ...]]:
    """Combine options so that every pair of options of two factors occurs in at least one row.

    A full product of four contexts with 15 options has 50,625 rows; with seed 0 all pairs fit into 257. Each row is the one with the most
    new pairs among the candidates tried, so that the first rows of a design hold as many pairs as they can. The search is greedy: it is
    not promised to find the smallest design. Three factors of two options fit into 4 rows, and this search needs 5 or 6.

    Args:
        sizes: number of options of each of F factors, each at least 1.
        seed: of the order in which factors are filled and ties are broken.

    Returns:
        Rows of F indices, the i-th in 0..sizes[i]-1; at least as many rows as the product of the two largest sizes. The same sizes and
        seed always give the same rows, since sets of images are drawn from them. F = 4 sizes of 5, 10 and 15 give 29, 115 and 257 rows
        with seed 0.

    Raises:
        ValueError: for no factor, or a factor without options.

    Source: greedy construction after AETG (Cohen, Dalal, Fredman, Patton, 1997, IEEE TSE 23(7)); the paper's images were planned with
        a design of this kind (Popp et al., 2024). Written anew.

    Example:
        >>> all_pairs([2, 1, 2])
        [(1, 0, 0), (0, 0, 1), (0, 0, 0), (1, 0, 1)]
        >>> len(all_pairs([5, 5, 5, 5])), 5 * 5 * 5 * 5
        (29, 625)
    """
    if not sizes or min(sizes) < 1:
        raise ValueError(f"`sizes` must hold at least one factor with at least one option, got {list(sizes)}; add options.")
    return list(_all_pairs(tuple(int(size) for size in sizes), int(seed)))


@lru_cache(maxsize=32)
def _all_pairs(sizes: tuple[int, ...], seed: int) -> tuple[tuple[int, ...], ...]:
    rng = np.random.default_rng([seed, *sizes])
    factors = len(sizes)
    if factors == 1:
        return tuple((option,) for option in range(sizes[0]))
    # open[f, a, g, b]: the pair of option a of factor f and option b of factor g has not met yet
    largest = max(sizes)
    unmet = np.zeros((factors, largest, factors, largest), bool)
    for first in range(factors):
        for second in range(factors):
            unmet[first, : sizes[first], second, : sizes[second]] = first != second
    rows: list[tuple[int, ...]] = []
    while unmet.any():
        row = _next_row(unmet, sizes, rng)
        rows.append(tuple(int(option) for option in row))
        for factor, option in enumerate(row):
            unmet[factor, option, np.arange(factors), row] = False
            unmet[np.arange(factors), row, factor, option] = False
    return tuple(rows)


def _next_row(unmet: np.ndarray, sizes: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """Build candidate rows from the option with most unmet pairs on, factor by factor, and keep the one with most new pairs."""
    factors = len(sizes)
    unmet_of_option = unmet.sum(axis=(2, 3))  # (F, K) unmet pairs of each option
    best, best_gain = np.zeros(factors, int), -1
    starts = np.argwhere(unmet_of_option == unmet_of_option.max())
    for _ in range(CANDIDATES):
        factor, option = starts[rng.integers(len(starts))]
        row = np.full(factors, -1)
        row[factor] = option
        gain = 0
        for other in rng.permutation([place for place in range(factors) if place != factor]):
            set_before = np.flatnonzero(row >= 0)
            new = unmet[set_before, row[set_before], other, : sizes[other]].sum(axis=0)  # (K,) new pairs of each option
            # Among options that close as many pairs, the one that has most still to meet.
            score = new * 10_000 + unmet_of_option[other, : sizes[other]]
            ties = np.flatnonzero(score == score.max())
            row[other] = ties[rng.integers(len(ties))]
            gain += int(new[row[other]])
        if gain > best_gain:
            best, best_gain = row, gain
    return best

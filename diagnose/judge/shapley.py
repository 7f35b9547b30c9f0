"""Shares of a difference between two cells of a grid among the factors in which they differ, from the cells that were trained."""

from __future__ import annotations

import itertools
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

Coalition = frozenset[str]
"""The factors that are switched; the others stand as they do at the start."""


@dataclass(frozen=True)
class Division:
    """What each factor changes from the start to the end, as weights over cells.

    Args:
        weights: factors of one step, joined by `+` -> coalition -> weight; the factor's part is the sum of weight x value. The parts
            of all steps add up to value at the end minus value at the start.
        orders: orders of the factors of which every cell is known.
        possible: orders that there are.
    """

    weights: Mapping[str, Mapping[Coalition, float]]
    orders: int
    possible: int

    @property
    def exact(self) -> bool:
        """Whether the parts are Shapley values: every order is known."""
        return self.orders == self.possible


def divide(factors: Sequence[str], known: Collection[Coalition]) -> Division | None:
    """Divide value(all factors switched) - value(none switched) among the factors.

    A factor's part is its mean effect over the orders in which the factors can be switched one after another. Over all orders that
    is the Shapley value. Of an incomplete grid only the orders whose every cell is known are taken; no cell is made up. Where no
    order is known whole, factors are switched together in as few places as possible, and such a step is one part.

    Args:
        factors: names, at most ten.
        known: the coalitions that have a cell.

    Returns:
        The division; None where the start or the end has no cell.

    Raises:
        ValueError: for no factor, or more than ten.

    Source: Shapley (1953); restricting the orders to those known is ours.
    """
    if not 1 <= len(factors) <= 10:
        raise ValueError(f"`factors` must be one to ten names, got {len(factors)}; leave some out.")
    everything = frozenset(factors)
    cells = {cell for cell in known if cell <= everything}
    if not {frozenset(), everything} <= cells:
        return None
    blocks = [frozenset({name}) for name in factors]
    weights, orders = _average(blocks, cells)
    if not orders:
        # A chain of cells with the most steps; its steps then stand for single factors.
        chain = _longest(everything, cells, list(factors))
        blocks = [after - before for before, after in itertools.pairwise(chain)]
        weights, _ = _average(sorted(blocks, key=lambda block: min(map(factors.index, block))), cells)
    names = {block: "+".join(sorted(block, key=list(factors).index)) for block in blocks}
    return Division({names[block]: part for block, part in weights.items()}, orders, math.factorial(len(factors)))


def _average(blocks: Sequence[Coalition], cells: Collection[Coalition]) -> tuple[dict[Coalition, dict[Coalition, float]], int]:
    """Average each block's effect over the known orders of the blocks, and return the weights and the number of these orders."""
    unions: list[Coalition] = [frozenset()]
    for block in blocks:
        unions += [union | block for union in unions]
    usable = sorted((union for union in unions if union in cells), key=len)
    to: dict[Coalition, int] = {frozenset(): 1}
    for cell in usable[1:]:
        to[cell] = sum(to.get(cell - block, 0) for block in blocks if block <= cell)
    onward: dict[Coalition, int] = {usable[-1]: 1}
    for cell in reversed(usable[:-1]):
        onward[cell] = sum(onward.get(cell | block, 0) for block in blocks if not block & cell)
    total = onward[frozenset()]
    weights: dict[Coalition, dict[Coalition, float]] = {}
    for block in blocks if total else ():
        part = weights.setdefault(block, {})
        for cell in usable:
            count = 0 if cell & block else to[cell] * onward.get(cell | block, 0)
            if count:
                part[cell] = part.get(cell, 0.0) - count / total
                part[cell | block] = part.get(cell | block, 0.0) + count / total
    return weights, total


def _longest(end: Coalition, cells: Collection[Coalition], factors: list[str]) -> list[Coalition]:
    """Find a longest chain of cells from the start to `end`; of equals the one that switches the first factors first."""
    best: dict[Coalition, list[Coalition]] = {frozenset(): [frozenset()]}
    for cell in sorted(cells, key=lambda cell: (len(cell), sorted(map(factors.index, cell)))):
        chains = [chain for other, chain in best.items() if other < cell]
        if chains:
            best[cell] = [*max(chains, key=len), cell]
    return best[end]

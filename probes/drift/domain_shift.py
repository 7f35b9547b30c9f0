"""The shift from real to synthetic images of the same class: how long it is, and whether student and teacher shift the same way."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from probes.stats.jackknife import BlockEstimate


@dataclass(frozen=True)
class Shifts:
    """Inner products of the class-mean shifts of two encoders, with the part that noise adds taken away.

    Args:
        common: of the shift averaged over classes: student with teacher, student with itself, teacher with itself.
        each_class: the same summed over the shifts of all classes.
        classes: number of classes with two images of each domain.
    """

    common: tuple[BlockEstimate, BlockEstimate, BlockEstimate]
    each_class: tuple[BlockEstimate, BlockEstimate, BlockEstimate]
    classes: int


def class_shifts(student: np.ndarray, teacher: np.ndarray, labels: np.ndarray, synthetic: np.ndarray, blocks: np.ndarray) -> Shifts | None:
    """Measure a_c = mean synthetic - mean real image of class c in both encoders; None when no class has two images of each domain.

    The inner product of two estimated shifts is too large by the covariance of their errors, since both means are over the same images;
    tr C / n of every class and domain is taken off, which makes it unbiased. It may then be below 0 when there is no shift.

    Args:
        student: (n, D).
        teacher: (n, D), same images.
        labels: (n,).
        synthetic: (n,) bool.
        blocks: (n,) jackknife block of each image.

    Source: ours; the correction is that of the unbiased MMD (Gretton et al. 2012, lemma 6).
    """
    classes, place = np.unique(labels, return_inverse=True)
    cell = 2 * place + synthetic
    pairs = ((student, teacher), (student, student), (teacher, teacher))
    every = [_Sums(cell, 2 * len(classes), first, second) for first, second in pairs]
    usable = _usable(every[0].n)
    if not usable.any():
        return None
    values = [part.products(usable) for part in every]
    left_out: list[list[tuple[float, float]]] = [[], [], []]
    for block in range(int(blocks.max()) + 1):
        rows = blocks == block
        for number, (first, second) in enumerate(pairs):
            rest = every[number].minus(_Sums(cell[rows], 2 * len(classes), first[rows], second[rows]))
            still = usable & _usable(rest.n)
            left_out[number].append(rest.products(still) if still.any() else values[number])
    estimates = [
        tuple(BlockEstimate(values[n][kind], np.array([products[kind] for products in left_out[n]])) for n in range(3)) for kind in (0, 1)
    ]
    return Shifts(estimates[0], estimates[1], int(usable.sum()))  # type: ignore[arg-type]


def shift_cosine(products: tuple[BlockEstimate, BlockEstimate, BlockEstimate]) -> BlockEstimate | None:
    """Compute the cosine of two shifts from their inner products; None where either has no length beyond noise.

    Args:
        products: student with teacher, student with itself, teacher with itself.
    """
    between, student, teacher = products
    if min(student.value, teacher.value, student.left_out.min(), teacher.left_out.min()) <= 0:
        return None
    value = between.value / np.sqrt(student.value * teacher.value)
    return BlockEstimate(float(np.clip(value, -1, 1)), np.clip(between.left_out / np.sqrt(student.left_out * teacher.left_out), -1, 1))


class _Sums:
    """Sums over the images of each class and domain."""

    def __init__(self, cell: np.ndarray, cells: int, first: np.ndarray, second: np.ndarray) -> None:
        self.n = np.bincount(cell, minlength=cells).astype(np.float64)
        self.first, self.second = np.zeros((cells, first.shape[1])), np.zeros((cells, second.shape[1]))
        np.add.at(self.first, cell, first)
        np.add.at(self.second, cell, second)
        self.dots = np.bincount(cell, np.einsum("nd,nd->n", first, second, dtype=np.float64), minlength=cells)

    def minus(self, other: _Sums) -> _Sums:
        rest = object.__new__(_Sums)
        rest.n, rest.dots = self.n - other.n, self.dots - other.dots
        rest.first, rest.second = self.first - other.first, self.second - other.second
        return rest

    def products(self, usable: np.ndarray) -> tuple[float, float]:
        """Compute the unbiased inner product of the mean shift, and the sum over classes of those of their own shifts."""
        n = np.where(np.repeat(usable, 2), np.maximum(self.n, 2), 2.0)
        means = self.first / n[:, None], self.second / n[:, None]
        error = (self.dots - n * np.einsum("cd,cd->c", *means)) / (n - 1) / n  # trace of the covariance of the two means, by cell
        one, two = (mean[1::2][usable] - mean[0::2][usable] for mean in means)
        noise = (error[0::2] + error[1::2])[usable]
        count = len(noise)
        common = float(one.mean(axis=0) @ two.mean(axis=0)) - float(noise.sum()) / count**2
        return common, float(np.einsum("cd,cd->", one, two) - noise.sum())


def _usable(n: np.ndarray) -> np.ndarray:
    """Return which classes have two images of each domain, (C,) bool."""
    return (n[0::2] >= 2) & (n[1::2] >= 2)

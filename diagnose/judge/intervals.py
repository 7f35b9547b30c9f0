"""Intervals over seeds and images at once: the uncertainty of a mean over trained students and over held-out images."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from diagnose.schema import Estimate
from probes.stats.confidence import LEVEL


@dataclass(frozen=True)
class Sample:
    """A quantity measured for K seeds on the images of one or two domains; sums and multiples of samples are samples.

    The quantity of a seed is the sum over `parts` of the mean over images, so a gap between domains has two parts.

    Args:
        parts: one array (K, N) for each set of images, in the images' common order.
        seeds: the K seeds, or the K students' own names where no seed is known.
    """

    parts: tuple[np.ndarray, ...]
    seeds: tuple[object, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "parts", tuple(np.atleast_2d(np.asarray(part, dtype=np.float64)) for part in self.parts))
        for part in self.parts:
            if part.shape[0] != len(self.seeds) or part.shape[1] == 0:
                raise ValueError(f"`parts` must each have shape ({len(self.seeds)}, N) with N >= 1, got {part.shape}; give one row a seed.")

    def __sub__(self, other: Sample) -> Sample:
        first, second = _pair(self, other)
        return Sample(tuple(a - b for a, b in zip(first.parts, second.parts, strict=True)), first.seeds)

    def __add__(self, other: Sample) -> Sample:
        return self - (-1.0) * other

    def __rmul__(self, factor: float) -> Sample:
        return Sample(tuple(factor * part for part in self.parts), self.seeds)

    def take(self, seeds: Sequence[object]) -> Sample:
        """Keep the given seeds, in the given order."""
        rows = [self.seeds.index(seed) for seed in seeds]
        return Sample(tuple(part[rows] for part in self.parts), tuple(seeds))


def _pair(a: Sample, b: Sample) -> tuple[Sample, Sample]:
    """Bring two samples to the same seeds; one seed without a partner on either side is paired with the other's."""
    shared = [seed for seed in a.seeds if seed in b.seeds]
    if shared:
        return a.take(shared), b.take(shared)
    count = min(len(a.seeds), len(b.seeds))
    names = tuple(f"{x} and {y}" for x, y in zip(a.seeds[:count], b.seeds[:count], strict=True))
    return Sample(tuple(p[:count] for p in a.parts), names), Sample(tuple(p[:count] for p in b.parts), names)


@dataclass(frozen=True)
class Spread:
    """Value of a sample, and its squared half-widths at 95 % by training randomness and by choice of images."""

    value: float
    seeds: float
    images: float

    @property
    def half(self) -> float:
        """Half-width of the interval."""
        return math.sqrt(self.seeds + self.images)


def spread(sample: Sample) -> Spread:
    """Compute a sample's value and the two parts of its uncertainty.

    Seeds: Student's t with K - 1 degrees of freedom on the K per-seed values (4.30 for three seeds); nothing for one seed.
    Images: the normal interval on the per-image means over seeds. The squared half-widths are added, each at its own
    quantile. The chance of single answers is counted in both, so the interval is wide rather than narrow.

    Source: ours; the sum of squared half-widths follows Howe (1974) and MOVER (Zou & Donner 2008).
    """
    tail = 0.5 + LEVEL / 2
    by_seed = sum(part.mean(axis=1) for part in sample.parts)
    count = len(sample.seeds)
    seeds = 0.0 if count < 2 else float(stats.t.ppf(tail, count - 1) ** 2 * np.var(by_seed, ddof=1) / count)
    images = sum(_image_variance(part.mean(axis=0)) for part in sample.parts) * float(stats.norm.ppf(tail)) ** 2
    return Spread(float(np.mean(by_seed)), seeds, images)


def _image_variance(values: np.ndarray) -> float:
    return float(np.var(values, ddof=1) / len(values)) if len(values) > 1 else 0.25


def estimate(sample: Sample, *, low: float = -math.inf, high: float = math.inf) -> Estimate:
    """Compute the 95 % interval of a sample, cut at the quantity's natural bounds.

    A few images that all agree would give an interval of no width; each part's half-width is therefore at least 3 / (N + 3),
    the rule of three: after N agreeing images up to 3 in N may still disagree.

    Args:
        sample: the quantity, K seeds by N images.
        low: least possible value.
        high: greatest possible value.
    """
    measured = spread(sample)
    images = min(part.shape[1] for part in sample.parts)
    half = max(measured.half, 3.0 / (images + 3.0))
    return Estimate(
        value=measured.value,
        low=max(measured.value - half, min(low, measured.value)),
        high=min(measured.value + half, max(high, measured.value)),
        n=len(sample.seeds) if len(sample.seeds) > 1 else sum(part.shape[1] for part in sample.parts),
        over="seeds and images" if len(sample.seeds) > 1 else "images",
    )


def share(part: Sample, whole: Sample) -> Estimate | None:
    """Compute the share of `whole` that `part` makes up, with Fieller's interval, or None where the whole may be zero.

    Fieller's set holds each share r for which part - r * whole may be zero. Its squared half-width is a quadratic in r, so the
    ends are the roots of a quadratic; they are finite exactly when the whole differs from zero. As in `estimate`, images that all agree
    still leave 3 / (N + 3) of doubt in the part.

    Args:
        part: K seeds by N images.
        whole: the same seeds and images, else it is brought to the seeds that both have.

    Source: Fieller (1954), with the half-widths of `spread`.
    """
    part, whole = _pair(part, whole)
    p, w, both = spread(part), spread(whole), spread(part - whole)
    a, c = p.half**2, w.half**2
    b = (a + c - both.half**2) / 2
    if w.value**2 <= c:
        return None
    lead, middle, last = w.value**2 - c, p.value * w.value - b, p.value**2 - a
    root = math.sqrt(max(middle**2 - lead * last, 0.0))
    value, low, high = p.value / w.value, (middle - root) / lead, (middle + root) / lead
    rest = estimate(part)
    least = 3.0 / (min(item.shape[1] for item in part.parts) + 3.0) / abs(w.value)
    return Estimate(value=value, low=min(low, value - least), high=max(high, value + least), n=rest.n, over=rest.over)


def over_seeds(values: Sequence[Estimate], *, low: float = -math.inf, high: float = math.inf) -> Estimate:
    """Compute the mean of one score over the students of a loss, each with its own interval over images.

    The images are the same for all students, so their part of the uncertainty does not shrink with more seeds: the mean of the
    students' half-widths is kept, and its square is added to that of Student's t over seeds.

    Args:
        values: one estimate a student, at least one.
        low: least possible value.
        high: greatest possible value.

    Source: ours, as `spread`.
    """
    if len(values) == 1:
        return values[0]
    points = np.array([item.value for item in values])
    mean = float(points.mean())
    seeds = float(stats.t.ppf(0.5 + LEVEL / 2, len(points) - 1) ** 2 * points.var(ddof=1) / len(points))
    down = float(np.mean([item.value - item.low for item in values]))
    up = float(np.mean([item.high - item.value for item in values]))
    return Estimate(
        value=mean,
        low=max(mean - math.sqrt(seeds + down**2), min(low, mean)),
        high=min(mean + math.sqrt(seeds + up**2), max(high, mean)),
        n=len(values),
        over="seeds and images",
    )

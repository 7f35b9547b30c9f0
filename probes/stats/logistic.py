"""L2-regularised logistic regressions on parts of one set of images, all of them at once: they share every product with the embeddings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.linalg import cholesky, solve_triangular
from scipy.optimize import minimize
from scipy.sparse import csr_array

TOLERANCE = {np.dtype(np.float64): 1e-6, np.dtype(np.float32): 1e-5}
"""Largest slope of the mean loss left, in the coordinates of the optimiser: AUCs then agree to about 1e-5, and in float32, where less would be
rounding, to 1e-4."""

_ROUGH = 1e-2
"""The same for the fit that gives the coordinates: they need not be good, and every fit is exact in any."""

_LEAST_SHARE = 1e-12
"""Share of a coordinate's squares below which its spread within classes is rounding, and the coordinate counts as constant."""

_ROWS_OF_MOMENTS = 8192


@dataclass(frozen=True)
class LinearModels:
    """M fitted models, and what they say of all images.

    Args:
        directions: (M, D) normals.
        offsets: (M,) constants; with class means taken off they count from those.
        scores: (N, M) log odds of every image by every model, fitted on it or not.
        start: (M, D + 1) standardised normals and constants, from which a like fit may start.
    """

    directions: np.ndarray
    offsets: np.ndarray
    scores: np.ndarray
    start: np.ndarray


class LogisticFits:
    """Two-class fits on several training sets of one table, at any strength.

    The loss of each is scikit-learn's: C sum log(1 + exp(-y (x w + b))) + |w|^2 / 2 on coordinates standardised on the training set, b free.
    One call of SciPy's L-BFGS takes the sum of all, so that a step costs two products of the embeddings with a column for each model, read
    once for all of them. It works in coordinates in which the loss is nearly round: with H = L L^T the curvature of the mean loss, H = X^T V X / n
    + 1 / (C n), w = L^-T u. Training sets that are drawn from the same images are so alike that one L a strength serves all of them: its V is
    p (1 - p) of a rough fit to all images, which itself starts from V = 1/4.

    Args:
        x: (N, D) float64, or float32 for speed: see `TOLERANCE`.
        positive: (N,) bool.
        fold: (N,) part of each image, or None for one part.
        kept: (S, F) bool, which parts each training set holds, or None for one set of all.
        within: (N,) every class has its mean over the training set taken off (that of the whole set, for a class not in it), or None:
            then all images are one class.

    Source: the loss is that of sklearn.linear_model.LogisticRegression; Liu & Nocedal (1989) for the optimiser.
    """

    def __init__(
        self,
        x: np.ndarray,
        positive: np.ndarray,
        *,
        fold: np.ndarray | None = None,
        kept: np.ndarray | None = None,
        within: np.ndarray | None = None,
    ) -> None:
        fold = np.zeros(len(x), dtype=np.int64) if fold is None else fold
        kept = np.ones((1, int(fold.max()) + 1), dtype=bool) if kept is None else kept
        place = np.zeros(len(x), dtype=np.int64) if within is None else np.unique(within, return_inverse=True)[1]
        self.sign = np.where(positive, 1.0, -1.0)[:, None]
        self.middle = x.mean(axis=0, dtype=np.float64)
        self.by_class = within is not None
        self.member = indicator(place, int(place.max()) + 1)  # (C, N)
        self.spread_out = self.member.T.tocsr()  # (N, C)
        self.x, self.scale, self.own_scale, self.gram = _standardised(x - self.middle.astype(x.dtype), place, fold, kept)
        self.train = np.concatenate([kept[:, fold], np.ones((1, len(x)), dtype=bool)])  # (S + 1, N); the last set is all images
        self.count = self.member @ self.train.T.astype(np.float64)  # (C, S + 1)
        self._round: dict[float, np.ndarray] = {}

    def fit(
        self, sets: Sequence[int] | np.ndarray, strengths: Sequence[float] | np.ndarray, start: np.ndarray | None = None
    ) -> LinearModels:
        """Fit M models.

        Args:
            sets: number of the training set of each model.
            strengths: scikit-learn's `C` of each model.
            start: (M, D + 1) normals and constants to start from, as a fit gives them, or None.
        """
        chosen, strength = np.asarray(sets, dtype=np.int64), np.asarray(strengths, dtype=np.float64)
        new = np.array([c for c in np.unique(strength) if float(c) not in self._round])
        if len(new):
            whole = np.full(len(new), len(self.train) - 1)
            flat = {float(c): self._factor(np.full(len(self.x), 0.25), float(c)) for c in new}
            rough = self._minimise(whole, new, flat, np.zeros((len(new), self.x.shape[1] + 1)), tolerance=_ROUGH)
            share = 1 / (1 + np.exp(-np.abs(self._margins(rough, whole)[0])))
            self._round |= {float(c): self._factor(one * (1 - one), float(c)) for c, one in zip(new, share.T, strict=True)}
        if start is None:
            start = np.zeros((len(chosen), self.x.shape[1] + 1))
        at = self._minimise(chosen, strength, self._round, start, tolerance=TOLERANCE[self.x.dtype])
        scores, centre = self._margins(at, chosen)
        directions = at[:, :-1] / self.scale
        offsets = at[:, -1] if self.by_class else at[:, -1] - centre[0] - directions @ self.middle
        return LinearModels(directions, offsets, scores, at)

    def _minimise(
        self, sets: np.ndarray, strength: np.ndarray, factors: dict[float, np.ndarray], start: np.ndarray, *, tolerance: float
    ) -> np.ndarray:
        """Minimise the sum of the mean losses over normals and constants (M, D + 1), from `start` of the same shape."""
        train, count = self.train[sets].T, self.count[:, sets]  # (N, M), (C, M)
        n = count.sum(axis=0)
        weight = train / n
        inner = np.concatenate([self.own_scale, np.ones((1, self.x.shape[1]))])[sets]  # the last set is all images
        shrink = inner**2 / (strength * n)[:, None]  # (M, D) curvature of the penalty
        columns = [(np.flatnonzero(strength == c), factors[float(c)]) for c in np.unique(strength)]

        def turned(values: np.ndarray, *, back: bool) -> np.ndarray:
            """Return L^-T u or L^-1 u of each row."""
            solved = np.empty_like(values)
            for rows, lower in columns:
                solved[rows] = solve_triangular(lower, values[rows].T, lower=True, trans="T" if back else "N", check_finite=False).T
            return solved

        def loss(flat: np.ndarray) -> tuple[float, np.ndarray]:
            at = turned(flat.reshape(start.shape), back=True)
            w = at[:, :-1]
            margin = self._margins(at, sets)[0] * self.sign
            small = np.exp(-np.abs(margin))
            value = np.einsum("nm,nm->", weight, np.log1p(small) + np.maximum(-margin, 0.0)) + 0.5 * np.einsum("md,md,md->", shrink, w, w)
            pull = np.where(margin > 0, small, 1.0) / (1 + small)
            pull *= weight * -self.sign  # slope of the mean loss in each log odds
            total = pull.sum(axis=0)
            pull -= train * (self.spread_out @ ((self.member @ pull) / np.maximum(count, 1)))
            slope = (pull.T.astype(self.x.dtype) @ self.x).astype(np.float64) + shrink * w
            return float(value), turned(np.column_stack([slope, total]), back=False).ravel()

        first = np.empty_like(start)
        for rows, lower in columns:
            first[rows] = start[rows] @ lower
        options = {"maxiter": 500, "maxcor": 20, "gtol": tolerance, "ftol": 1e-14}
        solution = minimize(loss, first.ravel(), jac=True, method="L-BFGS-B", options=options).x
        return turned(solution.reshape(start.shape), back=True)

    def _margins(self, at: np.ndarray, sets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Compute the log odds of all images by M models (N, M), and the class means of the products that were taken off (C, M)."""
        products = (self.x @ at[:, :-1].T.astype(self.x.dtype)).astype(np.float64)  # (N, M)
        count = self.count[:, sets]
        sums = self.member @ (products * self.train[sets].T)  # (C, M)
        centre = np.where(count > 0, sums / np.maximum(count, 1), sums.sum(axis=0) / count.sum(axis=0))
        products -= self.spread_out @ centre
        products += at[:, -1]
        return products, centre

    def _factor(self, curvature: np.ndarray, strength: float) -> np.ndarray:
        """Compute L (D + 1, D + 1) with L L^T the curvature of the mean loss over all images, of normal and constant.

        Args:
            curvature: (N,) of each image's loss in its log odds.
            strength: `C`.
        """
        n, d = self.x.shape
        if np.ptp(curvature) == 0:
            whole, along = curvature[0] * self.gram, np.zeros(d)
        else:
            means = (self.member @ self.x) / self.count[:, -1:]  # (C, D)
            root = self.x * np.sqrt(curvature / n).astype(self.x.dtype)[:, None]
            share = self.member @ curvature / n
            sums = self.member @ (self.x * (curvature / n).astype(self.x.dtype)[:, None])  # (C, D)
            cross = means.T @ sums
            whole = (root.T @ root).astype(np.float64) - cross - cross.T + means.T @ (share[:, None] * means)
            along = (sums - share[:, None] * means).sum(axis=0)
        hessian = np.empty((d + 1, d + 1))
        # the floor keeps rounding from making a factor impossible; coordinates may be any
        hessian[:d, :d] = whole + np.eye(d) * max(1 / (strength * n), np.finfo(self.x.dtype).eps * np.trace(whole))
        hessian[:d, d] = hessian[d, :d] = along
        hessian[d, d] = max(curvature.mean(), np.finfo(self.x.dtype).eps)
        return cholesky(hessian, lower=True, check_finite=False)


def _standardised(x: np.ndarray, place: np.ndarray, fold: np.ndarray, kept: np.ndarray) -> tuple[np.ndarray, ...]:
    """Standardise on all images.

    Args:
        x: (N, D) about their mean; changed.
        place: (N,) class.
        fold: (N,) part.
        kept: (S, F) bool.

    Returns:
        x over its spread within classes (N, D); the spread (D,); the spread of each training set over it (S, D); and X^T X / N within classes (D, D).
    """
    classes, parts, d = int(place.max()) + 1, kept.shape[1], x.shape[1]
    gram, square, sums = np.zeros((d, d)), np.zeros((parts, d)), np.zeros((parts * classes, d))
    for start in range(0, len(x), _ROWS_OF_MOMENTS):
        rows = slice(start, start + _ROWS_OF_MOMENTS)
        block, cell = x[rows].astype(np.float64), fold[rows] * classes + place[rows]
        gram += block.T @ block
        sums += indicator(cell, len(sums)) @ block
        square += indicator(fold[rows], parts) @ block**2
    sums = sums.reshape(parts, classes, d)
    size = np.bincount(fold * classes + place, minlength=parts * classes).reshape(parts, classes)

    def spread(chosen: np.ndarray) -> np.ndarray:
        count, total = size[chosen].sum(axis=0), sums[chosen].sum(axis=0)  # (C,), (C, D)
        whole = square[chosen].sum(axis=0)
        within = np.maximum(whole - np.einsum("cd,cd->d", total, total / np.maximum(count, 1)[:, None]), 0.0)
        return np.where((within > _LEAST_SHARE * whole) & (within > 1e-24 * count.sum()), np.sqrt(within / count.sum()), 1.0)

    scale = spread(np.ones(parts, dtype=bool))
    total = sums.sum(axis=0)
    gram -= total.T @ (total / size.sum(axis=0)[:, None])
    x /= scale.astype(x.dtype)
    return x, scale, np.stack([spread(chosen) for chosen in kept]) / scale, gram / np.outer(scale, scale) / len(x)


def indicator(place: np.ndarray, count: int) -> csr_array:
    """Return (count, n) whose product with n rows adds them up by place."""
    return csr_array((np.ones(len(place)), (place, np.arange(len(place)))), shape=(count, len(place)))

"""L2-regularised logistic regression of two classes at several strengths, by SciPy's L-BFGS in coordinates where it converges quickly."""

from __future__ import annotations

import numpy as np
from scipy.linalg import cholesky, solve_triangular
from scipy.optimize import minimize

TOLERANCE = 1e-7
"""Largest slope left, as a share of the number of images, in the coordinates of the optimiser: AUCs then agree to about 1e-5."""


class LogisticFits:
    """Fits of one set of images at any strength; what the strengths have in common is computed once.

    The loss is scikit-learn's: C sum log(1 + exp(-y (x w + b))) + |w|^2 / 2 on standardised coordinates, b free. Its curvature is at most
    that of weights 1/4, H = C X^T X / 4 + I. With H = L L^T and w = L^-T u the loss is nearly round in u, so that a few dozen gradients,
    each of two products with X, do what Newton steps do with a D x D product each.

    Args:
        x: (n, D) float64, or float32 where rounding of 1e-6 does not matter.
        positive: (n,) bool.

    Source: the loss is that of sklearn.linear_model.LogisticRegression; Liu & Nocedal (1989) for the optimiser.
    """

    def __init__(self, x: np.ndarray, positive: np.ndarray) -> None:
        self.middle, self.scale = x.mean(axis=0, dtype=np.float64), x.std(axis=0, dtype=np.float64)
        self.scale = np.where(self.scale > 1e-12, self.scale, 1.0)
        self.x = ((x - self.middle) / self.scale).astype(x.dtype)
        self.sign = np.where(positive, 1.0, -1.0)
        self.gram = (self.x.T @ self.x).astype(np.float64)
        self._start: np.ndarray | None = None

    def fit(self, strength: float) -> tuple[np.ndarray, float]:
        """Give the normal (D,) and the constant, in the coordinates that came in.

        Args:
            strength: scikit-learn's `C`.
        """
        n, d = self.x.shape
        lower = cholesky(strength / 4 * self.gram + np.eye(d), lower=True)
        tall = np.sqrt(strength * n / 4)  # curvature along the constant

        def loss(at: np.ndarray) -> tuple[float, np.ndarray]:
            w, b = solve_triangular(lower, at[:-1], lower=True, trans="T"), at[-1] / tall
            margin = self.sign * (self.x @ w.astype(self.x.dtype) + b)
            small = np.exp(-np.abs(margin))
            value = float(np.sum(np.log1p(small) + np.maximum(-margin, 0.0)))
            pull = -self.sign * np.where(margin > 0, small, 1.0) / (1 + small)  # slope of the loss in x w + b
            slope = strength * (self.x.T @ pull.astype(self.x.dtype)).astype(np.float64) + w
            whole = np.append(solve_triangular(lower, slope, lower=True), strength * pull.sum() / tall)
            return strength * value + 0.5 * float(w @ w), whole

        start = np.zeros(d + 1) if self._start is None else np.append(lower.T @ self._start[:-1], self._start[-1] * tall)
        found = minimize(
            loss,
            start,
            jac=True,
            method="L-BFGS-B",
            options={"maxiter": 500, "maxcor": 20, "gtol": TOLERANCE * np.sqrt(strength * n), "ftol": 1e-14},
        )
        w, b = solve_triangular(lower, found.x[:-1], lower=True, trans="T"), found.x[-1] / tall
        self._start, self.evaluations = np.append(w, b), found.nfev
        direction = w / self.scale
        return direction, float(b - direction @ self.middle)

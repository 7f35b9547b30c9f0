"""The nuclear norm of a matrix, the sum of its singular values, by the cheapest road that keeps its digits."""

from __future__ import annotations

import numpy as np

_LEAST_RATIO = 1e-12
"""Eigenvalues of M^T M are off by rounding of the largest, e = 1e-16 of it. A root of share r of the largest root is then off by e / 2 r of that;
with no r below 1e-6 (eigenvalues: 1e-12) that is 1e-10, so that even 512 such roots change the sum by less than 1e-7 of it."""


def nuclear_norm(matrix: np.ndarray) -> float:
    """Sum the singular values of a matrix (D, E), float64.

    The eigenvalues of M^T M cost half of what the singular values of M do; where M is so near to singular that squaring would lose
    its small ones, the singular values themselves are taken.
    """
    wide = matrix if matrix.shape[0] >= matrix.shape[1] else matrix.T
    values = np.linalg.eigvalsh(wide.T @ wide)
    if values[0] > _LEAST_RATIO * values[-1]:
        return float(np.sqrt(values).sum())
    return float(np.linalg.svd(matrix, compute_uv=False).sum())

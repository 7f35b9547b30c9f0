"""Fréchet, KID, precision, recall, density and coverage from cached embeddings, against the libraries and the published definitions."""

from __future__ import annotations

import numpy as np
import synthetic_inputs
from pairs import Row, in_turn, once

K = 5


def published(x: np.ndarray, y: np.ndarray) -> dict[str, float]:
    """Write the definitions out in NumPy and scikit-learn, as the authors' codes do: float64, whole matrices."""
    from scipy.linalg import sqrtm
    from sklearn.metrics.pairwise import euclidean_distances, polynomial_kernel

    x, y = x.astype(np.float64), y.astype(np.float64)
    first, second = np.cov(x, rowvar=False), np.cov(y, rowvar=False)
    root = sqrtm(first @ second).real
    frechet = np.sum((x.mean(0) - y.mean(0)) ** 2) + np.trace(first + second - 2 * root)
    xx, yy, xy = (polynomial_kernel(a, b, degree=3, coef0=1) for a, b in ((x, x), (y, y), (x, y)))
    n, m = len(x), len(y)
    kid = (xx.sum() - np.trace(xx)) / (n * (n - 1)) + (yy.sum() - np.trace(yy)) / (m * (m - 1)) - 2 * xy.mean()
    del xx, yy, xy

    def reach(z: np.ndarray) -> np.ndarray:
        return np.partition(euclidean_distances(z), K, axis=1)[:, K]  # the row itself is at place 0

    real, fake = reach(x), reach(y)
    apart = euclidean_distances(x, y)
    inside = apart < real[:, None]
    return {
        "frechet": float(frechet),
        "kid": float(kid),
        "precision": float(inside.any(axis=0).mean()),
        "recall": float((apart < fake).any(axis=1).mean()),
        "density": float(inside.sum() / K / m),
        "coverage": float((apart.min(axis=1) < real).mean()),
    }


def by_libraries(x: np.ndarray, y: np.ndarray) -> dict[str, float]:
    """Ask torch-fidelity for all it has: FID, KID over all pairs at once, precision and recall."""
    import torch
    from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric
    from torch_fidelity.metric_kid import kid_features_to_metric
    from torch_fidelity.metric_prc import prc_features_to_metric

    a, b = torch.from_numpy(x).double(), torch.from_numpy(y).double()  # in float32 its KID is off by a hundredth
    frechet = fid_statistics_to_metric(*(fid_features_to_statistics(part) for part in (a, b)), verbose=False)
    kid = kid_features_to_metric(a, b, kid_subsets=1, kid_subset_size=len(x), verbose=False)
    prc = prc_features_to_metric(b, a, prc_neighborhood=K, prc_batch_size=10_000, save_cpu_ram=False, verbose=False)
    return {
        "frechet": frechet["frechet_inception_distance"],
        "kid": kid["kernel_inception_distance_mean"],
        "precision": prc["precision"],
        "recall": prc["recall"],
    }


def _apart(ours: dict[str, float], theirs: dict[str, float]) -> str:
    """Say by how much the values differ: relative for distances, absolute for shares."""
    gaps = {name: abs(ours[name] - value) / (abs(value) if name in ("frechet", "kid") else 1) for name, value in theirs.items()}
    return ", ".join(f"{name} {gap:.0e}" for name, gap in gaps.items())


def rows(effort: int) -> list[Row]:
    from probes.separability.distances import all_distances

    n = (2_000, 5_000, 10_000)[effort]
    whole = synthetic_inputs.embeddings(2 * n, shift=0.05)
    x, y = (np.ascontiguousarray(whole[synthetic_inputs.synthetic(2 * n) == side]) for side in (False, True))
    pairs_flops = 2.0 * 512 * (n * n + n * n)  # the square of both, and half of each set's own
    table_rows = []
    for name, other in (
        ("the published definitions in NumPy and scikit-learn", published),
        ("torch-fidelity (without density and coverage)", by_libraries),
    ):
        ours, theirs = in_turn(
            lambda: all_distances(x, y, neighbours=K), lambda other=other: other(x, y), rounds=(1, 2, 3)[effort], warm=effort == 0
        )
        table_rows.append(
            Row(
                work=f"Fréchet, KID, precision, recall, density, coverage, {n:,} + {n:,} x 512",
                against=name,
                ours=ours,
                theirs=theirs,
                goal=">= 5, equal values",
                least=5.0,
                flops=pairs_flops,
                note=f"relative (shares: absolute) difference of the values: {_apart(ours[0].result, theirs[0].result)}"
                + f"; {2 * n:,} rows, since whole matrices of the others at 50,000 do not fit in the memory",
            )
        )
    if effort == 2:
        whole = synthetic_inputs.embeddings(50_000, shift=0.05)
        x, y = (np.ascontiguousarray(whole[synthetic_inputs.synthetic(50_000) == side]) for side in (False, True))
        run = once(lambda: all_distances(x, y, neighbours=K))
        note = "once; for the size of the goal"
        table_rows.append(Row("the same, 25,000 + 25,000 x 512", "", [run], goal="-", flops=2.0 * 512 * 2 * 25_000**2, note=note))
    return table_rows

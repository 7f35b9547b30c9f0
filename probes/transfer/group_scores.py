"""Group scores of one encoder by domain: worst-group and mean-group accuracy, and spurious mAUC."""

from __future__ import annotations

from functools import partial

import numpy as np

from probes.embeddings import DOMAINS, EmbeddingTable
from probes.result import Score
from probes.transfer.group_accuracy import group_accuracy, group_cells
from probes.transfer.spurious_auc import spurious_mean_auc, tied_groups
from probes.transfer.zero_shot import ZeroShot

Parts = tuple[dict[str, Score], dict[str, np.ndarray], dict[str, int]]
"""Scores, arrays and counts."""


def check_groups(groups: np.ndarray | None, n: int) -> np.ndarray | None:
    """Return `groups` as text, (N,) str, or None.

    Raises:
        ValueError: for another shape than (N,), or when every image has an empty group.
    """
    if groups is None:
        return None
    groups = np.asarray(groups)
    if groups.shape != (n,):
        raise ValueError(f"`groups` must have shape ({n},) like the rows of `student`, got {groups.shape}; give one group an image.")
    if groups.dtype.kind not in "USiub":
        raise ValueError(f"`groups` must be text or whole numbers, got {groups.dtype}; name the groups.")
    groups = groups.astype(str)
    if not (groups != "").any():
        raise ValueError("`groups` must name the group of some images, got empty text for all; leave `groups` out.")
    return groups


def group_scores(table: EmbeddingTable, answers: ZeroShot, class_weights: np.ndarray, groups: np.ndarray, *, logit_scale: float) -> Parts:
    """Score `worst_group/<domain>`, `mean_group/<domain>` and `spurious_mauc/<domain>`.

    Groups tied to a class are looked for among the synthetic images, from which the student was distilled. A domain in which no image has a
    group is left out, and so is `spurious_mauc` where no group is tied to a class.

    Args:
        table: embeddings of N images.
        answers: their zero-shot answers.
        class_weights: (D, C), columns of length one.
        groups: (N,) str; "" where it is not known.
        logit_scale: multiplier of the cosines.

    Returns:
        Scores; arrays `group/label` and `group/name` (G,), `group_accuracy/<domain>` (G,) with NaN for a group without images,
        `group_count/<domain>` (G,), `spurious_pair/label`, `spurious_pair/group` and `spurious_auc/<domain>` (P,); counts `groups/<domain>`
        and `spurious_pairs/<domain>`.
    """
    cells = group_cells(table.labels, groups)
    total = len(cells.labels)
    synthetic = table.domain == "synthetic"
    pairs = tied_groups(table.labels[synthetic], groups[synthetic])
    scores: dict[str, Score] = {}
    counts: dict[str, int] = {}
    arrays = {
        "group/label": cells.labels,
        "group/name": cells.names,
        "spurious_pair/label": np.array([label for label, _ in pairs], dtype=np.int64),
        "spurious_pair/group": np.array([name for _, name in pairs], dtype=str),
    }
    correct = answers.prediction == table.labels
    for domain in DOMAINS:
        rows = (table.domain == domain) & (cells.cell >= 0)
        images, hits = (np.bincount(cells.cell[chosen], minlength=total) for chosen in (rows, rows & correct))
        present = images > 0
        counts[f"groups/{domain}"] = int(present.sum())
        arrays[f"group_count/{domain}"] = images
        arrays[f"group_accuracy/{domain}"] = np.divide(hits, images, out=np.full(total, np.nan), where=present)
        if present.any():
            measured = group_accuracy(hits[present], images[present], cells.labels[present], classes=class_weights.shape[1])
            scores |= {f"{name}/{domain}": score for name, score in measured.items()}
        chosen = np.flatnonzero(table.domain == domain)
        spurious = spurious_mean_auc(
            partial(_log_probability, table=table, answers=answers, class_weights=class_weights, chosen=chosen, logit_scale=logit_scale),
            table.labels[chosen],
            groups[chosen],
            pairs,
        )
        counts[f"spurious_pairs/{domain}"] = 0 if spurious is None else int(np.isfinite(spurious[1]).sum())
        if spurious is not None:
            scores[f"spurious_mauc/{domain}"], arrays[f"spurious_auc/{domain}"] = spurious
    return scores, arrays, counts


def _log_probability(
    label: int,
    rows: np.ndarray,
    *,
    table: EmbeddingTable,
    answers: ZeroShot,
    class_weights: np.ndarray,
    chosen: np.ndarray,
    logit_scale: float,
) -> np.ndarray:
    """Compute the log of the softmax probability of one class for some of the chosen rows, (n,), from what the pass over all classes left."""
    table_rows = chosen[rows]
    cosines = table.unit(table_rows) @ class_weights[:, label]
    return logit_scale * (cosines - answers.cosine[table_rows]) + np.log(answers.confidence[table_rows])

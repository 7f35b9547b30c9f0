"""What share of the gap between synthetic and real accuracy closes when one cue is the same in both domains."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from probes.result import Score
from probes.stats.intervals import LEVEL, as_score

LEAST_RETAINED = 0.5
"""Below this share of its accuracy above chance kept by the teacher, an edit destroys too much: a gap that closes because nobody
knows anything any more says nothing of a cue."""


def gap_shares(
    correct: Mapping[str, np.ndarray],
    teacher_correct: Mapping[str, np.ndarray],
    kinds: Mapping[str, str],
    domain: np.ndarray,
    *,
    chance: float,
    seed: int,
    draws: int = 1000,
) -> dict[str, Score]:
    """Compute `gap_closed/<edit>` for the edits that take a cue away from both domains or give real images the synthetic cue.

    With accuracies a on real (r) and synthetic (s) images, before and after the edit (primes), gap g = a_s - a_r:

    * `matched`: (a'_r - a_r) / g, what real images win back when they get the cue from a synthetic image of their class;
    * `removes`: 1 - (a'_s - a'_r) / (k g), where k is the share of its accuracy above chance that the teacher keeps under the edit,
      over both domains: a gap that only shrinks along with everything else is not closed.

    There is no score where the interval of g reaches zero, or, for `removes`, where that of k reaches below `LEAST_RETAINED`.

    Args:
        correct: edit -> (M,) bool, whether the student was right; `none` for the unchanged images.
        teacher_correct: the same of the teacher.
        kinds: edit -> kind.
        domain: (M,) `real` or `synthetic`.
        chance: accuracy by chance.
        seed: seed of the bootstrap.
        draws: draws of the bootstrap over images, within domains.

    Source: ours.
    """
    rng = np.random.default_rng(seed)
    resampled = {}
    for name in ("real", "synthetic"):
        count = int((domain == name).sum())
        weights = rng.multinomial(count, np.full(count, 1 / count), size=draws) / count
        resampled[name] = np.concatenate([np.full((1, count), 1 / count), weights])  # the first row is the sample itself
    over = {
        (who, edit, name): resampled[name] @ right[domain == name].astype(float)
        for who, table in (("student", correct), ("teacher", teacher_correct))
        for edit, right in table.items()
        for name in resampled
    }
    gap = over["student", "none", "synthetic"] - over["student", "none", "real"]
    if np.quantile(gap[1:], (1 - LEVEL) / 2) <= 0:
        return {}
    gap = np.maximum(gap, 1e-9)
    scores: dict[str, Score] = {}
    for edit, kind in kinds.items():
        real, synthetic = over["student", edit, "real"], over["student", edit, "synthetic"]
        if kind == "matched":
            share = (real - over["student", "none", "real"]) / gap
        elif kind == "removes":
            above = sum(over["teacher", "none", name] - chance for name in resampled)
            kept = sum(over["teacher", edit, name] - chance for name in resampled) / np.maximum(above, 1e-9)
            if np.quantile(kept[1:], (1 - LEVEL) / 2) < LEAST_RETAINED:
                continue
            share = 1 - (synthetic - real) / (np.maximum(kept, 1e-9) * gap)
        else:
            continue
        low, high = np.quantile(share[1:], [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
        # Images that all answer alike have no spread to draw from: at least 3 / (N + 3) either way, the rule of three.
        least = 3 / (min(part.shape[1] for part in resampled.values()) + 3) / gap[0]
        low, high = min(low, share[0] - least), max(high, share[0] + least)
        scores[f"gap_closed/{edit}"] = as_score(share[0], (low, high), chance=0.0, bounds=(-10.0, 10.0))
    return scores

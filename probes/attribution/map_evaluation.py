"""Evaluation of the maps of one method and one logit: where their energy lies, and how faithful they are."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from probes.attribution.metrics.energy import border_region, centre_region, energy_share
from probes.attribution.metrics.faithfulness import Curves, curves, into_cells, misplaced
from probes.attribution.metrics.localisation import overlap, pointing_game
from probes.attribution.metrics.spectrum import BANDS, map_band_shares, white_shares
from probes.result import Score
from probes.stats.intervals import as_score, mean_interval

if TYPE_CHECKING:
    from torch import Tensor

    from probes.attribution.methods.differentiable import AttributionTarget

INFORMATIVE = "informative"


@dataclass(frozen=True)
class MapEvaluation:
    """Per-image values and faithfulness of one method's maps.

    Args:
        values: name -> (n,) value of each image, NaN where there is none.
        chances: name -> (n,) value expected of a map without meaning; a name may be missing.
        cells: (n, h, w) maps averaged over cells.
        scores: the scores of its faithfulness, without a domain.
        curves: mean curves, for the picture.
        status: `informative`, or why not.
    """

    values: dict[str, np.ndarray]
    chances: dict[str, np.ndarray]
    cells: np.ndarray
    scores: dict[str, Score] = field(default_factory=dict)
    curves: dict[str, np.ndarray] = field(default_factory=dict)
    status: str = INFORMATIVE

    @property
    def informative(self) -> bool:
        """Whether its other scores may be shown."""
        return self.status == INFORMATIVE


def map_values(
    maps: np.ndarray, masks: np.ndarray | None, *, fine: bool, user_masks: bool
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Measure each map (n, H, W): where its energy lies, and in which frequencies.

    Args:
        maps: signed.
        masks: (n, H, W) bool, or None; images with an empty mask are left out.
        fine: whether the method has the resolution of pixels, so that frequencies can be measured.
        user_masks: whether the masks come from the user; then `pointing` and `overlap` are measured too.
    """
    n, height, width = maps.shape
    values, chances = {}, {}
    for name, region in (("border_energy", border_region(height, width)), ("centre_energy", centre_region(height, width))):
        values[name], chances[name] = energy_share(maps, region), np.full(n, region.mean())
    if fine:
        shares, white = map_band_shares(maps), white_shares(height, width)
        for number, band in enumerate(BANDS[1:], start=1):
            values[f"map_{band}"], chances[f"map_{band}"] = shares[:, number], np.full(n, white[number])
    if masks is not None:
        area = masks.mean(axis=(1, 2))
        has_object = np.where(area > 0, 1.0, np.nan)
        values["object_energy"], chances["object_energy"] = energy_share(maps, masks) * has_object, area * has_object
        if user_masks:
            values["pointing"], chances["pointing"] = pointing_game(maps, masks) * has_object, area * has_object
            values["overlap"], chances["overlap"] = overlap(maps, masks), area / (2 - area) * has_object
    return values, chances


def measure_faithfulness(
    encoder: AttributionTarget, images: Tensor, direction: Tensor, maps: np.ndarray, shuffled: np.ndarray | None, *, seed: int
) -> tuple[dict[str, Score], dict[str, np.ndarray], str]:
    """Measure the faithfulness of maps beside that of misplaced maps and of a randomised encoder, and decide whether they are informative.

    Args:
        encoder: the encoder.
        images: (n, 3, H, W).
        direction: (n, D).
        maps: (n, H, W).
        shuffled: maps of the encoder with shuffled weights, (n, H, W), or None for an encoder without weights.
        seed: seed of misplaced maps and ties.

    Returns:
        Scores of f - f(baseline) in units of the standard deviation of f over the images, mean curves, and the status.
    """
    cells = into_cells(maps)
    curve = curves(encoder, images, direction, cells, seed=seed)
    wrong = curves(encoder, images, direction, misplaced(cells, seed=seed), seed=seed)
    unit = float(curve.deletion[:, 0].std()) or 1.0
    scores = {name: _score(area / unit, None) for name, area in zip(("deletion", "insertion"), curve.areas, strict=True)}
    scores["faithfulness"] = _score(curve.faithfulness / unit, 0.0)
    scores["over_random"] = _score((curve.faithfulness - wrong.faithfulness) / unit, 0.0)
    controls = {"random": wrong}
    if shuffled is not None:
        randomised = into_cells(shuffled)
        controls["randomised_weights"] = twin = curves(encoder, images, direction, randomised, seed=seed)
        scores["over_randomised_weights"] = _score((curve.faithfulness - twin.faithfulness) / unit, 0.0)
        alike = rank_correlation(cells, randomised)
        if np.isfinite(alike).sum() > 1:
            scores["randomised_weights_agreement"] = _score(alike[np.isfinite(alike)], 0.0)
    lines = {f"{side}{suffix}": mean for suffix, line in _named(curve, controls) for side, mean in _means(line, unit).items()}
    return scores, lines, _status(scores, maps)


def _named(curve: Curves, controls: dict[str, Curves]) -> list[tuple[str, Curves]]:
    return [("", curve), *((f"/{name}", control) for name, control in controls.items())]


def _means(curve: Curves, unit: float) -> dict[str, np.ndarray]:
    baseline = curve.deletion[:, -1:]
    return {"deletion": (curve.deletion - baseline).mean(axis=0) / unit, "insertion": (curve.insertion - baseline).mean(axis=0) / unit}


def _score(values: np.ndarray, chance: float | None) -> Score:
    return as_score(float(values.mean()), mean_interval(values.astype(np.float64)), chance=chance)


def _status(scores: dict[str, Score], maps: np.ndarray) -> str:
    """Decide by the low ends of the paired intervals; a map without meaning has the value 0."""
    if (np.abs(maps).max(axis=(1, 2)) == 0).mean() > 0.5:
        return "uninformative: most of its maps are empty"
    if scores["over_random"].low <= 0:
        return "uninformative: no better than the same maps in the wrong places"
    if "over_randomised_weights" in scores and scores["over_randomised_weights"].low <= 0:
        return "uninformative: no better than the maps of an encoder with shuffled weights"
    return INFORMATIVE


def rank_correlation(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Compute Spearman's correlation of the cells of two maps of each image, (n,) in [-1, 1]; NaN for a map without variation.

    Args:
        first: (n, h, w).
        second: (n, h, w).
    """
    from scipy import stats

    ranks = [stats.rankdata(cells.reshape(len(cells), -1), axis=1) for cells in (first, second)]
    a, b = (rank - rank.mean(axis=1, keepdims=True) for rank in ranks)
    lengths = np.sqrt((a**2).sum(axis=1) * (b**2).sum(axis=1))
    return np.divide((a * b).sum(axis=1), lengths, out=np.full(len(a), np.nan), where=lengths > 0)

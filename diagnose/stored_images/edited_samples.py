"""A bounded sample of images before and after every edit of `interventions`, for readers who have neither the data nor torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from diagnose.inputs.embed import ids_of
from diagnose.inputs.subjects import Images
from diagnose.stored_images.parquet import write_table
from diagnose.stored_images.samples import png
from probes.edits import EDITS, Material
from probes.result import ProbeResult
from probes.stats.sampling import partners

TELLING = 4
"""Images of each edit and domain on which most students change their answer and the teacher keeps its own."""

BY_LOT = 2
"""Images of each edit and domain drawn at random from the others, so that the telling ones are not taken for all."""

COLUMNS = ("id", "edit", "image", "partner", "domain", "class_name", "telling")


@dataclass(frozen=True)
class Edited:
    """One image under one edit.

    Args:
        id: the image's id.
        edit: key of `probes.edits.EDITS`, or `none` for the image as it is.
        image: PNG bytes.
        partner: id of the image that the cue was taken from; empty where there is none.
        domain: "real" or "synthetic".
        class_name: its class.
        telling: whether it was chosen for what the students answer, and not at random.
    """

    id: str
    edit: str
    image: bytes
    partner: str
    domain: str
    class_name: str
    telling: bool


def edited_samples(
    image_sets: Sequence[Images], results: Mapping[str, ProbeResult], *, telling: int = TELLING, by_lot: int = BY_LOT
) -> list[Edited]:
    """Edit a few images of each domain again, exactly as the probe did, and keep what they look like.

    Args:
        image_sets: images of each domain, with the ids that the results name.
        results: student -> result of `interventions` without masks; results over other images than the first are left out.
        telling: images of each edit and domain chosen for what the students answer.
        by_lot: images of each edit and domain drawn at random from the others.

    Returns:
        One row an image and edit, and one under the edit `none` for every image and partner that occurs; empty without results.
    """
    same = [result for result in results.values() if np.array_equal(result.arrays["ids"], next(iter(results.values())).arrays["ids"])]
    if not same:
        return []
    ids = same[0].arrays["ids"].astype(str)
    place = {name: row for row, name in enumerate(ids_of(image_sets).tolist())}
    if any(name not in place for name in ids):
        return []
    rows = np.array([place[name] for name in ids])
    plan = _Plan(image_sets, ids, rows, same[0].arrays["labels"], same[0].arrays["domain"].astype(str), same[0].seed)
    samples: list[Edited] = []
    for name in same[0].arrays["edits"].astype(str):
        if name in EDITS and not EDITS[name].masked:
            chosen, marked = _chosen(name, same, plan, telling, by_lot)
            samples += plan.edited(name, chosen, marked)
    kept = sorted({row.id for row in samples} | {row.partner for row in samples if row.partner})
    return plan.unchanged(kept) + samples


class _Plan:
    """The images of the probe, their partners, and the edits applied to some of them."""

    def __init__(
        self, image_sets: Sequence[Images], ids: np.ndarray, rows: np.ndarray, labels: np.ndarray, domain: np.ndarray, seed: int
    ) -> None:
        self.image_sets, self.ids, self.rows, self.labels, self.domain, self.seed = image_sets, ids, rows, labels, domain, seed
        kinds = {"matched": (True, False), "swapped": (False, True)}
        self.pairs = {
            kind: partners(labels, domain, same_class=same_class, same_domain=same_domain, seed=seed)
            for kind, (same_class, same_domain) in kinds.items()
        }

    def pixels(self, places: np.ndarray) -> np.ndarray:
        """Return the images at these places as float32 in [0, 1], (M, 3, H, W)."""
        starts = np.cumsum([0, *map(len, self.image_sets)])
        part = np.searchsorted(starts, self.rows[places], side="right") - 1
        return (
            np.stack([self.image_sets[k].pixels[row - starts[k]] for k, row in zip(part, self.rows[places], strict=True)]).astype(
                np.float32
            )
            / 255
        )

    def edited(self, name: str, places: np.ndarray, telling: np.ndarray) -> list[Edited]:
        """Apply an edit with the partners and seeds of the probe."""
        import torch

        edit = EDITS[name]
        other = self.pairs[edit.kind][places] if edit.partnered else np.full(len(places), -1)
        keep = (other >= 0) if edit.partnered else np.ones(len(places), dtype=bool)
        places, other, telling = places[keep], other[keep], telling[keep]
        if not len(places):
            return []
        keys = self.seed * 1_000_003 + self.rows[places]
        partner = torch.from_numpy(self.pixels(other)) if edit.partnered else None
        changed = edit.apply(Material(torch.from_numpy(self.pixels(places)), keys, partner)).clamp(0, 1).numpy()
        return [
            self._row(place, name, image, self.ids[source] if source >= 0 else "", bool(mark))
            for place, image, source, mark in zip(places, changed, other, telling, strict=True)
        ]

    def unchanged(self, names: Sequence[str]) -> list[Edited]:
        """Return images under the edit `none`, by their ids."""
        where = {name: place for place, name in enumerate(self.ids.tolist())}
        places = np.array([where[name] for name in names], dtype=np.int64)
        return (
            [self._row(place, "none", image, "", False) for place, image in zip(places, self.pixels(places), strict=True)] if names else []
        )

    def _row(self, place: int, edit: str, image: np.ndarray, partner: str, telling: bool) -> Edited:
        names = self.image_sets[0].class_names
        content = png(np.round(255 * image).astype(np.uint8))
        return Edited(str(self.ids[place]), edit, content, str(partner), str(self.domain[place]), names[int(self.labels[place])], telling)


def _chosen(name: str, results: Sequence[ProbeResult], plan: _Plan, telling: int, by_lot: int) -> tuple[np.ndarray, np.ndarray]:
    """Choose places of each domain: those at which most students change their answer beyond the teacher, then others at random."""
    moved = np.zeros(len(plan.ids))
    usable = np.ones(len(plan.ids), dtype=bool)
    for result in results:
        moved += _moved(result, name, "")
        usable &= result.arrays["prediction"][_at(result, name)] >= 0
    if "teacher/prediction" in results[0].arrays:
        moved -= len(results) * _moved(results[0], name, "teacher/")
    random = np.random.default_rng(plan.seed)
    chosen: list[np.ndarray] = []
    marked: list[np.ndarray] = []
    for domain in np.unique(plan.domain):
        here = random.permutation(np.flatnonzero(usable & (plan.domain == domain)))
        first = here[np.argsort(-moved[here], kind="stable")][:telling]
        rest = here[~np.isin(here, first)][:by_lot]
        chosen += [first, rest]
        marked += [moved[first] > 0, np.zeros(len(rest), dtype=bool)]
    return np.concatenate(chosen), np.concatenate(marked)


def _at(result: ProbeResult, name: str) -> int:
    return int(np.flatnonzero(result.arrays["edits"].astype(str) == name)[0])


def _moved(result: ProbeResult, name: str, prefix: str) -> np.ndarray:
    predictions = result.arrays[f"{prefix}prediction"]
    return (predictions[_at(result, name)] != predictions[_at(result, "none")]).astype(float)


def write(rows: Sequence[Edited], path: Path | str) -> Path:
    """Write `edited.parquet` with the columns `COLUMNS` under a temporary name and then rename it."""
    return write_table({column: [getattr(row, column) for row in rows] for column in COLUMNS}, path)

"""Made-up maps of a run and made-up attribution, for the dashboard's tests; nothing was measured."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from probes.result import ProbeResult, Score

SIDE = 16
GALLERY = 6
METHODS = ("integrated_gradients", "occlusion")


def made_up_map(
    teacher: str, students: Sequence[str], ids: np.ndarray, domain: np.ndarray, labels: np.ndarray, *, epochs: Sequence[int] = (1, 3)
) -> ProbeResult:
    """Lay images out by class, the domains farther apart for each later map."""
    rng = np.random.default_rng(1)
    whose = [{"subject": teacher, "epoch": None}]
    whose += [{"subject": name, "epoch": epoch} for name in students for epoch in (*epochs, None)]
    angle = 2 * np.pi * labels / max(labels.max() + 1, 1)
    arrays = {
        "ids": ids,
        "labels": labels,
        "domain": domain,
        "rows": np.arange(len(ids)),
        "names": np.array([f"{one['subject']} {one['epoch']}" for one in whose]),
    }
    scores = {}
    for number, one in enumerate(whose):
        apart = (0.3 + 0.2 * number) * (domain == "synthetic")
        places = np.stack([4 * np.cos(angle) + apart, 4 * np.sin(angle) + apart], axis=1) + rng.normal(scale=0.4, size=(len(ids), 2))
        arrays[f"map/{number}"] = places.astype(np.float32)
        # Any few others stand for the nearest: the true ones of very many points would take too long for a fixture.
        arrays[f"neighbours/{number}"] = (np.arange(len(ids))[:, None] + np.arange(1, 6) + number) % len(ids)
        name = one["subject"] if one["epoch"] is None else f"{one['subject']} epoch {one['epoch']}"
        scores[f"kept/{name}"] = Score(0.4, 0.38, 0.42, 0.05)
    return ProbeResult("map", teacher, None, scores, arrays, {"images": len(ids), "maps": len(whose)}, {"maps": whose})


def made_up_attribution(name: str, ids: np.ndarray, domain: np.ndarray, labels: np.ndarray, classes: int) -> ProbeResult:
    """Draw blobs; the domain maps are uninformative, as they often are."""
    rng = np.random.default_rng(2)
    shown = np.concatenate([np.flatnonzero(domain == side)[:GALLERY] for side in ("real", "synthetic")])
    known = np.arange(min(classes, 4))
    arrays: dict[str, np.ndarray] = {
        "gallery/ids": ids[shown],
        "gallery/domain": domain[shown],
        "gallery/labels": labels[shown],
        "mean_map/classes": known,
        "curve/fractions": np.array([0, 0.1, 0.5, 0.9, 1.0]),
    }
    scores: dict[str, Score] = {}
    status = {}
    for prefix in ("", "teacher/"):
        for method in METHODS:
            for number in ("zero_shot", "domain"):
                key = f"{method}/{number}"
                arrays[f"{prefix}gallery/{key}"] = _blobs(rng, len(shown))
                arrays[f"{prefix}mean_map/{key}"] = _blobs(rng, 2 * len(known)).reshape(len(known), 2, SIDE, SIDE)
                for side, line in (("deletion", [1, 0.4, 0.1, 0, 0]), ("insertion", [0, 0.5, 0.8, 1, 1])):
                    for suffix in ("", "/random", "/randomised_weights"):
                        arrays[f"{prefix}curve/{key}/{side}{suffix}"] = np.array(line, dtype=np.float32)
                good = number == "zero_shot"
                status[key] = "informative" if good else "uninformative: no better than the same maps in the wrong places"
                over = 0.8 if good else 0.05
                for baseline in ("over_random", "over_randomised_weights"):
                    scores[f"{prefix}{key}/{baseline}"] = Score(over, over - 0.1, over + 0.1, 0.0)
                if good:
                    for side in ("real", "synthetic"):
                        scores[f"{prefix}{key}/border_energy/{side}"] = Score(0.5, 0.45, 0.55, 0.44)
                        scores[f"{prefix}{key}/uses_high/{side}"] = Score(0.4, 0.35, 0.45, 0.5)
                    arrays[f"{prefix}by_class/{key}/border_energy"] = np.tile(np.array([0.5, 0.3, 0.7]), (len(known), 2, 1))
    counts = {"images/real": 64, "images/synthetic": 64, "images/checked_per_domain": 24}
    return ProbeResult("attribution", name, "teacher", scores, arrays, counts, {"status": status, "teacher_status": status})


def _blobs(rng: np.random.Generator, count: int) -> np.ndarray:
    y, x = np.mgrid[0:SIDE, 0:SIDE]
    centres = rng.uniform(3, SIDE - 3, (count, 2, 2))
    near = [np.exp(-((x - c[0]) ** 2 + (y - c[1]) ** 2) / 8) - 0.7 * np.exp(-((x - d[0]) ** 2 + (y - d[1]) ** 2) / 8) for c, d in centres]
    return np.array(near, dtype=np.float16)

"""Every probe by its name."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from typing import Any

import numpy as np

from probes.attribution.probe import attribution
from probes.corruptions.probe import corruptions
from probes.depth.probe import depth
from probes.discovery.probe import discovery
from probes.drift.probe import drift
from probes.interventions.probe import interventions
from probes.ladder.probe import ladder
from probes.probe_input import ProbeInput
from probes.result import ProbeResult
from probes.separability.probe import separability
from probes.transfer.probe import transfer

Progress = Callable[[int, int], None]
"""`progress(done, total)`."""

PROBES: dict[str, Callable[..., ProbeResult]] = {"transfer": transfer, "separability": separability, "drift": drift}
"""Probes of tables: `probe(student: EmbeddingTable, teacher, *, class_weights, seed, ...)`."""

IMAGE_PROBES: dict[str, Callable[..., ProbeResult]] = {
    "attribution": attribution,
    "interventions": interventions,
    "discovery": discovery,
    "corruptions": corruptions,
    "depth": depth,
    "ladder": ladder,
}
"""Probes that look again at changed images: `probe(student: ProbeInput, teacher, *, class_weights, seed, progress)`."""


def probe_names() -> list[str]:
    """List the names of all probes, those of tables first."""
    return [*PROBES, *IMAGE_PROBES]


def find_probe(name: str) -> Callable[..., ProbeResult]:
    """Give the probe of this name.

    Raises:
        ValueError: for an unknown name, with the nearest ones.
    """
    known = PROBES | IMAGE_PROBES
    if name not in known:
        near = difflib.get_close_matches(name, known, n=3) or sorted(known)
        raise ValueError(f"`name` must be a probe, got {name!r}; choose from {near}.")
    return known[name]


def measure(
    name: str,
    student: ProbeInput,
    teacher: ProbeInput | None,
    *,
    class_weights: np.ndarray | None,
    logit_scale: float = 100.0,
    seed: int = 0,
    progress: Progress | None = None,
    edited: int | None = None,
) -> ProbeResult:
    """Run the probe of this name, giving it tables or images as it needs.

    Args:
        name: see `probe_names`.
        student: encoder to measure.
        teacher: its teacher over the same images, or None.
        class_weights: (D, C) zero-shot classifier weights, or None.
        logit_scale: multiplier of the cosines, positive; the calibration depends on it.
        seed: seed of every random draw.
        progress: told how far an image probe is.
        edited: images of each domain that `interventions` edits; None for its own default.

    Raises:
        ValueError: for an unknown name, or input that the probe cannot measure, naming the remedy.
    """
    probe = find_probe(name)
    named: dict[str, Any] = {}
    if name == "interventions" and edited is not None:
        named["limit"] = edited
    if name == "transfer":
        named["logit_scale"] = logit_scale
    if name in IMAGE_PROBES:
        return probe(student, teacher, class_weights=class_weights, seed=seed, progress=progress, **named)
    return probe(student.table, None if teacher is None else teacher.table, class_weights=class_weights, seed=seed, **named)

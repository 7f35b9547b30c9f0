"""Every probe by its name, with what it needs, what it accepts and what it measures."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

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
from probes.source_hash import loaded_source_hash
from probes.transfer.probe import transfer

Progress = Callable[[int, int], None]
"""`progress(done, total)`."""

SETTINGS = ("logit_scale", "edited", "groups", "checkpoints")
"""Settings of a diagnosis that a probe may accept, beside class weights and seed, which every probe takes."""


@dataclass(frozen=True)
class ProbeSpec:
    """One probe: how to run it, and what it is.

    Args:
        name: name on the command line and in results.
        function: computes the result. One of tables is called as `function(student_table, teacher_table, *, class_weights, seed, ...)`, one
            of images as `function(student_input, teacher_input, *, class_weights, seed, progress, ...)`.
        needs: `tables` for a probe of embeddings alone, `images` for one that encodes images again.
        question: what it measures, as the question that its docs page is headed by.
        accepts: setting (see `SETTINGS`) -> keyword of `function` that takes it. With `checkpoints` (epoch -> `EmbeddingTable`) the probe also
            follows a training: it returns the arrays `epochs` and `<score>/by_epoch`.

    Raises:
        ValueError: for a setting that does not exist.
    """

    name: str
    function: Callable[..., ProbeResult]
    needs: Literal["tables", "images"]
    question: str
    accepts: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if unknown := sorted(set(self.accepts) - set(SETTINGS)):
            raise ValueError(
                f"`accepts` of {self.name!r} must be among {SETTINGS}, got {unknown[0]!r}; add it to `SETTINGS` and `measure`."
            )

    @property
    def follows_training(self) -> bool:
        """Whether it also measures the checkpoints of a training."""
        return "checkpoints" in self.accepts

    @property
    def source_hash(self) -> str:
        """Hash of the source that its numbers depend on."""
        return loaded_source_hash(self.function.__module__)

    def keywords(self, **settings: object) -> dict[str, Any]:
        """Return the keyword arguments of `function` for those settings that it accepts and that are not None."""
        return {self.accepts[name]: value for name, value in settings.items() if name in self.accepts and value is not None}


PROBES: dict[str, ProbeSpec] = {
    spec.name: spec
    for spec in (
        ProbeSpec(
            "transfer",
            transfer,
            "tables",
            "does the student know the classes, on real images too?",
            {"logit_scale": "logit_scale", "groups": "groups"},
        ),
        ProbeSpec(
            "separability", separability, "tables", "can real and synthetic be told apart in the embedding, and is the difference used?"
        ),
        ProbeSpec("drift", drift, "tables", "how far is the student from the teacher on the same image?", {"checkpoints": "checkpoints"}),
        ProbeSpec("attribution", attribution, "images", "which pixels does the prediction come from?"),
        ProbeSpec("interventions", interventions, "images", "which cue does the student use?", {"edited": "limit"}),
        ProbeSpec("discovery", discovery, "images", "what is the cue, in pictures and words?"),
        ProbeSpec("corruptions", corruptions, "images", "is the student just fragile?"),
        ProbeSpec("depth", depth, "images", "where in the network do the domains come apart?"),
        ProbeSpec("ladder", ladder, "images", "is it only the codec, the size, the colour?"),
    )
}
"""Every probe by its name, those of tables first."""


def probe_names() -> list[str]:
    """List the names of all probes, those of tables first."""
    return list(PROBES)


def find_probe(name: str) -> ProbeSpec:
    """Return the probe of this name.

    Raises:
        ValueError: for an unknown name, with the nearest ones.
    """
    if name not in PROBES:
        near = difflib.get_close_matches(name, PROBES, n=3) or sorted(PROBES)
        raise ValueError(f"`name` must be a probe, got {name!r}; choose from {near}.")
    return PROBES[name]


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
    groups: np.ndarray | None = None,
) -> ProbeResult:
    """Run the probe of this name on tables or images as it needs.

    Args:
        name: see `probe_names`.
        student: encoder to measure.
        teacher: its teacher over the same images, or None.
        class_weights: (D, C) zero-shot classifier weights, or None.
        logit_scale: multiplier of the cosines, positive; the calibration depends on it.
        seed: seed of every random draw.
        progress: called as `progress(done, total)` by a probe of images.
        edited: images of each domain that `interventions` edits; None for its own default.
        groups: (N,) group of each image, such as its background, "" where it is not known; None for no groups.

    Returns:
        The result of the probe.

    Raises:
        ValueError: for an unknown name, or input that the probe cannot measure, naming the remedy.
    """
    spec = find_probe(name)
    keywords = spec.keywords(logit_scale=logit_scale, edited=edited, groups=groups)
    if spec.needs == "images":
        return spec.function(student, teacher, class_weights=class_weights, seed=seed, progress=progress, **keywords)
    teacher_table = None if teacher is None else teacher.table
    return spec.function(student.table, teacher_table, class_weights=class_weights, seed=seed, **keywords)

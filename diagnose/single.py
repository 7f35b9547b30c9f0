"""Run one probe on one student, without a report."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from diagnose.embedding_tables import probe_input
from diagnose.inputs.class_mix import comparable
from diagnose.inputs.embed import distinct, table_of
from diagnose.inputs.load import Loaded
from diagnose.inputs.subjects import Subject, groups_of
from probes.probe_input import ProbeInput
from probes.registry import find_probe, measure
from probes.result import ProbeResult


def run_probe(
    name: str,
    loaded: Loaded,
    *,
    seed: int = 0,
    batch_size: int = 500,
    progress: Callable[[str, int, int], None] | None = None,
    edited: int | None = None,
) -> ProbeResult:
    """Embed both domains with the first student, and with the teacher where there is one, and measure.

    Args:
        name: see `probes.registry.probe_names`.
        loaded: models and images.
        seed: seed of every random draw.
        batch_size: images in one forward pass.
        progress: called with (what, done, total).
        edited: images of each domain that `interventions` edits; None for its own default.

    Returns:
        The result; `params["left_out"]` names the classes that one domain alone has images of, where there are any.

    Raises:
        ValueError: when the probe cannot run on this input, naming the remedy.
    """
    find_probe(name)
    images, left_out = comparable(distinct(tuple(loaded.images.values())), seed=seed)
    report_progress = progress or (lambda what, done, total: None)

    def embedded(subject: Subject) -> ProbeInput:
        what = f"embedding by {subject.name}"
        table = table_of(
            subject.embed,
            subject.name,
            images,
            batch_size=batch_size,
            progress=lambda done, total: report_progress(what, done, total),
        )
        return probe_input(subject, table, images, loaded.embed_text)

    result = measure(
        name,
        embedded(loaded.subjects[0]),
        None if loaded.teacher is None else embedded(loaded.teacher),
        class_weights=_class_weights(loaded),
        logit_scale=loaded.logit_scale,
        seed=seed,
        progress=lambda done, total: report_progress(name, done, total),
        edited=edited,
        groups=groups_of(images),
    )
    notes = {"left_out": left_out.notes[0]} if left_out.notes else {}
    return replace(result, counts={**result.counts, **left_out.counts}, params={**result.params, **notes})


def _class_weights(loaded: Loaded) -> np.ndarray | None:
    """Return the classifier weights of the teacher's texts; without a teacher, those of a student with texts of its own."""
    space = loaded.subjects[0].text_space
    return space.class_weights if loaded.class_weights is None and loaded.teacher is None and space is not None else loaded.class_weights

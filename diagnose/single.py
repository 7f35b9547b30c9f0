"""Run one probe on one student, without a report."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from diagnose.load import Loaded
from diagnose.subjects import Subject
from probes.embeddings import EmbeddingTable, embed
from probes.registry import find_probe
from probes.result import ProbeResult


def run_probe(
    name: str, loaded: Loaded, *, seed: int = 0, batch_size: int = 500, progress: Callable[[str, int, int], None] | None = None
) -> ProbeResult:
    """Embed both domains with the first student, and with the teacher where there is one, and measure.

    Args:
        name: key in `PROBES`.
        loaded: models and images.
        seed: seed of every random draw.
        batch_size: images a forward pass.
        progress: called with (what, done, total).

    Raises:
        ValueError: when the probe cannot run on this input, naming the remedy.
    """
    measure = find_probe(name)
    student = table_of(loaded.subjects[0], loaded, batch_size=batch_size, progress=progress)
    teacher = None if loaded.teacher is None else table_of(loaded.teacher, loaded, batch_size=batch_size, progress=progress)
    more = {"logit_scale": loaded.logit_scale} if name == "transfer" else {}
    return measure(student, teacher, class_weights=loaded.class_weights, seed=seed, **more)


def table_of(
    subject: Subject, loaded: Loaded, *, batch_size: int, progress: Callable[[str, int, int], None] | None = None
) -> EmbeddingTable:
    """Embed the images of all domains with one encoder, as one table."""
    import torch

    parts = list(loaded.images.values())
    shared = set.intersection(*(set(part.metadata) for part in parts))

    def batches():
        for part in parts:
            for start in range(0, len(part), batch_size):
                yield torch.from_numpy(np.ascontiguousarray(part.pixels[start : start + batch_size]))

    return embed(
        subject.encode,
        batches(),
        ids=np.concatenate([[f"{part.domain}/{i}" for i in part.ids] for part in parts]).tolist(),
        labels=np.concatenate([part.labels for part in parts]).tolist(),
        domain=np.concatenate([np.full(len(part), part.domain) for part in parts]).tolist(),
        name=subject.name,
        metadata={key: np.concatenate([part.metadata[key] for part in parts]) for key in shared},
        progress=None if progress is None else lambda done, total: progress(f"embedding by {subject.name}", done, total),
    )

"""From the options of a command to models and images, and whose fault an error is."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from diagnose.inputs.students_file import StudentEntry


LOOKED_AT = 4
"""Images of each domain that are embedded to see whether a model is sound."""


def open_models(
    students: Sequence[str],
    weights: Sequence[str | None],
    teacher: str | None,
    real: str | None,
    synthetic: str | None,
    class_weights: Path | None,
    templates: Sequence[str] | None,
    image_size: int | None,
    *,
    skip_bad: bool = False,
    limit: int | None = None,
    described: Sequence[StudentEntry] = (),
) -> Any:
    """Load students, teacher and both domains as `diagnose.inputs.load.Loaded`.

    Args:
        students: specs, at least one.
        weights: state dict for each student, or shorter.
        teacher: spec, or None.
        real: real images, or None.
        synthetic: synthetic images, or None.
        class_weights: `.npy` of shape (D, C), or None.
        templates: prompts with `{}`; by default "a photo of a {}.".
        image_size: side in pixels, or None for the images' own.
        skip_bad: leave out images that cannot be read.
        limit: images of each domain, each class in proportion, or None for all.
        described: students from a file of students, instead of `students` and `weights`.

    Raises:
        FileNotFoundError, ValueError, DistillError: for anything that cannot be used, each naming the remedy.
    """
    from diagnose.inputs.load import Loaded, load_entry, load_images, load_teacher_subject
    from diagnose.inputs.students_file import StudentEntry
    from diagnose.inputs.text_spaces import in_own_space
    from distill.data.split import load_split
    from distill.models.teacher import read_class_weights
    from distill.text.prompts import DEFAULT_TEMPLATES

    if real is None and synthetic is None:
        raise ValueError("`--real` and `--synthetic` must be given, got neither; name held-out images of both domains.")
    if len(weights) > len(students):
        raise ValueError(f"`--weights` must be given at most once for each --student, got {len(weights)} for {len(students)}; drop some.")
    first = None if real is None else load_split(real, domain="real", skip_bad=skip_bad)
    second = None if synthetic is None else load_split(synthetic, domain="synthetic", skip_bad=skip_bad)
    images = load_images(first, second, image_size, limit=limit)
    shown = next(iter(images.values()))
    if class_weights is not None and shown.class_names not in [split.class_names for split in (first, second) if split is not None]:
        raise ValueError(
            f"`--class-weights` must have a column for every class of --real and --synthetic, got classes in either that the other lacks "
            f"({list(shown.class_names)} together); leave classes out of one of the two, so that the other holds all."
        )
    size = shown.pixels.shape[-1]
    judge: Any = None
    matrix: Any = None
    scale = 100.0
    embed_text: Any = None
    padded = [*weights, *([None] * (len(students) - len(weights)))]
    prompts = list(templates or DEFAULT_TEMPLATES)
    entries = described or [StudentEntry(spec, state) for spec, state in zip(students, padded, strict=True)]
    subjects = [load_entry(entry, image_size=size, class_names=shown.class_names, templates=prompts) for entry in entries]
    if teacher is not None:
        given = None if class_weights is None else str(class_weights)
        judge, matrix, scale, embed_text = load_teacher_subject(
            teacher, shown.class_names, templates=prompts, class_weights=given, image_size=size
        )
    elif class_weights is not None:
        matrix = read_class_weights(class_weights).numpy()
    return Loaded(
        subjects=in_own_space(subjects, matrix),
        teacher=judge,
        class_weights=matrix,
        images=images,
        name="+".join(s.name for s in subjects),
        about="",
        logit_scale=scale,
        embed_text=embed_text,
    )  # type: ignore[arg-type]


def say_what_is_odd(loaded: Any) -> None:
    """Look at a few embeddings of every model before hours are spent, and say on standard error what is odd about them.

    Args:
        loaded: `diagnose.inputs.load.Loaded`.
    """
    import numpy as np
    import torch

    from app.terminal.console import say
    from distill.models.model_check import oddities

    few = [part.pixels[np.linspace(0, len(part) - 1, min(len(part), LOOKED_AT)).astype(int)] for part in loaded.images.values()]
    pixels = torch.from_numpy(np.concatenate([np.asarray(part) for part in few]))
    for subject in (*loaded.subjects, *([] if loaded.teacher is None else [loaded.teacher])):
        try:
            lines = oddities(subject.embed, pixels)
        except Exception as error:  # anybody's model; the probe or the report says the same of all images
            lines = [f"could not embed {len(pixels)} images: {' '.join(str(error).split())[:200]}"]
        for line in lines:
            say(f"odd: {subject.name}: {line}")


def check_probes(names: Sequence[str] | None) -> None:
    """Refuse an unknown probe before anything is loaded; `map` is the map of the whole run.

    Raises:
        ValueError: naming the nearest probes.
    """
    if names:
        from diagnose.stored_images.umap_layout import MAP
        from probes.registry import find_probe

        for name in names:
            if name != MAP:
                find_probe(name)

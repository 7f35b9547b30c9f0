"""From the options of a command to models and images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from diagnose.inputs.load import Loaded
    from diagnose.inputs.students_file import StudentEntry
    from distill.data.split import Split

PROBED = 4
"""Images of each domain that are embedded to see whether a model is sound."""


@dataclass(frozen=True)
class SourceOptions:
    """What the options of a command say of its images, where these do not say it themselves.

    Args:
        class_column: column that names the class.
        domain_column: column that tells the domain, with the words for 0 and 1 where it holds numbers.
        group_column: column of groups.
        image_column: column with the images.
        class_names: file of class names, or names joined by commas.
        split: where the data hold several.
        layout: what each level of folders says.
    """

    class_column: str | None = None
    domain_column: str | None = None
    group_column: str | None = None
    image_column: str | None = None
    class_names: str | None = None
    split: str | None = None
    layout: str | None = None

    def open(
        self, spec: str, *, domain: str | None, class_names: Sequence[str] | None = None, skip_bad: bool = False, lazy: bool = False
    ) -> Split:
        """Load one source, `pocket:PART` among them.

        Args:
            spec: the source.
            domain: `real` or `synthetic`; None: as the source says.
            class_names: classes in the order of another source, which go before the user's.
            skip_bad: leave out images that cannot be read.
            lazy: leave images in their shards.

        Raises:
            FileNotFoundError, ValueError: for a source that cannot be used, naming the remedy.
        """
        from distill.data.vocabulary import listed_class_names
        from distill.generate.sources import open_images

        named = {"class": self.class_column, "domain": self.domain_column, "group": self.group_column, "image": self.image_column}
        columns = {ours: theirs for ours, theirs in named.items() if theirs is not None}
        names = class_names if class_names is not None or self.class_names is None else listed_class_names(self.class_names)
        images = open_images(
            spec,
            domain=domain,
            class_names=names,
            split=self.split,
            columns=columns or None,
            layout=self.layout,
            skip_bad=skip_bad,
            lazy=lazy,
        )
        if spec.startswith("pocket:") and domain not in (None, kind := str(images.domains[0])):
            part = spec.removeprefix("pocket:").partition("-")[0]
            raise ValueError(f"`{spec}` must hold {domain} images, got only {kind} ones; give pocket:{part}-{domain}.")
        return images


@dataclass(frozen=True, kw_only=True)
class ModelOptions:
    """The models and images that `synthgap probe` and `synthgap diagnose` are asked to load.

    Args:
        students: specs, at least one.
        weights: state dict of each student, in the same order, or fewer.
        teacher: spec, or None.
        real: real images, or None.
        synthetic: synthetic images, or None.
        class_weights: `.npy` of shape (D, C), or None.
        templates: prompts with `{}`; "a photo of a {}." where empty.
        image_size: side in pixels, or None for the images' own.
        skip_bad: leave out images that cannot be read.
        limit: images of each domain, each class in proportion, or None for all.
        source: what is said of the images beside their name.
        described: students from a file of students, instead of `students` and `weights`.
        source: what the options say of the images.

    Raises:
        ValueError: where neither domain is given, or more weights than students.
    """

    students: Sequence[str]
    weights: Sequence[str | None] = ()
    teacher: str | None = None
    real: str | None = None
    synthetic: str | None = None
    class_weights: Path | None = None
    templates: Sequence[str] = ()
    image_size: int | None = None
    skip_bad: bool = False
    limit: int | None = None
    source: SourceOptions = SourceOptions()
    described: Sequence[StudentEntry] = ()

    def __post_init__(self) -> None:
        if self.real is None and self.synthetic is None:
            raise ValueError("`--real` and `--synthetic` must be given, got neither; name held-out images of both domains.")
        if len(self.weights) > len(self.students):
            raise ValueError(
                f"`--weights` must be given at most once for each --student, got {len(self.weights)} for {len(self.students)}; drop some."
            )

    @property
    def weights_by_student(self) -> list[tuple[str, str | None]]:
        """Each student's spec with its state dict, None where it has none."""
        missing = len(self.students) - len(self.weights)
        return list(zip(self.students, [*self.weights, *([None] * missing)], strict=True))


def open_models(options: ModelOptions) -> Loaded:
    """Load students, teacher and the images of both domains.

    Args:
        options: what to load.

    Raises:
        FileNotFoundError, ValueError, DistillError: for anything that cannot be used, each naming the remedy.
    """
    from diagnose.inputs.load import Loaded, load_entry, load_images, load_teacher_subject
    from diagnose.inputs.students_file import StudentEntry
    from diagnose.inputs.text_spaces import in_own_space
    from distill.models.teacher import read_class_weights
    from distill.text.prompts import DEFAULT_TEMPLATES

    source = options.source
    real = None if options.real is None else source.open(options.real, domain="real", skip_bad=options.skip_bad)
    synthetic = None if options.synthetic is None else source.open(options.synthetic, domain="synthetic", skip_bad=options.skip_bad)
    images = load_images(real, synthetic, options.image_size, limit=options.limit)
    first = next(iter(images.values()))
    class_weights = options.class_weights
    if class_weights is not None and first.class_names not in [split.class_names for split in (real, synthetic) if split is not None]:
        raise ValueError(
            f"`--class-weights` must have a column for every class of --real and --synthetic, got classes in either that the other lacks "
            f"({list(first.class_names)} together); leave classes out of one of the two, so that the other holds all."
        )
    size = first.pixels.shape[-1]
    templates = list(options.templates or DEFAULT_TEMPLATES)
    entries = options.described or [StudentEntry(spec, weights) for spec, weights in options.weights_by_student]
    subjects = [load_entry(entry, image_size=size, class_names=first.class_names, templates=templates) for entry in entries]
    name = "+".join(subject.name for subject in subjects)
    if options.teacher is None:
        matrix = None if class_weights is None else read_class_weights(class_weights).numpy()
        return Loaded(
            subjects=in_own_space(subjects, matrix),
            teacher=None,
            class_weights=matrix,
            images=images,
            name=name,
            about="",
            logit_scale=100.0,
        )
    teacher, matrix, logit_scale, embed_text = load_teacher_subject(
        options.teacher,
        first.class_names,
        templates=templates,
        class_weights=None if class_weights is None else str(class_weights),
        image_size=size,
    )
    return Loaded(
        subjects=in_own_space(subjects, matrix),
        teacher=teacher,
        class_weights=matrix,
        images=images,
        name=name,
        about="",
        logit_scale=logit_scale,
        embed_text=embed_text,
    )


def say_what_is_odd(loaded: Loaded) -> None:
    """Embed a few images with every model before hours are spent, and say on standard error what is odd about the embeddings.

    Args:
        loaded: models and images.
    """
    import numpy as np
    import torch

    from app.terminal.console import say
    from distill.models.model_check import oddities

    parts = [part.pixels[np.linspace(0, len(part) - 1, min(len(part), PROBED)).astype(int)] for part in loaded.images.values()]
    pixels = torch.from_numpy(np.concatenate([np.asarray(part) for part in parts]))
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

"""From the options of a command to models and images, and whose fault an error is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from distill.data.split import Split


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
    source: SourceOptions | None = None,
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
        source: what the options say of the images.

    Raises:
        FileNotFoundError, ValueError, DistillError: for anything that cannot be used, each naming the remedy.
    """
    from diagnose.inputs.load import Loaded, load_images, load_subject, load_teacher_subject
    from distill.models.teacher import read_class_weights
    from distill.text.prompts import DEFAULT_TEMPLATES

    if real is None and synthetic is None:
        raise ValueError("`--real` and `--synthetic` must be given, got neither; name held-out images of both domains.")
    if len(weights) > len(students):
        raise ValueError(f"`--weights` must be given at most once for each --student, got {len(weights)} for {len(students)}; drop some.")
    source = source or SourceOptions()
    first = None if real is None else source.open(real, domain="real", skip_bad=skip_bad)
    second = None if synthetic is None else source.open(synthetic, domain="synthetic", skip_bad=skip_bad)
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
    subjects = [load_subject(spec, weights=state, image_size=size) for spec, state in zip(students, padded, strict=True)]
    if teacher is not None:
        given = None if class_weights is None else str(class_weights)
        judge, matrix, scale, embed_text = load_teacher_subject(
            teacher, shown.class_names, templates=list(templates or DEFAULT_TEMPLATES), class_weights=given, image_size=size
        )
    elif class_weights is not None:
        matrix = read_class_weights(class_weights).numpy()
    return Loaded(
        subjects=subjects,
        teacher=judge,
        class_weights=matrix,
        images=images,
        name="+".join(s.name for s in subjects),
        about="",
        logit_scale=scale,
        embed_text=embed_text,
    )  # type: ignore[arg-type]


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

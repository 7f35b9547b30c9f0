"""`synthgap teach`: a small CLIP teacher trained from scratch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from app.terminal.console import progress_bars, say, validated
from app.terminal.options import ClassColumn, ClassNames, DomainColumn, GroupColumn, ImageColumn, Layout, Out, Resume, SkipBad, SplitName

if TYPE_CHECKING:
    from distill.data.split import Split


def teach(
    data: Annotated[str, typer.Argument(help="Real training images.")],
    out: Out,
    test: Annotated[str | None, typer.Option(help="Held-out real images to score the teacher on.")] = None,
    domain: Annotated[str, typer.Option(help="Domain of the images.")] = "real",
    epochs: Annotated[int | None, typer.Option(help="Passes over the images.")] = None,
    size: Annotated[int | None, typer.Option("--input-size", help="Side to which images are resized inside the teacher.")] = None,
    tower: Annotated[str | None, typer.Option("--image-tower", help="A timm model.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of weights, order and views.")] = 0,
    skip_bad: SkipBad = False,
    resume: Resume = False,
    class_column: ClassColumn = None,
    domain_column: DomainColumn = None,
    group_column: GroupColumn = None,
    image_column: ImageColumn = None,
    class_names: ClassNames = None,
    split: SplitName = None,
    layout: Layout = None,
) -> None:
    """Train a small CLIP teacher from scratch; open_clip loads what comes out."""
    from app.terminal.inputs import SourceOptions
    from distill.data.duplicates import warn_of_leaks
    from distill.training.teach import TeachConfig
    from distill.training.teach import teach as run

    base = TeachConfig()
    change: dict[str, object] = {"seed": seed}
    if size is not None:
        change["image_size"] = size
    if tower is not None:
        change |= {"image_tower": tower, "first_image_size": None}  # many towers take one size only
    if epochs is not None:
        change["training"] = base.training.model_copy(update={"epochs": epochs})
    if epochs is not None and epochs < 1:
        raise ValueError(f"`--epochs` must be at least 1, got {epochs}; give a larger number.")
    config = validated(TeachConfig.model_validate, base.model_copy(update=change).model_dump())
    source = SourceOptions(class_column, domain_column, group_column, image_column, class_names, split, layout)
    train_split = source.open(data, domain=domain, skip_bad=skip_bad)
    test_split = None if test is None else source.open(test, domain=domain, class_names=train_split.class_names, skip_bad=skip_bad)
    if test_split is not None:
        warn_of_leaks({str(data): train_split}, {str(test): test_split})
    with progress_bars() as progress:
        accuracy = run(train_split, out, config=config, test=test_split, resume=resume, progress=progress)
    say(f"teacher: {out}")
    if accuracy is not None:
        typer.echo(_result(accuracy, test, test_split))


def _result(accuracy: float, test: str | None, held_out: Split | None) -> str:
    """Write the last line: the accuracy beside chance, and what to look at where it is not surely more."""
    import numpy as np

    from diagnose.wording.numbers import in_percent
    from probes.stats.intervals import wilson

    if held_out is None or not len(held_out):
        return f"zero-shot accuracy on {test}: {in_percent(accuracy)} %"
    count = len(held_out)
    chance = max(1 / len(held_out.class_names), float(np.bincount(held_out.labels).max()) / count)
    if wilson(round(accuracy * count), count)[0] <= chance:
        say(
            "The teacher is not surely better than chance. Likely causes: too few epochs or images for what it has to learn, labels that do not go with "
            "the images, classes that the test images name otherwise than the training images."
        )
    return f"zero-shot accuracy on {test}: {in_percent(accuracy)} % (chance {in_percent(chance)} %)"

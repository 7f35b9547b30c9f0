"""`synthgap teach`: a small CLIP teacher trained from scratch."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from app.terminal.console import progress_bars, say, validated
from app.terminal.options import Out, Resume, SkipBad


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
) -> None:
    """Train a small CLIP teacher from scratch; open_clip loads what comes out."""
    from distill.data.split import load_split
    from distill.training.teach import TeachConfig
    from distill.training.teach import teach as run

    base = TeachConfig()
    change: dict[str, Any] = {"seed": seed}
    if size is not None:
        change["image_size"] = size
    if tower is not None:
        change |= {"image_tower": tower, "first_image_size": None}  # many towers take one size only
    if epochs is not None:
        change["training"] = base.training.model_copy(update={"epochs": epochs})
    if epochs is not None and epochs < 1:
        raise ValueError(f"`--epochs` must be at least 1, got {epochs}; give a larger number.")
    config = validated(TeachConfig.model_validate, base.model_copy(update=change).model_dump())
    train_split = load_split(data, domain=domain, skip_bad=skip_bad)
    test_split = None if test is None else load_split(test, domain=domain, class_names=train_split.class_names, skip_bad=skip_bad)
    with progress_bars() as progress:
        accuracy = run(train_split, out, config=config, test=test_split, resume=resume, progress=progress)
    say(f"teacher: {out}")
    if accuracy is not None:
        typer.echo(_result(accuracy, test, test_split))


def _result(accuracy: float, test: str | None, held_out: Any) -> str:
    """Write the last line: the accuracy beside chance, and what to look at where it is not surely more."""
    import numpy as np

    from probes.stats.intervals import wilson

    count = len(held_out)
    chance = max(1 / len(held_out.class_names), float(np.bincount(held_out.labels).max()) / count)
    if wilson(round(accuracy * count), count)[0] <= chance:
        say(
            "The teacher is not surely better than chance. Likely causes: too few epochs or images for what it has to learn, labels that do not go with "
            "the images, classes that the test images name otherwise than the training images."
        )
    return f"zero-shot accuracy on {test}: {100 * accuracy:.1f} % (chance {100 * chance:.1f} %)"

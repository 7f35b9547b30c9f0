"""`synthgap compose`: cut-outs on backgrounds, tied to the class as firmly as asked, with masks and groups."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from app.terminal.console import progress_bars, validated
from app.terminal.options import Out, Resume, SkipBad


def compose(
    out: Out,
    objects: Annotated[Path, typer.Option(help="Folder of cut-outs with transparency, one folder a class.")],
    backgrounds: Annotated[str, typer.Option(help="Background images; each class of them is a place.")],
    object_class: Annotated[
        list[str] | None, typer.Option(help="NAME=FOLDER,FOLDER of --objects; may be given again. By default each folder is a class.")
    ] = None,
    place: Annotated[
        list[str] | None, typer.Option(help="NAME=CLASS,CLASS of --backgrounds; may be given again. By default each class is a place.")
    ] = None,
    images: Annotated[int, typer.Option(help="Pictures to write.")] = 1000,
    tie: Annotated[float, typer.Option(help="Share of each class's pictures on the place that is tied to it; 1 / places unties.")] = 0.95,
    size: Annotated[int, typer.Option(help="Side of the pictures in pixels.")] = 224,
    scale: Annotated[str, typer.Option(help="Least and greatest longer side of an object, as a share of the picture.")] = "0.35,0.7",
    objects_per_image: Annotated[int, typer.Option(help="Objects in a picture; the first decides the class.")] = 1,
    part: Annotated[str, typer.Option(help="all, train or test: no object and no background is in both train and test.")] = "all",
    test_share: Annotated[float, typer.Option(help="Share of objects and backgrounds kept for the test part.")] = 0.4,
    domain: Annotated[str, typer.Option(help="real or synthetic, as the manifest says.")] = "synthetic",
    template: Annotated[str, typer.Option(help="Caption, with {object} and {place}.")] = "a photo of a {object} on {place}",
    seed: Annotated[int, typer.Option(help="Seed of the set.")] = 0,
    skip_bad: SkipBad = False,
    resume: Resume = False,
) -> None:
    """Compose a counter-background set whose spurious cue, masks and groups are known exactly."""
    from distill.compose.composition import ComposeConfig
    from distill.compose.composition import compose as run
    from distill.data.split import load_split

    values = {"images": images, "tie": tie, "size": size, "objects_per_image": objects_per_image, "part": part, "seed": seed}
    values |= {"scale": _pair(scale), "test_share": test_share, "domain": domain, "template": template}
    config = validated(ComposeConfig, **values)
    split = load_split(backgrounds, domain="real", skip_bad=skip_bad, lazy=True)
    classes, places = _named("object-class", object_class), _named("place", place)
    with progress_bars() as progress:
        manifest = run(objects, split, out, config, classes=classes, places=places, resume=resume, progress=progress)
    typer.echo(f"manifest: {manifest} ({images} pictures)")


def _pair(text: str) -> tuple[float, float]:
    try:
        low, high = map(float, text.split(","))
    except ValueError:
        raise ValueError(f"`--scale` must be two numbers, got {text!r}; write them as 0.35,0.7.") from None
    return low, high


def _named(option: str, texts: Sequence[str] | None) -> dict[str, list[str]] | None:
    """Read NAME=A,B options as name -> values, or None where there are none."""
    if not texts:
        return None
    read: dict[str, list[str]] = {}
    for text in texts:
        name, _, values = text.partition("=")
        parts = [part.strip() for part in values.split(",") if part.strip()]
        if not name.strip() or not parts:
            raise ValueError(f"`--{option}` must be NAME=A,B, got {text!r}; write it so.")
        if name.strip() in read:
            raise ValueError(f"`--{option}` must name each once, got {name.strip()!r} twice; join them with commas.")
        read[name.strip()] = parts
    return read

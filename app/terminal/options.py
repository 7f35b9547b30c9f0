"""Options that several commands have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Out = Annotated[Path, typer.Option("--out", help="Folder to write.")]


Real = Annotated[str | None, typer.Option(help="Held-out real images: folder, parquet, tar shards or hf:NAME.")]


Synthetic = Annotated[str | None, typer.Option(help="Held-out synthetic images.")]


ClassWeights = Annotated[Path | None, typer.Option(help="Zero-shot classifier weights, .npy of shape (D, C).")]


Templates = Annotated[list[str] | None, typer.Option("--template", help="Prompt with {} for the class name; may be given again.")]


Size = Annotated[int | None, typer.Option(help="Side in pixels; needed when images differ in size.")]


SkipBad = Annotated[bool, typer.Option("--skip-bad", help="Leave out images that cannot be read, and count them.")]


Limit = Annotated[int | None, typer.Option(min=1, help="Use at most so many held-out images of each domain, each class in proportion.")]


Edited = Annotated[int | None, typer.Option(min=2, help="Images of each domain that `interventions` edits: more names weaker cues.")]


Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON on stdout.")]


Resume = Annotated[bool, typer.Option("--resume", help="Go on with an interrupted run.")]


Weights = Annotated[list[str] | None, typer.Option(help="State dict for a --student, in the same order, FILE or FILE#KEY.")]


ClassColumn = Annotated[str | None, typer.Option(help="Column that names the class, of names or integers; several, joined by commas.")]


DomainColumn = Annotated[str | None, typer.Option(help="Column that tells the domain; of numbers as in NAME=real,synthetic for 0 and 1.")]


GroupColumn = Annotated[str | None, typer.Option(help="Column of groups, such as the background; by default `group`.")]


ImageColumn = Annotated[str | None, typer.Option(help="Column with the images, where it has another name.")]


ClassNames = Annotated[str | None, typer.Option(help="File of class names in the order of the labels, one a line; or a,b,c.")]


SplitName = Annotated[str | None, typer.Option("--split", help="train, test ..., where the data hold several.")]


Layout = Annotated[str | None, typer.Option(help="What folders name, such as generator/class/domain, where their names do not tell it.")]

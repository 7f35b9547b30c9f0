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

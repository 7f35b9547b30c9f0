"""`synthgap export`: a student for other tools."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from app.terminal.console import say
from app.terminal.options import Out


def export(
    checkpoint: Annotated[Path, typer.Argument(help="A student of ours, student.safetensors.")],
    out: Out,
    kind: Annotated[str, typer.Option("--format", help="safetensors, onnx or open_clip.")] = "safetensors",
    teacher: Annotated[str | None, typer.Option(help="Whose text tower joins it, for open_clip; by default its run's.")] = None,
) -> None:
    """Take a student to other tools: safetensors, ONNX, or a folder that plain open_clip loads."""
    from distill.export.run import export_student

    about = export_student(checkpoint, out, kind=kind, teacher=teacher)
    if about.get("resizes"):
        say(
            f"open_clip resizes images to {about['inside']['resize']} pixels in its own way: "
            f"cosines with the student's embeddings from {about['smallest_cosine']:.4f}; see docs/export.md."
        )
    typer.echo(f"{kind}: {out}")

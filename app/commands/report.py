"""`synthgap report`: a stored report in other forms."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def report(
    run: Annotated[Path, typer.Argument(help="Run directory, or any folder with a report.json.")],
    pdf: Annotated[Path, typer.Option("--pdf", help="File to write, A4.")],
) -> None:
    """Write a stored report as PDF; needs neither images nor models."""
    from app.run_store.reports import Run, load_report
    from diagnose.report.pdf import pdf as made
    from distill.system.atomic_files import write_then_rename

    folder = run.resolve()
    content = made(load_report(Run(folder.name, folder, folder)))
    write_then_rename(pdf, lambda file: file.write(content))
    typer.echo(f"pdf: {pdf}")

"""`synthgap demo`: the embedded comparison, its verdict, and the dashboard."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from app.commands.diagnose import diagnose_run
from app.commands.train import QUICK_PROBES, train_students
from app.terminal.console import say
from app.terminal.options import Out


def demo(
    out: Out = Path("runs/pocket"),
    no_app: Annotated[bool, typer.Option("--no-app", help="Do not open the dashboard.")] = False,
    port: Annotated[int, typer.Option(help="Port of the dashboard.")] = 8501,
) -> None:
    """Run the embedded comparison, print the verdict, open the dashboard."""
    from distill.packs import pocket

    train_students(Path(pocket.__file__).with_name("pocket.toml"), out, overrides=[], resume=True, jobs=min(os.cpu_count() or 1, 5))
    diagnose_run(out, probes=QUICK_PROBES)
    if not no_app and not os.environ.get("CI"):
        from app.run_store.launch import launch

        say(f"dashboard: http://127.0.0.1:{port} (stop it with Ctrl-C)")
        raise typer.Exit(launch(out, port, open_browser=True))

"""`synthgap app`: the dashboard over a folder of runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from app.terminal.console import say


def dashboard(
    runs: Annotated[Path, typer.Argument(help="Runs folder, or one run.")] = Path("runs"),
    port: Annotated[int, typer.Option(help="Port on 127.0.0.1.")] = 8501,
    no_browser: Annotated[bool, typer.Option("--no-browser", help="Do not open a browser.")] = False,
) -> None:
    """Open the dashboard on this machine."""
    from app.run_store.launch import launch

    say(f"dashboard: http://127.0.0.1:{port} (stop it with Ctrl-C)")
    raise typer.Exit(launch(runs, port, open_browser=not no_browser))

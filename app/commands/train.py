"""`synthgap train`: an experiment's students, and their diagnosis where it is asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

QUICK_PROBES = ["transfer", "separability", "drift"]
"""These show the effect in minutes; `synthgap diagnose runs/pocket` runs every probe."""


def train(
    config: Annotated[Path, typer.Argument(help="Experiment, TOML; see configs/.")],
    out: Annotated[Path, typer.Option("--out", help="Folder to write.")],
    overrides: Annotated[list[str] | None, typer.Option("--set", help="key=value, such as training.epochs=3; may be given again.")] = None,
    jobs: Annotated[int, typer.Option(help="Students trained at once, each with its share of the cores.")] = 1,
    track: Annotated[
        list[str] | None, typer.Option(help="Metrics also to tensorboard or wandb (offline unless WANDB_MODE=online).")
    ] = None,
    smoke: Annotated[bool, typer.Option("--smoke", help="Rehearse with tiny stand-ins: two steps a student, and a diagnosis.")] = False,
    diagnose: Annotated[bool, typer.Option("--diagnose", help="Judge the students when they are trained.")] = False,
    probes: Annotated[list[str] | None, typer.Option("--probe", help="With --diagnose, only this probe; may be given again.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with an interrupted run.")] = False,
) -> None:
    """Train the comparison students of an experiment."""
    from app.commands.diagnose import diagnose_run
    from app.terminal.console import say
    from app.terminal.inputs import check_probes
    from distill.distributed.sharding import rank_and_world_size

    if probes and not diagnose:
        raise ValueError(f"`--probe` must be given with --diagnose, got {probes[0]} alone; add --diagnose.")
    check_probes(probes)
    chosen = [*(overrides or []), *([f"training.trackers={track}"] if track else [])]
    failed = train_students(config, out, overrides=chosen, resume=resume, jobs=jobs, smoke=smoke)
    if rank_and_world_size()[0]:
        raise typer.Exit(2 if failed else 0)  # the first process says and judges for all
    for name, why in failed.items():
        say(f"failed: {name}: {why}")
    if (smoke and not failed) or (diagnose and any((out / "students").glob("*/student.safetensors"))):
        diagnose_run(out, probes=probes or (QUICK_PROBES if smoke else None))
    typer.echo(f"run: {out}")
    if failed:
        raise typer.Exit(2)


def train_students(config: Path, out: Path, *, overrides: list[str], resume: bool, jobs: int = 1, smoke: bool = False) -> dict[str, str]:
    """Train the students of an experiment; give the name of each that failed -> why."""
    from app.terminal.console import progress_bars
    from distill.distributed.sharding import rank_and_world_size
    from distill.training.config import read_experiment

    experiment = read_experiment(config, overrides)
    if smoke:
        from distill.training.smoke import stand_ins

        if out.exists():
            raise FileExistsError(f"`out` must be a new folder for --smoke, got {out}; choose another.")
        experiment = stand_ins(experiment, out / "stand-ins")
    from distill.training.grid import train_grid

    with progress_bars() as progress:
        return train_grid(experiment, out, resume=resume, jobs=jobs, progress=None if rank_and_world_size()[0] else progress)

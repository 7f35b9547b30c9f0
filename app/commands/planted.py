"""`synthgap planted`: its options, turned into a configuration."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from diagnose.planted.config import PlantedConfig


def planted(
    out: Annotated[Path, typer.Option("--out", help="Folder to write.")],
    config: Annotated[Path | None, typer.Option(help="TOML with the options of the benchmark; see configs/planted.toml.")] = None,
    data: Annotated[str | None, typer.Option(help="Real images: pocket, a folder that holds CIFAKE, or any images.")] = None,
    test: Annotated[str | None, typer.Option(help="Held-out real images; by default every third of --data.")] = None,
    teacher: Annotated[str | None, typer.Option(help="Teacher; by default the pocket's, else one taught on the clean images.")] = None,
    families: Annotated[str | None, typer.Option(help="Cues or families, a,b,c; or dev, checked, held-out, all.")] = None,
    strengths: Annotated[str | None, typer.Option(help="Shares of images in which the cue goes with the class, 0.6,0.9.")] = None,
    draws: Annotated[int | None, typer.Option(help="Students of each cue and strength.")] = None,
    nulls: Annotated[int | None, typer.Option(help="Students of each kind of null.")] = None,
    dose_draws: Annotated[int | None, typer.Option(help="Seeds of the dose response of three losses; 0 leaves it out.")] = None,
    limit: Annotated[int | None, typer.Option(help="Images of each domain for the interventions.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of the first draw.")] = None,
    image_size: Annotated[int | None, typer.Option(help="Side in pixels; needed when images differ in size.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with an interrupted benchmark, or make it larger.")] = False,
) -> None:
    """Measure the toolkit itself: plant known shortcuts, train students on them, and score what it says."""
    from app.terminal.console import progress_bars, progress_reporter, say
    from diagnose.planted.plan import run_plan

    options: dict[str, object] = {
        "data": data,
        "test": test,
        "teacher": teacher,
        "families": None if families is None else _listed(families),
        "strengths": None if strengths is None else [_number(part) for part in _listed(strengths)],
        "draws": draws,
        "nulls": nulls,
        "dose_draws": dose_draws,
        "limit": limit,
        "first_seed": seed,
        "image_size": image_size,
    }
    checked = read_config(config, {name: value for name, value in options.items() if value is not None})
    with progress_bars() as progress:
        records = run_plan(checked, out, resume=resume, progress=progress_reporter(progress))
    typer.echo((out / "scores.json").read_text(encoding="utf-8").rstrip())
    say(f"page: {out / 'README.md'} ({len(records)} draws)")


def read_config(path: Path | None, changes: dict[str, object]) -> PlantedConfig:
    """Read the options of a benchmark from a TOML file, changed by those of the command line.

    Raises:
        FileNotFoundError: for a file that is not there.
        ValueError: for options that are unknown or out of range, naming the first.
    """
    from pydantic import ValidationError

    from diagnose.planted.config import PlantedConfig
    from distill.system.untrusted_text import fault_and_remedy, read_toml

    options: dict[str, object] = {}
    if path is not None:
        if not path.is_file():
            raise FileNotFoundError(f"`config` must be a TOML file that exists, got {path}; see configs/planted.toml.")
        options = read_toml(path, "`config`")
    try:
        return PlantedConfig.model_validate(options | changes)
    except ValidationError as error:
        raise ValueError(fault_and_remedy(error, "change it in the options of the benchmark")) from error


def _listed(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"`strengths` must be numbers from 0 to 1, got {text!r}; write them as 0.6,0.9.") from None

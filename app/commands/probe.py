"""`synthgap probe`: one probe on anybody's checkpoint."""

from __future__ import annotations

from typing import Annotated

import typer

from app.terminal.console import progress_bars, progress_reporter, say
from app.terminal.options import (
    ClassColumn,
    ClassNames,
    ClassWeights,
    DomainColumn,
    Edited,
    GroupColumn,
    ImageColumn,
    Json,
    Layout,
    Limit,
    Out,
    Real,
    Size,
    SkipBad,
    SplitName,
    Synthetic,
    Templates,
)


def probe(
    name: Annotated[str, typer.Argument(help="transfer, separability, drift ...; an unknown name lists all.")],
    student: Annotated[str, typer.Option(help="timm:, open_clip:, hf:, builtin:, checkpoint or file.py:function.")],
    out: Out,
    real: Real = None,
    synthetic: Synthetic = None,
    teacher: Annotated[str | None, typer.Option(help="open_clip:NAME/TAG or a teacher's folder.")] = None,
    weights: Annotated[str | None, typer.Option(help="State dict for the student, FILE or FILE#KEY.")] = None,
    class_weights: ClassWeights = None,
    template: Templates = None,
    image_size: Size = None,
    limit: Limit = None,
    edited: Edited = None,
    seed: Annotated[int, typer.Option(help="Seed of every random draw.")] = 0,
    skip_bad: SkipBad = False,
    class_column: ClassColumn = None,
    domain_column: DomainColumn = None,
    group_column: GroupColumn = None,
    image_column: ImageColumn = None,
    class_names: ClassNames = None,
    split: SplitName = None,
    layout: Layout = None,
    as_json: Json = False,
) -> None:
    """Run one probe on anybody's checkpoint."""
    from app.terminal.inputs import ModelOptions, SourceOptions, open_models, say_what_is_odd
    from diagnose.notes import notes_of
    from diagnose.single import run_probe
    from probes.registry import find_probe

    find_probe(name)
    options = ModelOptions(
        students=[student],
        weights=[weights],
        teacher=teacher,
        real=real,
        synthetic=synthetic,
        class_weights=class_weights,
        templates=template or [],
        image_size=image_size,
        skip_bad=skip_bad,
        limit=limit,
        source=SourceOptions(class_column, domain_column, group_column, image_column, class_names, split, layout),
    )
    models = open_models(options)
    say_what_is_odd(models)
    with progress_bars() as progress:
        result = run_probe(name, models, seed=seed, progress=progress_reporter(progress), edited=edited)
    path = result.save(out / name / result.subject)
    if as_json:
        import json

        typer.echo(json.dumps(result.to_dict(), indent=1, sort_keys=True))
    else:
        for key, score in sorted(result.scores.items()):
            chance = "" if score.chance is None else f"  chance {score.chance:.3f}"
            typer.echo(f"{key:32s} {score.value:8.4f}  [{score.low:.4f}, {score.high:.4f}]{chance}")
    for note in notes_of(result):
        say(note)
    say(f"result: {path}")

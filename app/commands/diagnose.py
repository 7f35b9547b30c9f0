"""`synthgap diagnose`: weigh the evidence of a run or of checkpoints, and write the report."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypedDict

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
    Real,
    Size,
    SkipBad,
    SplitName,
    Synthetic,
    Templates,
    Weights,
)

if TYPE_CHECKING:
    from app.terminal.inputs import SourceOptions
    from diagnose.inputs.load import Loaded
    from diagnose.schema import Report


class CommonOptions(TypedDict):
    """Options that mean the same for students of options and of a file."""

    skip_bad: bool
    limit: int | None
    source: SourceOptions


def diagnose(
    run: Annotated[Path | None, typer.Argument(help="Run directory of `synthgap train`, or a file of students (.toml).")] = None,
    student: Annotated[list[str] | None, typer.Option(help="A student; may be given again.")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder of the report, for --student.")] = None,
    teacher: Annotated[str | None, typer.Option(help="open_clip:NAME/TAG or a teacher's folder.")] = None,
    real: Real = None,
    synthetic: Synthetic = None,
    weights: Weights = None,
    class_weights: ClassWeights = None,
    template: Templates = None,
    image_size: Size = None,
    limit: Limit = None,
    edited: Edited = None,
    skip_bad: SkipBad = False,
    trained: Annotated[
        list[str] | None,
        typer.Option(help="What one --student was trained for, KEY=VALUE: loss, target, negatives, trained_on, seed or a factor."),
    ] = None,
    class_column: ClassColumn = None,
    domain_column: DomainColumn = None,
    group_column: GroupColumn = None,
    image_column: ImageColumn = None,
    class_names: ClassNames = None,
    split: SplitName = None,
    layout: Layout = None,
    seed: Annotated[int, typer.Option(help="Seed of every random draw.")] = 0,
    probes: Annotated[
        list[str] | None, typer.Option("--probe", help="Only this probe, or map; may be given again. By default all.")
    ] = None,
    fail_on: Annotated[list[str] | None, typer.Option(help="Condition such as 'separability > 0.9'; exit code 1 when it holds.")] = None,
    as_json: Json = False,
) -> None:
    """Weigh the evidence: report.json, report.html, JUnit XML, and a verdict in words."""
    from app.terminal.inputs import check_probes
    from diagnose.judge import conditions

    for expression in fail_on or []:
        conditions.parse(expression)
    check_probes(probes)
    if (run is None) == (not student):
        raise ValueError(
            "`diagnose` must be given a run directory or --student, got " + ("both" if run else "neither") + "; give one of them."
        )
    if trained and len(student or []) != 1:
        raise ValueError(
            f"`--trained` must be given with exactly one --student, got {len(student or [])}; describe several in a file of students (students.toml)."
        )
    if run is not None and not (run.suffix == ".toml" and not run.is_dir()):
        report, folder = diagnose_run(run, seed=seed, quiet=as_json, probes=probes, limit=limit, edited=edited, fail_on=fail_on), run
    else:
        if run is not None and weights:
            raise ValueError(f"`--weights` must be left out with a file of students, got {weights[0]}; write them into {run}.")
        if run is not None and out is None:
            raise ValueError("`--out` must be given with a file of students, got none; name a folder for the report.")
        if out is None or (teacher is None and run is None):
            raise ValueError("`--out` and `--teacher` must be given with --student, got none; add them.")
        from app.terminal.inputs import SourceOptions

        common: CommonOptions = {
            "skip_bad": skip_bad,
            "limit": limit,
            "source": SourceOptions(class_column, domain_column, group_column, image_column, class_names, split, layout),
        }
        if run is not None:
            models = _open_file(run, teacher, real, synthetic, class_weights, template, image_size, common)
        else:
            models = _open_students(
                student or [], weights, teacher, real, synthetic, class_weights, template, image_size, trained or [], common
            )
        report, folder = _judge(models, out, seed=seed, quiet=as_json, probes=probes, edited=edited, fail_on=fail_on), out
    if as_json:
        typer.echo((folder / "report.json").read_text())
    results = conditions.check(report, fail_on or [])
    if results:
        from diagnose.report import junit
        from diagnose.wording.condition_words import condition_sentence

        junit.write(report, folder / "junit.xml", results)
        for result in results:
            say(condition_sentence(result))
    if any(result.holds for result in results):
        raise typer.Exit(1)


def _open_students(
    students: list[str],
    weights: list[str] | None,
    teacher: str | None,
    real: str | None,
    synthetic: str | None,
    class_weights: Path | None,
    templates: list[str] | None,
    image_size: int | None,
    trained: list[str],
    common: CommonOptions,
) -> Loaded:
    """Load the students that options name, with what is said of the training of one."""
    from app.terminal.inputs import ModelOptions, open_models
    from diagnose.inputs.load import annotate_students
    from diagnose.inputs.trained_as import read_trained_options

    training = read_trained_options(trained)
    options = ModelOptions(
        students=students,
        weights=weights or [],
        teacher=teacher,
        real=real,
        synthetic=synthetic,
        class_weights=class_weights,
        templates=templates or [],
        image_size=image_size,
        **common,
    )
    return annotate_students(open_models(options), training)


def _open_file(
    file: Path,
    teacher: str | None,
    real: str | None,
    synthetic: str | None,
    class_weights: Path | None,
    templates: list[str] | None,
    image_size: int | None,
    common: CommonOptions,
) -> Loaded:
    """Load what a file of students describes; an option goes before the file's own line."""
    from dataclasses import replace

    from app.terminal.inputs import ModelOptions, open_models
    from diagnose.inputs.students_file import read_students_file

    described = read_students_file(file)
    if not (teacher or described.teacher):
        raise ValueError(f"`teacher` must be given in {file} or by --teacher, got none; name the teacher of the students.")
    options = ModelOptions(
        students=[],
        teacher=teacher or described.teacher,
        real=real or described.real,
        synthetic=synthetic or described.synthetic,
        class_weights=class_weights or described.class_weights,
        templates=templates or described.templates or [],
        image_size=image_size or described.image_size,
        described=described.students,
        **common,
    )
    return replace(open_models(options), name=described.name, about=described.about)


def diagnose_run(
    run: Path,
    *,
    seed: int = 0,
    quiet: bool = False,
    probes: list[str] | None = None,
    limit: int | None = None,
    edited: int | None = None,
    fail_on: list[str] | None = None,
) -> Report:
    """Judge the students of a run directory, and hold it for this process meanwhile.

    Args:
        run: run directory of `synthgap train`.
        seed: seed of every random draw.
        quiet: print no verdict.
        probes: names of probes, or None for all.
        limit: held-out images of each domain, or None for all.
        edited: images of each domain that `interventions` edits, or None for its own default.
        fail_on: conditions that are checked against the names of students and probes before anything is measured.

    Raises:
        FileNotFoundError: for a run that is not there.
    """
    from diagnose.inputs.load import load_run
    from distill.training.grid import locked

    if not run.is_dir():
        raise FileNotFoundError(f"`run` must be a run directory that exists, got {run}; make one with `synthgap train`.")
    with locked(run):
        loaded = load_run(run, limit=limit, progress=True)
        return _judge(loaded, run, seed=seed, quiet=quiet, probes=probes, edited=edited, fail_on=fail_on)


def _judge(
    loaded: Loaded,
    out: Path,
    *,
    seed: int,
    quiet: bool,
    probes: list[str] | None = None,
    edited: int | None = None,
    fail_on: list[str] | None = None,
) -> Report:
    from app.terminal.inputs import say_what_is_odd
    from diagnose.judge.conditions import foresee
    from diagnose.run import diagnose as run

    if loaded.teacher is None:
        raise ValueError("`--teacher` must be given to diagnose students, got none; name the teacher they were trained on.")
    foresee(fail_on or [], [subject.name for subject in loaded.subjects], probes)
    say_what_is_odd(loaded)
    with progress_bars() as progress:
        report = run(
            loaded.subjects,
            loaded.teacher,
            class_weights=loaded.class_weights,
            real=loaded.images.get("real"),
            synthetic=loaded.images.get("synthetic"),
            out=out,
            name=loaded.name,
            about=loaded.about,
            logit_scale=loaded.logit_scale,
            seed=seed,
            probes=probes or None,
            progress=progress_reporter(progress),
            embed_text=loaded.embed_text,
            edited=edited,
        )
    for line in (*_failures(report), *_at_chance(report)):
        say(line)
    if not quiet:
        typer.echo(f"\nverdict: {report.verdict.label}\n{report.verdict.statement}\n{_chance(report)}")
        typer.echo(f"report: {out / 'report.html'}")
    return report


def _chance(report: Report) -> str:
    """Write the line that says what accuracy chance has on the real images; empty where no accuracy was measured."""
    from diagnose.wording.numbers import in_percent

    chance = next((record.scores["zero_shot/real"]["chance"] for record in report.probes if "zero_shot/real" in record.scores), None)
    return "" if not isinstance(chance, float) else f"Chance on these real images is {in_percent(chance)} %.\n"


def _at_chance(report: Report) -> list[str]:
    """Return the sentences of findings about encoders at chance on real images."""
    return [finding.statement for finding in report.findings if finding.id.startswith("chance/")]


def _failures(report: Report) -> list[str]:
    """Say which probes failed and why, the same failure of several encoders once."""
    failed: dict[tuple[str, str], list[str]] = {}
    for record in report.probes:
        if record.status == "failed":
            failed.setdefault((record.probe, record.error), []).append(record.subject)
    return [
        f"failed: {probe} of {names[0]}{f' and {len(names) - 1} more' if len(names) > 1 else ''}: {why}"
        for (probe, why), names in failed.items()
    ]

"""The one command line, `synthgap`. Everything heavy is imported inside the command that needs it."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from app.commands.embed import embed
from app.commands.explain import explain
from app.commands.planted import planted
from app.commands.report import report
from app.commands.synthesize import _checked, synthesize
from app.commands.train import QUICK_PROBES, train, train_students

app = typer.Typer(
    name="synthgap",
    help="Find out why a CLIP student distilled on synthetic images fails on real ones.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)

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


@app.command()
def demo(
    out: Out = Path("runs/pocket"),
    no_app: Annotated[bool, typer.Option("--no-app", help="Do not open the dashboard.")] = False,
    port: Annotated[int, typer.Option(help="Port of the dashboard.")] = 8501,
) -> None:
    """Run the embedded comparison, print the verdict, open the dashboard."""
    from distill.packs import pocket

    train_students(Path(pocket.__file__).with_name("pocket.toml"), out, overrides=[], resume=True, jobs=min(os.cpu_count() or 1, 5))
    _diagnose_run(out, probes=QUICK_PROBES)
    if not no_app and not os.environ.get("CI"):
        from app.run_store.launch import launch

        _say(f"dashboard: http://127.0.0.1:{port} (stop it with Ctrl-C)")
        raise typer.Exit(launch(out, port, open_browser=True))


@app.command()
def teach(
    data: Annotated[str, typer.Argument(help="Real training images.")],
    out: Out,
    test: Annotated[str | None, typer.Option(help="Held-out real images to score the teacher on.")] = None,
    domain: Annotated[str, typer.Option(help="Domain of the images.")] = "real",
    epochs: Annotated[int | None, typer.Option(help="Passes over the images.")] = None,
    size: Annotated[int | None, typer.Option("--input-size", help="Side to which images are resized inside the teacher.")] = None,
    tower: Annotated[str | None, typer.Option("--image-tower", help="A timm model.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of weights, order and views.")] = 0,
    skip_bad: SkipBad = False,
    resume: Resume = False,
) -> None:
    """Train a small CLIP teacher from scratch; open_clip loads what comes out."""
    from distill.data.split import load_split
    from distill.training.teach import TeachConfig
    from distill.training.teach import teach as run

    base = TeachConfig()
    change: dict[str, Any] = {"seed": seed}
    if size is not None:
        change["image_size"] = size
    if tower is not None:
        change |= {"image_tower": tower, "first_image_size": None}  # many towers take one size only
    if epochs is not None:
        change["training"] = base.training.model_copy(update={"epochs": epochs})
    if epochs is not None and epochs < 1:
        raise ValueError(f"`--epochs` must be at least 1, got {epochs}; give a larger number.")
    config = _checked(TeachConfig.model_validate, base.model_copy(update=change).model_dump())
    train_split = load_split(data, domain=domain, skip_bad=skip_bad)
    test_split = None if test is None else load_split(test, domain=domain, class_names=train_split.class_names, skip_bad=skip_bad)
    with _progress() as progress:
        accuracy = run(train_split, out, config=config, test=test_split, resume=resume, progress=progress)
    _say(f"teacher: {out}")
    if accuracy is not None:
        typer.echo(f"zero-shot accuracy on {test}: {100 * accuracy:.1f} %")


app.command()(synthesize)
app.command()(planted)
app.command()(train)
app.command()(explain)


app.command()(embed)


@app.command()
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
    as_json: Json = False,
) -> None:
    """Run one probe on anybody's checkpoint."""
    from app.commands.inputs import open_models
    from diagnose.single import run_probe
    from probes.registry import find_probe

    find_probe(name)
    models = open_models(
        [student], [weights], teacher, real, synthetic, class_weights, template, image_size, skip_bad=skip_bad, limit=limit
    )
    with _progress() as progress:
        result = run_probe(name, models, seed=seed, progress=_reporter(progress), edited=edited)
    path = result.save(out / name / result.subject)
    if as_json:
        import json

        typer.echo(json.dumps(result.to_dict(), indent=1, sort_keys=True))
    else:
        for key, score in sorted(result.scores.items()):
            chance = "" if score.chance is None else f"  chance {score.chance:.3f}"
            typer.echo(f"{key:32s} {score.value:8.4f}  [{score.low:.4f}, {score.high:.4f}]{chance}")
    _say(f"result: {path}")


@app.command()
def diagnose(
    run: Annotated[Path | None, typer.Argument(help="Run directory of `synthgap train`.")] = None,
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
    seed: Annotated[int, typer.Option(help="Seed of every random draw.")] = 0,
    probes: Annotated[
        list[str] | None, typer.Option("--probe", help="Only this probe, or map; may be given again. By default all.")
    ] = None,
    fail_on: Annotated[list[str] | None, typer.Option(help="Condition such as 'separability > 0.9'; exit code 1 when it holds.")] = None,
    as_json: Json = False,
) -> None:
    """Weigh the evidence: report.json, report.html, JUnit XML, and a verdict in words."""
    from app.commands.inputs import check_probes
    from diagnose.judge import conditions

    for expression in fail_on or []:
        conditions.parse(expression)
    check_probes(probes)
    if (run is None) == (not student):
        raise ValueError(
            "`diagnose` must be given a run directory or --student, got " + ("both" if run else "neither") + "; give one of them."
        )
    if run is not None:
        report, folder = _diagnose_run(run, seed=seed, quiet=as_json, probes=probes, limit=limit, edited=edited, fail_on=fail_on), run
    else:
        if out is None or teacher is None:
            raise ValueError("`--out` and `--teacher` must be given with --student, got none; add them.")
        from app.commands.inputs import open_models

        models = open_models(
            student or [], weights or [], teacher, real, synthetic, class_weights, template, image_size, skip_bad=skip_bad, limit=limit
        )
        report, folder = _judge(models, out, seed=seed, quiet=as_json, probes=probes, edited=edited, fail_on=fail_on), out
    if as_json:
        typer.echo((folder / "report.json").read_text())
    held = conditions.check(report, fail_on or [])
    if held:
        from diagnose.report import junit

        junit.write(report, folder / "junit.xml", held)
    for outcome in held:
        _say(outcome.message)
    if any(outcome.held for outcome in held):
        raise typer.Exit(1)


app.command()(report)


@app.command()
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
        _say(
            f"open_clip resizes images to {about['inside']['resize']} pixels in its own way: "
            f"cosines with the student's embeddings from {about['smallest_cosine']:.4f}; see docs/export.md."
        )
    typer.echo(f"{kind}: {out}")


@app.command("app")
def dashboard(
    runs: Annotated[Path, typer.Argument(help="Runs folder, or one run.")] = Path("runs"),
    port: Annotated[int, typer.Option(help="Port on 127.0.0.1.")] = 8501,
    no_browser: Annotated[bool, typer.Option("--no-browser", help="Do not open a browser.")] = False,
) -> None:
    """Open the dashboard on this machine."""
    from app.run_store.launch import launch

    _say(f"dashboard: http://127.0.0.1:{port} (stop it with Ctrl-C)")
    raise typer.Exit(launch(runs, port, open_browser=not no_browser))


def _diagnose_run(
    run: Path,
    *,
    seed: int = 0,
    quiet: bool = False,
    probes: list[str] | None = None,
    limit: int | None = None,
    edited: int | None = None,
    fail_on: list[str] | None = None,
) -> Any:
    from diagnose.inputs.load import load_run
    from distill.training.grid import locked

    if not run.is_dir():
        raise FileNotFoundError(f"`run` must be a run directory that exists, got {run}; make one with `synthgap train`.")
    with locked(run):
        loaded = load_run(run, limit=limit, progress=True)
        return _judge(loaded, run, seed=seed, quiet=quiet, probes=probes, edited=edited, fail_on=fail_on)


def _judge(
    loaded: Any,
    out: Path,
    *,
    seed: int,
    quiet: bool,
    probes: list[str] | None = None,
    edited: int | None = None,
    fail_on: list[str] | None = None,
) -> Any:
    from diagnose.judge.conditions import foresee
    from diagnose.run import diagnose as run

    foresee(fail_on or [], [subject.name for subject in loaded.subjects], probes)
    with _progress() as progress:
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
            progress=_reporter(progress),
            embed_text=loaded.embed_text,
            edited=edited,
        )
    for line in _failures(report):
        _say(line)
    if not quiet:
        typer.echo(f"\nverdict: {report.verdict.label}\n{report.verdict.statement}\n")
        typer.echo(f"report: {out / 'report.html'}")
    return report


def _failures(report: Any) -> list[str]:
    """Say which probes failed and why, the same failure of several encoders once."""
    failed: dict[tuple[str, str], list[str]] = {}
    for record in report.probes:
        if record.status == "failed":
            failed.setdefault((record.probe, record.error), []).append(record.subject)
    return [
        f"failed: {probe} of {names[0]}{f' and {len(names) - 1} more' if len(names) > 1 else ''}: {why}"
        for (probe, why), names in failed.items()
    ]


def _progress() -> Any:
    """Progress on stderr, with time; silent where stderr is no terminal but for a line now and then from the commands."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    return Progress(*columns, console=Console(stderr=True))


def _reporter(progress: Any) -> Any:
    tasks: dict[str, Any] = {}

    def report(what: str, done: int, total: int) -> None:
        if what not in tasks:
            if not progress.console.is_terminal:
                _say(what)  # a log shows no bars, and must still say what is being done
            tasks[what] = progress.add_task(what, total=total)
        progress.update(tasks[what], completed=done, total=total)

    return report


def _say(text: str) -> None:
    typer.echo(text, err=True)


def main() -> None:
    """Run the command line: exit code 0 done, 1 a `--fail-on` condition held, 2 usage or bad input, 3 a fault of ours."""
    import logging

    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    try:
        app()
    except SystemExit as stop:
        if stop.code == 130:  # typer has turned Ctrl-C into this
            _say("interrupted: what was finished is kept; add --resume to go on.")
        raise
    except Exception as error:
        if os.environ.get("SYNTHGAP_DEBUG"):
            raise
        from app.commands.inputs import is_users_fault

        line = " ".join(str(error).split()) or type(error).__name__
        if isinstance(error, OSError) and error.errno is not None:  # the system's own words, which name no remedy
            line = f"{error.filename or 'the file'} must be usable, got {error.strerror}; check the path, its rights and the space left."
        if is_users_fault(error):
            _say(f"error: {line}")
            sys.exit(2)
        if os.environ.get("WORLD_SIZE", "1") != "1" and _is_lost_process(error):
            _say(
                f"error: the other processes must keep running, got {line}; look for the first error in their output and start again with --resume."
            )
            sys.exit(2)
        _say(f"fault of synthgap, please report it: {type(error).__name__}: {line}\nSYNTHGAP_DEBUG=1 shows where.")
        sys.exit(3)


def _is_lost_process(error: Exception) -> bool:
    from distill.distributed.rendezvous import is_lost_process

    return is_lost_process(error)


if __name__ == "__main__":
    main()

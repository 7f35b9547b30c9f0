"""`synthgap explain`: maps of any picture by the encoders of a run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def explain(
    run: Annotated[Path, typer.Argument(help="Diagnosed run with its students.")],
    image: Annotated[Path, typer.Option(help="PNG, JPEG or WebP; its middle square is used.")],
    out: Annotated[Path, typer.Option("--out", help="File of maps to write, .npz.")],
    student: Annotated[list[str], typer.Option(help="A student of the run, or teacher; may be given again.")],
    method: Annotated[
        str,
        typer.Option(
            help="integrated_gradients, grad_cam, occlusion or attention, or captum:NAME with an attribution method of captum, "
            "or captum:NoiseTunnel:NAME."
        ),
    ] = "integrated_gradients",
    label: Annotated[int | None, typer.Option("--class", help="Number of the class to explain; by default the predicted one.")] = None,
) -> None:
    """Explain one picture: from which pixels a class and the look of a synthetic image come."""
    from diagnose.stored_images.explain import explain as run_it
    from diagnose.stored_images.explain import write_explained
    from diagnose.stored_images.picture import MOST_BYTES

    if not run.is_dir():
        raise FileNotFoundError(f"`run` must be a run directory that exists, got {run}; make one with `synthgap train`.")
    if not image.is_file():
        raise FileNotFoundError(f"`image` must be a file that exists, got {image}; check the path.")
    with image.open("rb") as file:
        explanations = run_it(run, file.read(MOST_BYTES + 1), student, method=method, label=label)
    write_explained(explanations, out)
    for one in explanations:
        numbers = "  ".join(f"{name} {value:.4g}" for name, value in sorted(one.numbers.items()))
        typer.echo(f"{one.encoder:32s} {numbers}")
    typer.echo(f"maps: {out}", err=True)

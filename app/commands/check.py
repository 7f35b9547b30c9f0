"""`synthgap check`: how a model was read, and whether it embeds images as its owner's code does."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from app.terminal.console import say
from app.terminal.options import Json

COMPARED = 8
"""Images that are compared with the owner's code."""


def check(
    model: Annotated[str, typer.Argument(help="timm:, open_clip:, hf:, builtin:, checkpoint or file.py:function.")],
    weights: Annotated[str | None, typer.Option(help="State dict for the model, FILE or FILE#KEY.")] = None,
    data: Annotated[str | None, typer.Option(help="Images to look at; by default a few made-up ones.")] = None,
    against: Annotated[
        str | None,
        typer.Option(help="Your own code, file.py:function: a list of PIL images -> embeddings, or a function that returns the model."),
    ] = None,
    image_size: Annotated[int | None, typer.Option(help="Side in pixels; needed when images differ in size.")] = None,
    as_json: Json = False,
) -> None:
    """Say how a model was read, and compare its embeddings with your own code; exit code 1 when they differ."""
    import json

    import torch

    from distill.models import model_check
    from distill.models.checkpoint import load_encoder

    size = image_size or (_size_of(data) if data is not None else 224)
    own = None if against is None else model_check.own_code(against)  # first, so that a slip is named before a large model is read
    encoder = load_encoder(model, weights=weights, image_size=size)
    pictures = _pictures(data, size)
    report: dict[str, Any] = model_check.describe(encoder, model, weights=weights, image_size=size)
    pixels = torch.stack([torch.from_numpy(_array(picture)) for picture in pictures])
    report["oddities"] = model_check.oddities(encoder, pixels)
    comparison = None
    if own is not None:
        with torch.inference_mode():
            comparison = model_check.compare(encoder, pictures, own(pictures))
        report["against"] = {
            "images": len(pictures),
            "largest_difference": _finite(comparison.largest_difference),
            "cosine": _finite(comparison.cosine),
            "same": comparison.same,
            "causes": list(comparison.causes),
        }
    if as_json:
        typer.echo(json.dumps(report, indent=1))
    else:
        for line in _lines(report):
            typer.echo(line)
    for oddity in report["oddities"]:
        say(f"odd: {oddity}")
    if comparison is not None and not comparison.same:
        raise typer.Exit(1)


def _size_of(data: str) -> int:
    from distill.training.experiment import common_size

    return common_size(_split(data, lazy=True), what="--image-size")


def _split(data: str, *, lazy: bool = False) -> Any:
    """Load images of which nobody asks for the domain."""
    from distill.data.split import load_split

    try:
        return load_split(data, domain=None, lazy=lazy)
    except ValueError:  # the data do not say which domain they are of, and it makes no difference here
        return load_split(data, domain="real", lazy=lazy)


def _pictures(data: str | None, size: int) -> list[Any]:
    import numpy as np
    from PIL import Image

    from distill.data.mixtures import limited
    from distill.models.model_check import made_up_pictures

    if data is None:
        return made_up_pictures(COMPARED, size)
    split = _split(data)
    rows = np.asarray(limited(split, max(COMPARED, len(split.class_names)), what="--data").pixels(size))[:COMPARED]
    return [Image.fromarray(row.transpose(1, 2, 0)) for row in rows]


def _array(picture: Any) -> Any:
    import numpy as np

    return np.asarray(picture.convert("RGB")).transpose(2, 0, 1).copy()


def _finite(value: float) -> float | None:
    import math

    return value if math.isfinite(value) else None


def _lines(report: dict[str, Any]) -> list[str]:
    """Write the report as `name  value` lines; a long list of unused tensors is cut."""
    lines = []
    for key, value in report.items():
        if key in ("oddities", "against"):
            continue
        if key == "weights_unused":
            value = "none" if not value else f"{len(value)}: {', '.join(value[:8])}{' ...' if len(value) > 8 else ''}"
        if key == "weights_used" and value is None:
            continue
        if isinstance(value, dict):
            value = ", ".join(f"{name} {part}" for name, part in value.items())
        lines.append(f"{key.replace('_', ' '):16s} {value:,}" if isinstance(value, int) else f"{key.replace('_', ' '):16s} {value}")
    beside = report.get("against")
    if beside is not None:
        numbers = (
            ""
            if beside["cosine"] is None
            else f": largest difference {beside['largest_difference']:.3g}, smallest cosine {beside['cosine']:.6f}"
        )
        lines.append(f"your own code    {'the same' if beside['same'] else 'differs'} on {beside['images']} images{numbers}")
        if not beside["same"]:
            found = (
                "; ".join(beside["causes"])
                or "none of what was tried: normalisation, order of colours, range, resizing, projection, length"
            )
            lines.append(f"likely cause     {found}")
    return lines

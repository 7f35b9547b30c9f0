"""`synthgap check`: how a model was read, and whether it embeds images as its owner's code does."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated

import typer

from app.terminal.console import say
from app.terminal.options import Json

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image

    from distill.data.split import Split
    from distill.models.model_check import Comparison

MOST_NAMES = 8
"""Names of a list that are written; the others are counted."""

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
    own_code = None if against is None else model_check.own_code(against)  # first, so that a slip is named before a large model is read
    encoder = load_encoder(model, weights=weights, image_size=size)
    pictures = _pictures(data, size)
    report: dict[str, object] = dict(model_check.describe(encoder, model, weights=weights, image_size=size))
    pixels = torch.stack([torch.from_numpy(_array(picture)) for picture in pictures])
    report["oddities"] = oddities = model_check.oddities(encoder, pixels)
    comparison = None
    if own_code is not None:
        with torch.inference_mode():
            comparison = model_check.compare(encoder, pictures, own_code(pictures))
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
        for line in _lines(report, comparison):
            typer.echo(line)
    for oddity in oddities:
        say(f"odd: {oddity}")
    if comparison is not None and not comparison.same:
        raise typer.Exit(1)


def _size_of(data: str) -> int:
    from distill.training.experiment import common_size

    return common_size(_split(data, lazy=True), what="--image-size")


def _split(data: str, *, lazy: bool = False) -> Split:
    """Load images of which nobody asks for the domain."""
    from distill.data.split import load_split

    try:
        return load_split(data, domain=None, lazy=lazy)
    except ValueError:  # the data do not say which domain they are of, and it makes no difference here
        return load_split(data, domain="real", lazy=lazy)


def _pictures(data: str | None, size: int) -> list[Image.Image]:
    import numpy as np
    from PIL import Image

    from distill.data.mixtures import limited
    from distill.models.model_check import made_up_pictures

    if data is None:
        return made_up_pictures(COMPARED, size)
    split = _split(data)
    rows = np.asarray(limited(split, max(COMPARED, len(split.class_names)), what="--data").pixels(size))[:COMPARED]
    return [Image.fromarray(row.transpose(1, 2, 0)) for row in rows]


def _array(picture: Image.Image) -> np.ndarray:
    import numpy as np

    return np.asarray(picture.convert("RGB")).transpose(2, 0, 1).copy()


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _lines(report: Mapping[str, object], comparison: Comparison | None) -> list[str]:
    """Write the report as `name  value` lines; a long list of unused tensors is cut."""
    from diagnose.wording.numbers import format_number

    lines = []
    for key, value in report.items():
        if key in ("oddities", "against") or value in (None, ""):
            continue
        if isinstance(value, list):
            text = (
                f"{len(value)}: {', '.join(map(str, value[:MOST_NAMES]))}{' ...' if len(value) > MOST_NAMES else ''}" if value else "none"
            )
        elif isinstance(value, dict):
            text = ", ".join(f"{name} {part}" for name, part in value.items())
        else:
            text = f"{value:,}" if isinstance(value, int) else str(value)
        lines.append(f"{key.replace('_', ' '):16s} {text}")
    if comparison is None:
        return lines
    numbers = ""
    if math.isfinite(comparison.cosine):
        numbers = f": largest difference {comparison.largest_difference:.3g}, smallest cosine {format_number(comparison.cosine, 6)}"
    lines.append(f"your own code    {'the same' if comparison.same else 'differs'} on {COMPARED} images{numbers}")
    if not comparison.same:
        tried = "none of what was tried: normalisation, order of colours, range, resizing, projection, length"
        lines.append(f"likely cause     {'; '.join(comparison.causes) or tried}")
    return lines

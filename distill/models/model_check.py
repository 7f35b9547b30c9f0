"""How a model was read, what is odd about its embeddings, and where they differ from somebody's own code."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from distill.models.encoder import Encoder, parameter_count
from distill.models.hf_vision import Pooled
from distill.models.student import build_backbone, feature_width, has_random_weights
from distill.models.two_tower import ImageSide
from distill.models.user_models import Transformed, load_function

SAME_COSINE = 1 - 1e-4
"""Cosine from which on two embeddings of an image are the same: other kernels give 1e-6, another resampling filter more than 1e-3."""

SAME_LENGTH = 1e-3
"""Relative difference of lengths up to which two embeddings of an image are the same."""

NEARLY_CONSTANT = 1 - 1e-5
"""Cosine of the embeddings of different images above which the content of an image decides nothing."""

NORMALISATIONS: dict[str, tuple[tuple[float, ...], tuple[float, ...]]] = {
    "none": ((0.0,) * 3, (1.0,) * 3),
    "0.5 and 0.5": ((0.5,) * 3, (0.5,) * 3),
    "ImageNet's mean and deviation": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "CLIP's mean and deviation": ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)),
}
"""Normalisations in use, tried one after another."""

Embed = Callable[[Sequence[Image.Image]], Tensor]
"""PIL images -> embeddings (N, D)."""


@dataclass(frozen=True)
class Comparison:
    """How far a model's embeddings are from those of somebody's own code.

    Args:
        largest_difference: of any number; NaN where the dimensions differ.
        cosine: the smallest over the images; NaN where the dimensions differ.
        same: whether they agree in direction and length.
        causes: what makes them agree, as far as it was found by trying.
    """

    largest_difference: float
    cosine: float
    same: bool
    causes: tuple[str, ...] = ()


def describe(encoder: Encoder, spec: str, *, weights: str | None = None, image_size: int = 224) -> dict[str, Any]:
    """Say how a model was read.

    Args:
        encoder: as `distill.models.checkpoint.load_encoder` returns it.
        spec: what it was read from.
        weights: state dict that was given for it, or None.
        image_size: side of the images it is shown.

    Returns:
        JSON types: `architecture`, `parameters`, `weights`, `weights_used`, `weights_unused` (names), `weights_notes`, `input_size`, `normalisation`, `text_space`,
        `dtype`, `dimension`.
    """
    model: nn.Module = encoder.backbone
    transformed = False
    while isinstance(model, (Transformed, Pooled, ImageSide)):
        transformed |= isinstance(model, Transformed)
        model = model.model
    tower = encoder.text_tower
    report = encoder.weights_report
    random = weights is None and has_random_weights(spec)
    normalisation = {
        name: [round(float(value), 6) for value in values.flatten()] for name, values in (("mean", encoder.mean), ("std", encoder.std))
    }
    return {
        "model": spec,
        "architecture": type(model).__name__,
        "parameters": parameter_count(encoder),
        "weights": weights or ("randomly initialised" if random else "its own"),
        "weights_used": report.used or None,
        "weights_unused": sorted(name for names in report.unused.values() for name in names),
        "weights_notes": report.summary() if report.is_unusual else "",
        "input_size": "its own transform" if transformed else encoder.input_size or f"as given ({image_size})",
        "normalisation": "its own transform" if transformed else normalisation,
        "text_space": "none of its own: scored with the teacher's texts"
        if tower is None
        else {"logit_scale": tower.logit_scale, "logit_bias": tower.logit_bias, "templates": list(tower.templates)},
        "dtype": str(next((tensor.dtype for tensor in encoder.parameters()), torch.float32)).removeprefix("torch."),
        "dimension": feature_width(encoder, image_size),
    }


def oddities(embed: Callable[[Tensor], Tensor], images: Tensor) -> list[str]:
    """List what is odd about the embeddings of a few different images, each a sentence part; nothing for a sound model.

    Args:
        embed: float images (N, 3, H, W) in [0, 1] -> raw embeddings (N, D).
        images: uint8, at least two of them different.
    """
    distinct = torch.unique(images, dim=0)
    if len(distinct) < 2:
        return []
    with torch.inference_mode():
        rows = embed(distinct.float() / 255).float()
    if not torch.isfinite(rows).all():
        return [f"embeddings hold NaN or infinity for {int((~torch.isfinite(rows).all(dim=1)).sum())} of {len(rows)} images"]
    if not rows.any(dim=1).all():
        return [f"embeddings are zero for {int((~rows.any(dim=1)).sum())} of {len(rows)} images"]
    unit = F.normalize(rows.double(), dim=1)
    cosines = unit @ unit.T
    others = cosines[~torch.eye(len(unit), dtype=torch.bool)]
    if torch.allclose(rows, rows[:1], rtol=1e-6, atol=1e-8):
        return [f"embeddings are constant: one vector for {len(rows)} different images"]
    if float(others.min()) > NEARLY_CONSTANT:
        return [
            f"embeddings hardly depend on the image: the smallest cosine of {len(rows)} different images is {float(others.min()):.7f}; check the normalisation and the weights"
        ]
    twins = int((torch.triu(cosines, diagonal=1) >= 1 - 1e-12).sum())
    return [f"embeddings are equal for {twins} pairs of different images"] if twins else []


def own_code(spec: str) -> Embed:
    """Load somebody's own embedding code, `file.py:function`: a function of a list of PIL images, or one without arguments that builds a model.

    Raises:
        FileNotFoundError, ValueError: for a file or function that is not there.
    """
    if ".py:" not in spec:
        raise ValueError(f"`--against` must be path/to/file.py:function, got {spec!r}; name the function that embeds a list of PIL images.")
    function = load_function(*spec.rsplit(":", 1))
    needed = [
        item
        for item in inspect.signature(function).parameters.values()
        if item.default is item.empty and item.kind in (item.POSITIONAL_ONLY, item.POSITIONAL_OR_KEYWORD)
    ]
    if needed:
        return lambda pictures: torch.as_tensor(np.asarray(_detached(function(list(pictures)))), dtype=torch.float32)
    encoder = build_backbone(spec).eval()
    return lambda pictures: encoder(_as_tensor(pictures)).float()


def _detached(rows: Any) -> Any:
    return rows.detach().cpu().float().numpy() if isinstance(rows, Tensor) else rows


def _as_tensor(pictures: Sequence[Image.Image]) -> Tensor:
    return torch.from_numpy(np.stack([np.asarray(picture.convert("RGB")) for picture in pictures])).permute(0, 3, 1, 2).float() / 255


def compare(encoder: Encoder, pictures: Sequence[Image.Image], theirs: Tensor) -> Comparison:
    """Compare a model's embeddings with those of somebody's own code, and try what explains a difference.

    Args:
        encoder: the model, in eval mode.
        pictures: N images of one size.
        theirs: (N, D) from the other code.

    Raises:
        ValueError: for embeddings that are not (N, D).
    """
    if theirs.ndim != 2 or len(theirs) != len(pictures):
        raise ValueError(
            f"the code to compare with must return shape ({len(pictures)}, D), got {tuple(theirs.shape)}; return one row an image."
        )
    images = _as_tensor(pictures)
    with torch.inference_mode():
        ours = encoder(images).float()
    if ours.shape == theirs.shape:
        cosine, lengths = _agreement(ours, theirs)
        largest = float((ours - theirs).abs().max())
        if cosine >= SAME_COSINE and lengths <= SAME_LENGTH:
            return Comparison(largest, cosine, True)
        if cosine >= SAME_COSINE:
            unit = bool((theirs.norm(dim=1) - 1).abs().max() < SAME_LENGTH)
            cause = "L2 normalisation" if unit else "a factor"
            return Comparison(largest, cosine, False, (f"{cause}: only the lengths differ, which no probe looks at",))
    else:
        cosine = largest = float("nan")
    causes = _causes(encoder, images, theirs)
    if not causes and ours.shape != theirs.shape:
        causes = [f"the dimensions differ, {ours.shape[1]} here and {theirs.shape[1]} there: one of them lacks its projection"]
    return Comparison(largest, cosine, False, tuple(causes))


def _agreement(ours: Tensor, theirs: Tensor) -> tuple[float, float]:
    """Return the smallest cosine over the images, and the largest relative difference of lengths."""
    cosine = F.cosine_similarity(ours.double(), theirs.double(), dim=1).min()
    return float(cosine), float((ours.norm(dim=1) / theirs.norm(dim=1).clamp_min(1e-12) - 1).abs().max())


def _causes(encoder: Encoder, images: Tensor, theirs: Tensor) -> list[str]:
    """Try other ways of preparing the images, and the features before the projection, and name those that give the other code's directions."""
    causes = []
    for name, (way, project) in _variants(encoder, images).items():
        rows = _embedded(encoder, way, project=project)
        if rows is not None and rows.shape == theirs.shape and _agreement(rows, theirs)[0] >= SAME_COSINE:
            causes.append(name)
    return causes


def _embedded(encoder: Encoder, way: Callable[[], Tensor], *, project: bool) -> Tensor | None:
    """Embed images prepared in some way; None where the model does not take them."""
    try:
        with torch.inference_mode():
            features = encoder.backbone(way())
            return (encoder.projection(features) if project else features).float()
    except Exception:  # a size that the model does not take explains nothing
        return None


def _variants(encoder: Encoder, images: Tensor) -> dict[str, tuple[Callable[[], Tensor], bool]]:
    """Return name -> (images as the backbone would see them, whether the projection follows)."""

    def prepared(
        pixels: Tensor = images, *, mean: Tensor = encoder.mean, std: Tensor = encoder.std, resize: Callable[[Tensor], Tensor] | None = None
    ) -> Tensor:
        return ((resize or _resized(encoder.input_size))(pixels) - mean) / std

    def normalised(name: str) -> Tensor:
        mean, std = (torch.tensor(part).view(1, 3, 1, 1) for part in NORMALISATIONS[name])
        return prepared(mean=mean, std=std)

    variants: dict[str, tuple[Callable[[], Tensor], bool]] = {
        f"another normalisation: {name}": (partial(normalised, name), True) for name in NORMALISATIONS
    }
    variants["colours in the order blue, green, red"] = (lambda: prepared(images.flip(1)), True)
    variants["numbers from 0 to 255 instead of 0 to 1"] = (
        lambda: prepared(images) + (_resized(encoder.input_size)(images) * 254) / encoder.std,
        True,
    )
    variants["numbers from 0 to 255 without normalisation"] = (lambda: _resized(encoder.input_size)(images) * 255, True)
    variants["no resizing"] = (lambda: prepared(resize=lambda pixels: pixels), True)
    for mode in ("nearest", "bilinear", "bicubic"):
        for antialias in (False, True) if mode != "nearest" else (False,):
            name = f"another resizing: {mode}{' with antialiasing' if antialias else ''}"
            way = _resized(encoder.input_size, mode, antialias)
            variants[name] = (partial(prepared, resize=way), True)
    if not isinstance(encoder.projection, nn.Identity):
        variants["no projection behind the backbone"] = (prepared, False)
    return variants


def _resized(size: int | None, mode: str = "bicubic", antialias: bool | None = None) -> Callable[[Tensor], Tensor]:
    def resize(pixels: Tensor) -> Tensor:
        if size is None or tuple(pixels.shape[-2:]) == (size, size):
            return pixels
        smooth = (pixels.shape[-1] > size or pixels.shape[-2] > size) if antialias is None else antialias
        kwargs: dict[str, Any] = {} if mode == "nearest" else {"antialias": smooth, "align_corners": False}
        return F.interpolate(pixels, size=(size, size), mode=mode, **kwargs).clamp(0, 1)

    return resize


def made_up_pictures(count: int, side: int) -> list[Image.Image]:
    """Draw coloured pictures of soft shapes, so that order of colours, range, resizing and normalisation all show.

    Args:
        count: number of pictures.
        side: in pixels.
    """
    draw = torch.Generator().manual_seed(0)
    coarse = torch.rand(count, 3, 6, 6, generator=draw)
    fine = torch.rand(count, 3, side, side, generator=draw)
    pixels = 0.8 * F.interpolate(coarse, size=(side, side), mode="bicubic", align_corners=False).clamp(0, 1) + 0.2 * fine
    return [Image.fromarray((picture.permute(1, 2, 0) * 255).round().to(torch.uint8).numpy()) for picture in pixels]

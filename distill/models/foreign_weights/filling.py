"""Fill a model with a state dict: every tensor is used, known to be harmless, or refused by name."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from torch import Tensor, nn

from distill.models.encoder import Encoder, refuse_bad_weights
from distill.models.foreign_weights.files import WeightsFile, read_weights_file
from distill.models.foreign_weights.matching import Leftover, Match, ancestors, is_recomputed, leftover_of, match_names, missing_names
from distill.models.weights_report import WeightsReport, name_tensors, precision_of

logger = logging.getLogger(__name__)

CLASSIFIERS = ("head", "fc", "classifier")
"""What timm and torchvision call the layer that gives classes."""

PROJECTIONS = re.compile(
    r"((image|img|visual|vision|student|feature|feat|embed|linear)_)?proj(ection|ector)?(_(head|layer))?|(embedding|linear)_projection|head\.proj"
)
"""What a linear layer behind an image model is called where it maps its features to a common space, as `proj` or open_clip's `head.proj`."""


def fill_weights(module: nn.Module, weights: Mapping[str, Tensor], where: str) -> WeightsReport:
    """Load a state dict strictly; what stands before every name of the model (`module.`, `model.`, `visual.`) is taken off.

    Args:
        module: is filled in place, in its own precision.
        weights: name -> tensor.
        where: what errors call the weights.

    Returns:
        What was read and what was not.

    Raises:
        ValueError: naming the missing, unexpected or misshapen tensors.
    """
    match = match_names(module, weights, where)
    leftover = leftover_of(match, module, weights)
    _refuse_misfits(module, match, leftover.unexplained, where)
    return _filled(module, match, weights, leftover, where)


def fill_from_file(module: nn.Module, path: Path | str) -> WeightsReport:
    """Read a weights file and load it strictly, as `fill_weights` does; log what of it is not used.

    Args:
        module: is filled in place.
        path: as `distill.models.foreign_weights.files.read_weights_file` takes it.

    Returns:
        What was read and what was not.
    """
    file = read_weights_file(path)
    report = _of_file(fill_weights(module, file.tensors, str(path)), file)
    if report.is_unusual:
        logger.warning("%s: %s.", path, report.summary())
    return report


def fill_encoder(encoder: Encoder, model: nn.Module, file: WeightsFile, where: str, width: Callable[[], int]) -> WeightsReport:
    """Load a file's weights into an encoder, with the linear projection that lies beside the model in the file.

    Args:
        encoder: is filled in place; its projection is replaced where the file holds one.
        model: the part of `encoder` that somebody's state dict is of, within our wrappers.
        file: weights.
        where: what errors call the weights.
        width: measures the width F of the encoder's features.

    Returns:
        What was read, added and left out.

    Raises:
        ValueError: naming the missing, unexpected or misshapen tensors.
    """
    weights = file.tensors
    for module in {id(module): module for module in (model, encoder.backbone, encoder)}.values():
        try:
            match = match_names(module, weights, where, file.key)
        except ValueError:
            continue
        leftover = leftover_of(match, module, weights)
        if not leftover.unexplained and not missing_names(module, match):
            return _of_file(_filled(module, match, weights, leftover, where), file)
    match = match_names(model, weights, where, file.key)
    leftover = leftover_of(match, model, weights)
    projection = None if missing_names(model, match) else _projection(match, leftover.unexplained, weights)
    if projection is None or not isinstance(encoder.projection, nn.Identity):
        _refuse_misfits(model, match, leftover.unexplained, where, file.key)
        raise ValueError(
            f"the weights in {where} must fit the model, got a projection for one that has its own; name the model they belong to."
        )
    report = _of_file(_filled(model, match, weights, leftover, where), file)
    shape = _attach(encoder, projection, weights, width(), where)
    precision = precision_of(weights[name] for name in (*match.names.values(), *projection))
    description = f"{name_tensors(projection)} of shape {shape}"
    return replace(report, projection=description, used=report.used + len(projection), precision=precision)


def _of_file(report: WeightsReport, file: WeightsFile) -> WeightsReport:
    return replace(report, key=file.key, unused={**file.unused, **report.unused}, harmless=(*file.harmless, *report.harmless))


def _projection(match: Match, unexplained: list[str], weights: Mapping[str, Tensor]) -> tuple[str, ...] | None:
    """Find the linear projection beside a model: the names of its weight and bias as in the file, or None where the rest is anything else."""
    layers = {plain.rpartition(".")[0] for plain in unexplained}
    if len(layers) != 1:
        return None
    layer = layers.pop()
    lasts = {plain.rpartition(".")[2] for plain in unexplained}
    if lasts not in ({"weight"}, {"weight", "bias"}):
        return None
    if not any(_is_projection(layer, start, match.prefix) for start in ancestors(match.prefix)):
        return None
    names = tuple(match.rest[f"{layer}.{last}"] for last in ("weight", "bias") if last in lasts)
    weight = weights[names[0]]
    if weight.ndim != 2 or (len(names) > 1 and weights[names[1]].shape != weight.shape[:1]):
        return None
    return names


def _is_projection(layer: str, start: str, prefix: str) -> bool:
    """Tell whether a layer is named as a projection, or follows the model in an `nn.Sequential` of the two."""
    if not layer.startswith(start):
        return False
    name = layer.removeprefix(start)
    return PROJECTIONS.fullmatch(name.lower()) is not None or (name == "1" and prefix == f"{start}0.")


def _attach(encoder: Encoder, projection: tuple[str, ...], weights: Mapping[str, Tensor], width: int, where: str) -> tuple[int, ...]:
    weight = weights[projection[0]]
    if weight.shape[1] != width:
        raise ValueError(
            f"`{projection[0]}` in {where} must take the model's {width} features, got shape {tuple(weight.shape)}; name the model it belongs to."
        )
    if any(tensor.is_complex() or not tensor.is_floating_point() for tensor in map(weights.__getitem__, projection)):
        raise ValueError(f"`{projection[0]}` in {where} must hold real numbers, got {weight.dtype}; save the weights as float32.")
    encoder.projection = nn.Linear(width, len(weight), bias=len(projection) > 1)
    named = {"weight": weight} | ({"bias": weights[projection[1]]} if len(projection) > 1 else {})
    encoder.projection.load_state_dict(named)
    refuse_bad_weights(encoder.projection, where)
    return tuple(weight.shape)


def _refuse_misfits(module: nn.Module, match: Match, unexplained: list[str], where: str, key: str = "") -> None:
    """Refuse weights that lack tensors of the model, or hold others that nobody can say are harmless.

    Raises:
        ValueError: naming all of them.
    """
    missing = missing_names(module, match)
    if not missing and not unexplained:
        return
    first = f"`{missing[0]}` missing" if missing else f"`{unexplained[0]}` unexpected"
    names = [*missing, *unexplained] if missing else unexplained
    listed = f" Missing: {name_tensors(missing)}." if len(missing) > 1 else ""
    listed += f" Unexpected: {name_tensors(unexplained)}." if unexplained and len(names) > 1 else ""
    raise ValueError(
        f"the weights in {where} must fit the model, got {first} ({len(missing)} missing, {len(unexplained)} unexpected); "
        f"{_remedy(match, missing, unexplained, where, key)}.{listed}"
    )


def _remedy(match: Match, missing: list[str], unexplained: list[str], where: str, key: str) -> str:
    if any(".lora_" in name or name.startswith("base_model.model.") for name in unexplained):
        return "merge the PEFT adapter first (`merge_and_unload()`), or give the adapter's folder as --weights with its base model as `hf:BASE`"
    if any("parametrizations." in name or name.endswith(("_orig", "_mask", "weight_g", "weight_v")) for name in unexplained):
        return "remove the parametrisation (weight norm, pruning) before saving the state dict"
    if missing:
        return "name the model they belong to"
    if all(name.startswith(match.prefix) and name.removeprefix(match.prefix).split(".")[0] in CLASSIFIERS for name in unexplained):
        return (
            "save them without the classifier, whose answers are no embeddings of the teacher's space, or build the model with it "
            "(timm:NAME?num_classes=D or path/to/file.py:function)"
        )
    inner = match.prefix.rstrip(".") or key
    alone = f"read the model alone as `{where}#{inner}`, or " if inner and "#" not in where else ""
    return f"name the model they belong to: {alone}build all of it in path/to/file.py:function"


def _filled(module: nn.Module, match: Match, weights: Mapping[str, Tensor], leftover: Leftover, where: str) -> WeightsReport:
    expected = module.state_dict()
    tensors = {}
    for name, file_name in match.names.items():
        tensor, current = weights[file_name], expected[name]
        if tensor.shape != current.shape and is_recomputed(name):
            continue
        if tensor.is_complex() and not current.is_complex():
            raise ValueError(f"`{file_name}` in {where} must hold real numbers, got {tensor.dtype}; save the weights as float32.")
        if current.is_floating_point() and not tensor.is_floating_point():
            raise ValueError(
                f"`{file_name}` in {where} must hold float numbers, got {tensor.dtype}; save the weights as float32, not quantised."
            )
        if tensor.shape != current.shape:
            raise ValueError(
                f"`{file_name}` in {where} must have shape {tuple(current.shape)}, got {tuple(tensor.shape)}; name the model it belongs to."
            )
        tensors[name] = tensor
    module.load_state_dict(tensors, strict=False)
    refuse_bad_weights(module, where)
    return WeightsReport(
        source=where,
        prefix=match.prefix,
        used=len(tensors),
        unused=leftover.unused,
        harmless=leftover.harmless,
        precision=precision_of(tensors.values()),
    )

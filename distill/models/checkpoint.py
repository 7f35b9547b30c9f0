"""Students' checkpoints, which are safetensors with their own description inside, and the loading of anybody's encoder."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor

from distill.data.decode import MAX_SIZE
from distill.errors import DistillError
from distill.models.encoder import Encoder, parameter_count, refuse_bad_weights
from distill.models.foreign_weights.files import broken_safetensors, read_safetensors, read_weights_file
from distill.models.foreign_weights.filling import fill_encoder, fill_weights
from distill.models.foreign_weights.peft_adapters import adapter_folder, merge_adapter
from distill.models.hf_vision import Pooled, in_current_names
from distill.models.student import FORMS, attach_projection, build_backbone, feature_width, has_random_weights, output_dtype
from distill.models.two_tower import ImageSide, fill_text_tower
from distill.models.user_models import Transformed
from distill.models.weights_report import WeightsReport, precision_of
from distill.system.atomic_files import write_then_rename
from distill.system.untrusted_text import parse_json, read_toml

logger = logging.getLogger(__name__)

TEXT_REASONS = ("text tower", "scale of cosines")
"""Reasons of a `WeightsReport` that do not hold where the text tower is read as well."""

FORMAT = "synthgap-student-1"

TRUST = "SYNTHGAP_TRUST_CODE"
"""Environment variable that lets a checkpoint outside of its run name the Python file that builds its model."""


class Described(BaseModel):  # type: ignore[no-redef]  # the plugin takes `kwargs` for its own argument
    """The part of a checkpoint's description that its student is built from; a foreign file may say anything."""

    model_config = ConfigDict(strict=True)

    spec: str = Field(max_length=1000)
    kwargs: dict[str, Any]
    embed_dim: int = Field(ge=1, le=2**16)
    image_size: int = Field(ge=1, le=MAX_SIZE)
    name: str | None = None
    loss: str | None = None
    trained_on: str | None = None
    target: str | None = None
    seed: int | None = None
    negatives: bool | None = None


def save_tensors(path: Path, tensors: Mapping[str, Tensor], description: Mapping[str, Any]) -> None:
    """Write tensors and a JSON description to a temporary name, then rename, so that no reader sees half a file.

    Args:
        path: file to write; its folder must exist.
        tensors: name -> tensor.
        description: JSON types, kept under the metadata key `synthgap`.

    Raises:
        DistillError: when the disk is full or the folder cannot be written; what was there before stays.
    """
    plain: dict[str, Tensor] = {}
    seen: set[int] = set()
    for name, tensor in tensors.items():
        dense = tensor.detach().cpu().contiguous()
        # safetensors refuses tensors that share memory, as tied weights do.
        plain[name] = dense.clone() if dense.untyped_storage().data_ptr() in seen else dense
        seen.add(plain[name].untyped_storage().data_ptr())
    content = save(plain, metadata={"synthgap": json.dumps(description, sort_keys=True)})
    write_then_rename(path, lambda file: file.write(content))


def read_tensors(path: Path | str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read what `save_tensors` wrote, or any safetensors file (then the description is empty).

    Raises:
        FileNotFoundError: when there is no such file.
        DistillError: when it is not a whole safetensors file.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"the weights must be a file that exists, got {path}; check the path.")
    tensors, metadata = read_safetensors(path)
    return tensors, _description_in(metadata, path)


def _description_in(metadata: Mapping[str, str], path: Path) -> dict[str, Any]:
    try:
        description = parse_json(metadata.get("synthgap", "{}"), "its description")
    except Exception as error:  # a foreign file may say anything
        raise broken_safetensors(path, error) from error
    return description if isinstance(description, dict) else {}


def save_student(path: Path, encoder: Encoder, description: Mapping[str, Any]) -> None:
    """Write a student with what is needed to build it again.

    Args:
        path: file to write.
        encoder: the student.
        description: at least `spec`, `kwargs`, `embed_dim` and `image_size`.
    """
    save_tensors(path, encoder.state_dict(), {"format": FORMAT, **description})


def read_description(path: Path | str) -> dict[str, Any]:
    """Read only the description of a student's checkpoint.

    Raises:
        FileNotFoundError: when there is no such file.
        DistillError: when it is not a checkpoint of ours.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"the checkpoint must be a file that exists, got {path}; check the path.")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
    except Exception as error:  # safetensors raises its own kind
        raise broken_safetensors(path, error) from error
    description = _description_in(metadata, path)
    if description.get("format") != FORMAT or not description.keys() >= {"spec", "kwargs", "embed_dim", "image_size"}:
        raise DistillError(
            f"{path} must be a synthgap student, got a file without its description; `synthgap probe` and `diagnose` take it as --weights FILE beside its model's name."
        )
    try:
        Described.model_validate(description)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise DistillError(
            f"{path} must describe its student, got `{where}` {str(first['input'])[:80]!r} ({first['msg']}); make the checkpoint again."
        ) from error
    return description


def load_student(path: Path | str) -> tuple[Encoder, dict[str, Any]]:
    """Build a student from its checkpoint, in eval mode.

    Raises:
        FileNotFoundError, DistillError, ValueError: as `read_description`, `build_backbone` and `fill_weights` do.
    """
    description = read_description(path)
    tensors, _ = read_tensors(path)
    _refuse_larger_model(description, tensors, path)
    _refuse_unnamed_code(description["spec"], Path(path))
    encoder = build_backbone(description["spec"], description["kwargs"])
    attach_projection(encoder, description["embed_dim"], image_size=description["image_size"])
    encoder.weights_report = fill_weights(encoder, tensors, str(path))
    return encoder.eval(), description


def _refuse_unnamed_code(spec: str, path: Path) -> None:
    """Refuse to run a Python file because a checkpoint says so: weights are data. A run's own config may name it, or the user vouch for it."""
    if ".py:" not in spec or os.environ.get(TRUST):
        return
    config = path.resolve().parent.parent.parent / "config.toml"
    if config.is_file():
        student = read_toml(config, "`config.toml`").get("student")
        if isinstance(student, dict) and student.get("model") == spec:
            return
    raise DistillError(
        f"{path} must not choose the code that is run, got {spec}; read that file, then set {TRUST}=1, or give `--student {spec}` and its weights."
    )


def _refuse_larger_model(description: Mapping[str, Any], tensors: Mapping[str, Tensor], path: Path | str) -> None:
    """Refuse a description whose model is far larger than the weights beside it, before any memory is taken for it."""
    kind, _, name = description["spec"].partition(":")
    if kind not in ("builtin", "timm") or not (description["kwargs"] or "?" in name):
        return
    try:
        with torch.device("meta"):
            needed = parameter_count(build_backbone(description["spec"], description["kwargs"]))
    except (RuntimeError, NotImplementedError):  # a model whose constructor looks at numbers
        return
    if needed > (size := sum(tensor.numel() for tensor in tensors.values())) + 1_000_000:
        raise DistillError(f"{path} must hold the weights of its model, got {size:,} numbers for a model of {needed:,}; make it again.")


def load_encoder(
    spec: str, *, weights: Path | str | None = None, image_size: int = 224, kwargs: Mapping[str, Any] | None = None
) -> Encoder:
    """Load anybody's image encoder, in eval mode; `load_encoder_with_report` with the report logged alone."""
    return load_encoder_with_report(spec, weights=weights, image_size=image_size, kwargs=kwargs)[0]


def load_encoder_with_report(
    spec: str, *, weights: Path | str | None = None, image_size: int = 224, kwargs: Mapping[str, Any] | None = None
) -> tuple[Encoder, WeightsReport]:
    """Load anybody's image encoder, in eval mode, and say how its weights were read.

    Args:
        spec: a synthgap checkpoint (`.safetensors`), or any form of `distill.models.student.build_backbone`.
        weights: state dict for the model that `spec` builds, as `distill.models.foreign_weights.files.read_weights_file` reads it, or the folder of a PEFT adapter.
        image_size: side of the images it will see.
        kwargs: keyword arguments of the model's constructor.

    Returns:
        The encoder and the report, which is logged as one line where anything was left out, added or converted.

    Raises:
        ValueError: for weights given beside a checkpoint, or that do not fit, or a model that does not take images of that size.
    """
    if spec.endswith(".safetensors"):
        if weights is not None:
            raise ValueError(f"`weights` must be left out for the checkpoint {spec}, got {weights}; it holds its own.")
        encoder = load_student(spec)[0]
        _log(spec, encoder.weights_report)
        return encoder, encoder.weights_report
    if Path(spec).is_file() and not spec.endswith(".py"):
        raise ValueError(f"`student` must be {FORMS}, got the file {spec}; name its model and give the file with `--weights`.")
    if weights is None and has_random_weights(spec):
        logger.warning("%s names no weights, so the model is randomly initialised: give them with --weights FILE (`weights`).", spec)
    encoder = _loaded(spec, weights, image_size, kwargs)
    output = output_dtype(encoder, image_size)
    report = encoder.weights_report
    if output != torch.float32:
        report = replace(
            report, notes=(*report.notes, f"its embeddings are {str(output).removeprefix('torch.')}, as its own code computes them")
        )
        encoder.weights_report = report
    _log(str(spec if weights is None else weights), report)
    return encoder, report


def _with_text_tower(encoder: Encoder, report: WeightsReport) -> WeightsReport:
    """Count what the text tower of the same file holds as used."""
    if encoder.text_tower is None:
        return report
    read = sum(len(names) for reason, names in report.unused.items() if reason in TEXT_REASONS)
    return replace(report, used=report.used + read, unused={why: names for why, names in report.unused.items() if why not in TEXT_REASONS})


def _log(source: str, report: WeightsReport) -> None:
    if report.is_unusual:
        logger.warning("%s: %s.", source, report.summary())


def _loaded(spec: str, weights: Path | str | None, image_size: int, kwargs: Mapping[str, Any] | None) -> Encoder:
    """Build an encoder, fill it and see that it takes images, in float32, or in its own precision where its code insists on that."""
    encoder = _filled(spec, weights, image_size, kwargs, keep_precision=False)
    try:
        feature_width(encoder, image_size)
    except ValueError:
        if not encoder.weights_report.precision:
            raise
        unconverted = _filled(spec, weights, image_size, kwargs, keep_precision=True)
        if not _takes_images(unconverted, image_size):
            raise
        precision = encoder.weights_report.precision.partition(" to ")[0]
        report = unconverted.weights_report
        note = f"the model runs in {precision}, as its own code asks"
        unconverted.weights_report = replace(report, precision="", notes=(*report.notes, note))
        encoder = unconverted
    return encoder.eval()


def _takes_images(encoder: Encoder, image_size: int) -> bool:
    try:
        feature_width(encoder, image_size)
    except ValueError:
        return False
    return True


def _filled(spec: str, weights: Path | str | None, image_size: int, kwargs: Mapping[str, Any] | None, *, keep_precision: bool) -> Encoder:
    encoder = build_backbone(spec, kwargs, keep_precision=keep_precision)
    built = encoder.weights_report
    if weights is not None and (adapter := adapter_folder(weights)) is not None:
        if has_random_weights(spec):
            raise ValueError(
                f"`student` must bring the weights that the adapter {adapter} was trained on, got {spec}, which names none; "
                "give its base model as `hf:BASE`, or merge it (`merge_and_unload()`) and save the model."
            )
        merge_adapter(encoder, adapter)
    elif weights is not None:
        file = read_weights_file(weights)
        model = encoder.backbone
        while isinstance(model, (Transformed, Pooled, ImageSide)):
            model = model.model
        if isinstance(encoder.backbone, Pooled):
            precision = precision_of(file.tensors.values())
            file = replace(file, tensors=in_current_names(model, file.tensors))
            built = replace(built, precision=precision)
            encoder.backbone.pooled |= any("pooler" in name for name in file.tensors)
        report = fill_encoder(encoder, model, file, str(weights), lambda: feature_width(encoder, image_size))
        encoder.text_tower = fill_text_tower(encoder.text_tower, file.tensors, random=has_random_weights(spec))
        encoder.weights_report = _with_text_tower(encoder, report).joined(replace(built, unused={}))
    elif has_random_weights(spec):
        encoder.text_tower = None
    refuse_bad_weights(encoder, spec)
    return encoder

"""The only reader and writer of weights: safetensors with their own description inside."""

from __future__ import annotations

import json
import logging
import os
import re
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor, nn

from distill.data.decode import MAX_SIZE
from distill.errors import DistillError
from distill.models.encoder import Encoder, parameter_count, refuse_bad_weights
from distill.models.hf_vision import Pooled
from distill.models.student import FORMS, Transformed, attach_projection, build_backbone, feature_width, has_random_weights
from distill.models.two_tower import ImageSide, fill_text_tower
from distill.system.atomic_files import write_then_rename
from distill.system.untrusted_text import parse_json, read_toml

logger = logging.getLogger(__name__)

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
    """Write tensors and a JSON description to a temporary name, then rename: a reader never sees half a file.

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
        whole = tensor.detach().cpu().contiguous()
        # safetensors refuses tensors that share memory, as tied weights do.
        plain[name] = whole.clone() if whole.untyped_storage().data_ptr() in seen else whole
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
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, _described(file)  # noqa: SIM118
    except Exception as error:  # safetensors raises its own kind, and what torch says of an odd type or shape
        raise _broken(path, error) from error


def _broken(path: Path, error: Exception) -> DistillError:
    line = (str(error).splitlines() or [type(error).__name__])[0][:300]
    return DistillError(f"{path} must be a whole safetensors file, got {line}; copy or make it again.")


def _described(file: Any) -> dict[str, Any]:
    description = parse_json((file.metadata() or {}).get("synthgap", "{}"), "its description")
    return description if isinstance(description, dict) else {}


CLASSIFIERS = ("head", "fc", "classifier")
"""What timm and torchvision call the layer that gives classes."""


def read_weights(path: Path | str) -> dict[str, Tensor]:
    """Read a plain state dict: safetensors, or a torch file that holds tensors and nothing else.

    A dict that holds it under one of the usual keys (`state_dict`, `model_state_dict`, `model`) is unwrapped, or under any other that alone holds tensors.
    `FILE#KEY` takes what lies under another key, such as the average `state_dict_ema` of timm.

    Raises:
        FileNotFoundError: when there is no such file.
        ValueError: when the file holds no such key.
        DistillError: when it holds anything but plain tensors, which would need unpickling.
    """
    path, key = _keyed(path)
    if path.suffix == ".safetensors" and not key:
        return read_tensors(path)[0]
    if not path.is_file():
        raise FileNotFoundError(f"the weights must be a file that exists, got {path}; check the path.")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # of unusual pickle protocols and TorchScript: what matters is refused below
            data = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a restricted unpickler that is fed arbitrary bytes may raise anything
        named = re.search(r"GLOBAL ([\w.]+)", str(error))
        raise DistillError(
            f"{path} must hold plain tensors, got something that needs unpickling or is broken ({named[1] if named else type(error).__name__}); "
            "save model.state_dict() with safetensors."
        ) from error
    if key and (not isinstance(data, dict) or key not in data):
        held = ", ".join(sorted(map(str, data))[:5]) if isinstance(data, dict) else type(data).__name__
        raise ValueError(f"the key after # must be one of {path}, got {key!r} where there are {held}; choose one of these.")
    data = _unwrapped(data[key] if key else data)
    if not _is_state(data):
        got = f"a dict of {', '.join(sorted(map(str, data))[:5])}" if isinstance(data, dict) and data else type(data).__name__
        raise DistillError(f"{path} must hold a state dict of tensors, got {got}; save model.state_dict().")
    for name, tensor in data.items():
        if tensor.layout != torch.strided or tensor.is_quantized or tensor.is_meta:
            kind = "quantised" if tensor.is_quantized else "without data" if tensor.is_meta else str(tensor.layout)
            raise DistillError(
                f"{path} must hold plain dense tensors, got `{name}`, which is {kind}; save model.state_dict() of the plain model."
            )
    return data


def _keyed(path: Path | str) -> tuple[Path, str]:
    """Take `FILE#KEY` apart, unless there is a file of that very name."""
    file, _, key = str(path).rpartition("#")
    return (Path(file), key) if file and not Path(path).exists() else (Path(path), "")


def _is_state(data: object) -> bool:
    return isinstance(data, dict) and bool(data) and all(isinstance(n, str) and isinstance(t, Tensor) for n, t in data.items())


def _unwrapped(data: Any) -> Any:
    """Find the state dict in what a training script has saved: under a usual key, or under the only one that holds tensors."""
    for key in ("state_dict", "model_state_dict", "model"):
        if isinstance(data, dict) and isinstance(data.get(key), dict):
            data = data[key]
    if isinstance(data, dict) and not _is_state(data):
        states = [value for value in data.values() if _is_state(value)]
        return states[0] if len(states) == 1 else data
    return data


def _inside(weights: Mapping[str, Tensor], expected: Iterable[str], where: str) -> Mapping[str, Tensor]:
    """Take off what a wrapper has put before every name (`model.`, `_orig_mod.`), and leave out what lies beside the model (a text tower).

    Raises:
        ValueError: where the whole model is there more than once, as a student and its average.
    """
    needed = [name for name in expected if not name.endswith("num_batches_tracked")]
    if not needed or all(name in weights for name in needed):
        return weights
    longest = max(needed, key=len)
    before = {name[: -len(longest)] for name in weights if name.endswith(f".{longest}")}
    whole = sorted(prefix for prefix in before if all(prefix + name in weights for name in needed))
    if len(whole) > 1:
        raise ValueError(f"the weights in {where} must hold the model once, got it under {whole}; keep one of them.")
    first = whole[0] if whole else "module."  # so that a tensor that is missing beside others is named
    return {name.removeprefix(first): tensor for name, tensor in weights.items() if name.startswith(first) or not whole}


def fill_weights(module: nn.Module, weights: Mapping[str, Tensor], where: str) -> None:
    """Load a state dict strictly; what stands before every name of the model (`module.`, `model.`, `visual.`) is taken off.

    Raises:
        ValueError: naming the first missing, unexpected or misshapen tensor.
    """
    expected = module.state_dict()
    weights = _inside(weights, expected, where)
    missing, extra = sorted(expected.keys() - weights.keys()), sorted(weights.keys() - expected.keys())
    missing = [name for name in missing if not name.endswith("num_batches_tracked")]
    if missing or extra:
        first = f"`{missing[0]}` missing" if missing else f"`{extra[0]}` unexpected"
        remedy = "name the model they belong to"
        if not missing and all(name.split(".")[0] in CLASSIFIERS for name in extra):
            remedy = "save them without the classifier, whose answers are no embeddings of the teacher's space, or build the model with it (path/to/file.py:function)"
        raise ValueError(
            f"the weights in {where} must fit the model, got {first} ({len(missing)} missing, {len(extra)} unexpected); {remedy}."
        )
    for name, tensor in weights.items():
        if tensor.is_complex() and not expected[name].is_complex():
            raise ValueError(f"`{name}` in {where} must hold real numbers, got {tensor.dtype}; save the weights as float32.")
        if tensor.shape != expected[name].shape:
            raise ValueError(
                f"`{name}` in {where} must have shape {tuple(expected[name].shape)}, got {tuple(tensor.shape)}; name the model it belongs to."
            )
    module.load_state_dict(weights, strict=False)
    refuse_bad_weights(module, where)


def save_student(path: Path, encoder: Encoder, description: Mapping[str, Any]) -> None:
    """Write a student with what is needed to build it again (`spec`, `kwargs`, `embed_dim`, `image_size`)."""
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
            description = _described(file)
    except Exception as error:  # as in `read_tensors`
        raise _broken(path, error) from error
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
    fill_weights(encoder, tensors, str(path))
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
    if not description["kwargs"] or description["spec"].partition(":")[0] not in ("builtin", "timm"):
        return
    try:
        with torch.device("meta"):
            wanted = parameter_count(build_backbone(description["spec"], description["kwargs"]))
    except (RuntimeError, NotImplementedError):  # a model whose constructor looks at numbers
        return
    if wanted > (held := sum(tensor.numel() for tensor in tensors.values())) + 1_000_000:
        raise DistillError(f"{path} must hold the weights of its model, got {held:,} numbers for a model of {wanted:,}; make it again.")


def load_encoder(
    spec: str, *, weights: Path | str | None = None, image_size: int = 224, kwargs: Mapping[str, Any] | None = None
) -> Encoder:
    """Load anybody's image encoder, in eval mode.

    Args:
        spec: a synthgap checkpoint (`.safetensors`), or any form of `distill.models.student.build_backbone`.
        weights: state dict for the model that `spec` builds.
        image_size: side of the images it will see.
        kwargs: keyword arguments of the model's constructor.

    Raises:
        ValueError: for weights given beside a checkpoint, or that do not fit, or a model that does not take images of that size.
    """
    if spec.endswith(".safetensors"):
        if weights is not None:
            raise ValueError(f"`weights` must be left out for the checkpoint {spec}, got {weights}; it holds its own.")
        return load_student(spec)[0]
    if Path(spec).is_file() and not spec.endswith(".py"):
        raise ValueError(f"`student` must be {FORMS}, got the file {spec}; name its model and give the file with `--weights`.")
    encoder = build_backbone(spec, kwargs)
    if weights is None and has_random_weights(spec):
        logger.warning(
            "%s names no weights, so they are drawn by lot and nothing is trained: give them with --weights FILE (`weights`).", spec
        )
        encoder.text_tower = None
    if weights is not None:
        tensors = read_weights(weights)
        fill_weights(_holder(encoder, tensors), tensors, str(weights))
        encoder.text_tower = fill_text_tower(encoder.text_tower, tensors, random=has_random_weights(spec))
    refuse_bad_weights(encoder, spec)
    feature_width(encoder, image_size)
    return encoder.eval()


def _holder(encoder: Encoder, weights: Mapping[str, Tensor]) -> nn.Module:
    """Find the module that a state dict is of: the user's own one, or the same within our wrappers."""
    own = encoder.backbone
    while isinstance(own, (Transformed, Pooled, ImageSide)):
        own = own.model
    names = {name.removeprefix("module.") for name in weights}
    return next((module for module in (own, encoder.backbone, encoder) if names <= module.state_dict().keys()), own)

"""Students from a name: timm, open_clip, Hugging Face, a builtin, a checkpoint, or a function in anybody's file."""

from __future__ import annotations

import ast
import difflib
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import torch
from torch import Tensor, nn

from distill.data.decode import MAX_SIZE
from distill.errors import DistillError
from distill.models.encoder import Encoder
from distill.models.onednn import shielded
from distill.models.open_clip_models import image_tower
from distill.models.two_tower import hub_text, open_clip_text
from distill.models.user_models import encoder_of, from_file
from distill.models.weights_report import to_float32
from distill.system.plugins import load_plugin, plugin_names

FORMS = (
    "timm:NAME or timm:NAME?num_classes=D, open_clip:NAME[/TAG], hf:ID, builtin:NAME, plugin:NAME, a synthgap checkpoint (.safetensors) "
    "or path/to/file.py:function"
)

NOT_IN_A_NAME = (
    "pretrained",
    "pretrained_cfg",
    "pretrained_cfg_overlay",
    "checkpoint_path",
    "cache_dir",
    "features_only",
    "scriptable",
    "exportable",
)
"""Arguments of `timm.create_model` that read files or change what the model returns: a name cannot set them."""


MIXED_PRECISION = re.compile(r"dtype|scalar type|Input type|must have the same type", re.I)
"""What torch says where numbers of two precisions meet in one layer."""


def has_random_weights(spec: str) -> bool:
    """Tell a name that gives an architecture and no weights, so that what is built from it is randomly initialised."""
    kind, _, name = spec.partition(":")
    if kind == "open_clip":
        return not any(sign in name for sign in "/\\:") and not Path(name).exists()
    return kind in ("timm", "builtin")


def build_backbone(spec: str, kwargs: Mapping[str, Any] | None = None, *, keep_precision: bool = False) -> Encoder:
    """Build an image encoder without a projection from its name.

    Args:
        spec: one of the forms in `FORMS`, except a checkpoint (see `distill.models.checkpoint`).
        kwargs: keyword arguments for the model's constructor (timm, builtin and plugin only).
        keep_precision: leave parameters and buffers in the precision that the model comes in, instead of float32.

    Returns:
        An `Encoder` in train mode, randomly initialised or pretrained where a tag, id or function says so. Its `weights_report` says what was converted.

    Raises:
        ValueError: for an unknown form or name, with the nearest names.
        FileNotFoundError: for a file that is not there.
        DistillError: when a hub that is needed cannot be reached.
    """
    encoder = _built(spec, dict(kwargs or {}))
    if not keep_precision and (converted := to_float32(encoder)):
        encoder.weights_report = replace(encoder.weights_report, precision=converted)
    return shielded(encoder)  # type: ignore[return-value]


def _built(spec: str, kwargs: dict[str, Any]) -> Encoder:
    kind, _, name = spec.partition(":")
    if kind in ("timm", "builtin") and "?" in name:
        name, kwargs = _with_arguments(spec, kwargs)
    if kind in _BUILDERS and name:
        try:
            return _BUILDERS[kind](name, kwargs)
        except (DistillError, FileNotFoundError):
            raise
        except Exception as error:  # what a constructor says of numbers that do not go together
            if not kwargs or (isinstance(error, ValueError) and str(error).startswith("`")):
                raise
            raise ValueError(f"`kwargs` must be what {spec} takes, got {sorted(kwargs)} ({error}); mend or leave them out.") from error
    if ".py:" in spec:
        if kwargs:
            raise ValueError(f"`kwargs` must be empty for {spec}, got {sorted(kwargs)}; set them inside the function.")
        return from_file(*spec.rsplit(":", 1))
    raise ValueError(f"`student` must be {FORMS}, got {spec!r}; check the prefix.")


def _with_arguments(spec: str, kwargs: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Take the constructor's arguments out of a name such as `timm:resnet18?num_classes=512&global_pool=max`.

    Args:
        spec: form, name and arguments; numbers, True, False and None are read as such, everything else as text.
        kwargs: arguments given otherwise.

    Returns:
        The name and all arguments.

    Raises:
        ValueError: for arguments that are none, are given twice, or read files.
    """
    name, _, query = spec.partition(":")[2].partition("?")
    pairs = parse_qsl(query, keep_blank_values=True)
    keys = [key for key, _ in pairs]
    if not pairs or not all(key.isidentifier() and value for key, value in pairs):
        raise ValueError(
            f"`student` {spec} must have arguments after ?, got {query!r}; write them as NAME?num_classes=512&global_pool=avg."
        )
    if refused := sorted(set(keys) & set(NOT_IN_A_NAME)):
        raise ValueError(f"`student` {spec} must only set what its layers are, got {refused}; give weights with --weights FILE.")
    if twice := sorted({key for key in keys if keys.count(key) > 1 or key in kwargs}):
        raise ValueError(f"`student` {spec} must set each argument once, got {twice} twice; leave one out.")
    return name, {**kwargs, **{key: _value(text) for key, text in pairs}}


def _value(text: str) -> Any:
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return text
    return value if isinstance(value, (int, float, bool, type(None), str)) else text


def attach_projection(encoder: Encoder, embed_dim: int, *, image_size: int) -> Encoder:
    """Add a linear projection from the backbone's features to the teacher's dimension.

    Args:
        encoder: without a projection; its feature width is measured with one blank image.
        embed_dim: dimension D of the teacher's embeddings.
        image_size: side of the images it will be given.

    Returns:
        The same encoder, in train mode.
    """
    width = feature_width(encoder, image_size)
    encoder.projection = nn.Linear(width, embed_dim, bias=False)
    encoder.text_tower = None  # behind a new projection it is another space
    return encoder.train()


def feature_width(encoder: nn.Module, image_size: int) -> int:
    """Measure the width of an encoder's output with one blank image, leaving its modes and statistics untouched.

    Raises:
        ValueError: when the encoder cannot take such an image or its output is not of shape (N, D).
    """
    return int(_blank_output(encoder, image_size).shape[1])


def output_dtype(encoder: nn.Module, image_size: int) -> torch.dtype:
    """Return the precision of an encoder's output for one blank image; raises as `feature_width` does."""
    return _blank_output(encoder, image_size).dtype


def _blank_output(encoder: nn.Module, image_size: int) -> Tensor:
    if not 1 <= image_size <= MAX_SIZE:
        raise ValueError(f"`image_size` must be at least 1 pixel and at most {MAX_SIZE}, got {image_size}; give the side the model wants.")
    training = encoder.training
    encoder.eval()
    try:
        with torch.inference_mode():
            output = encoder(torch.zeros(1, 3, image_size, image_size))
    except Exception as error:  # anybody's model: whatever its layers raise
        line = " ".join(str(error).split())[:200]
        if MIXED_PRECISION.search(str(error)):
            raise ValueError(
                f"the encoder must take float32 images and run in float32, got {type(error).__name__}: {line}; "
                "leave out .half(), .bfloat16() and .double() in its code, or convert the images there."
            ) from error
        if "Guard failed" in line:
            raise ValueError(
                f"the encoder must take any number of images of {image_size} x {image_size} pixels, got {type(error).__name__}: {line}; "
                "export it with a dynamic batch and for that size."
            ) from error
        raise ValueError(
            f"the encoder must take images of {image_size} x {image_size} pixels, got {type(error).__name__}: {line}; "
            "give its own size (`image_size`) or return (module, transform)."
        ) from error
    finally:
        encoder.train(training)
    if not isinstance(output, Tensor) or output.ndim != 2:
        shape = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
        raise ValueError(f"the encoder must return embeddings of shape (N, D), got {shape}; pool it to one vector for each image.")
    return output


def _from_timm(name: str, kwargs: dict[str, Any]) -> Encoder:
    import timm

    try:
        model = timm.create_model(name, pretrained=False, **{"num_classes": 0, **kwargs})
    except RuntimeError as error:
        if "Unknown model" not in str(error):
            raise
        near = difflib.get_close_matches(name, timm.list_models(), n=3, cutoff=0.4)
        raise ValueError(
            f"`student` timm:{name} must be a timm model, got an unknown name; did you mean {', '.join(near) or 'timm.list_models()'}?"
        ) from error
    config = model.pretrained_cfg
    fixed = kwargs.get("img_size") or (config["input_size"][-1] if config.get("fixed_input_size") else None)
    return Encoder(model, mean=tuple(config["mean"]), std=tuple(config["std"]), input_size=fixed)


def _from_open_clip(name: str, kwargs: dict[str, Any]) -> Encoder:
    from distill.models.open_clip_models import open_clip_model

    if kwargs:
        raise ValueError(f"`kwargs` must be empty for open_clip:{name}, got {sorted(kwargs)}; write a model config folder instead.")
    model = open_clip_model(name, "student")
    encoder = image_tower(model)
    encoder.text_tower = open_clip_text(model, name)
    return encoder


def _from_hub(name: str, kwargs: dict[str, Any]) -> Encoder:
    from distill.models.hf_vision import load_hf_vision

    if kwargs:
        raise ValueError(f"`kwargs` must be empty for hf:{name}, got {sorted(kwargs)}; the hub's own config decides.")
    encoder = load_hf_vision(name)
    encoder.text_tower = hub_text(encoder.backbone.model, name)  # type: ignore[arg-type]
    return encoder


def _builtin(name: str, kwargs: dict[str, Any]) -> Encoder:
    from distill.models.architectures import BUILTIN

    if name not in BUILTIN:
        raise ValueError(f"`student` builtin:NAME must be one of {sorted(BUILTIN)}, got {name!r}; or use timm:NAME.")
    return Encoder(BUILTIN[name](**kwargs), mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25))


def _from_plugin(name: str, kwargs: dict[str, Any]) -> Encoder:
    """Call what an installed package offers under the entry point group `synthgap.students`."""
    factory = load_plugin("synthgap.students", name)
    if factory is None:
        known = plugin_names("synthgap.students")
        raise ValueError(f"`student` plugin:{name} must be offered by an installed package, got {known or 'none'}; install it.")
    return encoder_of(factory(**kwargs), f"plugin:{name}")


_BUILDERS: dict[str, Callable[[str, dict[str, Any]], Encoder]] = {
    "timm": _from_timm,
    "open_clip": _from_open_clip,
    "hf": _from_hub,
    "builtin": _builtin,
    "plugin": _from_plugin,
}

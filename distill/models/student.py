"""Students from a name: timm, open_clip, Hugging Face, a builtin, a checkpoint, or a function in anybody's file."""

from __future__ import annotations

import difflib
import importlib.util
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from distill.data.decode import MAX_SIZE
from distill.errors import DistillError
from distill.models.encoder import Encoder
from distill.models.onednn import shielded
from distill.models.open_clip_models import image_tower
from distill.models.two_tower import TwoTower, hub_text, open_clip_text, read_two_tower
from distill.system.plugins import load_plugin, plugin_names

FORMS = (
    "timm:NAME, open_clip:NAME[/TAG], hf:ID, builtin:NAME, plugin:NAME, a synthgap checkpoint (.safetensors) or path/to/file.py:function"
)


def has_random_weights(spec: str) -> bool:
    """Tell a name that gives an architecture and no weights: whatever is built from it is drawn by lot."""
    kind, _, name = spec.partition(":")
    if kind == "open_clip":
        return not any(sign in name for sign in "/\\:") and not Path(name).exists()
    return kind in ("timm", "builtin")


def build_backbone(spec: str, kwargs: Mapping[str, Any] | None = None) -> Encoder:
    """Build an image encoder without a projection from its name.

    Args:
        spec: one of the forms in `FORMS`, except a checkpoint (see `distill.models.checkpoint`).
        kwargs: keyword arguments for the model's constructor (timm, builtin and plugin only).

    Returns:
        An `Encoder` in train mode with fresh weights (pretrained where a tag or id says so).

    Raises:
        ValueError: for an unknown form or name, with the nearest names.
        FileNotFoundError: for a file that is not there.
        DistillError: when a hub that is needed cannot be reached.
    """
    kind, _, name = spec.partition(":")
    kwargs = dict(kwargs or {})
    if kind in _BUILDERS and name:
        try:
            return shielded(_BUILDERS[kind](name, kwargs))  # type: ignore[return-value]
        except (DistillError, FileNotFoundError):
            raise
        except Exception as error:  # what a constructor says of numbers that do not go together
            if not kwargs or (isinstance(error, ValueError) and str(error).startswith("`")):
                raise
            raise ValueError(f"`kwargs` must be what {spec} takes, got {sorted(kwargs)} ({error}); mend or leave them out.") from error
    if ".py:" in spec:
        if kwargs:
            raise ValueError(f"`kwargs` must be empty for {spec}, got {sorted(kwargs)}; set them inside the function.")
        return shielded(_from_file(*spec.rsplit(":", 1)))  # type: ignore[return-value]
    raise ValueError(f"`student` must be {FORMS}, got {spec!r}; check the prefix.")


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
    if not 1 <= image_size <= MAX_SIZE:
        raise ValueError(f"`image_size` must be at least 1 pixel and at most {MAX_SIZE}, got {image_size}; give the side the model wants.")
    training = encoder.training
    encoder.eval()
    try:
        with torch.inference_mode():
            output = encoder(torch.zeros(1, 3, image_size, image_size))
    except Exception as error:  # anybody's model: whatever its layers raise
        line = " ".join(str(error).split())[:200]
        raise ValueError(
            f"the encoder must take images of {image_size} x {image_size} pixels, got {type(error).__name__}: {line}; "
            "give its own size (`image_size`) or return (module, transform)."
        ) from error
    finally:
        encoder.train(training)
    if not isinstance(output, Tensor) or output.ndim != 2:
        shape = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
        raise ValueError(f"the encoder must return embeddings of shape (N, D), got {shape}; pool it to one vector for each image.")
    return int(output.shape[1])


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
    return _encoder_of(factory(**kwargs), f"plugin:{name}")


_BUILDERS: dict[str, Callable[[str, dict[str, Any]], Encoder]] = {
    "timm": _from_timm,
    "open_clip": _from_open_clip,
    "hf": _from_hub,
    "builtin": _builtin,
    "plugin": _from_plugin,
}


def load_function(path: str, function: str) -> Callable[..., Any]:
    """Import a Python file and return one of its functions.

    Args:
        path: the file.
        function: name of the function.

    Raises:
        FileNotFoundError: for a file that is not there.
        ValueError: for one that cannot be imported or has no such function.
    """
    file = Path(path)
    if not file.is_file():
        raise FileNotFoundError(f"`student` must name a Python file that exists, got {path}; give path/to/file.py:function.")
    spec = importlib.util.spec_from_file_location(f"_synthgap_user_{file.stem}", file)
    if spec is None or spec.loader is None:
        raise ValueError(f"`student` must name a Python file, got {path}; give path/to/file.py:function.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:  # a script may leave by itself
        raise ValueError(f"{path} must import without an error, got {type(error).__name__}: {error}; run it by itself first.") from error
    factory = getattr(module, function, None)
    if not callable(factory):
        names = [name for name, value in vars(module).items() if callable(value) and not name.startswith("_")]
        raise ValueError(f"`student` {path} must have a function {function}, got {names}; check the name after the colon.")
    return factory


def _from_file(path: str, function: str) -> Encoder:
    """Call a function of a Python file; it gives a module, a module and a transform, or both towers of a model."""
    factory = load_function(path, function)
    try:
        made = factory()
    except (Exception, SystemExit) as error:
        raise ValueError(
            f"{path}:{function} must build a model without arguments, got {type(error).__name__}: {error}; mend the function."
        ) from error
    return _encoder_of(made, f"{path}:{function}")


def _encoder_of(made: Any, where: str) -> Encoder:
    """Wrap what somebody's function returned: a module, or a module and its transform, or an `Encoder` already."""
    if isinstance(made, Encoder):
        return made
    two = read_two_tower(made, where)
    if two is not None:
        return _two_tower_encoder(two)
    model, transform = made if isinstance(made, tuple) and len(made) == 2 else (made, None)
    if not isinstance(model, nn.Module):
        raise ValueError(f"{where} must return a torch.nn.Module, got {type(model).__name__}; return the module or (module, transform).")
    return Encoder(model if transform is None else Transformed(model, transform))


def _two_tower_encoder(two: TwoTower) -> Encoder:
    """Wrap the image side; a bare open_clip model is given its own size and normalisation, which it does not apply itself."""
    if two.transform is not None:
        encoder = Encoder(Transformed(two.images, two.transform))
    elif isinstance(getattr(two.whole, "visual", None), nn.Module) and hasattr(two.whole.visual, "image_size"):  # type: ignore[union-attr]
        encoder = image_tower(two.whole)  # type: ignore[arg-type]
    else:
        encoder = Encoder(two.images)
    encoder.text_tower = two.text
    return encoder


class Transformed(nn.Module):
    """A module behind its own per-image transform (PIL image -> tensor, as torchvision's and open_clip's are)."""

    def __init__(self, model: nn.Module, transform: Callable[[Any], Tensor]) -> None:
        super().__init__()
        self.model = model
        self.transform = transform

    def forward(self, images: Tensor) -> Tensor:
        """Embed images in [0, 1], shape (N, 3, H, W), as eight-bit pictures through the transform: raw (N, D)."""
        from torchvision.transforms.functional import to_pil_image

        eight_bit = (images.clamp(0, 1) * 255).round().to(torch.uint8).cpu()
        return self.model(torch.stack([self.transform(to_pil_image(image)) for image in eight_bit]).to(images.device))

"""Image encoders of the Hugging Face hub or of a local folder, `hf:ID`, each with its own size and normalisation."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from distill.errors import DistillError
from distill.models.encoder import Encoder
from distill.models.foreign_weights.files import FOLDER_FILES
from distill.models.foreign_weights.peft_adapters import adapter_folder, base_of, merge_adapter
from distill.models.weights_report import WeightsReport, name_tensors
from distill.system.hub_access import cache_alone, first_line, why_unreachable

logger = logging.getLogger(__name__)

VARIANT = re.compile(r"(?:model|pytorch_model)\.(?!safetensors|bin)([\w-]+)\.(?:safetensors|bin)")
"""Names of files that hold the weights in another precision, such as `model.fp16.safetensors`."""


def load_hf_vision(name: str) -> Encoder:
    """Load a transformers model that sees images, in train mode.

    A folder with a PEFT adapter is its base model with the adapter merged into it.

    Args:
        name: id on the hub, or a folder that `save_pretrained` wrote. Without the network, a model in the cache still loads.

    Returns:
        An encoder in the precision of its files, whose `weights_report` names the tensors that it does not use.

    Raises:
        FileNotFoundError: when the hub knows no such model.
        DistillError: when the hub cannot be reached, or the model cannot be loaded, lacks weights or has weights that would be dropped.
    """
    if (adapter := adapter_folder(name)) is not None:
        encoder = load_hf_vision(base_of(adapter))
        return merge_adapter(encoder, adapter)
    offline = "" if Path(name).is_dir() else why_unreachable("model", name)
    try:
        with cache_alone(offline):  # transformers asks for adapters even of local files
            model, info = _model_of(name, local_only=bool(offline))
    except Exception as error:  # transformers raises many kinds
        if offline:
            raise DistillError(f"hub model `{name}` cannot be reached ({offline}); download it first or give a local folder.") from error
        raise DistillError(
            f"hf:{name} must be a loadable transformers model, got {first_line(error)}; check the id or the folder's files."
        ) from error
    missing = sorted(info["missing_keys"])
    # Checkpoints of classifiers lack the pooler, which transformers then draws at random.
    pooled = not any("pooler" in key for key in missing)
    lacking = [key for key in missing if "pooler" not in key]
    if lacking:
        raise DistillError(f"hf:{name} must have all weights of its model, got none for `{lacking[0]}`; choose a checkpoint that has them.")
    unused = _unused(name, model, sorted(info["unexpected_keys"]))
    mean, std, size = _preprocessing(name, model.config, local_only=bool(offline))
    encoder = Encoder(Pooled(model, pooled=pooled), mean=mean, std=std, input_size=size)
    encoder.weights_report = WeightsReport(source=f"hf:{name}", used=len(model.state_dict()) - len(missing), unused=unused)
    return encoder


def in_current_names(model: nn.Module, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return a state dict under the names that transformers gives the tensors today: what it saves, and what it saved before, has others.

    Args:
        model: transformers model that the weights are for.
        weights: name -> tensor.

    Returns:
        The weights under new names where they fit the model completely that way; else as they are.
    """
    names = [name for name in model.state_dict() if "position_ids" not in name]
    if all(name in weights for name in names) or not hasattr(model, "config"):
        return dict(weights)
    try:
        filled, info = type(model).from_pretrained(  # type: ignore[attr-defined]
            None, config=model.config, state_dict=dict(weights), output_loading_info=True, dtype=torch.float32
        )
    except Exception:  # transformers raises many kinds for weights of another model, which are refused by name later
        return dict(weights)
    return dict(weights) if any(info.values()) else filled.state_dict()


def _model_of(name: str, *, local_only: bool) -> tuple[Any, dict[str, Any]]:
    """Load a model with what transformers says of its weights; a vision model with a projection as that, which `AutoModel` would drop."""
    import transformers

    config = transformers.AutoConfig.from_pretrained(name, local_files_only=local_only)
    declared = _declared_class(config)
    projects = declared is not None and declared.__name__.endswith("WithProjection") and declared.main_input_name == "pixel_values"
    loader = declared if projects else transformers.AutoModel
    variant = _variant(Path(name))
    options = {"variant": variant} if variant else {}
    return loader.from_pretrained(name, output_loading_info=True, local_files_only=local_only, **options)  # type: ignore[union-attr]


def _declared_class(config: Any) -> Any:
    """Return the class that wrote a checkpoint, or None where transformers has none of that name."""
    import transformers

    name = (getattr(config, "architectures", None) or [""])[0]
    return getattr(transformers, name, None) if name else None


def _variant(folder: Path) -> str:
    """Return the variant, such as `fp16`, of a folder that holds the weights in that alone; empty for all else."""
    if not folder.is_dir() or any((folder / name).is_file() for name in FOLDER_FILES):
        return ""
    names = [match[1] for path in folder.iterdir() if (match := VARIANT.fullmatch(path.name))]
    return names[0] if len(set(names)) == 1 else ""


def _unused(name: str, model: Any, unexpected: list[str]) -> dict[str, tuple[str, ...]]:
    """Tell what transformers dropped: the head of the class that wrote the checkpoint, which is said, or anything else, which is refused."""
    if not unexpected:
        return {}
    declared = _declared_class(model.config)
    heads: set[str] = set()
    if declared is not None and declared is not type(model):
        with torch.device("meta"):
            whole = declared(model.config)
        heads = {part for part, _ in whole.named_children()} - {declared.base_model_prefix}
    if strange := [key for key in unexpected if key.split(".")[0] not in heads]:
        raise DistillError(
            f"hf:{name} must hold the weights of a {type(model).__name__} alone, got others, which would be dropped: {name_tensors(strange)}; "
            "build all of it in path/to/file.py:function."
        )
    return {f"head of {declared.__name__}": tuple(unexpected)}


def _preprocessing(name: str, config: Any, *, local_only: bool) -> tuple[tuple[float, ...], tuple[float, ...], int | None]:
    """Return mean, standard deviation and side of a model's input; the model's own side takes precedence over its processor's."""
    from transformers import AutoImageProcessor

    size = getattr(getattr(config, "vision_config", config), "image_size", None)
    size = size[0] if isinstance(size, (tuple, list)) else size
    try:
        processor = AutoImageProcessor.from_pretrained(name, local_files_only=local_only)
    except (OSError, ValueError):
        logger.warning(
            "hf:%s says nothing of its preprocessing, so mean and deviation of 0.5 are taken; add preprocessor_config.json.", name
        )
        return (0.5,) * 3, (0.5,) * 3, size
    _refuse_other_pixels(name, processor)
    sizes = dict(getattr(processor, "crop_size", None) or getattr(processor, "size", None) or {})
    size = size or sizes.get("height") or sizes.get("shortest_edge")
    if not getattr(processor, "do_normalize", True):
        return (0.0,) * 3, (1.0,) * 3, size
    return tuple(processor.image_mean), tuple(processor.image_std), size


def _refuse_other_pixels(name: str, processor: Any) -> None:
    """Refuse a processor that does to pixels what an `Encoder` does not: swap colours, or scale them other than to [0, 1]."""
    odd = {
        "do_flip_channel_order": bool(getattr(processor, "do_flip_channel_order", False)),
        "rescale_offset": bool(getattr(processor, "rescale_offset", False)),
        "rescale_factor": abs((getattr(processor, "rescale_factor", None) or 1 / 255) * 255 - 1) > 1e-6,
        "do_rescale": getattr(processor, "do_rescale", None) is False,
    }
    if settings := [setting for setting, is_odd in odd.items() if is_odd]:
        raise DistillError(
            f"hf:{name} must take RGB images in [0, 1], got a processor with {', '.join(settings)} set otherwise; "
            "return (module, transform) from path/to/file.py:function."
        )


class Pooled(nn.Module):
    """A transformers model that gives one vector for each image.

    A model of images and texts gives its image features, one with a projection its projected output, another one its pooled output, or the class
    token where it has none.
    """

    def __init__(self, model: nn.Module, *, pooled: bool) -> None:
        super().__init__()
        self.model = model
        self.pooled = pooled

    def forward(self, images: Tensor) -> Tensor:
        """Embed normalised images (N, 3, H, W) as raw (N, D)."""
        features = getattr(self.model, "get_image_features", None)
        output = features(pixel_values=images) if features is not None else self.model(pixel_values=images)
        if isinstance(output, Tensor):
            return output
        if (projected := getattr(output, "image_embeds", None)) is not None:
            return projected
        pooled = getattr(output, "pooler_output", None)
        if pooled is not None and (self.pooled or features is not None):
            return pooled.flatten(1)
        states = output.last_hidden_state
        return states[:, 0] if states.ndim == 3 else states.mean(dim=(2, 3))

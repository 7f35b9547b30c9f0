"""Image encoders of the Hugging Face hub or of a local folder, `hf:ID`, each with its own size and normalisation."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from distill.errors import DistillError
from distill.models.encoder import Encoder
from distill.system.hub_access import cache_alone, first_line, why_unreachable

logger = logging.getLogger(__name__)


def load_hf_vision(name: str) -> Encoder:
    """Load a transformers model that sees images, in train mode.

    Args:
        name: id on the hub, or a folder that `save_pretrained` wrote. Without the network, a model in the cache still loads.

    Raises:
        FileNotFoundError: when the hub knows no such model.
        DistillError: when the hub cannot be reached, or the model cannot be loaded or lacks weights.
    """
    from transformers import AutoModel

    offline = "" if Path(name).is_dir() else why_unreachable("model", name)
    try:
        with cache_alone(offline):  # transformers asks for adapters even of local files
            model, info = AutoModel.from_pretrained(name, output_loading_info=True, local_files_only=bool(offline))
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
    mean, std, size = _preprocessing(name, model.config, local_only=bool(offline))
    return Encoder(Pooled(model, pooled=pooled), mean=mean, std=std, input_size=size)


def _preprocessing(name: str, config: Any, *, local_only: bool) -> tuple[tuple[float, ...], tuple[float, ...], int | None]:
    """Give mean, standard deviation and side of a model's input; the model's own side goes before its processor's."""
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
    wanted = dict(getattr(processor, "crop_size", None) or getattr(processor, "size", None) or {})
    size = size or wanted.get("height") or wanted.get("shortest_edge")
    if not getattr(processor, "do_normalize", True):
        return (0.0,) * 3, (1.0,) * 3, size
    return tuple(processor.image_mean), tuple(processor.image_std), size


class Pooled(nn.Module):
    """A transformers model that gives one vector for each image.

    A model of images and texts gives its image features, another one its pooled output, or the class token where it has none.
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
        pooled = getattr(output, "pooler_output", None)
        if pooled is not None and (self.pooled or features is not None):
            return pooled.flatten(1)
        states = output.last_hidden_state
        return states[:, 0] if states.ndim == 3 else states.mean(dim=(2, 3))

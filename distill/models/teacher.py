"""The frozen teacher: images and texts in one space, or an image encoder with given class weights."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from distill.errors import DistillError
from distill.models.batchnorm_folding import fuse_conv_bn
from distill.models.encoder import Encoder, parameter_count, refuse_bad_weights, weights_hash
from distill.models.open_clip_models import image_tower, known_models, local_folder, open_clip_model, pretrained_tags, tokenizer_of
from distill.models.student import feature_width
from distill.models.text_tower import embed_distinct, prompt_weights
from distill.system.memory_limit import check_fits_memory


class Teacher:
    """A frozen CLIP: images and texts in one space, or an image encoder with given classifier weights.

    Args:
        name: what the reports call it.
        encoder: image encoder, is put into eval mode for good.
        encode_text: list of strings -> raw embeddings (N, D), or None for a teacher without a text tower.
        logit_scale: multiplier of cosines that the teacher was trained with.
        weights: zero-shot classifier weights (D, C) for a teacher without a text tower.
        embed_dim: dimension D of its embeddings.
        fast_encode: the same function as `encoder` in fewer passes, for embeddings alone; None: `encoder` itself.
    """

    def __init__(
        self,
        name: str,
        encoder: Encoder,
        *,
        embed_dim: int,
        encode_text: Callable[[list[str]], Tensor] | None = None,
        logit_scale: float = 100.0,
        weights: Tensor | None = None,
        fast_encode: nn.Module | None = None,
    ) -> None:
        self.name = name
        self.encoder = encoder.eval().requires_grad_(False)
        self.fast_encode = self.encoder if fast_encode is None else fast_encode
        self.embed_dim = embed_dim
        self.logit_scale = logit_scale
        self.params = parameter_count(encoder)
        self._encode_text = encode_text
        self._weights = weights
        self.hash = weights_hash(encoder)

    @property
    def has_classes(self) -> bool:
        """Whether it can name classes: by a text tower or by given classifier weights."""
        return self._encode_text is not None or self._weights is not None

    @property
    def has_text(self) -> bool:
        """Whether there is a text tower."""
        return self._encode_text is not None

    @torch.inference_mode()
    def embed_images(self, images: Tensor) -> Tensor:
        """Embed images: float in [0, 1], shape (N, 3, H, W) -> unit float32 rows (N, D)."""
        return F.normalize(self.fast_encode(images).float(), dim=-1)

    @torch.inference_mode()
    def embed_text(self, texts: Sequence[str], *, batch_size: int = 256) -> Tensor:
        """Embed texts, each distinct one once.

        Args:
            texts: any strings.
            batch_size: texts in one forward pass.

        Returns:
            Unit float32 rows, shape (N, D), in the order of `texts`.

        Raises:
            DistillError: for a teacher without a text tower.
        """
        if self._encode_text is None:
            raise DistillError(f"`teacher` {self.name} must have a text tower for text targets, got none; use losses with image targets.")
        return embed_distinct(self._encode_text, texts, batch_size=batch_size)

    def class_weights(self, class_names: Sequence[str], templates: Sequence[str]) -> Tensor:
        """Compute zero-shot classifier weights: the mean over templates of unit text embeddings, normalised again.

        Args:
            class_names: C names.
            templates: T prompts with one `{}`.

        Returns:
            Unit columns, float32, shape (D, C).

        Raises:
            ValueError: when given weights do not fit the classes.
            DistillError: for a teacher with neither a text tower nor given weights.

        Source: Radford et al. (2021), section 3.1.4 (prompt ensembling in embedding space).
        """
        if self._weights is not None:
            if self._weights.shape[1] != len(class_names):
                raise ValueError(
                    f"`class_weights` must have one column for each of {len(class_names)} classes, got {self._weights.shape[1]}; "
                    "give the columns in the order of the class names."
                )
            return self._weights.clone()
        if self._encode_text is None:
            raise DistillError(
                f"`teacher` {self.name} must have class weights for zero-shot answers, got neither a text tower nor weights; "
                "give --class-weights W.npy of shape (D, C) (`class_weights` in a config), or a teacher with a text tower."
            )
        return prompt_weights(self.embed_text, class_names, templates)


def load_teacher(spec: str, *, class_weights: Path | str | None = None, image_size: int = 224) -> Teacher:
    """Load a frozen teacher.

    Args:
        spec: `open_clip:NAME/TAG`, `local-dir:FOLDER` or a folder that open_clip wrote, or any student form; of these a model without a text
            tower names classes by `class_weights` alone.
        class_weights: `.npy` file of shape (D, C) for a teacher without a text tower.
        image_size: side of the images, used to measure the embedding dimension.

    Returns:
        The teacher, in eval mode and without gradients.

    Raises:
        FileNotFoundError: for a folder or file that is not there.
        ValueError: for an unknown name, weights that are not finite or do not fit.
        DistillError: when a hub that is needed cannot be reached.
    """
    name = spec.removeprefix("open_clip:")
    if class_weights is not None:
        from distill.models.checkpoint import load_encoder

        folder = local_folder(name)
        encoder = load_encoder(spec if folder is None else f"open_clip:{folder}", image_size=image_size)
        weights = read_class_weights(class_weights)
        width = feature_width(encoder, image_size)
        if weights.shape[0] != width:
            raise ValueError(f"`class_weights` must have {width} rows for {spec}, got {weights.shape[0]}; give an array of shape (D, C).")
        return Teacher(_short(spec), encoder, embed_dim=width, weights=weights, fast_encode=fuse_conv_bn(encoder, image_size))
    if _is_student_form(spec):
        return _any_encoder(spec, image_size)
    if local_folder(name) is None and "/" not in name and name in known_models():
        tags = ", ".join(pretrained_tags(name)[:8])
        raise ValueError(
            f"`teacher` {spec} must name pretrained weights, got a model without a tag; choose from {tags or 'local-dir:FOLDER'}."
        )
    model = open_clip_model(name)
    refuse_bad_weights(model, spec)
    model.eval().requires_grad_(False)
    tokenizer = tokenizer_of(name)
    encoder = image_tower(model)
    width = feature_width(encoder, encoder.input_size or image_size)

    def encode_text(texts: list[str]) -> Tensor:
        return model.encode_text(tokenizer(texts))  # type: ignore[operator, union-attr]

    scale = float(model.logit_scale.exp())  # type: ignore[union-attr, operator]
    fast_encode = fuse_conv_bn(encoder, image_size)
    return Teacher(_short(spec), encoder, embed_dim=width, encode_text=encode_text, logit_scale=scale, fast_encode=fast_encode)


def _is_student_form(spec: str) -> bool:
    return ".py:" in spec or spec.endswith(".safetensors") or spec.partition(":")[0] in ("hf", "timm", "builtin", "plugin")


def _any_encoder(spec: str, image_size: int) -> Teacher:
    """Load a teacher that is no open_clip model, with its text tower where it has one."""
    from distill.models.checkpoint import load_encoder

    encoder = load_encoder(spec, image_size=image_size)
    width, tower = feature_width(encoder, image_size), encoder.text_tower
    fast_encode = fuse_conv_bn(encoder, image_size)
    name = spec.rsplit(":", 1)[-1] if ".py:" in spec else _short(spec.partition(":")[2] if ":" in spec else spec)
    if tower is None:
        return Teacher(name, encoder, embed_dim=width, fast_encode=fast_encode)
    return Teacher(name, encoder, embed_dim=width, encode_text=tower.encode, logit_scale=tower.logit_scale, fast_encode=fast_encode)


def read_class_weights(path: Path | str) -> Tensor:
    """Read zero-shot classifier weights (D, C) from a `.npy` file and normalise their columns.

    Raises:
        FileNotFoundError: when there is no such file.
        ValueError: for a file that is no array of finite real numbers, or a column without a direction.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"`class_weights` must be a .npy file that exists, got {path}; save an array of shape (D, C).")
    try:
        check_fits_memory(path.stat().st_size, "it", "give class weights")
        array = np.load(path, mmap_mode="r", allow_pickle=False)  # mapped: a head that claims more than there is takes no memory
    except Exception as error:  # a header may say anything, and numpy raises many kinds for it
        line = (str(error).splitlines() or [type(error).__name__])[0][:300]
        raise ValueError(f"`class_weights` must be a .npy array of numbers, got {path} ({line}); save it with numpy.save.") from error
    if not isinstance(array, np.ndarray) or array.ndim != 2 or array.dtype.kind not in "fiu" or not array.size:
        kind = f"{array.dtype} {array.shape}" if isinstance(array, np.ndarray) else "an archive"
        raise ValueError(f"`class_weights` must be finite numbers of shape (D, C), got {kind} in {path}; save it with numpy.save.")
    with np.errstate(over="ignore"):
        array = array.astype(np.float32)
    if not np.isfinite(array).all() or not array.any(axis=0).all():
        raise ValueError(
            f"`class_weights` must be finite and no column zero, got NaN, infinity or zeros in {path}; embed the prompts again."
        )
    return F.normalize(torch.from_numpy(array), dim=0)


def _short(spec: str) -> str:
    return spec.removeprefix("open_clip:") if spec.startswith("open_clip:") else Path(spec.removeprefix("local-dir:")).name

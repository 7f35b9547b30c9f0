"""Models with an image and a text tower, read from open_clip, the hub or a Python function, with tokenizer, prompts, logit scale and bias."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from distill.errors import DistillError
from distill.models.text_tower import EncodeText, TextTower

ANY_TEXT = ["a photo of a cat."]
"""Text that an unknown callable is asked about, to tell a text tower and a tokenizer from a transform of images."""

LARGEST_LOG = 10.0
"""CLIP stores the logarithm of its logit scale, at most log 100 = 4.6 and SigLIP at most about 5; a tensor above this is the scale itself."""

TOKENIZER_FILES = ("tokenizer.json", "vocab.json", "vocab.txt", "spiece.model", "tokenizer.model")
"""Files of which a folder's tokenizer has at least one."""

CLIP_VOCABULARY = 49408
"""Size of CLIP's own vocabulary, which open_clip's default tokenizer writes."""


def open_clip_text(model: nn.Module, name: str) -> TextTower:
    """Take the text tower of an open_clip model; its tokenizer is read when the first text is embedded.

    Args:
        model: the whole model.
        name: as `distill.models.open_clip_models.open_clip_model` takes it.
    """
    from distill.models.open_clip_models import tokenizer_of

    tokenizers: list[Callable[[list[str]], Tensor]] = []

    def encode(texts: list[str]) -> Tensor:
        if not tokenizers:
            try:
                tokenizers.append(tokenizer_of(name))
            except Exception as error:  # transformers and the hub raise many kinds
                line = " ".join(str(error).split())[:200]
                raise DistillError(
                    f"the tokenizer of open_clip:{name} must be readable, got {type(error).__name__}: {line}; give a local folder with its files."
                ) from error
        return model.encode_text(tokenizers[0](texts))  # type: ignore[operator, union-attr]

    return TextTower(encode, *_scale_and_bias(model), model=model)


def hub_text(model: nn.Module, name: str) -> TextTower | None:
    """Take the text tower of a transformers model (CLIP, SigLIP and their like); None for a model without one.

    Args:
        model: as `AutoModel` loads it.
        name: id on the hub or folder, where its tokenizer lies.
    """
    if not hasattr(model, "get_text_features") or not hasattr(model, "get_image_features"):
        return None
    tokenizers: list[Any] = []

    def encode(texts: list[str]) -> Tensor:
        if not tokenizers:
            tokenizers.append(_hub_tokenizer(name))
        return _hub_text_features(model, tokenizers[0], texts)

    return TextTower(encode, *_scale_and_bias(model))


def _hub_tokenizer(name: str) -> Any:
    from transformers import AutoTokenizer

    if Path(name).is_dir() and not any(
        (Path(name) / file).is_file() for file in TOKENIZER_FILES
    ):  # transformers would make an empty one up
        raise DistillError(
            f"hf:{name} must have a tokenizer for its text tower, got none of {', '.join(TOKENIZER_FILES)}; save it into the same folder."
        )
    try:
        return AutoTokenizer.from_pretrained(name, local_files_only=Path(name).is_dir())
    except Exception as error:  # transformers raises many kinds
        line = " ".join(str(error).split())[:200]
        raise DistillError(
            f"hf:{name} must have a tokenizer for its text tower, got {type(error).__name__}: {line}; save it into the same folder."
        ) from error


def _hub_text_features(model: Any, tokenizer: Any, texts: list[str]) -> Tensor:
    """Embed texts padded to the tower's full length, as SigLIP was trained; CLIP's attention mask makes the padding harmless."""
    config = getattr(model.config, "text_config", model.config)
    length = min(int(getattr(config, "max_position_embeddings", 64)), int(tokenizer.model_max_length))
    tokens = tokenizer(texts, padding="max_length", truncation=True, max_length=length, return_tensors="pt")
    output = model.get_text_features(**tokens)
    return output if isinstance(output, Tensor) else output.pooler_output


def _scale_and_bias(model: Any) -> tuple[float, float]:
    """Read logit scale and bias of an object or a mapping; a tensor or parameter holds the logarithm of the scale, as in CLIP."""
    read = model.get if isinstance(model, Mapping) else lambda name, default: getattr(model, name, default)
    scale, bias = read("logit_scale", None), read("logit_bias", None)
    if isinstance(scale, Tensor):
        stored = scale.detach().float().reshape(-1)[0]
        scale = stored.exp() if stored <= LARGEST_LOG else stored
    bias = float(bias.detach().float().reshape(-1)[0]) if isinstance(bias, Tensor) else bias
    return 100.0 if scale is None else float(scale), 0.0 if bias is None else float(bias)


class ImageSide(nn.Module):
    """The image side of an object with two towers, as a module: images (N, 3, H, W) -> raw embeddings (N, D)."""

    def __init__(self, model: Any, encode: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.encode = encode
        if isinstance(model, nn.Module):
            self.model = model
        else:  # its modules are registered, so that their weights are hashed and counted
            owners = model.values() if isinstance(model, Mapping) else [model, *getattr(model, "__dict__", {}).values()]
            modules = [value for value in (getattr(owner, "__self__", owner) for owner in owners) if isinstance(value, nn.Module)]
            self.model = nn.ModuleList(dict.fromkeys(modules))

    def forward(self, images: Tensor) -> Tensor:
        """Embed images: float (N, 3, H, W), as the transform or the caller gives them."""
        output = self.encode(images)
        return output if isinstance(output, Tensor) or not hasattr(output, "pooler_output") else output.pooler_output


@dataclass(frozen=True)
class TwoTower:
    """What a Python function returned, read as two towers.

    Args:
        images: module from images to raw embeddings.
        text: the text side.
        transform: PIL image -> tensor, or None: `images` takes float images in [0, 1].
        whole: the model itself, where it is one module with both towers.
    """

    images: nn.Module
    text: TextTower
    transform: Callable[[Any], Tensor] | None = None
    whole: nn.Module | None = None


def read_two_tower(made: Any, where: str) -> TwoTower | None:
    """Read what a function returned as a model with two towers; None where it is something else.

    Forms: an object with `encode_image` and `encode_text` (or transformers' `get_image_features` and `get_text_features`), alone or with its
    transform and tokenizer in a tuple; a pair of callables (images, texts); a dict with `image`, `text` and, as they apply, `transform`,
    `tokenizer`, `logit_scale`, `logit_bias`, `templates`.

    Args:
        made: whatever a function returned.
        where: what errors call it.

    Raises:
        ValueError: for two towers of which the text side cannot take strings.
    """
    if isinstance(made, Mapping):
        return _from_mapping(made, where)
    parts = made if isinstance(made, tuple) and made else (made,)
    model, rest = parts[0], list(parts[1:])
    image, text = _methods(model)
    if image is not None and text is not None:
        transform, tokenizer = _sorted_out(rest)
        encode = _text_encoder(model, text, tokenizer, where)
        whole = model if isinstance(model, nn.Module) else None
        tower = TextTower(encode, *_scale_and_bias(model), templates=tuple(getattr(model, "templates", ())), model=whole)
        return TwoTower(ImageSide(model, image), tower, transform, whole)
    if len(parts) == 2 and callable(model) and callable(rest[0]) and _takes_texts(rest[0]):
        pair = {"image": model, "text": rest[0]}
        return TwoTower(ImageSide(pair, model), TextTower(rest[0], *_scale_and_bias(rest[0])))
    return None


def _from_mapping(made: Mapping[str, Any], where: str) -> TwoTower:
    image, text = made.get("image", made.get("encode_image")), made.get("text", made.get("encode_text"))
    known = ("image", "text", "encode_image", "encode_text", "transform", "tokenizer", "logit_scale", "logit_bias", "templates")
    unknown = sorted(str(key) for key in made if key not in known)
    if not callable(image) or not callable(text) or unknown:
        got = f"the unknown key {unknown[0]!r}" if unknown else f"the keys {sorted(map(str, made))}"
        raise ValueError(f"{where} must return a dict with callables `image` and `text`, got {got}; the other keys are {list(known[4:])}.")
    encode = _text_encoder(made, text, made.get("tokenizer"), where)
    tower = TextTower(encode, *_scale_and_bias(made), templates=tuple(made.get("templates", ())))
    return TwoTower(ImageSide(made, image), tower, made.get("transform"))


def _methods(model: Any) -> tuple[Callable[..., Any] | None, Callable[..., Any] | None]:
    """Return the two encoding methods of an object; None for each that it lacks."""
    for image, text in (("encode_image", "encode_text"), ("get_image_features", "get_text_features")):
        if callable(getattr(model, image, None)) and callable(getattr(model, text, None)):
            return getattr(model, image), getattr(model, text)
    return None, None


def _sorted_out(parts: Sequence[Any]) -> tuple[Callable[[Any], Tensor] | None, Any]:
    """Tell transform and tokenizer apart in what stands behind a model; of two transforms the last is that for evaluation."""
    transform, tokenizer = None, None
    for part in parts:
        if hasattr(part, "image_processor") and hasattr(part, "tokenizer"):  # a processor of transformers
            processor, tokenizer = part.image_processor, part.tokenizer
            transform = lambda image, processor=processor: processor(image, return_tensors="pt")["pixel_values"][0]  # noqa: E731
        elif _is_tokenizer(part):
            tokenizer = part
        elif callable(part):
            transform = part
    return transform, tokenizer


def _is_tokenizer(part: Any) -> bool:
    try:
        tokens = part(ANY_TEXT)
    except Exception:  # a transform of images, given texts
        return False
    ids = tokens.get("input_ids") if hasattr(tokens, "keys") else tokens
    return ids is not None and not (isinstance(ids, Tensor) and ids.is_floating_point())


def _takes_texts(part: Callable[..., Any]) -> bool:
    try:
        with torch.inference_mode():
            rows = part(ANY_TEXT)
    except Exception:  # a transform of images, given texts
        return False
    return isinstance(rows, Tensor) and rows.ndim == 2 and len(rows) == 1 and rows.is_floating_point()


def _text_encoder(model: Any, text: Callable[..., Any], tokenizer: Any, where: str) -> EncodeText:
    """Return texts -> raw embeddings: with the given tokenizer, by the model alone where it takes strings, or with CLIP's own tokenizer."""
    if tokenizer is None and not _takes_texts(text):
        if getattr(model, "vocab_size", None) == CLIP_VOCABULARY and isinstance(getattr(model, "context_length", None), int):
            from distill.models.open_clip_models import clip_tokenizer

            tokenizer = clip_tokenizer(model.context_length)
        else:
            raise ValueError(
                f"the text tower of {where} must take texts, got no tokenizer; return (model, transform, tokenizer), or let encode_text take a list of strings."
            )

    def encode(texts: list[str]) -> Tensor:
        if tokenizer is None:
            return text(texts)
        if hasattr(tokenizer, "model_max_length") and hasattr(model, "get_text_features"):
            return _hub_text_features(model, tokenizer, texts)
        tokens = tokenizer(texts)
        return text(**tokens) if hasattr(tokens, "keys") else text(tokens)

    return encode


def fill_text_tower(tower: TextTower | None, weights: Mapping[str, Tensor], *, random: bool) -> TextTower | None:
    """Fill the text weights that a state dict holds beside an image tower.

    Args:
        tower: the text side, or None.
        weights: of the whole model or of its image tower alone, with any prefix before every name.
        random: whether the tower is randomly initialised, so that it is of no use without weights.

    Returns:
        The tower; None where there is none, or where it is randomly initialised and its weights are not there.
    """
    if tower is None or tower.model is None:
        return tower
    names = [name for name in tower.model.state_dict() if not name.startswith("visual.")]
    anchor = max(names, key=len, default="")
    prefixes = {name[: -len(anchor)] for name in weights if name.endswith(anchor)} if anchor else set()
    whole = [prefix for prefix in prefixes if all(prefix + name in weights for name in names)]
    if not whole:
        return None if random else tower
    tower.model.load_state_dict({name: weights[whole[0] + name] for name in names}, strict=False)
    scale, bias = _scale_and_bias(tower.model)
    return TextTower(tower.encode, scale, bias, tower.templates, tower.model)

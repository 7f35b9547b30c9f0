"""open_clip models by name, tag or folder: the only caller of open_clip's loading code."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from pathlib import Path

from torch import Tensor, nn

from distill.errors import DistillError
from distill.models.encoder import Encoder
from distill.system.hub_access import cache_alone, first_line, hub_error


def open_clip_model(name: str, role: str = "teacher") -> nn.Module:
    """Build an open_clip model from `NAME/TAG`, `NAME` (fresh weights), `local-dir:FOLDER` or a folder.

    Args:
        name: which.
        role: what errors call it, `teacher` or `student`.

    Raises:
        ValueError: for an unknown model or tag, with the nearest names.
        FileNotFoundError: for a folder that is not there.
        DistillError: when the hub cannot be reached or the folder's files are broken.
    """
    import open_clip

    local = local_folder(name)
    if local is not None:
        if not (local / "open_clip_config.json").is_file():
            raise FileNotFoundError(f"`{role}` must be a folder with open_clip_config.json, got {local}; make one with `synthgap teach`.")
        if not any(local.glob("open_clip_model.safetensors")) and not any(local.glob("open_clip_pytorch_model.bin")):
            raise FileNotFoundError(
                f"`{role}` folder {local} must hold open_clip_model.safetensors, got none; make it with `synthgap teach`."
            )
        target, tag = f"local-dir:{local}", None
    else:
        target, _, tag = name.partition("/")  # type: ignore[assignment]
        if target not in open_clip.list_models():
            near = difflib.get_close_matches(target, open_clip.list_models(), n=3, cutoff=0.4)
            raise ValueError(
                f"`{role}` must be an open_clip model or a folder, got {name!r}; did you mean {', '.join(near) or 'local-dir:FOLDER'}?"
            )
        tags = open_clip.list_pretrained_tags_by_model(target)
        if tag and tag not in tags:
            near = difflib.get_close_matches(tag, tags, n=3, cutoff=0.2) or tags
            raise ValueError(f"`{role}` {target} must have the tag {tag!r}, got none of that name; choose from {', '.join(near)}.")
    silent = hub_error() if tag else ""
    try:
        with cache_alone(silent):
            return open_clip.create_model(target, pretrained=tag or None)
    except Exception as error:  # open_clip raises many kinds for a broken folder or a hub that cannot be reached
        if silent:
            raise DistillError(
                f"`{role}` {name} must be in the hub's cache while the hub cannot be reached ({silent}), got none; download it first or give a local folder."
            ) from error
        raise DistillError(
            f"`{role}` {name} must be loadable, got {type(error).__name__}: {first_line(error)[:300]}; give a local folder or mend its files."
        ) from error


def known_models() -> list[str]:
    """List the architectures that open_clip has by name."""
    import open_clip

    return open_clip.list_models()


def pretrained_tags(model: str) -> list[str]:
    """List the tags of pretrained weights that open_clip has for an architecture."""
    import open_clip

    return open_clip.list_pretrained_tags_by_model(model)


def tokenizer_of(name: str) -> Callable[[list[str]], Tensor]:
    """Return the tokenizer of a model by name or folder: texts -> token ids, int64, shape (N, L)."""
    import open_clip

    local = local_folder(name)
    return open_clip.get_tokenizer(f"local-dir:{local}" if local is not None else name.partition("/")[0])


def clip_tokenizer(context_length: int) -> Callable[[list[str]], Tensor]:
    """Return CLIP's own tokenizer: texts -> token ids, int64, shape (N, context_length)."""
    import open_clip

    return open_clip.SimpleTokenizer(context_length=context_length)


def local_folder(name: str) -> Path | None:
    """Return the folder that a name means, or None for a model of open_clip's list.

    Args:
        name: `local-dir:FOLDER`, a folder, or a model's name.

    Raises:
        FileNotFoundError: for `local-dir:` and a folder that is not there.
    """
    if name.startswith("local-dir:"):
        folder = Path(name.removeprefix("local-dir:"))
        if not folder.is_dir():
            raise FileNotFoundError(f"`teacher` must be a folder that exists, got {folder}; make it with `synthgap teach`.")
        return folder
    return Path(name) if Path(name).is_dir() else None


def image_tower(model: nn.Module) -> Encoder:
    """Take the image tower out of an open_clip model, with its size and normalisation."""
    visual = model.visual  # type: ignore[union-attr]
    size = visual.image_size[0] if isinstance(visual.image_size, (tuple, list)) else visual.image_size
    preprocess = getattr(visual, "preprocess_cfg", {})
    return Encoder(
        visual,  # type: ignore[arg-type]
        mean=tuple(preprocess.get("mean", (0.48145466, 0.4578275, 0.40821073))),
        std=tuple(preprocess.get("std", (0.26862954, 0.26130258, 0.27577711))),
        input_size=int(size),
    )

"""A student joined with its teacher's text tower: a folder that plain open_clip loads, or the same in memory for any student."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import torch
from torch import Tensor, nn

from distill.errors import DistillError
from distill.models.checkpoint import load_student, save_tensors
from distill.models.encoder import Encoder
from distill.models.open_clip_models import open_clip_model

if TYPE_CHECKING:
    from open_clip import SimpleTokenizer
    from open_clip.tokenizer import HFTokenizer
    from PIL.Image import Image

    from distill.export.trained_student import TrainedStudent

TOLERANCE = 1e-4
"""Largest difference of embeddings after loading, as a share of their largest number: students differ in the scale of theirs."""

HARMLESS = frozenset({"drop_rate", "drop_path_rate", "proj_drop_rate", "attn_drop_rate", "num_classes"})
"""Arguments of timm models that change neither weights nor, outside of training, numbers."""

TEXTS = ("a photo of a cat.", "A truck, seen from above, at night")

Transform = Callable[["Image"], Tensor]
Tokenizer: TypeAlias = "SimpleTokenizer | HFTokenizer"


def write_open_clip(student: TrainedStudent, folder: Path, teacher: str) -> dict[str, Any]:
    """Write `open_clip_config.json`, `open_clip_model.safetensors` and, where the tokenizer has files, those.

    Plain open_clip rebuilds towers from its own and from timm's names only, so the student must be one of these.

    Args:
        student: `timm:NAME` without arguments that change the network, or `open_clip:NAME`.
        folder: folder to write to.
        teacher: `open_clip:NAME/TAG` or a folder, as `distill.models.teacher.load_teacher` takes.

    Returns:
        The files, the teacher, and how far the loaded model's embeddings are from the student's and the teacher's.

    Raises:
        ValueError: for a student that plain open_clip cannot rebuild, naming what can be done, or a teacher without a text tower.
        DistillError: when the folder, loaded by open_clip, does not give the same embeddings.
    """
    vision, visual = _tower(student)
    model, config, tokenizer = _teacher(teacher)
    width = int(student.description["embed_dim"])
    if config["embed_dim"] != width:
        raise ValueError(f"`--teacher` must have the student's {width} dimensions, got {config['embed_dim']}; name the one it learnt from.")
    config = {**config, "vision_cfg": vision, "quick_gelu": _quick_gelu(model)}
    preprocess = _preprocess(student.encoder, student.image_size)
    vision["image_size"] = preprocess["size"]
    state = {name: tensor for name, tensor in model.state_dict().items() if not name.startswith("visual.")}
    state |= {f"visual.{name}": tensor for name, tensor in visual.items()}
    facts = {"made_by": "synthgap export", "student": student.description.get("name", ""), "teacher": Path(teacher).name}
    save_tensors(folder / "open_clip_model.safetensors", state, facts)
    if not _is_simple(tokenizer):
        tokenizer.save_pretrained(str(folder))
    settings = {"model_cfg": config, "preprocess_cfg": preprocess}
    (folder / "open_clip_config.json").write_text(json.dumps(settings, indent=1) + "\n", encoding="utf-8")
    checked = _check(student, folder, model, tokenizer)
    return {"files": sorted(path.name for path in folder.iterdir()), "teacher": facts["teacher"], **checked}


def join(checkpoint: Path | str, teacher: str) -> tuple[nn.Module, Transform, Tokenizer]:
    """Join any student with its teacher's text tower, in memory, as open_clip's own functions take it.

    Use it for students that plain open_clip cannot rebuild from a folder: `builtin:`, `hf:`, a function in a file.

    Args:
        checkpoint: a student of ours, `student.safetensors`.
        teacher: `open_clip:NAME/TAG` or a folder.

    Returns:
        What `open_clip.create_model_and_transforms` and `open_clip.get_tokenizer` give: the model in eval mode, the transform of a PIL
        image, the tokenizer. The transform only cuts to size; resizing inside and normalisation are the student's own.

    Raises:
        ValueError: for a teacher without a text tower or of another dimension.
        FileNotFoundError, DistillError: for a checkpoint or teacher that cannot be read.

    Example:
        model, preprocess, tokenizer = join("student.safetensors", "teachers/cifake")
    """
    from open_clip.transform import image_transform

    encoder, description = load_student(checkpoint)
    model, config, tokenizer = _teacher(teacher)
    if config["embed_dim"] != description["embed_dim"]:
        raise ValueError(
            f"`teacher` must have the student's {description['embed_dim']} dimensions, got {config['embed_dim']}; name the one it learnt from."
        )
    size = int(description["image_size"])
    model.visual = encoder  # type: ignore[assignment]
    model.visual.image_size = (size, size)  # type: ignore[union-attr, assignment]
    model.visual.preprocess_cfg = {"size": size, "mean": (0.0,) * 3, "std": (1.0,) * 3}  # type: ignore[union-attr, assignment]
    transform = image_transform(size, is_train=False, mean=(0.0,) * 3, std=(1.0,) * 3, interpolation="bicubic", resize_mode="shortest")
    return model.eval(), transform, tokenizer


def _tower(student: TrainedStudent) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Return open_clip's `vision_cfg` of a student, and its weights by the names of open_clip's tower."""
    kind, _, name = student.description["spec"].partition(":")
    if kind == "timm":
        changing = sorted(set(student.description["kwargs"]) - HARMLESS)
        if not changing:
            return _timm_tower(student, name)
        model_name = f"timm:{name} with {', '.join(changing)}"
    elif kind == "open_clip":
        return _open_clip_tower(student, name)
    else:
        model_name = student.description["spec"]
    raise ValueError(
        f"the student must be timm:NAME without arguments, or open_clip:NAME, for plain open_clip to rebuild it, got {model_name}; "
        "use --format onnx or safetensors, or distill.export.to_open_clip.join in Python (docs/export.md)."
    )


def _timm_tower(student: TrainedStudent, name: str) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Find the pooling with which open_clip's wrapper of a timm model is the student."""
    from open_clip.timm_model import TimmModel

    weights = student.encoder.state_dict()
    state = {f"trunk.{key.removeprefix('backbone.')}": tensor for key, tensor in weights.items() if key.startswith("backbone.")}
    state["head.proj.weight"] = weights["projection.weight"]
    pools = dict.fromkeys(["avg", getattr(student.encoder.backbone, "global_pool", "") or "", "", "token"])
    reasons = []
    for pool in (pool for pool in pools if isinstance(pool, str)):
        config = {"timm_model_name": name, "timm_model_pretrained": False, "timm_pool": pool, "timm_proj": "linear"}
        try:
            tower = TimmModel(name, int(student.description["embed_dim"]), pool=pool, proj="linear").eval()
            tower.load_state_dict(state)
        except Exception as error:  # timm's models raise whatever they like for a pooling they do not know
            reasons.append(f"{pool or 'own'}: {' '.join(str(error).split())[:120]}")
            continue
        size = student.encoder.input_size or student.image_size
        images = torch.rand(2, 3, size, size, generator=torch.Generator().manual_seed(0))
        with torch.inference_mode():
            difference = _difference(tower(images), student.encoder.projection(student.encoder.backbone(images)))
        if difference <= TOLERANCE:
            return config, state
        reasons.append(f"{pool or 'own'}: embeddings differ by {difference:.1e}")
    raise DistillError(
        f"timm:{name} must give the same embeddings inside of open_clip's wrapper, got {'; '.join(reasons)} for its poolings; use --format onnx."
    )


def _open_clip_tower(student: TrainedStudent, name: str) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Fold the projection into the last linear map of an open_clip tower: two linear maps are one."""
    import open_clip

    prefix = "backbone."
    state = {key.removeprefix(prefix): tensor for key, tensor in student.encoder.state_dict().items() if key.startswith(prefix)}
    matrix = student.encoder.state_dict()["projection.weight"].double()
    if "proj" in state:  # VisionTransformer: features (N, width) @ proj
        state["proj"] = (state["proj"].double() @ matrix.T).float()
    elif "attnpool.c_proj.weight" in state:  # ModifiedResNet
        state["attnpool.c_proj.weight"] = (matrix @ state["attnpool.c_proj.weight"].double()).float()
        state["attnpool.c_proj.bias"] = (matrix @ state["attnpool.c_proj.bias"].double()).float()
    elif "head.proj.weight" in state and "head.proj.bias" not in state:  # a timm model in open_clip's wrapper
        state["head.proj.weight"] = (matrix @ state["head.proj.weight"].double()).float()
    else:
        raise ValueError(f"open_clip:{name} must end in a linear map that can take up the projection, got none; use --format onnx.")
    config = open_clip.get_model_config(_target(name))
    return {**config["vision_cfg"], "timm_model_pretrained": False}, state


def _target(name: str) -> str:
    """Return the name by which open_clip finds a config: a folder with its prefix, or a model without its tag."""
    folder = name.removeprefix("local-dir:")
    return f"local-dir:{folder}" if Path(folder).is_dir() else name.partition("/")[0]


def _teacher(spec: str) -> tuple[nn.Module, dict[str, Any], Tokenizer]:
    """Load a teacher's whole model in eval mode, its config and its tokenizer."""
    import open_clip

    name = spec.removeprefix("open_clip:")
    if name.partition(":")[0] in ("timm", "hf", "builtin") or name.endswith(".safetensors") or ".py:" in name:
        raise ValueError(f"`--teacher` must have a text tower, got {spec}, which sees images only; name an open_clip model or folder.")
    model = open_clip_model(name).eval().requires_grad_(False)
    config = copy.deepcopy(open_clip.get_model_config(_target(name)))
    if config is None or "multimodal_cfg" in config:
        raise ValueError(f"`--teacher` must be a CLIP of two towers, got {spec}; its text tower cannot be joined with another image tower.")
    return model, config, open_clip.get_tokenizer(_target(name))


def _quick_gelu(model: nn.Module) -> bool:
    """Tell whether the text tower has OpenAI's activation, which some tags set against their config."""
    from open_clip.transformer import QuickGELU

    return any(isinstance(module, QuickGELU) for name, module in model.named_modules() if not name.startswith("visual."))


def _is_simple(tokenizer: Tokenizer) -> bool:
    """Tell whether the tokenizer is the one inside of open_clip, which needs no files."""
    import open_clip
    from open_clip.tokenizer import HFTokenizer

    if isinstance(tokenizer, open_clip.SimpleTokenizer):
        return True
    if isinstance(tokenizer, HFTokenizer):
        return False
    raise ValueError(
        f"the teacher's tokenizer must be open_clip's own or Hugging Face's, got {type(tokenizer).__name__}; use another teacher."
    )


def _preprocess(encoder: Encoder, image_size: int) -> dict[str, Any]:
    return {
        "size": encoder.input_size or image_size,
        "mode": "RGB",
        "mean": encoder.mean.flatten().tolist(),
        "std": encoder.std.flatten().tolist(),
        "interpolation": "bicubic",
        "resize_mode": "shortest",
    }


def _check(student: TrainedStudent, folder: Path, teacher: nn.Module, tokenizer: Tokenizer) -> dict[str, Any]:
    """Load the folder as anybody would and compare it with the student's images and the teacher's texts."""
    import open_clip
    from torchvision.transforms.functional import to_pil_image

    try:
        model, _, transform = open_clip.create_model_and_transforms(f"local-dir:{folder}")
        tokens = open_clip.get_tokenizer(f"local-dir:{folder}")(list(TEXTS))
    except Exception as error:  # whatever open_clip meets
        raise DistillError(f"open_clip must load what was written, got {type(error).__name__}: {error}; use --format onnx.") from error
    model.eval()
    size = student.image_size
    coarse = torch.rand(8, 3, max(2, size // 4), max(2, size // 4), generator=torch.Generator().manual_seed(0))
    # Smooth images: of pure noise, two ways of resizing make two different pictures.
    eight_bit = (nn.functional.interpolate(coarse, size=(size, size), mode="bilinear") * 255).round().to(torch.uint8)
    with torch.inference_mode():
        text = _difference(model.encode_text(tokens), teacher.encode_text(tokenizer(list(TEXTS))))  # type: ignore[operator, union-attr]
        theirs = model.encode_image(torch.stack([transform(to_pil_image(image)) for image in eight_bit]))
        ours = student.encoder(eight_bit.float() / 255)
    images = _difference(theirs, ours)
    resizes = student.encoder.input_size not in (None, size)
    if text > TOLERANCE or (images > TOLERANCE and not resizes):
        raise DistillError(
            f"the folder must give the student's embeddings to {TOLERANCE}, got differences of {images:.1e} for images and {text:.1e} for texts; "
            "use --format onnx."
        )
    cosine = nn.functional.cosine_similarity(theirs, ours).min()
    return {"largest_difference": {"images": images, "texts": text}, "smallest_cosine": float(cosine), "resizes": resizes}


def _difference(embeddings: Tensor, expected: Tensor) -> float:
    return float((embeddings - expected).abs().max() / expected.abs().max().clamp(min=torch.finfo(torch.float32).tiny))

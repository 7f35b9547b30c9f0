"""Train the pocket's teacher: a small CLIP with a text tower, in the folder format that open_clip itself loads."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import open_clip
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional

from distill.packs.pocket.captions import TASKS, captions
from distill.packs.pocket.tokenizer import CONTEXT_LENGTH, save_tokenizer
from distill.packs.pocket.world import STRENGTH, compose, decode, draw_scenes

LOG = logging.getLogger(__name__)

EMBEDDING = 96
RESOLUTION = 48  # the 32-pixel images are enlarged, as timm's small networks halve the resolution at once
VISION = {"timm_model_name": "test_resnet", "timm_pool": "avg", "timm_proj": "linear", "image_size": RESOLUTION}
TEXT = {"context_length": CONTEXT_LENGTH, "width": 96, "heads": 3, "layers": 2}
TOKENIZER = {"hf_tokenizer_name": ".", "tokenizer_kwargs": {"clean": "lower"}}  # open_clip looks for the files beside its config
MEAN, STD = (0.42, 0.38, 0.35), (0.27, 0.25, 0.26)
IMAGES = 60_000
BATCH = 128
CAPTIONED = 32  # images of a batch whose own captions are contrasted; the class prompts see all
LEARNING_RATE = 4e-3
SEED = 1


def pixels(files: list[bytes]) -> Tensor:
    """Decode N image files to (N, 3, 32, 32) uint8."""
    return torch.from_numpy(np.stack([decode(file) for file in files])).permute(0, 3, 1, 2).contiguous()


def preprocess(images: Tensor) -> Tensor:
    """Turn (B, 3, 32, 32) uint8 into what the image tower expects, as open_clip's own transform does (bicubic, with antialias)."""
    enlarged = functional.interpolate(images.float(), size=RESOLUTION, mode="bicubic", antialias=True).clamp(0, 255).round()
    mean, std = (torch.tensor(values)[:, None, None] * 255 for values in (MEAN, STD))
    return ((enlarged - mean) / std).contiguous(memory_format=torch.channels_last)


def write_config(folder: Path) -> None:
    """Write the tokenizer and `open_clip_config.json`."""
    folder.mkdir(parents=True, exist_ok=True)
    text = TEXT | TOKENIZER | {"vocab_size": save_tokenizer(folder)}
    model = {"embed_dim": EMBEDDING, "vision_cfg": VISION, "text_cfg": text}
    transform = {"mean": MEAN, "std": STD, "interpolation": "bicubic", "resize_mode": "shortest"}
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": model, "preprocess_cfg": transform}, indent=2) + "\n")


def zero_shot(
    model: nn.Module, tokenize: Callable[[list[str]], Tensor], images: Tensor, names: tuple[str, ...], templates: tuple[str, ...]
) -> np.ndarray:
    """Predict the class of images by the mean of the templates' text embeddings.

    Args:
        model: an open_clip model.
        tokenize: its tokenizer.
        images: uint8, shape (N, 3, 32, 32).
        names: C class names.
        templates: `str.format` strings with one place.

    Returns:
        Classes, int64, shape (N,).
    """
    with torch.inference_mode():
        text = model.encode_text(tokenize([t.format(name) for name in names for t in templates]), normalize=True)
        weights = functional.normalize(text.unflatten(0, (len(names), len(templates))).mean(1), dim=-1)
        return torch.cat([(model.encode_image(preprocess(part)) @ weights.T).argmax(1) for part in images.split(500)]).numpy()


def _loss(model: nn.Module, images: Tensor, tokens: Tensor, labels: dict[str, Tensor], prompts: dict[str, Tensor]) -> Tensor:
    with torch.autocast("cpu", torch.bfloat16):
        image = model.encode_image(images)
    image = functional.normalize(image.float(), dim=-1)
    text = model.encode_text(torch.cat([tokens, *prompts.values()]), normalize=True)
    text, *classes = text.split([len(tokens), *(len(part) for part in prompts.values())])
    scale = model.logit_scale.exp().clamp(max=50)
    logits = scale * image[: len(text)] @ text.T
    same = torch.arange(len(text))
    loss = (functional.cross_entropy(logits, same) + functional.cross_entropy(logits.T, same)) / 2
    for name, weights in zip(prompts, classes, strict=True):
        loss = loss + functional.cross_entropy(scale * image @ weights.T, labels[name]) * (3.0 if name == "digit" else 0.5)
    return loss


def _shown(strength: np.ndarray, done: float) -> np.ndarray:
    """Choose the images to show: strong ink first, as faint ink keeps a fresh network from finding the strokes for many minutes."""
    faintest = STRENGTH[1] - 0.15 - 2 * done * (STRENGTH[1] - STRENGTH[0])
    return np.flatnonzero(strength >= faintest)[: None if done > 0.3 else 8000]


def train(out: Path, seconds: float, *, resume: bool = False, start: Path | None = None) -> None:
    """Train for a budget of processor time on the real domain, teacher's part, all attributes independent; write `out/teacher`.

    Args:
        out: build folder.
        seconds: budget of processor time, which the schedule follows: a busy machine takes longer but trains as much.
        resume: keep a finished teacher.
        start: weights to go on from, such as those of an earlier run.
    """
    folder = out / "teacher"
    if resume and (folder / "open_clip_model.safetensors").exists():
        return
    write_config(folder)
    torch.manual_seed(SEED)
    model = open_clip.create_model(f"local-dir:{folder}", load_weights=False).to(memory_format=torch.channels_last)
    if start is not None:
        model.load_state_dict(load_file(start))
    tokenize = open_clip.get_tokenizer(f"local-dir:{folder}")
    scenes = draw_scenes(IMAGES, "teacher", SEED)
    images, tokens = pixels(compose(scenes, "teacher", SEED)), tokenize(captions(scenes, SEED))
    labels = {name: torch.tensor([names.index(value) for value in scenes[name]]) for name, (names, _) in TASKS.items()}
    prompts = {name: [tokenize([t.format(n) for n in names]) for t in templates] for name, (names, templates) in TASKS.items()}
    average = torch.optim.swa_utils.AveragedModel(model, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.99), use_buffers=True)
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, weight_decay=0.02, betas=(0.9, 0.98))
    rng, began, step, done = np.random.default_rng(SEED), time.process_time(), 0, 0.0
    while done < 1:
        rows_shown = _shown(scenes["strength"].to_numpy(), done)
        for rows in torch.from_numpy(rng.permutation(rows_shown)).split(BATCH)[:-1]:
            done = min((time.process_time() - began) / seconds, 1)
            optimizer.param_groups[0]["lr"] = float(LEARNING_RATE * min(1, step / 150) * (1 + np.cos(np.pi * done)) / 2)
            template = {name: parts[rng.integers(len(parts))] for name, parts in prompts.items()}
            truth = {name: part[rows] for name, part in labels.items()}
            loss = _loss(model, preprocess(images[rows]), tokens[rows[:CAPTIONED]], truth, template)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            average.update_parameters(model)
            step += 1
            if step % 200 == 0:
                LOG.info("teacher: step %d, %3.0f %% of the time, loss %.3f", step, 100 * done, loss.item())
            if done >= 1:
                break
    weights = {name: value.half() if value.is_floating_point() else value for name, value in average.module.state_dict().items()}
    save_file({name: value.contiguous() for name, value in weights.items()}, folder / "open_clip_model.safetensors")


def evaluate(folder: Path, images: Tensor, truth: dict[str, np.ndarray]) -> dict[str, float]:
    """Measure the zero-shot accuracy of a saved teacher on every task.

    Args:
        folder: of the teacher.
        images: uint8, shape (N, 3, 32, 32).
        truth: task -> class names, shape (N,).

    Returns:
        Task -> accuracy in [0, 1].
    """
    model, tokenize = open_clip.create_model(f"local-dir:{folder}").eval(), open_clip.get_tokenizer(f"local-dir:{folder}")
    scores = {}
    for task, (names, templates) in TASKS.items():
        scores[task] = float((np.array(names)[zero_shot(model, tokenize, images, names, templates)] == truth[task]).mean())
    return scores

"""Train one student of a frozen teacher."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from distill.checkpoint import save_student
from distill.encoder import Encoder
from distill.loop import Loop, TrainingConfig
from distill.losses import Batch, mixed_loss, properties
from distill.targets import TeacherTargets
from distill.views import Views

if TYPE_CHECKING:
    from accelerate import Accelerator
    from rich.progress import Progress

LEARNED_START = 0.07
"""Initial temperature of a learned one (Radford et al., 2021, section 2.5)."""

Metrics = Callable[[dict[str, Any]], None]


@dataclass(frozen=True)
class TrainingImages:
    """The images of one training set with everything a loss may ask for, all shared by the students.

    Args:
        pixels: uint8, shape (N, 3, H, W).
        views: their views.
        targets: the teacher's embeddings of the views.
        text: `prompt` and, where there are captions, `caption` -> unit rows (N, D).
    """

    pixels: Tensor
    views: Views
    targets: TeacherTargets
    text: Mapping[str, Tensor]


@dataclass(frozen=True)
class HeldOut:
    """Held-out images of one domain: uint8 pixels (N, 3, H, W) and labels (N,)."""

    pixels: Tensor
    labels: Tensor


@dataclass(frozen=True)
class Recipe:
    """What makes one student differ from another.

    Args:
        name: unique in the run, also its folder.
        loss_name: name shared by the seeds of one loss.
        loss: loss -> weight.
        trained_on: name of the training set.
        seed: of initial weights and order.
        text: what stands for an image in text losses.
        temperature: of contrastive terms, or `learned`.
        spec: form of `distill.student.build_backbone`.
        kwargs: of the model's constructor.
    """

    name: str
    loss_name: str
    loss: Mapping[str, float]
    trained_on: str
    seed: int
    text: Literal["prompt", "caption"] = "prompt"
    temperature: float | Literal["learned"] = LEARNED_START
    spec: str = "builtin:small_resnet"
    kwargs: Mapping[str, Any] = field(default_factory=dict)


class _Student(nn.Module):
    """The encoder and the logarithm of the logit scale, which learns only where asked."""

    def __init__(self, encoder: Encoder, temperature: float | Literal["learned"]) -> None:
        super().__init__()
        self.encoder = encoder
        learned = temperature == "learned"
        start = torch.tensor(-math.log(LEARNED_START if temperature == "learned" else temperature))
        self.log_scale = nn.Parameter(start, requires_grad=learned)

    def forward(self, images: Tensor) -> Tensor:
        return self.encoder(images)

    @torch.no_grad()
    def clamp(self) -> None:
        """Hold a learned logit scale in [1, 100], in place, as CLIP does."""
        if self.log_scale.requires_grad:
            self.log_scale.clamp_(0.0, math.log(100.0))


def train_student(
    recipe: Recipe,
    encoder: Encoder,
    images: TrainingImages,
    *,
    config: TrainingConfig,
    class_weights: Tensor,
    held_out: Mapping[str, HeldOut],
    out: Path,
    accelerator: Accelerator,
    log: Metrics,
    resume: bool = False,
    progress: Progress | None = None,
) -> Path:
    """Train a student and write a checkpoint after each epoch.

    Args:
        recipe: what is particular to this student.
        encoder: with its projection and initial weights.
        images: training images, views and targets.
        config: training length and speed.
        class_weights: zero-shot classifier weights, shape (D, C).
        held_out: domain -> images on which zero-shot accuracy is logged.
        out: folder of this student.
        accelerator: from `make_accelerator`.
        log: is given one row for each epoch.
        resume: take up the state in `out` where there is one.
        progress: rich progress, or None.

    Returns:
        The path of the final weights, `student.safetensors`.

    Raises:
        DistillError: when the loss is not finite; the checkpoints made so far stay.
    """
    out.mkdir(parents=True, exist_ok=True)
    student = _Student(encoder, recipe.temperature)
    loop = Loop(student, config, n=len(images.pixels), seed=recipe.seed, accelerator=accelerator, state=out / "resume.safetensors")
    if resume:
        loop.resume()
    description = _description(recipe, embed_dim=int(class_weights.shape[0]), image_size=images.pixels.shape[-1])
    device = accelerator.device

    def step(indices: Tensor, epoch: int) -> tuple[Tensor, dict[str, Tensor]]:
        view = epoch % images.views.config.count
        teacher = images.targets.view(view, progress)[indices]
        batch = Batch(
            student=F.normalize(loop.module(images.views.images(images.pixels, indices, view).to(device)).float(), dim=-1),
            teacher=teacher.to(device),
            text=images.views.targets(images.text[recipe.text], indices, view).to(device),
            logit_scale=student.log_scale.exp(),
        )
        return mixed_loss(batch, recipe.loss)

    def after_epoch(epoch: int, means: dict[str, float]) -> None:
        row: dict[str, Any] = {"student": recipe.name, "epoch": epoch + 1, **means}
        for domain, split in held_out.items():
            row[f"zero_shot_{domain}"] = zero_shot_accuracy(encoder, split, class_weights, accelerator=accelerator)
        if recipe.temperature == "learned":
            row["logit_scale"] = float(student.log_scale.detach().exp())
        save_student(out / f"epoch-{epoch + 1:03d}.safetensors", encoder, {**description, "epoch": epoch + 1})
        log(row)

    loop.run(step, after_epoch, after_step=student.clamp, progress=progress, label=recipe.name)
    final = out / "student.safetensors"
    save_student(final, encoder, {**description, "epoch": config.epochs})
    return final


def _description(recipe: Recipe, *, embed_dim: int, image_size: int) -> dict[str, Any]:
    """Give what a checkpoint says of its student: how to build it again, and what it was trained with."""
    target, negatives = properties(recipe.loss)
    return {
        "spec": recipe.spec,
        "kwargs": dict(recipe.kwargs),
        "embed_dim": embed_dim,
        "image_size": image_size,
        "name": recipe.name,
        "loss": recipe.loss_name,
        "losses": dict(recipe.loss),
        "seed": recipe.seed,
        "trained_on": recipe.trained_on,
        "target": target,
        "negatives": negatives,
        "text": recipe.text,
        "temperature": recipe.temperature,
    }


@torch.inference_mode()
def zero_shot_accuracy(
    encoder: nn.Module, split: HeldOut, class_weights: Tensor, *, accelerator: Accelerator, batch_size: int = 1000
) -> float:
    """Measure zero-shot top-1 accuracy in [0, 1]; chance is 1 / C where classes are balanced.

    Args:
        encoder: images in [0, 1] -> raw embeddings (N, D); its mode is restored.
        split: held-out images.
        class_weights: shape (D, C).
        accelerator: decides the precision.
        batch_size: images a forward pass.
    """
    training = encoder.training
    encoder.eval()
    device = accelerator.device
    class_weights = class_weights.to(device)
    right = 0
    try:
        for start in range(0, len(split.labels), batch_size):
            images = split.pixels[start : start + batch_size].float() / 255
            with accelerator.autocast():
                embeddings = encoder(images.to(device))
            predicted = (embeddings.float() @ class_weights).argmax(dim=1).cpu()
            right += int(predicted.eq(split.labels[start : start + batch_size]).sum())
    finally:
        encoder.train(training)
    return right / len(split.labels)

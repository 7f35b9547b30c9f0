"""Train one student of a frozen teacher."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from distill.losses import Batch, StateSizes, build_states, describe, mixed_loss, needs_of, properties
from distill.losses.masking import frozen_statistics, hide, patch_mask
from distill.losses.momentum import Momentum
from distill.models.checkpoint import save_student
from distill.models.encoder import Encoder
from distill.training.loop import Loop, TrainingConfig
from distill.training.targets import TeacherTargets
from distill.training.views import Views

if TYPE_CHECKING:
    from accelerate import Accelerator
    from rich.progress import Progress

LEARNED_START = 0.07
"""Initial temperature of a learned one (Radford et al., 2021, section 2.5)."""

Metrics = Callable[[dict[str, object]], None]
"""Takes one row of the log: name -> value."""


@dataclass(frozen=True)
class TrainingImages:
    """The images of one training set with everything a loss may ask for, all shared by the students.

    Args:
        pixels: uint8, shape (N, 3, H, W).
        views: their views.
        targets: the teacher's embeddings of the views.
        text: `prompt`, `caption` where there are captions, and the names of `texts` -> unit rows (N, D).
        labels: class of each image, int64, shape (N,); may be None where no loss needs it.
    """

    pixels: Tensor
    views: Views
    targets: TeacherTargets
    text: Mapping[str, Tensor]
    labels: Tensor | None = None


@dataclass(frozen=True)
class HeldOut:
    """Held-out images of one domain: uint8 pixels (N, 3, H, W) and labels (N,)."""

    pixels: Tensor
    labels: Tensor


@dataclass(frozen=True)
class Recipe:
    """The settings in which one student differs from another.

    Args:
        name: unique in the run, also its folder.
        loss_name: name shared by the seeds of one loss.
        loss: loss -> weight.
        trained_on: name of the training set.
        seed: of initial weights and order.
        text: what stands for an image in text losses.
        temperature: of contrastive terms, or `learned`.
        options: loss -> option -> value in place of the published one.
        ema_decay: of the student's moving average, for the losses that need one.
        mask_ratio: share of the patches that masked feature distillation hides.
        spec: form of `distill.models.student.build_backbone`.
        kwargs: of the model's constructor.
        init: checkpoint to start from, or empty.
    """

    name: str
    loss_name: str
    loss: Mapping[str, float]
    trained_on: str
    seed: int
    text: str = "prompt"
    temperature: float | Literal["learned"] = LEARNED_START
    options: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    ema_decay: float = 0.999
    mask_ratio: float = 0.75
    spec: str = "builtin:small_resnet"
    kwargs: Mapping[str, object] = field(default_factory=dict)
    init: str = ""


class _Student(nn.Module):
    """The encoder, the logarithm of the logit scale (learned where the recipe says so), and the states of the losses.

    Only the encoder is exported; all of it is saved for resuming.
    """

    def __init__(self, encoder: Encoder, recipe: Recipe, sizes: StateSizes) -> None:
        super().__init__()
        self.encoder = encoder
        learned = recipe.temperature == "learned"
        start = torch.tensor(-math.log(LEARNED_START if recipe.temperature == "learned" else recipe.temperature))
        self.log_scale = nn.Parameter(start, requires_grad=learned)
        self.states = build_states(recipe.loss, recipe.options, sizes, seed=recipe.seed)
        self.momentum = Momentum(encoder, recipe.ema_decay) if "momentum" in needs_of(recipe.loss) else None

    def forward(self, images: Tensor) -> Tensor:
        return self.encoder(images)

    @torch.no_grad()
    def after_step(self) -> None:
        """Hold a learned logit scale in [1, 100], in place, as CLIP does, and let the average follow."""
        if self.log_scale.requires_grad:
            self.log_scale.clamp_(0.0, math.log(100.0))
        if self.momentum is not None:
            self.momentum.update(self.encoder)


class _Batches:
    """Computes the fields of `Batch` that the losses of a recipe need, and no others."""

    def __init__(self, recipe: Recipe, student: _Student, loop: Loop, images: TrainingImages, class_weights: Tensor) -> None:
        self.recipe = recipe
        self.student = student
        self.loop = loop
        self.images = images
        self.device = loop.accelerator.device
        self.class_weights = class_weights.to(self.device)
        self.needs = needs_of(recipe.loss)
        self.one_hot = None
        if "shares" in self.needs:
            if images.labels is None:
                raise ValueError(f"`images.labels` must be given for the losses {sorted(recipe.loss)}, got None; give the classes.")
            self.one_hot = F.one_hot(images.labels, class_weights.shape[1]).float()
        self._mask: tuple[int, Tensor] | None = None

    def batch(self, indices: Tensor, epoch: int, progress: Progress | None) -> Batch:
        """Embed the views of a batch, with the targets that the losses need.

        Args:
            indices: rows of the whole batch, int64, shape (B,).
            epoch: from 0.
            progress: rich progress, or None.
        """
        source, needs, device = self.images, self.needs, self.device
        view_number = epoch % source.views.config.count
        shard = self.loop.share(indices)
        views = source.views.images(source.pixels, shard, view_number).to(device)
        text = source.views.targets(source.text[self.recipe.text], indices, view_number).to(device) if "text" in needs else None
        return Batch(
            student=self._embed(views, len(indices)),
            teacher=self.loop.gather(source.targets.view(view_number, progress)[shard].to(device), len(indices))
            if "teacher" in needs
            else None,
            text=text,
            logit_scale=self.student.log_scale.exp(),
            shares=None if self.one_hot is None else source.views.shares(self.one_hot, indices, view_number).to(device),
            class_weights=self.class_weights if "class_weights" in needs else None,
            teacher_scale=source.targets.teacher.logit_scale if "teacher_scale" in needs else 100.0,
            rows=indices.to(device) if "rows" in needs else None,
            masked=self._masked(views, shard, epoch, len(indices)) if "masked" in needs else None,
            momentum=self._average(views, len(indices)),
        )

    def _embed(self, views: Tensor, total: int) -> Tensor:
        return self.loop.gather(F.normalize(self.loop.embed(views).float(), dim=-1), total)

    def _masked(self, views: Tensor, indices: Tensor, epoch: int, total: int) -> Tensor:
        if self._mask is None or self._mask[0] != epoch:
            n = len(self.images.pixels)
            self._mask = (epoch, patch_mask(n, self.recipe.mask_ratio, seed=self.images.views.config.seed, epoch=epoch))
        hidden = hide(views, self._mask[1][indices], self.student.encoder.mean)
        with frozen_statistics(self.student.encoder):
            return self._embed(hidden, total)

    def _average(self, views: Tensor, total: int) -> Tensor | None:
        if self.student.momentum is None:
            return None
        with self.loop.accelerator.autocast():
            return self.loop.gather(F.normalize(self.student.momentum(views).float(), dim=-1), total)


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
        log: takes one row for each epoch.
        resume: take up the state in `out` where there is one.
        progress: rich progress, or None.

    Returns:
        The path of the final weights, `student.safetensors`.

    Raises:
        DistillError: when the loss is not finite; the checkpoints made so far stay.
    """
    first = accelerator.is_main_process
    out.mkdir(parents=True, exist_ok=True)
    student = _Student(encoder, recipe, StateSizes(images=len(images.pixels), embed_dim=int(class_weights.shape[0])))
    state = out / "resume.safetensors"
    loop = Loop(student, config, n=len(images.pixels), seed=recipe.seed, accelerator=accelerator, state=state, encoder=encoder)
    if resume:
        loop.resume()
    description = _description(recipe, embed_dim=int(class_weights.shape[0]), image_size=images.pixels.shape[-1])
    batches = _Batches(recipe, student, loop, images, class_weights)

    def step(indices: Tensor, epoch: int) -> tuple[Tensor, dict[str, Tensor]]:
        return mixed_loss(batches.batch(indices, epoch, progress), recipe.loss, states=student.states, options=recipe.options)

    def after_epoch(epoch: int, means: dict[str, float]) -> None:
        if not first:
            return
        row: dict[str, object] = {"student": recipe.name, "epoch": epoch + 1, **means}
        for domain, split in held_out.items():
            row[f"zero_shot_{domain}"] = zero_shot_accuracy(encoder, split, class_weights, accelerator=accelerator)
        if recipe.temperature == "learned":
            row["logit_scale"] = float(student.log_scale.detach().exp())
        save_student(out / f"epoch-{epoch + 1:03d}.safetensors", encoder, {**description, "epoch": epoch + 1})
        log(row)

    loop.run(step, after_epoch, after_step=student.after_step, progress=progress, label=recipe.name)
    final = out / "student.safetensors"
    if first:
        save_student(final, encoder, {**description, "epoch": config.epochs})
    return final


def _description(recipe: Recipe, *, embed_dim: int, image_size: int) -> dict[str, object]:
    """Return a checkpoint's description of its student: how to build it again, and how it was trained."""
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
        "properties": describe(recipe.loss),
        "options": {name: dict(values) for name, values in recipe.options.items()},
        "text": recipe.text,
        "temperature": recipe.temperature,
        **({"init": recipe.init} if recipe.init else {}),
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

"""Train a small CLIP teacher from scratch where no pretrained one can be had; open_clip loads what comes out."""

from __future__ import annotations

import difflib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor
from torch.nn import functional as F

from distill.data.split import Split
from distill.errors import DistillError
from distill.models.checkpoint import save_tensors
from distill.models.open_clip_models import image_tower
from distill.models.teacher import load_teacher
from distill.system.atomic_files import write_then_rename
from distill.system.untrusted_text import read_json
from distill.text.prompts import fill
from distill.training.loop import Loop, TrainingConfig, make_accelerator
from distill.training.metrics import MetricsLog
from distill.training.train import HeldOut, zero_shot_accuracy
from distill.training.views import ViewConfig, Views

if TYPE_CHECKING:
    from open_clip import SimpleTokenizer
    from open_clip.model import CustomTextCLIP
    from rich.progress import Progress

MEAN, STD = (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)


class TeachConfig(BaseModel):
    """Shape and training of a small teacher."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    embed_dim: int = Field(128, ge=8)
    image_tower: str = Field("resnet10t", description="a timm model")
    image_size: int = Field(64, ge=8, description="side to which images are resized inside the teacher")
    first_image_size: int | None = Field(40, ge=8, description="side in the first epoch; None, or above `image_size`: no growth")
    growth: float = Field(0.6, ge=0, le=1, description="share of the epochs in which the side grows, in steps of 8 pixels")
    text_width: int = Field(64, ge=16)
    text_layers: int = Field(2, ge=1)
    context_length: int = Field(24, ge=8)
    templates: tuple[str, ...] = ("a photo of a {}.", "an image of a {}.", "a picture of the {}.", "{}")
    captions: float = Field(0.5, ge=0, le=1, description="share of images shown with their caption, where there are captions")
    label_smoothing: float = Field(
        0.0, ge=0, lt=1, description="above 0 it draws a class together and costs students: Müller et al. (2019), section 4"
    )
    seed: int = Field(0, ge=0, lt=2**32)
    training: TrainingConfig = TrainingConfig(epochs=17, learning_rate=3e-3, weight_decay=0.05)
    views: ViewConfig = ViewConfig(count=1000, min_area=1.0, max_ratio=1.0, shift=0.125, brightness=0.1, contrast=0.1, saturation=0.1)

    def side(self, epoch: int) -> int:
        """Compute the side of the images in an epoch: early epochs learn as much from small images, for a fraction of the time.

        Source: Karras et al. (2018), progressive growing, as used for classifiers by Tan & Le (2021), section 4.
        """
        last = self.growth * self.training.epochs
        if self.first_image_size is None or self.first_image_size >= self.image_size or epoch >= last:
            return self.image_size
        return min(self.image_size, self.first_image_size + int((self.image_size - self.first_image_size) * epoch / last / 8) * 8)


def teach(
    train: Split,
    out: Path,
    *,
    config: TeachConfig,
    test: Split | None = None,
    resume: bool = False,
    progress: Progress | None = None,
) -> float | None:
    """Train an open_clip model on labelled or captioned images and write it as a `local-dir:` folder.

    The loss is the bidirectional contrast of UniCL: an image's positives are all images that share its text, so that
    the ten prompts of ten classes are no false negatives of each other.

    Args:
        train: training images.
        out: folder to write; must not hold a teacher yet.
        config: shape and training.
        test: held-out images on which zero-shot accuracy is reported.
        resume: go on with an interrupted training in `out`.
        progress: rich progress, or None.

    Returns:
        Zero-shot accuracy on `test` of the model as open_clip loads it back, or None without `test`.

    Raises:
        FileExistsError: when `out` holds a teacher, or an unfinished one and `resume` is not set.
        DistillError: when the unfinished one was started with other images or options.

    Source: Radford et al. (2021); Yang et al. (2022), UniCL, eq. 2-4.
    """
    _start(train, out, config, resume=resume)
    pixels = torch.from_numpy(train.pixels(None, progress=progress is not None))
    training = _TeacherTraining(train, pixels, test, config, MetricsLog(out / "metrics.jsonl", "teacher"))
    state = out / "resume.safetensors"
    loop = Loop(training.model, config.training, n=len(pixels), seed=config.seed, accelerator=training.accelerator, state=state)
    if resume:
        loop.resume()
    loop.run(training.step, training.after_epoch, after_step=training.clamp, progress=progress, label="teacher")
    save_clip(training.model, training.settings, out)
    state.unlink()
    return None if test is None else evaluate(out, test, templates=config.templates, precision=config.training.precision)


def _start(train: Split, out: Path, config: TeachConfig, *, resume: bool) -> None:
    """Refuse a folder that holds a teacher or another unfinished one; store options and images in `teach.json`."""
    unfinished = (out / "resume.safetensors").exists()
    if (out / "open_clip_config.json").exists() and not (resume and unfinished):
        raise FileExistsError(f"`out` must be a new folder, got {out}, which holds a teacher; choose another folder.")
    if unfinished and not resume:
        raise FileExistsError(
            f"`out` must be a new folder, got {out}, which holds an unfinished teacher; add --resume or choose another folder."
        )
    begun = {"config": config.model_dump(mode="json"), "images": train.fingerprint}
    note = out / "teach.json"
    if unfinished and note.is_file() and read_json(note, "`teach.json`") != begun:
        raise DistillError(
            f"the images and options must be those that {out} was started with, got others; choose a new folder or the old options."
        )
    write_then_rename(note, lambda file: file.write(json.dumps(begun, indent=1).encode()))


class _TeacherTraining:
    """One training of a teacher: the model with its views and texts, and what the loop calls."""

    def __init__(self, train: Split, pixels: Tensor, test: Split | None, config: TeachConfig, log: MetricsLog) -> None:
        torch.manual_seed(config.seed)
        self.model, self.tokenizer, self.settings = build_clip(config)
        self.tower = image_tower(self.model)
        self.accelerator = make_accelerator(config.training.precision)
        self.config = config
        self.pixels = pixels
        self.views = Views(config.views, len(pixels))
        self.texts = _Texts(train, config, self.tokenizer)
        self.class_names = () if test is None else test.class_names
        self.held_out = None if test is None else HeldOut(torch.from_numpy(test.pixels(None)), torch.from_numpy(test.labels))
        self.log = log

    def step(self, indices: Tensor, epoch: int) -> tuple[Tensor, dict[str, Tensor]]:
        """Compute the loss of a batch.

        Args:
            indices: rows of the batch, int64, shape (B,).
            epoch: from 0.
        """
        device = self.accelerator.device
        self.tower.input_size = self.config.side(epoch)
        views = self.views.images(self.pixels, indices, epoch % self.config.views.count).to(device)
        with self.accelerator.autocast():
            images = F.normalize(self.tower(views).float(), dim=-1)
        tokens, group = (part.to(device) for part in self.texts.draw(indices, epoch))
        text = F.normalize(self.model.encode_text(tokens).float(), dim=-1)
        scale = self.model.logit_scale.exp()
        return grouped_contrastive(images, text, group, logit_scale=scale, label_smoothing=self.config.label_smoothing), {}

    def clamp(self) -> None:
        """Hold the logit scale in [1, 100], in place, as CLIP does."""
        with torch.no_grad():
            self.model.logit_scale.clamp_(0.0, 4.6052)

    def after_epoch(self, epoch: int, means: dict[str, float]) -> None:
        """Log an epoch, with zero-shot accuracy where there are held-out images, at the image size of the epoch.

        Args:
            epoch: from 0.
            means: name -> mean over the epoch.
        """
        row: dict[str, object] = {"student": "teacher", "epoch": epoch + 1, **means}
        if self.held_out is not None:
            self.tower.input_size = self.config.side(epoch)
            self.model.eval()
            with torch.inference_mode():
                prompts = self.tokenizer([fill(self.config.templates[:1], name)[0] for name in self.class_names])
                weights = F.normalize(self.model.encode_text(prompts.to(self.accelerator.device)).float(), dim=-1).T
            row["zero_shot"] = zero_shot_accuracy(self.tower, self.held_out, weights, accelerator=self.accelerator)
        self.log.write(row)


def evaluate(folder: Path, test: Split, *, templates: Sequence[str], precision: str = "auto") -> float:
    """Load a teacher the way users do and measure its zero-shot accuracy.

    Args:
        folder: of the teacher.
        test: held-out images.
        templates: of the class prompts.
        precision: as in `TrainingConfig`.

    Returns:
        Share of right answers, in [0, 1].
    """
    teacher = load_teacher(str(folder))
    weights = teacher.class_weights(test.class_names, templates)
    held_out = HeldOut(torch.from_numpy(test.pixels(None)), torch.from_numpy(test.labels))
    return zero_shot_accuracy(teacher.encoder, held_out, weights, accelerator=make_accelerator(precision))


def grouped_contrastive(images: Tensor, text: Tensor, group: Tensor, *, logit_scale: Tensor, label_smoothing: float = 0.0) -> Tensor:
    """Compute the symmetric contrastive loss where images that share a text are positives of each other.

    Args:
        images: unit embeddings, shape (N, D).
        text: unit embeddings of the batch's distinct texts, shape (U, D).
        group: row of `text` that belongs to each image, int64, shape (N,); every row has at least one image.
        logit_scale: multiplier of cosines.
        label_smoothing: share of the target spread over all texts, in [0, 1).

    Returns:
        Scalar mean, at least 0.

    Source: Yang et al. (2022), UniCL, eq. 2-4.
    """
    logits = logit_scale * images @ text.T
    image_to_text = F.cross_entropy(logits, group, label_smoothing=label_smoothing)
    positives = F.one_hot(group, len(text)).T.float()
    text_to_image = -((positives / positives.sum(dim=1, keepdim=True)) * logits.T.log_softmax(dim=1)).sum(dim=1).mean()
    return (image_to_text + text_to_image) / 2


class _Texts:
    """The text of each image in each epoch: a template filled with its class, or its caption."""

    def __init__(self, split: Split, config: TeachConfig, tokenizer: SimpleTokenizer) -> None:
        prompts = [prompt for name in split.class_names for prompt in fill(config.templates, name)]
        self.templates = len(config.templates)
        captions = split.captions
        known = sorted({caption for caption in captions if caption}) if captions else []
        place = {caption: len(prompts) + row for row, caption in enumerate(known)}
        self.tokens = tokenizer(prompts + known)
        self.labels = torch.from_numpy(split.labels)
        self.caption = torch.tensor([place.get(caption or "", -1) for caption in captions]) if captions else torch.full((len(split),), -1)
        self.share = config.captions
        self.seed = config.seed

    def draw(self, indices: Tensor, epoch: int) -> tuple[Tensor, Tensor]:
        """Draw the texts of a batch.

        Args:
            indices: rows of the batch, int64, shape (B,).
            epoch: from 0.

        Returns:
            Tokens of the distinct texts, shape (U, L), and the row of each image among them, shape (B,).
        """
        g = torch.Generator().manual_seed(self.seed * 7_919 + epoch)
        # One template for all images of an epoch's batch keeps one class one text.
        template = int(torch.randint(self.templates, (1,), generator=g))
        chosen = self.labels[indices] * self.templates + template
        wants = torch.rand(len(self.labels), generator=g)[indices] < self.share
        caption = self.caption[indices]
        rows, group = torch.where(wants & (caption >= 0), caption, chosen).unique(return_inverse=True)
        return self.tokens[rows], group


def build_clip(config: TeachConfig) -> tuple[CustomTextCLIP, SimpleTokenizer, dict[str, object]]:
    """Build an untrained open_clip model; its weights come from the global generator.

    Returns:
        The model, its tokenizer, and the content of the `open_clip_config.json` that rebuilds both.

    Raises:
        ValueError: for an `image_tower` that timm does not have, with the nearest names.
    """
    import open_clip
    import timm
    from open_clip.model import CustomTextCLIP

    if not timm.is_model(config.image_tower):
        near = difflib.get_close_matches(config.image_tower, timm.list_models(), n=3, cutoff=0.4)
        raise ValueError(f"`image_tower` must be a timm model, got {config.image_tower!r}; did you mean {', '.join(near) or 'resnet10t'}?")
    vision = {"timm_model_name": config.image_tower, "timm_pool": "avg", "timm_proj": "linear", "image_size": config.image_size}
    text = {
        "context_length": config.context_length,
        "vocab_size": 49408,
        "width": config.text_width,
        "heads": max(1, config.text_width // 32),
        "layers": config.text_layers,
    }
    model = CustomTextCLIP(config.embed_dim, vision, text)
    preprocess = {
        "size": config.image_size,
        "mode": "RGB",
        "mean": list(MEAN),
        "std": list(STD),
        "interpolation": "bicubic",
        "resize_mode": "shortest",
    }
    model.visual.preprocess_cfg = preprocess
    settings: dict[str, object] = {
        "model_cfg": {"embed_dim": config.embed_dim, "vision_cfg": vision, "text_cfg": text, "custom_text": True},
        "preprocess_cfg": preprocess,
    }
    return model, open_clip.SimpleTokenizer(context_length=config.context_length), settings


def save_clip(model: CustomTextCLIP, settings: dict[str, object], out: Path) -> None:
    """Write a model as a folder for `local-dir:`: the weights first, so that a folder with a config is whole.

    Args:
        model: from `build_clip`.
        settings: from `build_clip`.
        out: folder of the teacher.
    """
    save_tensors(out / "open_clip_model.safetensors", model.state_dict(), {"made_by": "synthgap teach"})
    write_then_rename(out / "open_clip_config.json", lambda file: file.write(json.dumps(settings, indent=1).encode()))

"""Train a small class-conditional latent diffusion model on a few images: dataset distillation by generation."""

from __future__ import annotations

import copy
import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn
from torch.nn import functional as F

from distill.data.split import Split
from distill.errors import DistillError
from distill.generate.autoencoder import build, encode, scaled
from distill.generate.settings import require_same_settings
from distill.system.atomic_files import write_then_rename
from distill.system.untrusted_text import read_json
from distill.training.loop import Loop, TrainingConfig, make_accelerator

if TYPE_CHECKING:
    from diffusers import AutoencoderTiny
    from rich.progress import Progress

NAME = "synthgap-dit"
NULL = 1000
"""The label that means no class: `DiTPipeline` has this number written into it, so the model counts a thousand classes."""
NOISE = {"num_train_timesteps": 1000, "beta_schedule": "squaredcos_cap_v2", "prediction_type": "v_prediction"}


class ClassConditionalConfig(BaseModel):
    """Shape and length of a small diffusion transformer (DiT) and of its autoencoder."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    width: int = Field(128, ge=32, multiple_of=32)
    layers: int = Field(4, ge=1)
    steps: int = Field(4000, ge=1, description="of the diffusion model; the decoder takes a quarter as many")
    batch_size: int = Field(32, ge=2)
    learning_rate: float = Field(1e-3, gt=0)
    drop_class: float = Field(0.1, ge=0, lt=1, description="share of images trained without their class, for guidance")
    average: float = Field(0.995, ge=0, lt=1, description="decay of the averaged weights that are kept")
    seed: int = Field(0, ge=0, lt=2**32)
    precision: str = "fp32"


class _Denoiser(nn.Module):
    """The transformer and a running average of its weights, which is what is kept."""

    def __init__(self, config: ClassConditionalConfig, channels: int, side: int) -> None:
        from diffusers import DiTTransformer2DModel
        from diffusers.models.embeddings import LabelEmbedding

        super().__init__()
        torch.manual_seed(config.seed)
        self.model = DiTTransformer2DModel(
            num_attention_heads=config.width // 32,
            attention_head_dim=32,
            in_channels=channels,
            out_channels=channels,
            num_layers=config.layers,
            sample_size=side,
            patch_size=1 if side <= 16 else 2,
            norm_num_groups=1,
        )
        for part in self.model.modules():
            if isinstance(part, LabelEmbedding):
                part.dropout_prob = 0  # every block would drop the class by itself; here it is dropped once for all
        self.average = copy.deepcopy(self.model).requires_grad_(False)
        self.decay = config.average

    def forward(self, noisy: Tensor, times: Tensor, labels: Tensor) -> Tensor:
        return self.model(noisy, timestep=times, class_labels=labels).sample

    @torch.no_grad()
    def update_average(self) -> None:
        """Move the average towards the weights, after each step."""
        for average, weight in zip(self.average.parameters(), self.model.parameters(), strict=True):
            average.lerp_(weight, 1 - self.decay)


def train_generator(
    split: Split, out: Path, *, config: ClassConditionalConfig, resume: bool = False, progress: Progress | None = None
) -> Path:
    """Train autoencoder and diffusion model on a split's images and save them as a diffusers `DiTPipeline`.

    Args:
        split: square images of one size, a multiple of 4 pixels, of at most 1,000 classes.
        out: working folder; the pipeline becomes `out/synthgap-dit`.
        config: shape and length.
        resume: go on with an interrupted training, or keep a finished one.
        progress: rich progress, or None.

    Returns:
        The pipeline's folder; `diffusers.DiffusionPipeline.from_pretrained` loads it, with the class names as labels.

    Raises:
        FileExistsError: when `out` holds a generator and `resume` is not set.
        DistillError: when that one was begun with other images or settings, or the loss is not finite.
        ValueError: for images of another shape.

    Source: DiT (Peebles & Xie, 2023) with velocity prediction (Salimans & Ho, 2022, section 4); the use is that of Li et al. (ECCV 2024
        dataset distillation challenge): a generator trained on the data draws the distilled set.
    """
    pipeline = out / NAME
    _start(split, out, config, resume=resume)
    if pipeline.is_dir():
        return pipeline
    pixels = torch.from_numpy(split.pixels(None, progress=progress is not None))
    if pixels.shape[-1] % 4 or pixels.shape[-1] != pixels.shape[-2] or len(split.class_names) > NULL:
        raise ValueError(
            f"`train_on` must hold square images of a multiple of 4 pixels, of at most {NULL} classes, got {tuple(pixels.shape)} and "
            f"{len(split.class_names)} classes; resize them."
        )
    vae = _train_decoder(pixels, out, config, resume=resume, progress=progress)
    denoiser = _train_denoiser(encode(vae, pixels), torch.from_numpy(split.labels), out, config, resume=resume, progress=progress)
    return _save(vae, denoiser, split, pipeline)


def _start(split: Split, out: Path, config: ClassConditionalConfig, *, resume: bool) -> None:
    state = {"images": split.fingerprint, "config": config.model_dump()}
    path = out / "training.json"
    if not path.exists():
        return write_then_rename(path, lambda file: file.write(json.dumps(state, indent=1).encode()))
    if not resume:
        raise FileExistsError(f"`out` must be a new folder, got {out}, which holds a generator; add --resume or choose another folder.")
    before = read_json(path, "`training.json`")
    if not isinstance(before, dict):
        raise DistillError(f"{path} must be what an earlier call has written, got something else; choose a new folder.")
    require_same_settings(before, state, out)
    return None


def _training(config: ClassConditionalConfig, n: int, *, share: float = 1.0) -> TrainingConfig:
    """Return a training configuration with the number of epochs that is nearest to `share` of the configured steps."""
    batch = min(config.batch_size, n)
    epochs = max(1, round(config.steps * share / (n // batch)))
    rate = {"learning_rate": config.learning_rate, "schedule": "cosine", "warmup": 0.05, "weight_decay": 0.01}
    return TrainingConfig.model_validate({"epochs": epochs, "batch_size": batch, "precision": config.precision, **rate})


def _train_decoder(
    pixels: Tensor, out: Path, config: ClassConditionalConfig, *, resume: bool, progress: Progress | None
) -> AutoencoderTiny:
    """Train the decoder to undo the fixed encoder, with a little noise on the latents, as diffusion gets them slightly wrong."""
    vae = build(pixels, seed=config.seed)
    latents = encode(vae, pixels)
    accelerator = make_accelerator(config.precision)
    vae.to(accelerator.device)
    training = _training(config, len(pixels), share=0.25)
    loop = Loop(vae.decoder, training, n=len(pixels), seed=config.seed, accelerator=accelerator, state=out / "decoder.safetensors")
    if resume:
        loop.resume()

    def step(rows: Tensor, epoch: int) -> tuple[Tensor, dict[str, Tensor]]:
        codes = (latents[rows] + 0.1 * torch.randn(latents[rows].shape)) / vae.config.scaling_factor
        decoded, originals = loop.module(codes.to(accelerator.device)).float(), scaled(pixels[rows]).to(accelerator.device)
        slopes = sum((decoded.diff(dim=axis) - originals.diff(dim=axis)).abs().mean() for axis in (2, 3))
        return 4 * F.mse_loss(decoded, originals) + F.l1_loss(decoded, originals) + 0.5 * slopes, {}

    loop.run(step, lambda epoch, means: None, progress=progress, label="decoder")
    return vae.cpu().eval()


def _train_denoiser(
    latents: Tensor, labels: Tensor, out: Path, config: ClassConditionalConfig, *, resume: bool, progress: Progress | None
) -> _Denoiser:
    from diffusers import DDPMScheduler

    denoiser = _Denoiser(config, latents.shape[1], latents.shape[-1])
    accelerator = make_accelerator(config.precision)
    training = _training(config, len(latents))
    loop = Loop(denoiser, training, n=len(latents), seed=config.seed, accelerator=accelerator, state=out / "denoiser.safetensors")
    if resume:
        loop.resume()
    schedule = DDPMScheduler(**NOISE)

    def step(rows: Tensor, epoch: int) -> tuple[Tensor, dict[str, Tensor]]:
        clean, count = latents[rows], len(rows)
        noise = torch.randn_like(clean)
        times = (torch.arange(count) * 1000 // count + torch.randint(0, 1000 // count + 1, (count,))).clamp(max=999)  # stratified
        classes = torch.where(torch.rand(count) < config.drop_class, NULL, labels[rows])
        noisy, velocity = schedule.add_noise(clean, noise, times), schedule.get_velocity(clean, noise, times)
        device = accelerator.device
        return F.mse_loss(loop.module(noisy.to(device), times.to(device), classes.to(device)).float(), velocity.to(device)), {}

    loop.run(step, lambda epoch, means: None, after_step=denoiser.update_average, progress=progress, label="diffusion model")
    return denoiser.cpu()


def _save(vae: AutoencoderTiny, denoiser: _Denoiser, split: Split, folder: Path) -> Path:
    """Write the pipeline under a temporary name and rename the folder, so that a folder of its name is whole."""
    from diffusers import DiTPipeline, DPMSolverMultistepScheduler

    pipeline = DiTPipeline(denoiser.average, vae, DPMSolverMultistepScheduler(**NOISE))
    # Its constructor forgets to register them, and takes a comma for two names of one class.
    names = dict(enumerate(split.class_names))
    if not any("," in name for name in names.values()):
        pipeline.register_to_config(id2label=names)
    temporary = folder.with_name(f".{folder.name}-writing")
    shutil.rmtree(temporary, ignore_errors=True)
    pipeline.save_pretrained(temporary)
    temporary.rename(folder)
    return folder

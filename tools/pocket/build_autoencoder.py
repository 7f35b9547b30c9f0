"""Make the autoencoder of the pocket's generator: 32 x 32 pixels to 8 x 8 latents of 12 channels.

The encoder is not learnt by gradient: it is set to the principal components of 4 x 4 pixel patches, the best linear code, which
takes a second instead of many minutes. The decoder is a convolutional network trained to undo it.
"""

from __future__ import annotations

import logging
import time
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderTiny
from torch import Tensor, nn
from torch.nn import functional

from distill.generate.autoencoder import LATENTS, SCALE, build, encode, scaled

LOG = logging.getLogger(__name__)

BATCH = 32
LEARNING_RATE = 2e-3
LATENT_NOISE = 0.1  # of a standard deviation: the decoder must bear what the diffusion model gets slightly wrong
SEED = 2

__all__ = ["LATENTS", "encode", "load", "train"]


def load(out: Path) -> AutoencoderTiny:
    """Load the finished autoencoder of a build folder, in single precision."""
    return AutoencoderTiny.from_pretrained(out / "vae").float()


def _loss(vae: AutoencoderTiny, latents: Tensor, images: Tensor) -> Tensor:
    """Absolute error of pixels and of their differences, as strokes are thin."""
    with torch.autocast("cpu", torch.bfloat16):
        decoded = vae.decode((latents + LATENT_NOISE * torch.randn_like(latents)) / SCALE).sample
    decoded = decoded.float()
    slopes = sum((decoded.diff(dim=axis) - images.diff(dim=axis)).abs().mean() for axis in (2, 3))
    return functional.mse_loss(decoded, images) * 4 + functional.l1_loss(decoded, images) + 0.5 * slopes


def train(out: Path, images: Tensor, seconds: float, *, resume: bool = False) -> None:
    """Train the decoder for a budget of processor time; write `out/vae`.

    Args:
        out: build folder.
        images: of the generator's part, uint8, shape (N, 3, 32, 32).
        seconds: budget of processor time, which the learning rate follows.
        resume: keep a finished autoencoder.
    """
    folder = out / "vae"
    if resume and (folder / "config.json").exists():
        return
    vae = build(images, seed=SEED)
    latents = encode(vae, images)
    optimizer = torch.optim.AdamW(vae.decoder.parameters(), lr=LEARNING_RATE, weight_decay=0.0, betas=(0.9, 0.98))
    average = torch.optim.swa_utils.AveragedModel(vae, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.995))
    rng, start, step, done = np.random.default_rng(SEED), time.process_time(), 0, 0.0
    while done < 1:
        done = min((time.process_time() - start) / seconds, 1)
        optimizer.param_groups[0]["lr"] = float(LEARNING_RATE * min(1, (step + 1) / 100) * (0.01 + 0.99 * (1 + np.cos(np.pi * done)) / 2))
        rows = torch.from_numpy(rng.integers(len(images), size=BATCH))
        loss = _loss(vae, latents[rows], scaled(images[rows]))
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(vae.decoder.parameters(), 1.0)
        optimizer.step()
        average.update_parameters(vae)
        step += 1
        if step % 500 == 0:
            LOG.info("autoencoder: step %d, %3.0f %% of the time, loss %.4f", step, 100 * done, loss.item())
    average.module.half().save_pretrained(folder)

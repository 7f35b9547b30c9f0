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

LOG = logging.getLogger(__name__)

LATENTS = 12
PATCH = 4
WIDTH = 32
BATCH = 32
LEARNING_RATE = 2e-3
LATENT_NOISE = 0.1  # of a standard deviation: the decoder must bear what the diffusion model gets slightly wrong
SCALE = 2.0  # the decoder squashes latents beyond 3, so they are stored at half the scale that is diffused
SEED = 2


def scaled(images: Tensor) -> Tensor:
    """Turn (B, 3, 32, 32) uint8 into [-1, 1], as diffusers' pipelines have images."""
    return (images.float() / 127.5 - 1).contiguous(memory_format=torch.channels_last)


def build(images: Tensor) -> AutoencoderTiny:
    """Make the untrained autoencoder with its principal-component encoder, from (N, 3, 32, 32) uint8 images."""
    torch.manual_seed(SEED)
    size = 3 * PATCH**2
    vae = AutoencoderTiny(
        encoder_block_out_channels=(size,) * 3,
        decoder_block_out_channels=(WIDTH,) * 3,
        num_encoder_blocks=(0, 0, 0),
        num_decoder_blocks=(2, 1, 1),
        latent_channels=LATENTS,
        scaling_factor=SCALE,
    )
    convolutions = [layer for layer in vae.encoder.layers if isinstance(layer, nn.Conv2d)]
    with torch.no_grad():
        for layer in convolutions:
            layer.weight.zero_()
            if layer.bias is not None:
                layer.bias.zero_()
        convolutions[0].weight[range(3), range(3), 1, 1] = 1
        for layer, channels in ((convolutions[1], 3), (convolutions[2], 12)):  # each gathers 2 x 2 neighbours into channels
            for corner in range(4):
                rows = torch.arange(channels)
                layer.weight[corner * channels + rows, rows, 1 + corner // 2, 1 + corner % 2] = 1
        gathered = vae.encoder.layers[:-1](scaled(images[:3000]).add(1).div(2)).movedim(1, -1).reshape(-1, size)
        variance, axes = torch.linalg.eigh(torch.cov(gathered.T).double())
        spread = variance.flip(0)[:LATENTS].sqrt()  # halfway to whitened: fine strokes count, but colour and light count more
        weights = axes.flip(1)[:, :LATENTS] / spread.sqrt() / spread.mean().sqrt() / SCALE
        convolutions[3].weight[:, :, 1, 1] = weights.T.float()
        convolutions[3].bias.copy_(-(gathered.double().mean(0) @ weights).float())
    return vae.to(memory_format=torch.channels_last)


def load(out: Path) -> AutoencoderTiny:
    """Load the finished autoencoder of a build folder, in single precision."""
    return AutoencoderTiny.from_pretrained(out / "vae").float()


@torch.inference_mode()
def encode(vae: AutoencoderTiny, images: Tensor) -> Tensor:
    """Encode N images to the latents that are diffused, (N, 12, 8, 8), mean square about 1."""
    return torch.cat([vae.encode(scaled(part)).latents for part in images.split(500)]) * SCALE


def _loss(vae: AutoencoderTiny, latents: Tensor, images: Tensor) -> Tensor:
    """Absolute error of pixels and of their differences, as strokes are thin."""
    with torch.autocast("cpu", torch.bfloat16):
        found = vae.decode((latents + LATENT_NOISE * torch.randn_like(latents)) / SCALE).sample
    found = found.float()
    slopes = sum((found.diff(dim=axis) - images.diff(dim=axis)).abs().mean() for axis in (2, 3))
    return functional.mse_loss(found, images) * 4 + functional.l1_loss(found, images) + 0.5 * slopes


def train(out: Path, images: Tensor, seconds: float, *, resume: bool = False) -> None:
    """Train the decoder for a budget of processor time on (N, 3, 32, 32) uint8 images of the generator's part; write `out/vae`."""
    folder = out / "vae"
    if resume and (folder / "config.json").exists():
        return
    vae = build(images)
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

"""A small autoencoder whose encoder needs no training: the principal components of 4 x 4 pixel patches, the best linear code."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from diffusers import AutoencoderTiny

PATCH = 4
WIDTH = 32
LATENTS = 12
SCALE = 2.0
"""The decoder squashes latents beyond 3, so they are stored at half the scale that is diffused."""


def scaled(images: Tensor) -> Tensor:
    """Turn uint8 images (N, 3, H, W) into [-1, 1], as diffusers' pipelines have them."""
    return (images.float() / 127.5 - 1).contiguous(memory_format=torch.channels_last)


def build(images: Tensor, *, seed: int = 0) -> AutoencoderTiny:
    """Make an `AutoencoderTiny` with a principal-component encoder and an untrained decoder.

    Args:
        images: uint8, (N, 3, H, W), H and W multiples of 4; up to 3,000 of them, spread evenly, decide the components.
        seed: of the decoder's weights.
    """
    from diffusers import AutoencoderTiny

    torch.manual_seed(seed)
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
            rows = torch.arange(channels)
            for corner in range(4):
                layer.weight[corner * channels + rows, rows, 1 + corner // 2, 1 + corner % 2] = 1
        sample = images[torch.linspace(0, len(images) - 1, min(3000, len(images))).long()]
        patches = vae.encoder.layers[:-1](scaled(sample).add(1).div(2)).movedim(1, -1).reshape(-1, size)
        variance, axes = torch.linalg.eigh(torch.cov(patches.T).double())
        # Halfway to whitened: fine strokes count, but colour and light count more. The floor is for images that use few components.
        spread = variance.flip(0)[:LATENTS].clamp(min=1e-8).sqrt()
        weights = axes.flip(1)[:, :LATENTS] / spread.sqrt() / spread.mean().sqrt() / SCALE
        convolutions[3].weight[:, :, 1, 1] = weights.T.float()
        convolutions[3].bias.copy_(-(patches.double().mean(0) @ weights).float())
    return vae.to(memory_format=torch.channels_last)


@torch.inference_mode()
def _encode(vae: AutoencoderTiny, images: Tensor) -> Tensor:
    device = next(vae.parameters()).device
    return torch.cat([vae.encode(scaled(part).to(device)).latents.cpu() for part in images.split(500)]) * vae.config.scaling_factor


def encode(vae: AutoencoderTiny, images: Tensor) -> Tensor:
    """Encode images to the latents that are diffused.

    Args:
        vae: from `build`.
        images: uint8, shape (N, 3, H, W).

    Returns:
        Shape (N, 12, H / 4, W / 4), mean square about 1.
    """
    return _encode(vae, images).clone()  # outside inference mode, so that training may use them

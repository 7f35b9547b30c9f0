"""Train the text-conditional diffusion model of the pocket on biased captions, and save it as a diffusers pipeline."""

from __future__ import annotations

import logging
import time
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderTiny, DDPMScheduler, DPMSolverMultistepScheduler, StableDiffusionPipeline, UNet2DConditionModel
from torch import Tensor, nn
from torch.nn import functional
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from distill.packs.pocket.tokenizer import CONTEXT_LENGTH, save_tokenizer
from tools.pocket.build_autoencoder import LATENTS

LOG = logging.getLogger(__name__)

TEXT_WIDTH = 64
CHANNELS = (64, 128)
BATCH = 16  # small, as the number of steps is what a few minutes of one core lack
LEARNING_RATE = 1e-3
STROKES = 4.0  # extra weight of the loss where there is ink: textures cannot be foretold, and would drown the strokes
UNCONDITIONAL = 0.1  # share of captions emptied, for classifier-free guidance
NOISE = {"num_train_timesteps": 1000, "beta_schedule": "squaredcos_cap_v2", "prediction_type": "v_prediction"}
SAVE_EVERY = 60.0  # seconds
SEED = 3


class Denoiser(nn.Module):
    """The trained part: text encoder and U-Net, called on noisy latents (B, 12, 8, 8), times (B,) and tokens (B, 16)."""

    def __init__(self, vocabulary: int) -> None:
        super().__init__()
        ends = {"bos_token_id": vocabulary - 2, "eos_token_id": vocabulary - 1, "pad_token_id": vocabulary - 1}
        sizes = {"hidden_size": TEXT_WIDTH, "intermediate_size": 4 * TEXT_WIDTH, "num_hidden_layers": 2, "num_attention_heads": 4}
        self.text = CLIPTextModel(CLIPTextConfig(vocab_size=vocabulary, max_position_embeddings=CONTEXT_LENGTH, **sizes, **ends))
        self.unet = UNet2DConditionModel(
            sample_size=8,
            in_channels=LATENTS,
            out_channels=LATENTS,
            down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
            up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
            block_out_channels=CHANNELS,
            layers_per_block=1,
            cross_attention_dim=TEXT_WIDTH,
            attention_head_dim=4,
            norm_num_groups=16,
        ).to(memory_format=torch.channels_last)

    def forward(self, noisy: Tensor, times: Tensor, tokens: Tensor) -> Tensor:
        """Predict the velocity (B, 12, 8, 8)."""
        return self.unet(noisy, times, self.text(tokens).last_hidden_state).sample


def train(out: Path, latents: Tensor, captions: list[str], ink: Tensor, seconds: float, *, resume: bool = False) -> None:
    """Train for a budget of processor time on N scaled latents (N, 12, 8, 8) and their captions; write `out/pipeline`.

    Args:
        out: build folder; `out/denoiser.pt` keeps the state each minute.
        latents: of the generator's images.
        captions: one an image.
        ink: its opacity, (N, 32, 32) in [0, 1].
        seconds: budget of processor time, which the learning rate follows.
        resume: go on from `out/denoiser.pt` and keep a finished pipeline.
    """
    if resume and (out / "pipeline" / "model_index.json").exists():
        return
    torch.manual_seed(SEED)
    folder = out / "tokenizer"
    model = Denoiser(save_tokenizer(folder))
    tokenizer = CLIPTokenizer.from_pretrained(folder)
    tokens = tokenizer([*captions, ""], padding="max_length", max_length=CONTEXT_LENGTH, truncation=True, return_tensors="pt").input_ids
    average = torch.optim.swa_utils.AveragedModel(model, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.99))
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, weight_decay=0.01, betas=(0.9, 0.99), fused=True)
    state = {"spent": 0.0, "step": 0}
    if resume and (out / "denoiser.pt").exists():
        saved = torch.load(out / "denoiser.pt", weights_only=True)
        model.load_state_dict(saved["model"])
        average.load_state_dict(saved["average"])
        optimizer.load_state_dict(saved["optimizer"])
        state = saved["state"]
    weights = 1 + STROKES * functional.max_pool2d(ink[:, None], 4)
    rng, schedule = np.random.default_rng([SEED, int(state["step"])]), DDPMScheduler(**NOISE)
    last = time.process_time()
    saved_at = state["spent"]
    while state["spent"] < seconds:
        done = state["spent"] / seconds
        falling = 0.02 + 0.98 * (1 + np.cos(np.pi * done)) / 2
        optimizer.param_groups[0]["lr"] = float(LEARNING_RATE * min(1, (state["step"] + 1) / 100) * falling)
        rows = torch.from_numpy(rng.integers(len(latents), size=BATCH))
        words = tokens[torch.where(torch.from_numpy(rng.random(BATCH)) < UNCONDITIONAL, len(captions), rows)]
        clean, noise = latents[rows], torch.randn(BATCH, *latents.shape[1:])
        times = (torch.arange(BATCH) * 1000 // BATCH + torch.randint(0, 1000 // BATCH + 1, (BATCH,))).clamp(max=999)  # stratified
        noisy = schedule.add_noise(clean, noise, times).contiguous(memory_format=torch.channels_last)
        error = model(noisy, times, words) - schedule.get_velocity(clean, noise, times)
        loss = (error.square() * weights[rows]).mean() / weights.mean()
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        if state["step"] % 4 == 0:
            average.update_parameters(model)
        now = time.process_time()
        state["spent"], state["step"], last = state["spent"] + now - last, state["step"] + 1, now
        if state["step"] % 200 == 0:
            LOG.info("generator: step %d, %3.0f %% of the time, loss %.4f", state["step"], 100 * done, loss.item())
        if state["spent"] - saved_at > SAVE_EVERY:
            saved_at = state["spent"]
            parts = {"model": model.state_dict(), "average": average.state_dict(), "optimizer": optimizer.state_dict(), "state": state}
            torch.save(parts, out / "denoiser.tmp")
            (out / "denoiser.tmp").replace(out / "denoiser.pt")
    save_pipeline(out, average.module)


def save_pipeline(out: Path, model: Denoiser) -> None:
    """Write text encoder, U-Net, autoencoder, tokenizer and scheduler as one diffusers folder in half precision.

    Args:
        out: build folder, which holds `vae`; the pipeline becomes `out/pipeline`.
        model: trained text encoder and U-Net.
    """
    vae = AutoencoderTiny.from_pretrained(out / "vae")
    vae.register_to_config(_name_or_path="")  # else the build folder's path would be shipped
    pipeline = StableDiffusionPipeline(
        vae=vae,
        text_encoder=model.text,
        tokenizer=CLIPTokenizer.from_pretrained(out / "tokenizer"),
        unet=model.unet,
        scheduler=DPMSolverMultistepScheduler(**NOISE),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.to(torch.float16).save_pretrained(out / "pipeline")
